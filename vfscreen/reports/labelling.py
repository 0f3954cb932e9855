"""What a report says about the finding of a lexicon: sections, sentences, mentions, context.

The status of a report is the strongest of its mentions: ``reported`` (the finding by its name, old
or new), ``uncertain``, ``ambiguous`` (its shape without its name), ``denied``, ``not_mentioned``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vfscreen.reports.attributes import SEVERITIES
from vfscreen.reports.context import Assertion
from vfscreen.reports.lexicon import LEVELS, Lexicon, Role
from vfscreen.reports.mentions import Mention, mentions_of
from vfscreen.reports.parsing import Parsed, parse
from vfscreen.reports.recommendation import recommends
from vfscreen.reports.sections import COUNTING, sentences
from vfscreen.reports.statuses import ADDENDUM, CANCELLED, normal_status

STATUSES = ("not_mentioned", "denied", "ambiguous", "uncertain", "reported")
"""From the weakest to the strongest."""

# Characters of a sentence quoted on each side of a mention: whole sentences, except of text that
# has none, where quoting all of it at each mention would take quadratic memory.
_QUOTED_EACH_SIDE = 500


@dataclass(frozen=True, slots=True)
class Evidence:
    """One mention: where it stands, and which rules decided what it asserts.

    Parameters
    ----------
    section : str
        ``body`` where the report has no headings.
    sentence : str
        As dictated.
    start, end : int
        Characters of the mention in the report's text.
    rule_id : str
        Ids of lexicon entries joined by ``+``: the mention's, then what decided its assertion.
    assertion : str
        A value of `Assertion`.
    """

    section: str
    sentence: str
    start: int
    end: int
    rule_id: str
    assertion: str


@dataclass(frozen=True, slots=True)
class ReportLabel:
    """What one report says about a finding.

    `history` tells that a section which only says what was known names the finding. `levels`,
    `acuity` (``acute``, ``old``, ``unspecified``) and `severity` (``mild``, ``moderate``,
    ``severe`` or ``None``) are those of the mentions that are reported, uncertain or ambiguous.
    `recommendation` tells that onward action is recommended.
    """

    finding: str
    report_status: str
    history: bool
    levels: tuple[str, ...]
    acuity: str
    severity: str | None
    recommendation: bool
    evidence: tuple[Evidence, ...]


def label(text: str, lexicon: Lexicon, result_status: str | None = None) -> ReportLabel:
    """Label one report.

    Parameters
    ----------
    text : str
        The whole report, any characters at all.
    lexicon : Lexicon
        Names the finding; of one that reads several languages, the text's own is taken.
    result_status : str, optional
        In any of the words of `statuses`: a cancelled report says nothing, an addendum counts as
        one.

    Returns
    -------
    ReportLabel
        The same for any line breaks and any case. Time is linear in the length of the text.
    """
    status = normal_status(result_status)
    lexicon, words = lexicon.reading(text)
    if status == CANCELLED or lexicon.triggers.isdisjoint(words):  # most reports end here
        return ReportLabel(
            lexicon.finding, "not_mentioned", False, (), "unspecified", None, False, ()
        )
    parsed = parse(text, lexicon)
    parts = sentences(parsed)
    mentions = mentions_of(parsed, parts)
    late = status == ADDENDUM
    body = [m for m in mentions if m.section in COUNTING and m.section != "addendum" and not late]
    added = [m for m in mentions if m.section == "addendum" or (late and m.section in COUNTING)]
    report_status = _overruled(_strongest(body), _strongest(added), body, added)
    deciding = [m for m in (*body, *added) if _status(m) in STATUSES[2:]]
    if STATUSES.index(report_status) < 2:
        deciding = []
    return ReportLabel(
        finding=lexicon.finding,
        report_status=report_status,
        history=any(_is_history(m) for m in mentions),
        levels=_levels(deciding),
        acuity=_acuity(deciding),
        severity=max(
            (m.severity for m in deciding if m.severity), key=SEVERITIES.index, default=None
        ),
        recommendation=recommends(parsed, parts, mentions),
        evidence=tuple(_evidence(parsed, m) for m in mentions),
    )


def _status(mention: Mention) -> str:
    """What one mention makes of a report, if its section counts."""
    if mention.section not in COUNTING:
        return "not_mentioned"
    assertion = mention.context.assertion
    if mention.role is Role.INTACT:
        return "denied" if assertion is Assertion.AFFIRMED else "not_mentioned"
    if mention.role is Role.CEMENT:
        return (
            "ambiguous"
            if assertion in (Assertion.AFFIRMED, Assertion.UNCERTAIN)
            else "not_mentioned"
        )
    if assertion is Assertion.NEGATED:
        return "denied"
    if mention.site.kind != "target":
        return "not_mentioned"
    if assertion is Assertion.UNCERTAIN:
        return "uncertain"
    if assertion is Assertion.AFFIRMED:
        return "reported" if mention.role is Role.FRACTURE else "ambiguous"
    return "not_mentioned"


def _is_history(mention: Mention) -> bool:
    known = mention.context.assertion is Assertion.HISTORICAL or (
        mention.section not in COUNTING and mention.context.assertion is Assertion.AFFIRMED
    )
    return known and mention.role is Role.FRACTURE and mention.site.kind == "target"


def _strongest(mentions: Iterable[Mention]) -> str:
    return max((_status(m) for m in mentions), key=STATUSES.index, default="not_mentioned")


def _overruled(
    body: str, added: str, body_mentions: list[Mention], added_mentions: list[Mention]
) -> str:
    """An addendum that is weaker wins where it contradicts: the same level, or none named."""
    if added == "not_mentioned" or STATUSES.index(added) >= STATUSES.index(body):
        return max(added, body, key=STATUSES.index)
    spoken = [m for m in added_mentions if _status(m) == added]
    about = {level for m in spoken for level in m.site.levels}
    if not about:
        return added
    rest = [m for m in body_mentions if not m.site.levels or about.isdisjoint(m.site.levels)]
    named = [m for m in rest if m.site.levels]
    return max(added, _strongest(named), key=STATUSES.index)


def _levels(mentions: list[Mention]) -> tuple[str, ...]:
    return tuple(sorted({v for m in mentions for v in m.site.levels}, key=LEVELS.index))


def _acuity(mentions: list[Mention]) -> str:
    said = {m.acuity for m in mentions}
    return next((value for value in ("acute", "old") if value in said), "unspecified")


def _evidence(parsed: Parsed, mention: Mention) -> Evidence:
    words, sentence = parsed.words, mention.sentence
    start, end = words.starts[mention.start], words.ends[mention.end - 1]
    low = max(words.starts[sentence.start], start - _QUOTED_EACH_SIDE)
    high = min(words.ends[sentence.end - 1], end + _QUOTED_EACH_SIDE)
    rules = (mention.rule, mention.site.rule if mention.site.bound else "", mention.context.rule)
    return Evidence(
        section=mention.section,
        # Lone surrogates cannot be stored as text; one character each, so that offsets hold.
        sentence=words.text[low:high].encode("utf-8", "replace").decode("utf-8"),
        start=start,
        end=end,
        rule_id="+".join(dict.fromkeys(rule for rule in rules if rule)),
        assertion=mention.context.assertion.value,
    )
