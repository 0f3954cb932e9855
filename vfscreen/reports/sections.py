"""Sentences, and the sections of a report that they stand in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfscreen.reports.lexicon import Entry, Role
from vfscreen.reports.parsing import Item, Parsed

COUNTING = frozenset({"body", "findings", "impression", "addendum"})
"""Sections in which the radiologist says what is seen; the others say what is known or asked."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words ``start`` to ``end`` (exclusive), and the section that they stand in."""

    start: int
    end: int
    section: str


def sentences(parsed: Parsed) -> list[Sentence]:
    """All sentences in their order, each in the section that its content belongs to.

    What runs on behind a heading's own content is body. A comparison or a technique is one
    sentence long, an indication as long as nobody says what is seen; where a heading opens the
    findings further down, all that stands before it is what its own heading says.
    """
    cut = _asked_first(parsed, list(_cut(parsed)))
    headed = max((n for n, one in enumerate(cut) if one.section == "findings"), default=-1)
    opened = False
    for n, sentence in enumerate(cut):
        section = sentence.section
        first = n == 0 or cut[n - 1].section != section
        opened = opened and not first
        if section in COUNTING or first or n < headed:
            continue
        opened = opened or _opens_body(parsed, sentence, section)
        if opened:
            cut[n] = replace(sentence, section="body")
    return cut


def _asked_first(parsed: Parsed, cut: list[Sentence]) -> list[Sentence]:
    """Take opening words on the patient that ask as an indication: "75F fall ?#. No # seen."."""
    if len(cut) < 2 or cut[0].section != "body" or not _of_patient(parsed, cut[0]):
        return cut
    asked = 0  # sentences up to the last that asks: "82F. Fall. ?# L1. No fracture."
    for n, sentence in enumerate(cut[:_OPENING_SENTENCES]):
        if sentence.section == "body" and _asks(parsed, sentence, opening=n == 0):
            asked = n + 1
        elif any(
            item is not None and Role.FRACTURE in item.roles for item in _at(parsed, sentence)
        ):
            break  # said, not asked
    asked = min(asked, len(cut) - 1)
    return [replace(one, section="indication") for one in cut[:asked]] + cut[asked:]


def _at(parsed: Parsed, sentence: Sentence) -> list[Item | None]:
    return parsed.at[sentence.start : sentence.end]


_OPENING_SENTENCES = 3


def _of_patient(parsed: Parsed, sentence: Sentence) -> bool:
    """Whether a sentence begins with an age and a sex: "75F", "82 year old", "M/68"."""
    first = parsed.words.words[sentence.start : min(sentence.end, sentence.start + 4)]
    glued = first[0].strip("0123456789")
    if glued != first[0]:
        return glued in parsed.grammar.patient or not parsed.grammar.patient.isdisjoint(first)
    return first[0] in parsed.grammar.patient and any(word.isdecimal() for word in first)


def _asks(parsed: Parsed, sentence: Sentence, *, opening: bool) -> bool:
    """Whether a sentence asks, or where it is not the opening one, begins with the question."""
    end = sentence.end if opening else sentence.start + 1
    return any(
        word in ("?", "??") or (item is not None and Role.ASKED in item.roles)
        for word, item in zip(
            parsed.words.words[sentence.start : end],
            parsed.at[sentence.start : end],
            strict=True,
        )
    )


def _opens_body(parsed: Parsed, sentence: Sentence, section: str) -> bool:
    """Whether a sentence is no more about what was asked, known or done, but about the film."""
    tokens = parsed.words.words[sentence.start : sentence.end]
    if section in ("comparison", "technique"):
        # "COMPARISON: CT of May. It showed an L1 fracture."
        return not (tokens[0] in _PRONOUNS and not _PAST.isdisjoint(tokens))
    if tokens[0] == "there" or (tokens[0] == "no" and "history" not in tokens):
        return True
    return any(
        item is not None and Role.SEEN in item.roles and item.end == sentence.end - 1
        for item in parsed.at[sentence.start : sentence.end]
    )


_PRONOUNS = frozenset({"it", "this", "that", "which", "these", "those", "they"})
_PAST = frozenset({"showed", "demonstrated", "revealed", "reported", "described", "had", "was"})


def _cut(parsed: Parsed) -> Iterator[Sentence]:
    """Cut the text at headings and at the ends of sentences.

    A heading is a section's word before a colon, or one of the unmistakable words at the beginning
    of a sentence that the sentence does not go on from ("Impression of a ..."). Line breaks and
    capitals are no help: reports lose both on their way.
    """
    words, at = parsed.words, parsed.at
    count = len(words.words)
    section, body_seen, addendum_last = "body", False, False
    start = i = 0
    while i < count:
        item = at[i]
        entry = None
        if item is not None and Role.SECTION in item.roles and item.start == i:
            entry = _heading(parsed, item, section, at_start=i == start, headed=body_seen)
        if item is not None and entry is not None:
            if start < i:
                yield Sentence(start, i, section)
            section = entry.value
            if section == "addendum":
                # What follows the body belongs to the addendum, its own headings included.
                addendum_last = body_seen
            elif addendum_last and section in COUNTING:
                section = "addendum"
            body_seen = body_seen or section in ("findings", "impression")
            i = item.end
            if i < count and words.words[i] in (*_CLOSES_HEADING, "-", "–", "—"):
                i += 1
            start = i
            continue
        if words.ends_sentence[i]:
            if section == "body" and i - start > 2:
                body_seen = True
            yield Sentence(start, i + 1, section)
            if section not in COUNTING and _says_nothing(words.words[start : i + 1]):
                section = "body"  # "COMPARISON: None." is often followed by the findings
            start = i + 1
        i += 1
    if start < count:
        yield Sentence(start, count, section)


def _says_nothing(sentence: list[str]) -> bool:
    return len(sentence) <= 4 and sentence[0] in ("none", "nil", "no", "not", "unavailable")


_CLOSES_HEADING = frozenset(":】〕》")
_NOT_BEFORE_HEADING = frozenset(
    {Role.ANAPHOR, Role.LINK, Role.BREAK, Role.ACUITY, Role.NEGATION_BEFORE, Role.CONJUNCTION}
)
_NOT_AFTER_HEADING = frozenset(
    {Role.COPULA, Role.LINK, Role.SEEN, Role.CONTINUES, Role.CONJUNCTION}
)


def _heading(
    parsed: Parsed, item: Item, section: str, *, at_start: bool, headed: bool
) -> Entry | None:
    entry = item.roles[Role.SECTION]
    tokens = parsed.words.words
    following = tokens[item.end] if item.end < len(tokens) else ""
    if following in _CLOSES_HEADING:
        return entry
    if entry.tie != "own" or not following:
        return None
    if following in ("-", "–", "—") and at_start:
        return entry
    if not (following.isalnum() or following in "#?(*•"):
        return None
    after = parsed.at[item.end]
    if after is not None and following.isalnum() and not _NOT_AFTER_HEADING.isdisjoint(after.roles):
        return None
    if at_start:
        return entry
    # In the middle of a sentence: an indication rarely ends in a full stop, so the words that
    # open the body are taken there; and those that open the indication, after a title.
    before = parsed.at[item.start - 1]
    if before is not None and not _NOT_BEFORE_HEADING.isdisjoint(before.roles):
        return None
    opens_body = section not in COUNTING and entry.value in ("findings", "impression", "addendum")
    after_title = section == "body" and not headed and entry.value in ("indication", "history")
    return entry if opens_body or after_title else None
