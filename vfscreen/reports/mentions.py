"""Mentions: each place where a report speaks of the finding, with its site, context, attributes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfscreen.reports.context import Assertion, Context, context_of
from vfscreen.reports.lexicon import MENTION_ROLES, Entry, Role
from vfscreen.reports.parsing import COUNTING, Item, Parsed, Sentence
from vfscreen.reports.sites import NONE, Site, nearest_site, site_of

# How far a height and what is said of it stand apart, in words.
_PAIR_REACH = 8
_ATTRIBUTE_REACH = 10
_ANAPHOR_SENTENCES = 3
# No radiologist speaks of fractures so often; text that does must not take seconds.
_MOST_MENTIONS = 1000
_SAID_OF_HEIGHT = (
    (Role.LOSS, Role.DEFORMITY),
    (Role.NORMAL, Role.INTACT),
    (Role.INTACT, Role.INTACT),
)


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention at words `start` to `end` (exclusive); `rule` is the id of its entry."""

    start: int
    end: int
    role: Role
    rule: str
    sentence: Sentence
    site: Site
    context: Context
    acuity: str | None = None
    severity: str | None = None

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.sentence.section


@dataclass(slots=True)
class _Discourse:
    """What later sentences can refer to: the heading they stand under, the site last spoken of."""

    section: str = ""
    region: Site = NONE
    last: Site = NONE
    last_sentence: int = -_ANAPHOR_SENTENCES


def mentions_of(parsed: Parsed, parts: list[Sentence]) -> list[Mention]:
    """Find all mentions in the order of the text."""
    found: list[Mention] = []
    discourse = _Discourse()
    for number, sentence in enumerate(parts):
        if sentence.section != discourse.section:
            discourse = _Discourse(section=sentence.section, last=discourse.last)
        _enter_region(parsed, sentence, discourse)
        for start, end, role, entry in _candidates(parsed, sentence):
            mention = _mention(parsed, sentence, start, end, role, entry, discourse, number)
            if mention is not None:
                found.append(mention)
                if mention.site.kind != "none" and role is not Role.INTACT:
                    discourse.last, discourse.last_sentence = mention.site, number
                if len(found) >= _MOST_MENTIONS:
                    return found
    return found


def _enter_region(parsed: Parsed, sentence: Sentence, discourse: _Discourse) -> None:
    """Notice a sub-heading ("SPINE:", "Ribs:") that says where the next sentences are."""
    tokens = parsed.words.words
    for i in range(sentence.start, min(sentence.start + 5, sentence.end)):
        if tokens[i] != ":":
            continue
        discourse.region = NONE
        for item in parsed.at[sentence.start : i]:
            if item is not None and Role.TARGET in item.roles:
                discourse.region = Site("target", item.roles[Role.TARGET].id, item.levels)
            elif item is not None and Role.OTHER in item.roles:
                discourse.region = Site("other", item.roles[Role.OTHER].id)
        return


def _candidates(parsed: Parsed, sentence: Sentence) -> Iterator[tuple[int, int, Role, Entry]]:
    seen: Item | None = None
    for i in range(sentence.start, sentence.end):
        item = parsed.at[i]
        if item is None or item is seen:
            continue
        seen = item
        role = next((r for r in item.roles if r in MENTION_ROLES), None)
        if role is Role.HEIGHT:
            pair = _height_pair(parsed, sentence, item)
            if pair is not None:
                yield pair
        elif role is not None:
            yield item.start, item.end, role, item.roles[role]


def _height_pair(
    parsed: Parsed, sentence: Sentence, height: Item
) -> tuple[int, int, Role, Entry] | None:
    """A height with what is said of it: lost is a deformity, normal denies one."""
    low = max(sentence.start, height.start - _PAIR_REACH)
    high = min(sentence.end, height.end + _PAIR_REACH)
    for walk in (range(height.end, high), range(height.start - 1, low - 1, -1)):
        for i in walk:
            item = parsed.at[i]
            if item is None:
                continue
            if Role.STOP in item.roles or Role.FRACTURE in item.roles:
                break
            for role, result in _SAID_OF_HEIGHT:
                if role in item.roles:
                    entry = height.roles[Role.HEIGHT]
                    rule = replace(entry, id=f"{entry.id}.{item.roles[role].id}")
                    return min(item.start, height.start), max(item.end, height.end), result, rule
    return None


def _mention(
    parsed: Parsed,
    sentence: Sentence,
    start: int,
    end: int,
    role: Role,
    entry: Entry,
    discourse: _Discourse,
    number: int,
) -> Mention | None:
    low, high = sentence.start, sentence.end
    counts = sentence.section in COUNTING
    context = context_of(parsed, low, high, start, end, counts=counts)
    height = entry.id.startswith("height") or entry.id.endswith("height_loss")
    site = site_of(parsed, low, high, start, end, discs=role is not Role.FRACTURE)
    inner = _inside(parsed, start, end) if height else NONE
    if inner.kind != "none":
        site = inner if inner.kind == "other" or site.kind != "target" else site
    if height and site.rule in ("level", "") and _of_a_disc(parsed, low, start):
        site = Site("other", "other.disc", bound=True)
    negated = context.assertion is Assertion.NEGATED or role is Role.INTACT
    if role is Role.BENIGN:
        return Mention(start, end, role, entry.id, sentence, site, Context(Assertion.ELSEWHERE))
    if site.kind == "none" and not negated:
        site = _wider_site(parsed, sentence, start, end, entry, discourse, number)
    elif site.kind == "target" and not site.levels and not negated:
        near = nearest_site(parsed, low, high, start, end)
        site = replace(site, levels=near.levels)
    if site.kind == "none" and not (
        negated and (role is Role.FRACTURE or entry.tie == "own" or height)
    ):
        return (
            None
            if role is not Role.FRACTURE
            else Mention(start, end, role, entry.id, sentence, site, Context(Assertion.ELSEWHERE))
        )
    if site.kind == "other":
        if role is Role.FRACTURE or height:
            context = Context(Assertion.ELSEWHERE, site.rule)
        else:
            return None
    elif role is Role.DEFORMITY and not negated:
        benign = _benign(parsed, low, high, start, end)
        if benign:
            context = Context(Assertion.ELSEWHERE, benign)
    return Mention(
        start,
        end,
        role,
        entry.id,
        sentence,
        site,
        context,
        acuity=_acuity(parsed, sentence, start, end),
        severity=_severity(parsed, sentence, start, end),
    )


def _inside(parsed: Parsed, start: int, end: int) -> Site:
    """A site between "loss" and "height"."""
    for item in parsed.at[start:end]:
        if item is not None and Role.OTHER in item.roles:
            return Site("other", item.roles[Role.OTHER].id, bound=True)
        if item is not None and Role.TARGET in item.roles:
            return Site("target", item.roles[Role.TARGET].id, item.levels, bound=True)
    return NONE


def _of_a_disc(parsed: Parsed, low: int, start: int) -> bool:
    """Whether a height of no named vertebra follows a disc: "disc disease with loss of height"."""
    for i in range(start - 1, max(low, start - 2 * _ATTRIBUTE_REACH) - 1, -1):
        item = parsed.at[i]
        if item is None:
            continue
        if Role.TARGET in item.roles and item.roles[Role.TARGET].value == "vertebra":
            return False
        if Role.OTHER in item.roles and item.roles[Role.OTHER].value == "disc":
            return True
    return False


def _wider_site(
    parsed: Parsed,
    sentence: Sentence,
    start: int,
    end: int,
    entry: Entry,
    discourse: _Discourse,
    number: int,
) -> Site:
    """The site of a mention whose own phrase names none."""
    near = nearest_site(parsed, sentence.start, sentence.end, start, end)
    if entry.tie == "own":
        levels = near.levels
        if not levels and number - discourse.last_sentence <= 1 and discourse.last.kind == "target":
            levels = discourse.last.levels
        return Site("target", entry.id, levels)
    if _refers_back(parsed, sentence, start) and (
        number - discourse.last_sentence <= _ANAPHOR_SENTENCES and discourse.last.kind != "none"
    ):
        return replace(discourse.last, bound=False)
    if near.kind != "none" and entry.tie == "clause":
        return near
    if discourse.region.kind != "none":
        return discourse.region
    return NONE


def _refers_back(parsed: Parsed, sentence: Sentence, start: int) -> bool:
    """Whether "this", "these" or "the" stands before the mention, in its phrase."""
    for i in range(start - 1, max(sentence.start, start - 4) - 1, -1):
        item = parsed.at[i]
        if item is not None and Role.ANAPHOR in item.roles:
            return True
        if item is not None and not {Role.LINK, Role.BREAK, Role.CONJUNCTION}.isdisjoint(
            item.roles
        ):
            return False
    return False


def _benign(parsed: Parsed, low: int, high: int, start: int, end: int) -> str:
    """The id of an explanation that takes the deformity off the table, or nothing."""
    at, tokens = parsed.at, parsed.words.words
    for walk in (
        range(end, min(high, end + _ATTRIBUTE_REACH)),
        range(start - 1, max(low, start - 4) - 1, -1),
    ):
        joined = False
        for i in walk:
            item = at[i]
            if item is None:
                continue
            if Role.BENIGN in item.roles:
                # A noun ("Schmorl node") joined by "and" or "with" is another finding.
                entry = item.roles[Role.BENIGN]
                if not joined or entry.value == "adjective":
                    return entry.id
                break
            if (
                Role.FRACTURE in item.roles
                or Role.VERSUS in item.roles
                or Role.NEGATION_BEFORE in item.roles
            ):
                break
            if Role.CONJUNCTION in item.roles or tokens[i] == "with":
                joined = True
    return ""


def _acuity(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """The word of time that is nearest to this mention and not nearer to another."""
    at = parsed.at
    best: tuple[int, str] | None = None
    before = range(start - 1, max(sentence.start, start - _ATTRIBUTE_REACH) - 1, -1)
    behind = range(end, min(sentence.end, end + 2 * _ATTRIBUTE_REACH))
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


def _severity(parsed: Parsed, sentence: Sentence, start: int, end: int) -> str | None:
    """Severity in words or a grade in the mention's own phrase, or from a percentage (Genant)."""
    at = parsed.at
    for i in range(start - 1, max(sentence.start, start - _ATTRIBUTE_REACH) - 1, -1):
        item = at[i]
        if item is None:
            continue
        if Role.SEVERITY in item.roles:
            return item.roles[Role.SEVERITY].value
        if not _NOUN_PHRASE_ENDS.isdisjoint(item.roles):
            break
        if Role.CONJUNCTION in item.roles and not _joins(at, item, sentence.start):
            break
    ceiling = min(sentence.end, end + _ATTRIBUTE_REACH)
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
    low = max(sentence.start, start - _ATTRIBUTE_REACH)
    high = min(sentence.end, end + _ATTRIBUTE_REACH)
    percents = [
        int(tokens[i])
        for i in range(low, high - 1)
        if tokens[i].isdecimal() and len(tokens[i]) <= 3 and tokens[i + 1] in ("%", "percent")
    ]
    if not percents:
        return None
    lost = max(percents)
    return "mild" if lost < 25 else "moderate" if lost <= 40 else "severe"
