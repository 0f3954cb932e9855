"""Why a report has its label: which words of its text were read as what, for a person to see."""

from collections.abc import Iterator
from dataclasses import dataclass

from vfscreen.reports.labelling import ReportLabel, label
from vfscreen.reports.lexicon import Lexicon, Role
from vfscreen.reports.parsing import Item, Parsed, parse
from vfscreen.reports.sections import Sentence, sentences

_KINDS = {
    "site": {Role.TARGET},
    "other site": {Role.OTHER},
    "negation": {Role.NEGATION_BEFORE, Role.NEGATION_AFTER},
    "doubt": {Role.UNCERTAIN_BEFORE, Role.UNCERTAIN_AFTER, Role.VERSUS, Role.ASKED},
    "context": {Role.HYPOTHETICAL, Role.HISTORICAL, Role.SUBJECT},
    "time": {Role.ACUITY},
    "severity": {Role.SEVERITY},
    "action": {Role.RECOMMEND, Role.ACTION, Role.IMAGING},
}
KINDS = ("mention", *_KINDS, "heading")
"""What words can be read as; of several, the first."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Characters `start` to `end` of the text, read as `kind` by the entry `rule`."""

    start: int
    end: int
    kind: str
    rule: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A label, the language whose lexicon read the text, and the words that were read."""

    language: str
    label: ReportLabel
    marks: tuple[Mark, ...]


def explain(text: str, lexicon: Lexicon) -> Explanation:
    """Label a report as `label` does, and say which words it was read by; linear.

    Marked are the headings, all words with a meaning in sentences that have a mention, and those
    of action in sentences that recommend something. Marks do not overlap, and stand in order.
    """
    own, _ = lexicon.reading(text)
    labelled = label(text, lexicon)
    parsed = parse(text, own)
    marks = [
        Mark(e.start, e.end, "mention", e.rule_id.partition("+")[0]) for e in labelled.evidence
    ]
    taken = {i for mark in marks for i in range(mark.start, mark.end)}
    heads = {mark.start for mark in marks}
    end = 0
    for sentence in sentences(parsed):
        # What stands between two sentences is a heading.
        for item in _items(parsed, end, sentence.start):
            if Role.SECTION in item.roles:
                marks.append(_mark(parsed, item, "heading", Role.SECTION))
        end = sentence.end
        for mark in _marks_of(parsed, sentence, heads):
            if mark.start not in taken and mark.end - 1 not in taken:
                marks.append(mark)
    return Explanation(own.language, labelled, tuple(sorted(marks, key=lambda m: m.start)))


def _marks_of(parsed: Parsed, sentence: Sentence, heads: set[int]) -> Iterator[Mark]:
    items = list(_items(parsed, sentence.start, sentence.end))
    spoken = any(s in heads for s in parsed.words.starts[sentence.start : sentence.end])
    recommends = any(Role.RECOMMEND in item.roles for item in items)
    for item in items:
        for kind, roles in _KINDS.items():
            role = next((r for r in item.roles if r in roles), None)
            if role is not None and (recommends if kind == "action" else spoken):
                yield _mark(parsed, item, kind, role)
                break


def _items(parsed: Parsed, start: int, end: int) -> Iterator[Item]:
    seen: Item | None = None
    for item in parsed.at[start:end]:
        if item is not None and item is not seen:
            seen = item
            yield item


def _mark(parsed: Parsed, item: Item, kind: str, role: Role) -> Mark:
    words = parsed.words
    return Mark(words.starts[item.start], words.ends[item.end - 1], kind, item.roles[role].id)
