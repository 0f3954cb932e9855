"""How old and how severe a mention says the finding is."""

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed, Sentence

# How far from its mention an adjective or a predicate stands, in words.
REACH_OF_ATTRIBUTES = 10


def acuity_of(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """The word of time that is nearest to this mention and not nearer to another."""
    at = parsed.at
    best: tuple[int, str] | None = None
    before = range(start - 1, max(sentence.start, start - REACH_OF_ATTRIBUTES) - 1, -1)
    behind = range(end, min(sentence.end, end + 2 * REACH_OF_ATTRIBUTES))
    for walk in (before, behind):
        for i in walk:
            item = at[i]
            if item is None:
                continue
            if Role.STOP in item.roles and Role.ACUITY not in item.roles:
                break
            if Role.ACUITY in item.roles:
                value = item.roles[Role.ACUITY].value
                distance = abs(i - start)
                if best is None or distance < best[0]:
                    best = (distance, value)
                break
            if Role.FRACTURE in item.roles or (Role.NEGATION_BEFORE in item.roles and i > start):
                break
    return best[1] if best else None


_NOUN_PHRASE_ENDS = frozenset({Role.LINK, Role.BREAK, Role.STOP, Role.COPULA, Role.CLOSE})


def severity_of(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """Severity in words or a grade in the mention's own phrase, or from a percentage (Genant)."""
    at = parsed.at
    for i in range(start - 1, max(sentence.start, start - REACH_OF_ATTRIBUTES) - 1, -1):
        item = at[i]
        if item is None:
            continue
        if Role.SEVERITY in item.roles:
            return item.roles[Role.SEVERITY].value
        if not _NOUN_PHRASE_ENDS.isdisjoint(item.roles):
            break
        if Role.CONJUNCTION in item.roles and not _joins(at, item, sentence.start):
            break
    ceiling = min(sentence.end, end + REACH_OF_ATTRIBUTES)
    for i in range(end, ceiling):
        item = at[i]
        if item is None:
            continue
        if Role.SEVERITY in item.roles:
            if _ends_phrase(parsed, item.end, sentence.end):
                return item.roles[Role.SEVERITY].value
            break
        if Role.STOP in item.roles or Role.CLOSE in item.roles:
            break
    return _percentage(parsed, sentence, start, end)


def _joins(at: list[Item | None], conjunction: Item, low: int) -> bool:
    before = at[conjunction.start - 1] if conjunction.start > low else None
    return before is not None and not {Role.TARGET, Role.ACUITY, Role.SEVERITY}.isdisjoint(
        before.roles
    )


def _ends_phrase(parsed: Parsed, i: int, high: int) -> bool:
    """Whether a word of severity stands alone behind the mention: "fracture of L1, severe."."""
    if i >= high or not parsed.words.words[i].isalnum():
        return True
    item = parsed.at[i]
    return item is not None and not {
        Role.LINK,
        Role.CONJUNCTION,
        Role.LOSS,
        Role.DEFORMITY,
        Role.HEIGHT,
        Role.ACUITY,
        Role.BREAK,
    }.isdisjoint(item.roles)


def _percentage(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """Genant et al. 1993: to 25 % is grade 1, to 40 % grade 2, above it grade 3."""
    tokens = parsed.words.words
    low = max(sentence.start, start - REACH_OF_ATTRIBUTES)
    high = min(sentence.end, end + REACH_OF_ATTRIBUTES)
    percents = [
        int(tokens[i])
        for i in range(low, high - 1)
        if tokens[i].isdecimal() and len(tokens[i]) <= 3 and tokens[i + 1] in ("%", "percent")
    ]
    if not percents:
        return None
    lost = max(percents)
    return "mild" if lost < 25 else "moderate" if lost <= 40 else "severe"
