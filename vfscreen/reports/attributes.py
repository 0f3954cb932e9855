"""How old and how severe a mention says the finding is."""

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.sections import Sentence

# How far from its mention an adjective or a predicate stands, in words.
REACH_OF_ATTRIBUTES = 10


def acuity_of(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """The word of time that is nearest to this mention and not nearer to another."""
    at = parsed.at
    best: tuple[int, str] | None = None
    aside: list[str] = []
    before = range(start - 1, max(sentence.start, start - REACH_OF_ATTRIBUTES) - 1, -1)
    behind = range(end, min(sentence.end, end + 2 * REACH_OF_ATTRIBUTES))
    for walk in (before, behind):
        listed = subject = False  # another subject: "fracture of L1, feeding tube unchanged"
        for i in walk:
            item = at[i]
            if item is None:
                continue
            stop = (
                Role.STOP in item.roles
                and Role.ACUITY not in item.roles
                and item.roles[Role.STOP].value != "adverb"  # "now healed"
            )
            if Role.CONJUNCTION in item.roles:
                listed, subject = i > start, False
            elif listed and Role.ACUITY not in item.roles and not _SUBJECTS.isdisjoint(item.roles):
                subject = True
            if stop and not _goes_on(parsed.words.words, i, sentence.end):
                break
            if (
                Role.ACUITY in item.roles
                and not subject
                and not _qualifies_another(at, item.end, start if i < start else sentence.end)
                and not _follows_another(at, item, sentence.start, start)
            ):
                value = item.roles[Role.ACUITY].value
                if i > start and parsed.words.words[item.start - 1] == "(":
                    aside.append(value)  # "at L1 (old) and L3 (new)"
                    continue
                if aside:
                    break
                distance = abs(i - start)
                if best is None or distance < best[0]:
                    best = (distance, value)
                break
            if Role.FRACTURE in item.roles or (Role.NEGATION_BEFORE in item.roles and i > start):
                break
    said = {*aside, best[1] if best else ""}
    return next((value for value in ("acute", "old", "unspecified") if value in said), None)


_PRONOUNS = frozenset({"this", "it", "these", "they", "which"})


def _goes_on(tokens: list[str], i: int, high: int) -> bool:
    """Whether a clause about the mention begins here: "which is old", "; this is old"."""
    return tokens[i] in ("which", "that") or (
        tokens[i] == ";" and i + 1 < high and tokens[i + 1] in _PRONOUNS
    )


def _qualifies_another(at: list[Item | None], i: int, high: int) -> bool:
    """Whether a word of time belongs to another finding: "an acute kyphosis", "old lung disease".

    `high` is where its phrase ends at the latest.
    """
    noun = False
    for k in range(i, min(i + _ADJECTIVE_WORDS, high)):
        item = at[k]
        if item is None:
            noun = True
            continue
        if noun and Role.CONJUNCTION in item.roles:
            return True  # "prior cholecystectomy and an L3 fracture"
        if Role.CLOSE in item.roles or _is_disc(item):
            return True
        if _DESCRIBES.isdisjoint(item.roles):
            return False
    return False


def _is_disc(item: Item) -> bool:
    return Role.OTHER in item.roles and item.roles[Role.OTHER].value == "disc"


def _follows_another(at: list[Item | None], time: Item, low: int, start: int) -> bool:
    """Whether a word of time stands right behind another finding: "cambios crónicos y ..."."""
    if time.end < start and not _joins_on(at[time.end]):
        return False
    for k in range(time.start - 1, max(low, time.start - 1 - _ADJECTIVE_WORDS) - 1, -1):
        item = at[k]
        if item is None or Role.CAUSE in item.roles:
            continue
        return Role.CLOSE in item.roles and Role.ACUITY not in item.roles
    return False


def _joins_on(item: Item | None) -> bool:
    return item is not None and not {Role.CONJUNCTION, Role.BREAK}.isdisjoint(item.roles)


_SUBJECTS = frozenset({Role.OTHER, Role.CLOSE})
# How many words stand between a word of time and the finding that it belongs to.
_ADJECTIVE_WORDS = 4
_DESCRIBES = frozenset({Role.ACUITY, Role.SEVERITY, Role.CAUSE, Role.OTHER})


SEVERITIES = ("mild", "moderate", "severe")
_NOUN_PHRASE_ENDS = frozenset({Role.LINK, Role.BREAK, Role.STOP, Role.COPULA, Role.CLOSE})


def severity_of(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """Severity in words or a grade in the mention's own phrase, or from a percentage (Genant)."""
    at = parsed.at
    best: str | None = None
    # From the mention's last word: "height is mildly reduced" has its severity inside.
    for i in range(end - 1, max(sentence.start, start - REACH_OF_ATTRIBUTES) - 1, -1):
        item = at[i]
        if item is None:
            continue
        if Role.SEVERITY in item.roles:  # "severe L1 and mild T12 wedging": the strongest
            best = max(best or "mild", item.roles[Role.SEVERITY].value, key=SEVERITIES.index)
        if not _NOUN_PHRASE_ENDS.isdisjoint(item.roles):
            break
        if Role.CONJUNCTION in item.roles and not _joins(at, item, sentence.start):
            break
    if best:
        return best
    ceiling = min(sentence.end, end + REACH_OF_ATTRIBUTES)
    aside: list[str] = []
    for i in range(end, ceiling):
        item = at[i]
        if item is None:
            continue
        if Role.SEVERITY in item.roles:
            value = item.roles[Role.SEVERITY].value
            if parsed.words.words[item.start - 1] == "(":
                aside.append(value)  # "of T7 (mild) and T8 (moderate)"
                continue
            if not aside and _ends_phrase(parsed, item.end, sentence.end):
                return value
            break
        if Role.STOP in item.roles or Role.CLOSE in item.roles:
            break
    if aside:
        return max(aside, key=SEVERITIES.index)
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


_LEFT = frozenset({"remaining", "remains", "remain", "residual", "preserved", "retained", "left"})
_KEEPS = frozenset({"retaining", "retains", "preserving", "maintaining", "maintains"})
# What a percentage measures when it is not height: slips, narrowed canals.
_NOT_HEIGHT = frozenset({Role.CLOSE, Role.OTHER})


def _percentage(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """Genant et al. 1993: to 25 % is grade 1, to 40 % grade 2, above it grade 3."""
    low = max(sentence.start, start - REACH_OF_ATTRIBUTES)
    high = min(sentence.end, end + 2 * REACH_OF_ATTRIBUTES)
    lost = [share for i in range(low, high) if (share := _share(parsed, i, low, high)) is not None]
    if not lost:
        return None
    most = max(lost)
    return "mild" if most < 25 else "moderate" if most <= 40 else "severe"


def _share(parsed: Parsed, i: int, low: int, high: int) -> float | None:
    """The height in percent that a number or fraction at word `i` says is lost."""
    tokens, item = parsed.words.words, parsed.at[i]
    if item is not None and Role.FRACTION in item.roles and item.start == i:
        share = float(item.roles[Role.FRACTION].value)
        first, behind = i, item.end
        if not _of_height(parsed, i, behind, low, high):
            return None
    elif (
        i + 1 < high
        and tokens[i].isdecimal()
        and len(tokens[i]) <= 3
        and tokens[i + 1] in ("%", "percent", "per")
    ):
        share, first, behind = float(tokens[i]), i, i + 2
        # "20-25 %", "30 to 40 %", "20% to 25%": the middle of the range.
        k = i - 1
        while k >= low and i - k <= 2 and tokens[k] in ("to", "-", "–", "—", "%"):
            k -= 1
        if k >= low and tokens[k].isdecimal() and len(tokens[k]) <= 2 and float(tokens[k]) < share:
            share, first = (share + float(tokens[k])) / 2, k
    else:
        return None
    for k in range(behind, min(high, behind + 2)):
        after = parsed.at[k]
        if after is not None and not _NOT_HEIGHT.isdisjoint(after.roles):
            return None
    before = tokens[max(low, first - 2) : first]
    if not parsed.grammar.less.isdisjoint(before):
        share -= 1
    elif not parsed.grammar.more.isdisjoint(before):
        share += 1
    # "Reduced to 60 %", "60 % of its height remains": what is left, not what is lost.
    if before == ["up", "to"]:
        return share
    if (
        before[-1:] == ["to"]
        or not _KEEPS.isdisjoint(before)
        or "to" in before[:1]
        or _is_left(tokens[behind : behind + 6])
    ):
        share = 100 - share
    return share


def _is_left(following: list[str]) -> bool:
    ends = next((k for k, word in enumerate(following) if word in ",.;"), len(following))
    return not _LEFT.isdisjoint(following[:ends])


def _of_height(parsed: Parsed, start: int, end: int, low: int, high: int) -> bool:
    """Whether a fraction is one of height, not "the anterior third" of a vertebra."""
    for k in range(max(low, start - 4), min(high, end + 6)):
        item = parsed.at[k]
        if item is None:
            continue
        roles = item.roles
        if Role.HEIGHT in roles or Role.LOSS in roles:
            return True
        if Role.DEFORMITY in roles and (
            roles[Role.DEFORMITY].value == "height" or parsed.words.words[start - 1] == "by"
        ):
            return True
    return False
