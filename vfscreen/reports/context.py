"""What is asserted of a mention: modifiers and their scopes, in the manner of ConText.

ConText (Harkema et al. 2009, J Biomed Inform 42:839) extends NegEx: a modifier word has a scope
that runs to the mention unless something ends it. Here scopes also end where another finding
closes the noun phrase ("no free air, L1 fracture"), where a list visibly changes its mind ("no
obstruction, old fracture"), and at what is presupposed ("no displacement of the L1 fracture").
"""

from dataclasses import dataclass
from enum import StrEnum

from vfscreen.reports.lexicon import Entry, Role
from vfscreen.reports.parsing import Item, Parsed, is_or, parts_clauses
from vfscreen.reports.phrases import REACH, excludes_level
from vfscreen.reports.predicates import behind, versus

# "not" alone reaches the verb phrase that it stands in, hardly further.
_SHORT_REACH = 6
# What begins a noun phrase or clause of its own, so that no list goes on there.
_BEGINS_ANEW = frozenset({"a", "an", "the", "this", "there", "it"})


class Assertion(StrEnum):
    """What a report says of a mention. The last two say nothing of the patient's finding."""

    AFFIRMED = "affirmed"
    NEGATED = "negated"
    UNCERTAIN = "uncertain"
    HISTORICAL = "historical"
    HYPOTHETICAL = "hypothetical"  # asked, feared, taken back or somebody else's
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
    retracted = _retracted(parsed, end, high)
    if retracted is not None:
        return Context(Assertion.HYPOTHETICAL, retracted.id)
    before = _before(parsed, low, start, specific=specific)
    if before is not None and before[0] not in (Role.UNCERTAIN_BEFORE, Role.ASKED):
        return _as_context(*before, counts=counts)
    after = behind(parsed, low, high, start, end)
    if after is not None and after[0] in _SETTLES:
        return Context(_SETTLES[after[0]], after[1].id)
    if before is not None and before[0] is Role.ASKED:
        return _as_context(*before, counts=counts)
    found = before or after or versus(parsed, low, high, start, end)
    if found is not None:
        return Context(Assertion.UNCERTAIN, found[1].id)
    if parsed.words.words[high - 1] in "?？" and parsed.words.ends_sentence[high - 1]:
        return Context(Assertion.UNCERTAIN, "question_mark")
    return Context(Assertion.AFFIRMED)


_SETTLES = {
    Role.NEGATION_AFTER: Assertion.NEGATED,
    Role.CONFIRMED: Assertion.AFFIRMED,
    Role.HISTORICAL: Assertion.HISTORICAL,
    Role.HYPOTHETICAL: Assertion.HYPOTHETICAL,
}


def _as_context(role: Role, entry: Entry, *, counts: bool) -> Context:
    if role is Role.NEGATION_BEFORE:
        return Context(Assertion.NEGATED, entry.id)
    if role is Role.HISTORICAL:
        return Context(Assertion.HISTORICAL, entry.id)
    if role is Role.ASKED and counts:
        return Context(Assertion.UNCERTAIN, entry.id)
    return Context(Assertion.HYPOTHETICAL, entry.id)


def _retracted(parsed: Parsed, end: int, high: int) -> Entry | None:
    """The words that take back what stands before them: "'fracture' should read 'no fracture'"."""
    for i in range(end, min(high, end + REACH)):
        item = parsed.at[i]
        if item is not None and Role.STOP in item.roles:
            break
        if item is not None and Role.RETRACTS in item.roles:
            return item.roles[Role.RETRACTS]
    return None


def _before(parsed: Parsed, low: int, start: int, *, specific: bool) -> tuple[Role, Entry] | None:
    """The modifier in front whose scope reaches the mention; negation outranks doubt."""
    at, tokens = parsed.at, parsed.words.words
    found: tuple[Role, Entry] | None = None
    alternative = _alternative_follows(parsed, start)
    inside = True  # in the mention's own noun phrase
    listed = comma = False  # whether a list goes on between here and the mention
    doubt_ended = False  # doubt binds tighter than negation: a comma ends it
    verb: Item | None = None  # behind a verb: only what governs its subject or clause reaches here
    described = -1  # where a phrase begins that says what another finding means
    i = start - 1
    floor = max(low, start - REACH)
    while i >= floor:
        item = at[i]
        if item is None:
            i -= 1
            continue
        roles = item.roles
        if Role.STOP in roles or Role.RETRACTS in roles:
            break
        if inside and _presupposes(parsed, item, low):
            break
        asked_behind = Role.HYPOTHETICAL in roles and roles[Role.HYPOTHETICAL].value == "behind"
        if Role.SUBJECT in roles or (Role.HYPOTHETICAL in roles and not asked_behind):
            role = Role.SUBJECT if Role.SUBJECT in roles else Role.HYPOTHETICAL
            return role, roles[role]
        inside = inside and _PHRASE_ENDS.isdisjoint(roles)
        if item.start > low and excludes_level(at, item):
            i = item.start - 1  # "L1 but not L2 is fractured" denies one level, not the fracture
            continue
        if verb is not None:
            reaching = _reaches_over(parsed, item, verb)
            if reaching is Role.NEGATION_BEFORE:
                return reaching, roles[reaching]
            if reaching is not None and found is None:
                found = (reaching, roles[reaching])
            i = item.start - 1
            continue
        if Role.NEGATION_BEFORE in roles:
            entry = roles[Role.NEGATION_BEFORE]
            far = entry.value == "short" and start - item.end > _SHORT_REACH
            if not (
                far
                or (comma and _opens_sentence(parsed, item, low, start))
                or (found is not None and listed)
            ):
                return Role.NEGATION_BEFORE, entry
        elif Role.HISTORICAL in roles and roles[Role.HISTORICAL].value != "behind":
            found = (Role.HISTORICAL, roles[Role.HISTORICAL])
        elif Role.ASKED in roles and found is None:
            found = (Role.ASKED, roles[Role.ASKED])
        elif Role.UNCERTAIN_BEFORE in roles:
            described = item.start
            if found is None and not doubt_ended:
                found = (Role.UNCERTAIN_BEFORE, roles[Role.UNCERTAIN_BEFORE])
                listed = False
        elif Role.CONJUNCTION in roles:
            alternative = alternative or is_or(item)
            if parts_clauses(item):
                break
            if not alternative and _changes_its_mind(parsed, item, low):
                break
            if specific and not alternative and _closes(parsed, item, low):
                break
            comma = comma or tokens[i] == ","
            listed = True
            doubt_ended = doubt_ended or (
                not is_or(item) and not _joins_adjectives(parsed, item, low)
            )
        elif Role.COPULA in roles:
            verb = item
        elif Role.CLOSE in roles and not listed:
            # "No displacement of L1 fractures", but "no finding suspicious for fracture" and "no
            # new or worsening fracture".
            adjective = item.end == start and item.start > low and is_or(at[item.start - 1])
            if item.end != described and not adjective:
                verb = item
        elif Role.BREAK in roles and roles[Role.BREAK].value == "equates":
            described = item.start
        elif Role.RECOMMEND in roles or Role.IMAGING in roles or Role.BREAK in roles:
            doubt_ended = True
        i = item.start - 1
    return found


_PHRASE_ENDS = frozenset(
    {Role.CONJUNCTION, Role.LINK, Role.COPULA, Role.BREAK, Role.NEGATION_BEFORE, Role.ANAPHOR}
)


def _presupposes(parsed: Parsed, determiner: Item, low: int) -> bool:
    """Whether "the" makes the mention one that is there, led to by a preposition or a list.

    "No callus around the L1 fracture" and "no obstruction and the L1 fracture" deny neither; "no
    evidence of the L1 fracture" does, its preposition being the negation's own.
    """
    if Role.ANAPHOR not in determiner.roles or determiner.start <= low:
        return False
    left = parsed.at[determiner.start - 1]
    if parsed.words.words[determiner.start - 1] in parsed.grammar.complement:
        # "No evidence that the L1 fracture has healed", "no hay datos de que la ..."
        governing = parsed.at[max(low, determiner.start - 2) : determiner.start]
        return any(one is not None and Role.NEGATION_BEFORE in one.roles for one in governing)
    if left is None:
        return False
    if Role.CONJUNCTION in left.roles:
        return not is_or(left)
    if Role.BREAK in left.roles:
        return left.roles[Role.BREAK].value != "equates"
    return Role.LINK in left.roles and Role.UNCERTAIN_BEFORE not in left.roles


def _reaches_over(parsed: Parsed, item: Item, verb: Item) -> Role | None:
    """The role of a modifier in front of a verb that reaches what stands behind the verb.

    It governs the verb's clause ("no evidence that L1 is fractured") or negates its whole subject
    ("none of the vertebrae is fractured").
    """
    at, tokens = parsed.at, parsed.words.words
    if not parsed.grammar.complement.isdisjoint(tokens[item.end - 1 : item.end + 1]):
        for role in (Role.NEGATION_BEFORE, Role.UNCERTAIN_BEFORE, Role.ASKED):
            if role in item.roles:
                return role
    if Role.NEGATION_BEFORE not in item.roles or Role.COPULA not in verb.roles:
        return None
    target = comma = alternative = False
    for k in range(item.end, verb.start):
        between = at[k]
        if between is None:
            continue
        if Role.TARGET in between.roles:
            target = True
        elif Role.CONJUNCTION in between.roles:
            comma = comma or tokens[k] == ","
            alternative = alternative or is_or(between)
        elif not {Role.OTHER, Role.ANAPHOR, Role.LINK}.issuperset(between.roles):
            return None
    return Role.NEGATION_BEFORE if target and (alternative or not comma) else None


def _opens_sentence(parsed: Parsed, negation: Item, low: int, start: int) -> bool:
    """Whether a negation belongs to an opening phrase: "Without comparison films, the ..."."""
    tokens = parsed.words.words
    if tokens[negation.start] != "without" or negation.start - low >= 2:
        return False
    comma = next(k for k in range(negation.end, start) if tokens[k] == ",")
    return tokens[comma + 1] in _BEGINS_ANEW


def _closes(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether another finding ends before this conjunction: "no obstruction, fracture of L1"."""
    before = parsed.at[conjunction.start - 1] if conjunction.start > low else None
    return before is not None and Role.CLOSE in before.roles


def _alternative_follows(parsed: Parsed, start: int) -> bool:
    """Whether a list goes on behind the mention with "or": all of it stands under one "no"."""
    for i in range(start, min(start + 2 * _SHORT_REACH, len(parsed.at))):
        item = parsed.at[i]
        if is_or(item):
            return True
        if parsed.words.words[i] == "." or parts_clauses(item):
            return False
    return False


def _joins_adjectives(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether a conjunction stands inside the phrase: "T12 and L1 fractures", "old, severe"."""
    before = parsed.at[conjunction.start - 1] if conjunction.start > low else None
    return before is not None and not (
        {Role.TARGET, Role.OTHER, Role.ACUITY, Role.SEVERITY}.isdisjoint(before.roles)
    )


def _changes_its_mind(parsed: Parsed, conjunction: Item, low: int) -> bool:
    """Whether "and" or a comma opens something affirmed: "no ileus, old L1 fracture"."""
    tokens = parsed.words.words
    if _joins_adjectives(parsed, conjunction, low) or conjunction.end >= len(tokens):
        return False
    if tokens[conjunction.end] in _BEGINS_ANEW:
        return True
    following = parsed.at[conjunction.end]
    if following is None:
        return False
    acuity = following.roles.get(Role.ACUITY)
    return (acuity is not None and acuity.value == "old") or Role.SEVERITY in following.roles
