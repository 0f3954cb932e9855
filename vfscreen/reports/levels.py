"""Spinal levels, however a language spells them: L1, 12th thoracic, 腰椎第一、二節, D11 y D12.

The words are the lexicon's (its ``[levels]``). A level is written in one of three ways: a letter
with a number; numbers before their region ("first and second lumbar"); a region before its numbers
("vértebra dorsal 12", where the language does that). Each can be a list or a range.
"""

from collections.abc import Mapping, Set
from typing import TypeVar

from vfscreen.reports.lexicon import LEVELS, Spelling
from vfscreen.reports.tokens import Words

T = TypeVar("T")
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_HYPHENS = frozenset("-\u2010\u2011\uff0d")
# Regions, nouns and counting words have at most so many words.
_LONGEST = 3
# How far back a region counts for numbers without one, in words.
_BACK = 40
# How many vertebrae each region has.
_MOST = {"C": 7, "T": 12, "L": 6}


def levels_at(words: Words, i: int, spelling: Spelling) -> tuple[tuple[str, ...], int] | None:
    """The levels that begin at word `i`, and the word after them; reads a bounded stretch."""
    first = _phrase(words, i, spelling)
    if first is None:
        return None
    levels, end = first
    tokens = words.words
    if end < len(tokens):
        pair = tokens[end] == "/"
        at = end + 1 if pair else _skip(words, end, spelling.ranges)
        if (at > end or _hyphen(words, end)) and at < len(tokens):
            second = _phrase(words, at, spelling)
            if second is not None:
                between = () if pair else _between(levels[-1], second[0][0])
                return (*levels, *between, *second[0]), second[1]
    return levels, end


def _between(first: str, last: str) -> tuple[str, ...]:
    """The levels inside a range; it never passes through L6 on its way."""
    low, high = sorted((_RANK[first], _RANK[last]))
    return tuple(v for v in LEVELS[low + 1 : high] if v != "L6")


def _phrase(words: Words, i: int, spelling: Spelling) -> tuple[tuple[str, ...], int] | None:
    """Levels of one region: lists and ranges of numbers included."""
    letter = _letter(words, i, spelling)
    if letter is not None:
        region, number, end = letter
        numbers, end = _more(words, end, [number], spelling, spelling.letter_joints, _MOST[region])
        return _canonical(region, numbers, end)
    if words.words[i] in spelling.begins:
        return _numbers_first(words, i, spelling) or _region_first(words, i, spelling)
    if words.words[i][0].isdecimal():
        return _numbers_first(words, i, spelling)
    return None


def _letter(words: Words, i: int, spelling: Spelling) -> tuple[str, int, int] | None:
    """A letter and a number, together or with a blank between."""
    tokens = words.words
    word = tokens[i]
    after = tokens[i + 1] if i + 1 < len(tokens) else ""
    if word in spelling.letters:
        if _is_number(after) and words.gap(i).strip() in ("", "-"):
            return spelling.letters[word], int(after), i + 2
        return None
    digits = word[-2:] if word[-2:].isdecimal() else word[-1:]
    if not digits.isdecimal() or word[0] not in spelling.initials:
        return None
    region = spelling.letters.get(word[: -len(digits)].removesuffix("v"))
    if region is None or after in spelling.not_before:
        return None
    if i and tokens[i - 1] in spelling.not_after:
        return None
    return region, int(digits), i + 1


def _numbers_first(words: Words, i: int, spelling: Spelling) -> tuple[tuple[str, ...], int] | None:
    """Ordinals, then their region: "first and second lumbar", "第三至第五腰椎"."""
    first = _number(words, i, spelling, bare=False)
    if first is None:
        return None
    numbers, end = _more(
        words, first[1], [first[0]], spelling, spelling.joints, max(_MOST.values())
    )
    region = _longest(words, _skip(words, end, spelling.nouns), spelling.regions)
    if region is not None:
        return _canonical(region[0], numbers, region[1])
    counted = _skip(words, end, spelling.counters)
    if counted == end or words.words[i] not in spelling.marks:
        return None
    named = _region_named(words, i, spelling)
    return _canonical(named, numbers, counted) if named else None


def _region_named(words: Words, i: int, spelling: Spelling) -> str:
    """The region that the sentence named last: "腰椎第一節正常，第二節骨折"."""
    for k in range(i - 1, max(-1, i - 1 - _BACK), -1):
        if words.ends_sentence[k]:
            break
        region = _longest(words, k, spelling.leading)
        if region is not None:
            return region[0]
    return ""


def _region_first(words: Words, i: int, spelling: Spelling) -> tuple[tuple[str, ...], int] | None:
    """A region, then its numbers: "腰椎第四、五節", "vértebra dorsal 12"."""
    region = _longest(words, i, spelling.leading)
    if region is None:
        return None
    start, tokens = region[1], words.words
    if tokens[start : start + 1] == [":"] and not spelling.marks.isdisjoint(
        tokens[start + 1 : start + 2]
    ):
        start += 1  # "腰椎：第三、四節"
    first = _number(words, start, spelling, bare=True) if start < len(tokens) else None
    if first is None:
        return None
    numbers, end = _more(words, first[1], [first[0]], spelling, spelling.joints, _MOST[region[0]])
    end = _skip(words, end, spelling.counters)
    if end < len(tokens) and tokens[end] in spelling.units:
        return None
    return _canonical(region[0], numbers, end)


def _more(
    words: Words, end: int, numbers: list[int], spelling: Spelling, joints: Set[str], most: int
) -> tuple[list[int], int]:
    """The numbers with which a list or a range goes on; each is greater than the one before."""
    tokens = words.words
    while end < len(tokens) and len(numbers) < most:
        joint = _skip(words, end, spelling.counters)  # "第十一節及第十二節"
        if joint >= len(tokens):
            break
        hyphen = _hyphen(words, joint)
        last = _skip(words, joint, spelling.ranges)
        ranged = hyphen or last > joint
        if not (ranged or tokens[joint] == "/" or tokens[joint] in joints):
            break
        at = joint if hyphen else last if ranged else joint + 1
        following = _number(words, at, spelling, bare=True) if at < len(tokens) else None
        if following is None or not numbers[-1] < following[0] <= most:
            break
        if following[1] < len(tokens) and tokens[following[1]] in spelling.units:
            break
        counts = tokens[joint] in spelling.letter_joints and _counts(tokens, following[1], spelling)
        if counts and joints is spelling.letter_joints:
            break  # "at L1, 2 renal stones"
        numbers += range(numbers[-1] + 1, following[0] + 1) if ranged else [following[0]]
        end = following[1]
    return numbers, end


def _counts(tokens: list[str], i: int, spelling: Spelling) -> bool:
    """Whether a bare number counts what stands behind it, at word `i`."""
    if not spelling.list_before or i >= len(tokens):
        return False
    word = tokens[i]
    return word.isascii() and word[0].isalnum() and word not in spelling.list_before


def _number(words: Words, i: int, spelling: Spelling, *, bare: bool) -> tuple[int, int] | None:
    """An ordinal at word `i`, or where `bare` any number, and the word after it."""
    tokens = words.words
    word = tokens[i]
    marked = word in spelling.marks
    if marked:
        i += 1
        if i >= len(tokens):
            return None
        word = tokens[i]
    found = _longest(words, i, spelling.ordinals)
    if found is not None:
        return found
    if marked or bare:
        found = _longest(words, i, spelling.numerals)
        if found is not None:
            return found
        if _is_number(word):
            return int(word), i + 1 + _suffix(words, i + 1, spelling)
    if word[0].isdecimal():
        digits = word[:2] if word[:2].isdecimal() else word[:1]
        if word[len(digits) :] in spelling.suffixes:
            return int(digits), i + 1
        if word == digits and _suffix(words, i + 1, spelling):
            return int(digits), i + 2
    return None


def _suffix(words: Words, i: int, spelling: Spelling) -> int:
    """1 where a suffix stands alone behind its number: "12.ª"."""
    return int(i < len(words.words) and words.words[i] in ("ª", "º"))


def _longest(words: Words, i: int, table: Mapping[tuple[str, ...], T]) -> tuple[T, int] | None:
    """The longest of a table's phrases that stands at word `i`, and the word after it."""
    tokens = words.words
    for end in range(min(i + _LONGEST, len(tokens)), i, -1):
        value = table.get(tuple(tokens[i:end]))
        if value is not None:
            return value, end
    return None


def _skip(words: Words, i: int, phrases: Mapping[tuple[str, ...], str]) -> int:
    """Past one of these phrases, if it stands at word `i`."""
    found = _longest(words, i, phrases)
    return found[1] if found else i


def _hyphen(words: Words, i: int) -> bool:
    """Whether word `i` is joined to the one before by a hyphen, which is no word itself."""
    return words.gap(i - 1).strip() in _HYPHENS


def _is_number(word: str) -> bool:
    return word.isdecimal() and len(word) <= 2


def _canonical(region: str, numbers: list[int], end: int) -> tuple[tuple[str, ...], int] | None:
    """The levels of a region, none if one of them does not exist."""
    levels = tuple(f"{region}{number}" for number in numbers)
    return (levels, end) if all(level in _RANK for level in levels) else None
