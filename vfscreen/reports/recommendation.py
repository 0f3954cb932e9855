"""Whether a report recommends to act on the finding: bone health, or imaging for it."""

from vfscreen.reports.context import Assertion
from vfscreen.reports.lexicon import Role
from vfscreen.reports.mentions import Mention
from vfscreen.reports.parsing import Item, Parsed, parts_clauses
from vfscreen.reports.sections import COUNTING, Sentence

# What calls for imaging: not a fracture that is denied, feared in general or elsewhere.
_SPOKEN = frozenset({Assertion.AFFIRMED, Assertion.UNCERTAIN})


def recommends(parsed: Parsed, parts: list[Sentence], mentions: list[Mention]) -> bool:
    """Look for a recommending word and what it recommends, in one sentence.

    Bone densitometry, osteoporosis or a fracture liaison service is about the finding by itself.
    Imaging is when its sentence, or the one before, speaks of the finding and no other.
    """
    if not any(Role.RECOMMEND in item.roles for item in parsed.items):
        return False
    spoken = {
        m.sentence.start
        for m in mentions
        if m.site.kind == "target" and m.context.assertion in _SPOKEN
    }
    before = False
    for sentence in parts:
        here = sentence.start in spoken
        if sentence.section in COUNTING and _recommends_here(parsed, sentence, here or before):
            return True
        before = here
    return False


def _recommends_here(parsed: Parsed, sentence: Sentence, about_finding: bool) -> bool:
    recommend = _headed(parsed, sentence)
    action = imaging = negated = elsewhere = spine = False
    for item in parsed.at[sentence.start : sentence.end]:
        if item is None:
            continue
        roles = item.roles
        if parts_clauses(item):
            if not recommend:  # what another clause says is not what is recommended
                action = imaging = negated = elsewhere = spine = False
            continue
        negated = negated or (Role.NEGATION_BEFORE in roles and not recommend)
        recommend = recommend or (Role.RECOMMEND in roles and _stands_right(parsed, item, sentence))
        action = action or Role.ACTION in roles
        imaging = imaging or Role.IMAGING in roles
        spine = spine or Role.TARGET in roles
        elsewhere = elsewhere or (
            Role.OTHER in roles and roles[Role.OTHER].value in ("bone", "organ")
        )
    if not recommend or negated:
        return False
    return action or (imaging and (spine or (about_finding and not elsewhere)))


_OPENS_CLAUSE = frozenset({";", ",", "-", "–", "—"})


def _stands_right(parsed: Parsed, item: Item, sentence: Sentence) -> bool:
    """Whether a word that has other meanings recommends where it stands."""
    value = item.roles[Role.RECOMMEND].value
    if value == "imperative":
        opens = item.start > 0 and parsed.words.words[item.start - 1] in _OPENS_CLAUSE
        return opens or item.start - sentence.start <= 2
    if value == "heading":
        return False
    return value != "final" or item.end >= sentence.end - 1


def _headed(parsed: Parsed, sentence: Sentence) -> bool:
    """Whether "RECOMMENDATION:" stands right before a sentence."""
    item = parsed.at[sentence.start - 2] if sentence.start > 1 else None
    return (
        item is not None
        and Role.RECOMMEND in item.roles
        and (item.roles[Role.RECOMMEND].value == "heading" or Role.SECTION in item.roles)
        and parsed.words.words[sentence.start - 1] == ":"
    )
