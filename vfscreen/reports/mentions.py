"""Mentions: each place where a report speaks of the finding, with its site, context, attributes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfscreen.reports.attributes import REACH_OF_ATTRIBUTES, acuity_of, severity_of
from vfscreen.reports.context import Assertion, Context, context_of
from vfscreen.reports.lexicon import MENTION_ROLES, Entry, Role
from vfscreen.reports.parsing import COUNTING, Item, Parsed, Sentence
from vfscreen.reports.sites import NONE, Site, nearest_site, site_of

# How far a height and what is said of it stand apart, in words.
_PAIR_REACH = 8
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
        for candidate in _candidates(parsed, sentence):
            mention = _mention(parsed, sentence, candidate, discourse, number)
            if mention is not None:
                found.append(mention)
                if mention.site.kind != "none" and mention.role is not Role.INTACT:
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


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Words that may be a mention.

    `stem` are the words whose phrase is searched for the site: of "height is maintained" the
    height alone. `inner` is a site between "loss" and "height". `height` tells that the mention is
    about height, which discs have too.
    """

    start: int
    end: int
    role: Role
    entry: Entry
    stem: tuple[int, int]
    height: bool = False
    inner: Site = NONE


def _candidates(parsed: Parsed, sentence: Sentence) -> Iterator[_Candidate]:
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
            entry = item.roles[role]
            stem = (item.start, item.end)
            yield _Candidate(*stem, role, entry, stem, height=entry.value == "height")


def _height_pair(parsed: Parsed, sentence: Sentence, height: Item) -> _Candidate | None:
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
                if role not in item.roles:
                    continue
                entry = height.roles[Role.HEIGHT]
                entry = replace(entry, id=f"{entry.id}.{item.roles[role].id}")
                if item.start > height.start:
                    stem = (height.start, height.end)
                    return _Candidate(stem[0], item.end, result, entry, stem, height=True)
                stem = (item.start, height.end)
                inner = _inside(parsed, *stem)
                return _Candidate(*stem, result, entry, stem, height=True, inner=inner)
    return None


def _mention(
    parsed: Parsed, sentence: Sentence, found: _Candidate, discourse: _Discourse, number: int
) -> Mention | None:
    """Complete a candidate, or drop it: an everyday word that is not about the finding's site."""
    low, high = sentence.start, sentence.end
    site = _own_site(parsed, sentence, found)
    context = context_of(
        parsed,
        low,
        high,
        found.start,
        found.end,
        counts=sentence.section in COUNTING,
        specific=bool(site.levels),
    )
    denies = context.assertion is Assertion.NEGATED or found.role is Role.INTACT
    if found.role is Role.BENIGN:
        context = Context(Assertion.ELSEWHERE)
    elif site.kind == "none" and not denies:
        site = _wider_site(parsed, sentence, found, discourse, number)
    elif site.kind == "target" and not site.levels and not denies:
        near = nearest_site(parsed, low, high, found.start, found.end)
        site = replace(site, levels=near.levels)
    if found.role is not Role.BENIGN:
        if site.kind == "none":
            unsaid = denies and (found.entry.tie == "own" or found.height)
            if found.role is not Role.FRACTURE and not unsaid:
                return None
            if not denies:
                context = Context(Assertion.ELSEWHERE)
        elif site.kind == "other":
            if found.role is not Role.FRACTURE and not found.height:
                return None
            context = Context(Assertion.ELSEWHERE, site.rule)
        elif found.role is Role.DEFORMITY and not denies:
            benign = _benign(parsed, low, high, found.start, found.end)
            context = Context(Assertion.ELSEWHERE, benign) if benign else context
    return Mention(
        found.start,
        found.end,
        found.role,
        found.entry.id,
        sentence,
        site,
        context,
        acuity=acuity_of(parsed, sentence, found.start, found.end),
        severity=severity_of(parsed, sentence, found.start, found.end),
    )


def _own_site(parsed: Parsed, sentence: Sentence, found: _Candidate) -> Site:
    """The site that the mention's own phrase names."""
    site = site_of(
        parsed, sentence.start, sentence.end, *found.stem, discs=found.role is not Role.FRACTURE
    )
    if found.inner.kind == "other" or (found.inner.kind == "target" and site.kind != "target"):
        site = found.inner
    unnamed = found.height and site.rule in ("level", "")
    if unnamed and _of_a_disc(parsed, sentence.start, found.start):
        return Site("other", "other.disc", bound=True)  # "L4/5" in a sentence about a disc
    return site


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
    for i in range(start - 1, max(low, start - 2 * REACH_OF_ATTRIBUTES) - 1, -1):
        item = parsed.at[i]
        if item is None:
            continue
        if Role.TARGET in item.roles and item.roles[Role.TARGET].value == "vertebra":
            return False
        if Role.OTHER in item.roles and item.roles[Role.OTHER].value == "disc":
            return True
    return False


def _wider_site(
    parsed: Parsed, sentence: Sentence, found: _Candidate, discourse: _Discourse, number: int
) -> Site:
    """The site of a mention whose own phrase names none: its own words, the clause, the text."""
    near = nearest_site(parsed, sentence.start, sentence.end, found.start, found.end)
    since = number - discourse.last_sentence
    if found.entry.tie == "own":
        levels = near.levels
        if not levels and since <= 1 and discourse.last.kind == "target":
            levels = discourse.last.levels
        return Site("target", found.entry.id, levels)
    spoken_of = discourse.last.kind != "none" and since <= _ANAPHOR_SENTENCES
    if spoken_of and _refers_back(parsed, sentence, found.start):
        return replace(discourse.last, bound=False)
    if near.kind != "none" and found.entry.tie == "clause":
        return near
    return discourse.region


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
        range(end, min(high, end + REACH_OF_ATTRIBUTES)),
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
            if Role.CONJUNCTION in item.roles or (
                tokens[i] == "with" and item.end == item.start + 1
            ):
                joined = True
    return ""
