"""How a language spells vertebral levels: the ``[levels]`` of a lexicon, compiled."""

from dataclasses import dataclass
from typing import Any

from vfscreen.errors import ReportsError
from vfscreen.reports.tokens import words_of

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """The words of levels.

    Parameters
    ----------
    role : str
        ``target`` where a vertebra is the finding's own site, ``other`` where it is another.
    letters : dict
        Letter before a number -> region (``C``, ``T`` or ``L``): D12 is T12.
    regions, leading : dict
        Words behind their numbers ("first lumbar") or before them ("腰椎第一節") -> region.
    ordinals, numerals : dict
        Words that count by themselves ("first"), or only behind a mark or a region ("一").
    marks : frozenset of str
        What makes a number an ordinal ("第").
    suffixes : frozenset of str
        Of an ordinal in digits ("12th").
    nouns, counters : dict
        What may stand between a number and its region ("vértebra"), and behind a number ("節").
    joints, letter_joints : frozenset of str
        What goes on with another number: of a region, behind a letter and its number.
    ranges : dict
        What leads from the first level of a range to its last ("down to").
    list_before : frozenset of str
        Words that may stand behind a number in a list under one letter; empty for all.
    not_before, not_after : frozenset of str
        Words beside a letter and its number that make them something else.
    units : frozenset of str
        Words behind a bare number that make it count or measure something else.
    begins, initials : frozenset of str
        First words of a level in words; first letters of one in letters.
    """

    role: str
    letters: dict[str, str]
    regions: dict[Phrase, str]
    leading: dict[Phrase, str]
    ordinals: dict[Phrase, int]
    numerals: dict[Phrase, int]
    marks: frozenset[str]
    suffixes: frozenset[str]
    nouns: dict[Phrase, str]
    counters: dict[Phrase, str]
    joints: frozenset[str]
    letter_joints: frozenset[str]
    list_before: frozenset[str]
    ranges: dict[Phrase, str]
    not_before: frozenset[str]
    not_after: frozenset[str]
    units: frozenset[str]
    begins: frozenset[str]
    initials: frozenset[str]


_TABLES = ("letters", "regions", "leading", "ordinals", "numerals")
_LISTS = (
    "marks", "suffixes", "nouns", "counters", "joints", "letter_joints", "list_before", "ranges",
    "not_before", "not_after", "units",
)  # fmt: skip


def spelling_of(levels: dict[str, Any], fold: dict[int, str], label: str) -> Spelling:
    """Compile the ``[levels]`` of a lexicon.

    Raises
    ------
    ReportsError
        A key is unknown or of the wrong kind.
    """
    unknown = set(levels) - {"role", *_TABLES, *_LISTS}
    if unknown:
        raise ReportsError(f"{label}: [levels] has unknown {', '.join(sorted(unknown))}.")
    if levels.get("role") not in ("target", "other"):
        raise ReportsError(f"{label}: `role` of [levels] is target or other.")
    for key in _TABLES:
        values = levels.get(key, {})
        wanted: Any = range(1, 13) if key in ("ordinals", "numerals") else ("C", "T", "L")
        if not isinstance(values, dict) or not all(v in wanted for v in values.values()):
            said = "1 to 12" if key in ("ordinals", "numerals") else "C, T or L"
            raise ReportsError(f"{label}: `{key}` of [levels] is a table of words = {said}.")
    for key in _LISTS:
        values = levels.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ReportsError(f"{label}: `{key}` of [levels] is a list of strings.")

    def table(name: str) -> dict[Phrase, Any]:
        return {words_of(key, fold): value for key, value in levels.get(name, {}).items()}

    def phrases(name: str) -> dict[Phrase, str]:
        return {words_of(key, fold): key for key in levels.get(name, [])}

    def words(name: str) -> frozenset[str]:
        return frozenset(word for key in levels.get(name, []) for word in words_of(key, fold))

    letters = {str(k).lower(): str(v) for k, v in levels.get("letters", {}).items()}
    ordinals, leading, marks = table("ordinals"), table("leading"), words("marks")
    return Spelling(
        role=str(levels.get("role", "target")),
        letters=letters,
        regions=table("regions"),
        leading=leading,
        ordinals=ordinals,
        numerals=table("numerals"),
        marks=marks,
        suffixes=words("suffixes"),
        nouns=phrases("nouns"),
        counters=phrases("counters"),
        joints=words("joints"),
        letter_joints=words("letter_joints"),
        list_before=words("list_before"),
        ranges=phrases("ranges"),
        not_before=words("not_before"),
        not_after=words("not_after"),
        units=words("units"),
        begins=frozenset({*marks, *(k[0] for k in (*ordinals, *leading))}),
        initials=frozenset(letter[0] for letter in letters),
    )
