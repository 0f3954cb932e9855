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
    cut = list(_cut(parsed))
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
