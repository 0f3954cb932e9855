"""What is asserted of a mention: modifiers and their scopes, in the manner of ConText.

ConText (Harkema et al. 2009, J Biomed Inform 42:839) extends NegEx: a modifier word has a scope
that runs to the mention unless something ends it. Here scopes also end where another finding
closes the noun phrase ("no free air, L1 fracture") and where a list visibly changes its mind
("no obstruction, old fracture").
"""

from dataclasses import dataclass
from enum import StrEnum

from vfscreen.reports.lexicon import Entry, Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.sites import REACH

# "not" alone reaches the verb phrase that it stands in, hardly further.
_SHORT_REACH = 6
_FURTHER_BEHIND = 25
_OR = frozenset({"or", "nor", "/"})


class Assertion(StrEnum):
    """What a report says of a mention. The last two say nothing of the patient's finding."""

    AFFIRMED = "affirmed"
    NEGATED = "negated"
    UNCERTAIN = "uncertain"
    HISTORICAL = "historical"
    HYPOTHETICAL = "hypothetical"  # asked, feared or somebody else's
    ELSEWHERE = "elsewhere"  # another site, another cause


@dataclass(frozen=True, slots=True)
class Context:
    """An assertion and the id of the entry that decided it, empty when nothing did."""

    assertion: Assertion
    rule: str = ""


def context_of(
    parsed: Parsed, low: int, high: int, start: int, end: int, *, counts: bool, specific: bool
) -> Context:
    """Decide what the sentence `low` to `high` asserts of the mention at `start` to `end`.

    `counts` tells whether the section is one in which the radiologist reports: a question
    ("evaluate for fracture") says nothing in an indication, and doubt elsewhere. `specific` tells
    that the mention names a level: nobody denies one level in a list of other findings.
    """
    before = _before(parsed, low, start, specific=specific)
    if before is not None and before[0] is not Role.UNCERTAIN_BEFORE:
        return _as_context(*before, counts=counts)
    behind = _behind(parsed, high, end)
    if behind is not None and behind[0] is Role.NEGATION_AFTER:
        return Context(Assertion.NEGATED, behind[1].id)
    found = before or behind or _versus(parsed, low, high, start, end)
    if found is not None:
        return Context(Assertion.UNCERTAIN, found[1].id)
    if parsed.words.words[high - 1] in "?？" and parsed.words.ends_sentence[high - 1]:
        return Context(Assertion.UNCERTAIN, "question_mark")
    return Context(Assertion.AFFIRMED)


def _as_context(role: Role, entry: Entry, *, counts: bool) -> Context:
    if role is Role.NEGATION_BEFORE:
        return Context(Assertion.NEGATED, entry.id)
    if role is Role.HISTORICAL:
        return Context(Assertion.HISTORICAL, entry.id)
    if role is Role.ASKED and counts:
        return Context(Assertion.UNCERTAIN, entry.id)
    return Context(Assertion.HYPOTHETICAL, entry.id)


def _before(parsed: Parsed, low: int, start: int, *, specific: bool) -> tuple[Role, Entry] | None:
    """The modifier in front whose scope reaches the mention; negation outranks doubt."""
    at, tokens = parsed.at, parsed.words.words
    found: tuple[Role, Entry] | None = None
    alternative = _alternative_follows(parsed, start)
    listed = comma = False  # whether a list goes on between here and the mention
    doubt_ended = False  # doubt binds tighter than negation: a comma ends it
    predicate = False  # behind a verb only whose finding it is, and whether at all, reaches here
    i = start - 1
    floor = max(low, start - REACH)
    while i >= floor:
        item = at[i]
        if item is None:
            i -= 1
            continue
        roles = item.roles
        if Role.STOP in roles:
            break
        if Role.SUBJECT in roles or Role.HYPOTHETICAL in roles:
            role = Role.SUBJECT if Role.SUBJECT in roles else Role.HYPOTHETICAL
            return role, roles[role]
        if predicate:
            i = item.start - 1
            continue
        if Role.NEGATION_BEFORE in roles:
            entry = roles[Role.NEGATION_BEFORE]
            far = entry.value == "short" and start - item.end > _SHORT_REACH
            # "Without comparison films, the fracture ...": an opening phrase ends at its comma.
            opening = comma and tokens[item.start] == "without" and item.start - low < 2
            if not (far or opening or (found is not None and listed)):
                return Role.NEGATION_BEFORE, entry
        elif Role.HISTORICAL in roles:
            found = (Role.HISTORICAL, roles[Role.HISTORICAL])
        elif Role.ASKED in roles and found is None:
            found = (Role.ASKED, roles[Role.ASKED])
        elif Role.UNCERTAIN_BEFORE in roles:
            if found is None and not doubt_ended:
                found = (Role.UNCERTAIN_BEFORE, roles[Role.UNCERTAIN_BEFORE])
                listed = False
        elif Role.CONJUNCTION in roles:
            alternative = alternative or tokens[i] in _OR
            if _changes_its_mind(parsed, item, low):
                break
            if specific and not alternative and _closes(parsed, item, low):
                break
            comma = comma or tokens[i] == ","
            listed = True
            doubt_ended = doubt_ended or (
                tokens[i] != "or" and not _joins_adjectives(parsed, item, low)
            )
        elif Role.COPULA in roles or (Role.CLOSE in roles and not listed):
            predicate = True
        elif Role.RECOMMEND in roles or Role.IMAGING in roles or _breaks(item):
            doubt_ended = True
        i = item.start - 1
    return found


def _closes(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether another finding ends before this conjunction: "no obstruction, fracture of L1"."""
    before = parsed.at[conjunction.start - 1] if conjunction.start > low else None
    return before is not None and Role.CLOSE in before.roles


def _alternative_follows(parsed: Parsed, start: int) -> bool:
    """Whether a list goes on behind the mention with "or": all of it stands under one "no"."""
    ahead = parsed.words.words[start : start + 2 * _SHORT_REACH]
    return not _OR.isdisjoint(ahead[: ahead.index(".")] if "." in ahead else ahead)


def _breaks(item: Item) -> bool:
    return Role.BREAK in item.roles and item.roles[Role.BREAK].value != "equates"


def _joins_adjectives(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether a conjunction stands inside the phrase: "T12 and L1 fractures", "old, severe"."""
    before = parsed.at[conjunction.start - 1] if conjunction.start > low else None
    return before is not None and not (
        {Role.TARGET, Role.OTHER, Role.ACUITY, Role.SEVERITY}.isdisjoint(before.roles)
    )


def _changes_its_mind(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether "and" or a comma opens something affirmed: "no ileus, old L1 fracture"."""
    tokens = parsed.words.words
    if tokens[conjunction.start] in _OR or _joins_adjectives(parsed, conjunction, low):
        return False
    if conjunction.end >= len(tokens):
        return False
    if tokens[conjunction.end] in ("a", "an"):
        return True
    following = parsed.at[conjunction.end]
    if following is None:
        return False
    if following.levels:
        return True
    acuity = following.roles.get(Role.ACUITY)
    return (acuity is not None and acuity.value == "old") or Role.SEVERITY in following.roles


_ENDS_PREDICATE = frozenset({Role.STOP, Role.NEGATION_BEFORE, Role.SEEN, Role.BREAK})


def _behind(parsed: Parsed, high: int, end: int) -> tuple[Role, Entry] | None:
    """The predicate behind a mention that takes it back or doubts it."""
    at, tokens = parsed.at, parsed.words.words
    joined = alternative = other_finding = False
    i = end
    ceiling = min(high, end + _FURTHER_BEHIND)
    while i < ceiling:
        item = at[i]
        if item is None:
            i += 1
            continue
        roles = item.roles
        if Role.NEGATION_AFTER in roles or Role.UNCERTAIN_AFTER in roles:
            role = Role.NEGATION_AFTER if Role.NEGATION_AFTER in roles else Role.UNCERTAIN_AFTER
            if other_finding and not alternative:
                return None
            if role is Role.NEGATION_AFTER or not _qualifies_attribute(at, item.end, high):
                return role, roles[role]
            return None
        if Role.CONJUNCTION in roles:
            alternative = alternative or tokens[i] in _OR
            joined = True
        elif Role.NEGATION_BEFORE in roles and _ends(parsed, item.end, high):
            return Role.NEGATION_AFTER, roles[Role.NEGATION_BEFORE]  # "Fracture: no."
        elif not _ENDS_PREDICATE.isdisjoint(roles):
            return None
        elif (Role.CLOSE in roles or Role.FRACTURE in roles or Role.DEFORMITY in roles) and joined:
            other_finding = True
        i = item.end
    return None


def _ends(parsed: Parsed, i: int, high: int) -> bool:
    return i >= high or parsed.words.ends_sentence[i]


def _qualifies_attribute(at: list[Item | None], i: int, high: int) -> bool:
    """Whether the doubt is about age or cause only: "... fracture is likely chronic"."""
    following = at[i] if i < high else None
    return following is not None and not {Role.ACUITY, Role.CAUSE, Role.BENIGN}.isdisjoint(
        following.roles
    )


def _versus(parsed: Parsed, low: int, high: int, start: int, end: int) -> tuple[Role, Entry] | None:
    """An alternative beside the mention ("fracture versus Schmorl node"), not beside its age."""
    at = parsed.at
    for i in (*range(start - 1, max(low, start - 10) - 1, -1), *range(end, min(high, end + 10))):
        item = at[i]
        if item is None or Role.VERSUS not in item.roles:
            continue
        sides = (
            at[item.start - 1] if item.start > low else None,
            at[item.end] if item.end < high else None,
        )
        if not any(side is not None and Role.ACUITY in side.roles for side in sides):
            return Role.VERSUS, item.roles[Role.VERSUS]
    return None
