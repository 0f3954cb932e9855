"""Mentions: each place where a report speaks of the finding, with its site, context, attributes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfscreen.reports.attributes import REACH_OF_ATTRIBUTES, acuity_of, severity_of
from vfscreen.reports.candidates import Candidate, candidates
from vfscreen.reports.context import Assertion, Context, context_of
from vfscreen.reports.discourse import (
    Discourse,
    FollowUp,
    follow_up,
    referred_site,
    renamed_levels,
)
from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.sections import COUNTING, Sentence
from vfscreen.reports.sites import PAIR, Site, is_vertebra, nearest_site, site_of

# No radiologist speaks of fractures so often; text that does must not take seconds.
_MOST_MENTIONS = 1000
# How far behind a deformity its harmless cause is named, in words.
_BENIGN_REACH = 20
# Sentences after which nothing is added to a mention.
_REMARK_SENTENCES = 2


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention at words `start` to `end` (exclusive); `rule` is the id of its entry.

    `said` is what its own sentence asserts, wherever that is; `context` what is asserted of the
    finding. `firm` tells that its words speak of vertebrae or heights even where no site is named.
    """

    start: int
    end: int
    role: Role
    rule: str
    sentence: Sentence
    site: Site
    context: Context
    said: Context
    firm: bool
    acuity: str | None = None
    severity: str | None = None

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.sentence.section


def mentions_of(parsed: Parsed, parts: list[Sentence]) -> list[Mention]:
    """Find all mentions in the order of the text."""
    found: list[Mention] = []
    discourse = Discourse()
    spoken_of: Candidate | None = None
    remarked = 0  # index of the first mention that a sentence may still add to
    quiet = 0  # sentences since the last mention
    for number, sentence in enumerate(parts):
        discourse.enter(parsed, sentence)
        first = len(found)
        last: Candidate | None = None
        if remarked < first and quiet < _REMARK_SENTENCES:
            remark = follow_up(parsed, sentence)
            if remark is not None:
                _add(found, remarked, remark)
        for candidate in candidates(parsed, sentence, spoken_of):
            mention = _mention(parsed, sentence, candidate, discourse, number)
            found.append(mention)
            if candidate.role in (Role.FRACTURE, Role.DEFORMITY):
                present = mention.context.assertion in (Assertion.AFFIRMED, Assertion.UNCERTAIN)
                last = candidate if present and mention.site.kind == "target" else None
            if mention.site.kind != "none" and mention.role is not Role.INTACT:
                discourse.last, discourse.last_sentence = mention.site, number
            if len(found) >= _MOST_MENTIONS:
                return _corrected(parsed, parts, found)
        discourse.leave(parsed, sentence, number)
        quiet = 0 if len(found) > first else quiet + 1
        remarked = first if len(found) > first else remarked
        spoken_of = last
    return _corrected(parsed, parts, found)


def _corrected(parsed: Parsed, parts: list[Sentence], found: list[Mention]) -> list[Mention]:
    """The mentions worth keeping, their levels as addenda correct them."""
    renamed: dict[str, str] = {}
    spoken = {level for m in found if m.section != "addendum" for level in m.site.levels}
    for sentence in parts:
        if sentence.section == "addendum":
            renamed |= renamed_levels(parsed, sentence, spoken)
    kept = [m for m in found if _worth_keeping(m)]
    for i, mention in enumerate(kept if renamed else ()):
        if not renamed.keys().isdisjoint(mention.site.levels):
            levels = tuple(dict.fromkeys(renamed.get(v, v) for v in mention.site.levels))
            kept[i] = replace(mention, site=replace(mention.site, levels=levels))
    return kept


def _add(found: list[Mention], first: int, remark: FollowUp) -> None:
    """Add what a later sentence says to the mentions from `first` on."""
    about = [
        i for i in range(first, len(found)) if found[i].role in (Role.FRACTURE, Role.DEFORMITY)
    ]
    for i in about if remark.several else about[-1:]:
        mention = found[i]
        context, site = mention.context, mention.site
        if remark.site.kind == "target" and not site.levels and site.kind != "other":
            site = remark.site
            if mention.site.kind == "none":
                context = mention.said
        doubted = mention.said.assertion is Assertion.UNCERTAIN and site.kind != "other"
        if remark.context and doubted:
            context = remark.context
        if remark.benign and mention.role is Role.DEFORMITY and site.kind == "target":
            context = Context(Assertion.ELSEWHERE, remark.benign)
        found[i] = replace(
            mention,
            site=site,
            context=context,
            acuity=mention.acuity or remark.acuity,
            severity=mention.severity or remark.severity,
        )


def _worth_keeping(mention: Mention) -> bool:
    """Whether a mention says anything: everyday words of no known site are not about it."""
    if mention.role in (Role.FRACTURE, Role.BENIGN) or mention.site.kind == "target":
        return True
    denies = mention.said.assertion is Assertion.NEGATED or mention.role is Role.INTACT
    return mention.firm and (denies or mention.site.kind == "other")


def _mention(
    parsed: Parsed, sentence: Sentence, found: Candidate, discourse: Discourse, number: int
) -> Mention:
    """Complete a candidate."""
    low, high = sentence.start, sentence.end
    site = _own_site(parsed, sentence, found)
    said = context_of(
        parsed,
        low,
        high,
        found.start,
        found.end,
        counts=sentence.section in COUNTING,
        specific=bool(site.levels),
    )
    denies = said.assertion is Assertion.NEGATED or found.role is Role.INTACT
    if found.role is not Role.BENIGN and not denies:
        if site.kind == "none":
            site = _wider_site(parsed, sentence, found, discourse, number)
        elif site.kind == "target" and not site.levels:
            near = nearest_site(parsed, low, high, found.start, found.end)
            site = replace(site, levels=near.levels)
    context = said
    if found.role is Role.CEMENT and _only_advised(parsed, sentence):
        context = Context(Assertion.HYPOTHETICAL, "recommend")
    elif found.role is Role.BENIGN or (site.kind == "none" and not denies):
        context = Context(Assertion.ELSEWHERE)
    elif site.kind == "other":
        context = Context(Assertion.ELSEWHERE, site.rule)
    elif found.role is Role.DEFORMITY and not denies:
        benign = _benign(parsed, low, high, found.start, found.end)
        context = Context(Assertion.ELSEWHERE, benign) if benign else said
    return Mention(
        found.start,
        found.end,
        found.role,
        found.entry.id,
        sentence,
        site,
        context,
        said,
        firm=found.entry.tie == "own" or found.height,
        acuity=acuity_of(parsed, sentence, found.start, found.end),
        severity=severity_of(parsed, sentence, found.start, found.end),
    )


def _only_advised(parsed: Parsed, sentence: Sentence) -> bool:
    """Whether a treatment is recommended, not seen: "kyphoplasty could be considered"."""
    tokens = parsed.words.words[sentence.start : sentence.end]
    return "considered" in tokens or any(
        item is not None
        and Role.RECOMMEND in item.roles
        and (item.roles[Role.RECOMMEND].value != "imperative" or item.start == sentence.start)
        for item in parsed.at[sentence.start : sentence.end]
    )


def _own_site(parsed: Parsed, sentence: Sentence, found: Candidate) -> Site:
    """The site that the mention's own phrase names."""
    site = site_of(
        parsed, sentence.start, sentence.end, *found.stem, discs=found.role is not Role.FRACTURE
    )
    if found.inner.kind == "other" or (found.inner.kind == "target" and site.kind != "target"):
        site = found.inner
    of_disc = found.height or _disc_follows(parsed, sentence, found)
    if site.rule == PAIR and not (of_disc or _of_a_disc(parsed, sentence, found)):
        # "Wedging at L1/2" is of both vertebrae, but a height there is the disc's.
        levels = nearest_site(parsed, sentence.start, sentence.end, *found.stem).levels
        return Site("target", "level", levels, bound=True)
    if found.height and site.rule == "" and _of_a_disc(parsed, sentence, found):
        return Site("other", "other.disc", bound=True)
    if site.kind == "other" and found.role is Role.FRACTURE:
        return _extended_to(parsed, sentence, found) or site
    return site


def _extended_to(parsed: Parsed, sentence: Sentence, found: Candidate) -> Site | None:
    """The body that a fracture of another part goes on into: "extending into the body of C2"."""
    extends = False
    rule = ""
    levels: list[str] = []
    for item in _behind(parsed, sentence, found):
        roles = item.roles
        if Role.STOP in roles or Role.NEGATION_BEFORE in roles:
            break
        if Role.LINK in roles and roles[Role.LINK].value == "extends":
            extends = True
        elif Role.TARGET in roles:
            rule = rule or (roles[Role.TARGET].id if extends and is_vertebra(item) else "")
            levels += item.levels
        elif Role.OTHER in roles and extends:
            break
    return Site("target", rule, tuple(dict.fromkeys(levels)), bound=True) if rule else None


def _behind(parsed: Parsed, sentence: Sentence, found: Candidate) -> Iterator[Item]:
    """The terms right behind a mention."""
    high = min(sentence.end, found.end + 2 * REACH_OF_ATTRIBUTES)
    for i in range(found.end, high):
        item = parsed.at[i]
        if item is not None and item.start == i:
            yield item


def _disc_follows(parsed: Parsed, sentence: Sentence, found: Candidate) -> bool:
    """Whether a disc stands right behind: "L4/5 collapse of the disc space"."""
    for item in parsed.at[found.end : min(sentence.end, found.end + 4)]:
        if item is not None and Role.OTHER in item.roles:
            return item.roles[Role.OTHER].value == "disc"
    return False


def _of_a_disc(parsed: Parsed, sentence: Sentence, found: Candidate) -> bool:
    """Whether a height of no named vertebra follows a disc: "disc disease with loss of height"."""
    low = max(sentence.start, found.start - 2 * REACH_OF_ATTRIBUTES)
    for i in range(found.start - 1, low - 1, -1):
        item = parsed.at[i]
        if item is None:
            continue
        if is_vertebra(item):
            return False
        if Role.OTHER in item.roles and item.roles[Role.OTHER].value == "disc":
            return True
    return False


def _wider_site(
    parsed: Parsed, sentence: Sentence, found: Candidate, discourse: Discourse, number: int
) -> Site:
    """The site of a mention whose own phrase names none: its own words, the clause, the text."""
    near = nearest_site(parsed, sentence.start, sentence.end, found.start, found.end)
    referred = referred_site(parsed, sentence, found, discourse, number)
    if found.entry.tie == "own":
        levels = near.levels
        last = discourse.last
        if not levels and referred.kind == "target":
            levels = referred.levels
        elif not levels and number - discourse.last_sentence <= 1 and last.kind == "target":
            levels = last.levels
        return Site("target", found.entry.id, levels)
    if referred.kind != "none":
        return referred
    if (
        near.kind == "none"
        and discourse.last_sentence == number
        and discourse.last.kind == "target"
    ):
        return replace(discourse.last, bound=False)  # "height loss of L1, due to a fracture"
    if near.kind != "none" and found.entry.tie == "clause":
        return near
    return discourse.region


# "More than expected for physiologic wedging" is not physiologic.
_EXCEEDS = frozenset({"than", "exceeds", "exceeding", "beyond"})


def _benign(parsed: Parsed, low: int, high: int, start: int, end: int) -> str:
    """The id of an explanation that takes the deformity off the table, or nothing."""
    at, tokens = parsed.at, parsed.words.words
    for walk in (
        range(end, min(high, end + _BENIGN_REACH)),
        range(start - 1, max(low, start - 4) - 1, -1),
    ):
        joined = accompanied = False
        negated = -_BENIGN_REACH
        for i in walk:
            item = at[i]
            if tokens[i] in _EXCEEDS:
                negated = i
            if item is None:
                continue
            adjective = item.roles.get(Role.HARMLESS)
            if adjective is not None or Role.BENIGN in item.roles:
                # A noun ("Schmorl node") joined by "and" or "with" is another finding.
                entry = adjective or item.roles[Role.BENIGN]
                # A disease does not: "Scheuermann's kyphosis with wedging".
                detached = joined or (accompanied and entry.value != "disease")
                if (adjective or not detached) and abs(i - negated) > 3:
                    return entry.id
                break
            if Role.FRACTURE in item.roles or Role.VERSUS in item.roles:
                break
            if Role.NEGATION_BEFORE in item.roles:
                negated = i
            relation = item.roles[Role.BREAK].value if Role.BREAK in item.roles else ""
            accompanied = accompanied or relation == "with"
            joined = relation != "equates" and (joined or Role.CONJUNCTION in item.roles)
    return ""
