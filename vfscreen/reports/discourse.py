"""Reference between sentences: what "it", "this level" and "there is none" speak of.

A sentence whose subject points back adds to the mention before it: a level ("There is a fracture.
It involves L1."), a time, a harmless cause, a denial or a confirmation of what was doubted.
"""

from dataclasses import dataclass, replace

from vfscreen.reports.candidates import Candidate
from vfscreen.reports.context import Assertion, Context
from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.phrases import REACH
from vfscreen.reports.sections import Sentence
from vfscreen.reports.sites import NONE, Site

_ANAPHOR_SENTENCES = 3
# How far behind its pronoun the verb stands that makes a pronoun the subject, in words.
_SUBJECT_REACH = 3
# How far into its sentence a pronoun can be the subject, in words.
_PRONOUN_REACH = 12
# A sentence without a verb that goes on from the one before: "Unchanged since 2019."
_ELLIPSIS_WORDS = 9


@dataclass(slots=True)
class Discourse:
    """What later sentences can refer to.

    `region` is the heading they stand under ("SPINE:"), `last` the site of the mention last spoken
    of and `topic` the levels last named, both with the number of their sentence.
    """

    section: str = ""
    region: Site = NONE
    last: Site = NONE
    last_sentence: int = -_ANAPHOR_SENTENCES
    topic: Site = NONE
    topic_sentence: int = -_ANAPHOR_SENTENCES

    def enter(self, parsed: Parsed, sentence: Sentence) -> None:
        """Notice a new section, or a sub-heading that says where the next sentences are."""
        if sentence.section != self.section:
            self.section, self.region = sentence.section, NONE
        tokens = parsed.words.words
        for i in range(sentence.start, min(sentence.start + 5, sentence.end)):
            if tokens[i] != ":":
                continue
            self.region = NONE
            for item in parsed.at[sentence.start : i]:
                if item is not None and Role.TARGET in item.roles:
                    self.region = Site("target", item.roles[Role.TARGET].id, item.levels)
                elif item is not None and Role.OTHER in item.roles:
                    self.region = Site("other", item.roles[Role.OTHER].id)
            return

    def leave(self, parsed: Parsed, sentence: Sentence, number: int) -> None:
        """Remember the levels that a sentence named."""
        named = [item for item in _items(parsed, sentence) if item.levels]
        if named:
            levels = tuple(dict.fromkeys(level for item in named for level in item.levels))
            self.topic = Site("target", named[0].roles[Role.TARGET].id, levels)
            self.topic_sentence = number

    def spoken_of(self, number: int) -> Site:
        """The site of the mention that a sentence can point back to."""
        return self.last if number - self.last_sentence <= _ANAPHOR_SENTENCES else NONE


def _items(parsed: Parsed, sentence: Sentence) -> list[Item]:
    return list(
        {
            item.start: item
            for item in parsed.at[sentence.start : sentence.end]
            if item is not None
        }.values()
    )


def referred_site(
    parsed: Parsed, sentence: Sentence, found: Candidate, discourse: Discourse, number: int
) -> Site:
    """The site of a mention that names none but points back to one."""
    pointed = _pointed_at(parsed, sentence, found, discourse, number)
    if pointed.kind != "none":
        return pointed
    last = discourse.spoken_of(number)
    if sentence.section == "addendum" and not _names_site(parsed, sentence):
        return replace(discourse.last, bound=False)  # "ADDENDUM: CT confirms a fracture."
    if last.kind == "none":
        return NONE
    opens = _opens(parsed, sentence, found)  # "T9 is collapsed. Fracture is likely."
    recent = last.kind == "target" and number - discourse.last_sentence <= 1
    follows = recent and (found.height or (opens and not _names_site(parsed, sentence)))
    if (
        follows
        or subject_points_back(parsed, sentence) is not None
        or _determined(parsed, sentence, found.start)
    ):
        return replace(last, bound=False)
    return NONE


def _opens(parsed: Parsed, sentence: Sentence, found: Candidate) -> bool:
    """Whether no more than doubt and adjectives stand before a mention in its sentence."""
    if found.start - sentence.start <= 2:
        return True
    before = parsed.at[sentence.start : found.start]
    return (
        before[0] is not None
        and all(not _OPENING.isdisjoint(item.roles) for item in before if item is not None)
        and before.count(None) <= 1
    )


_OPENING = frozenset(
    {Role.UNCERTAIN_BEFORE, Role.ACUITY, Role.SEVERITY, Role.CAUSE, Role.ANAPHOR, Role.LINK}
)


def _names_site(parsed: Parsed, sentence: Sentence) -> bool:
    return any(
        Role.TARGET in item.roles or Role.OTHER in item.roles for item in _items(parsed, sentence)
    )


def _pointed_at(
    parsed: Parsed, sentence: Sentence, found: Candidate, discourse: Discourse, number: int
) -> Site:
    """The site of "here", "at this level", "the former"."""
    if number - discourse.topic_sentence > _ANAPHOR_SENTENCES:
        return NONE
    levels = discourse.topic.levels
    nearest: tuple[int, str] | None = None
    low, high = max(sentence.start, found.start - REACH), min(sentence.end, found.end + REACH)
    for item in parsed.at[low:high]:
        if item is None:
            continue
        value = item.roles[Role.ANAPHOR].value if Role.ANAPHOR in item.roles else ""
        if not value or (value != "place" and item.start > found.start):
            continue
        distance = abs(item.start - found.start)
        if nearest is None or distance < nearest[0]:
            nearest = distance, value
    if nearest is None:
        return NONE
    if nearest[1] == "former":
        levels = levels[:1]
    elif nearest[1] == "latter":
        levels = levels[-1:]
    return replace(discourse.topic, levels=levels)


def _determined(parsed: Parsed, sentence: Sentence, start: int) -> bool:
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


_PREDICATES = frozenset(
    {
        Role.COPULA, Role.LINK, Role.UNCERTAIN_BEFORE, Role.UNCERTAIN_AFTER, Role.BREAK,
        Role.NEGATION_BEFORE, Role.NEGATION_AFTER, Role.CONFIRMED, Role.SEEN, Role.ACUITY,
        Role.CONTINUES,
    }
)  # fmt: skip


def subject_points_back(parsed: Parsed, sentence: Sentence) -> bool | None:
    """Whether a sentence's subject points back: `True` at several things, `None` not at all."""
    tokens, start, end = parsed.words.words, sentence.start, sentence.end
    grammar = parsed.grammar
    first, following = tokens[start], tokens[start + 1] if start + 1 < end else ""
    if first in grammar.determiners and following in grammar.nouns:
        return following.endswith("s")
    opens = parsed.at[start]
    named = opens is not None and not {Role.FRACTURE, Role.TARGET}.isdisjoint(opens.roles)
    if first in grammar.nouns and not named:
        return first.endswith("s") or first == "one"
    pronoun = _pronoun(parsed, sentence)
    if pronoun is None:
        return None
    for i in range(pronoun + 1, min(end, pronoun + 1 + _SUBJECT_REACH)):
        item = parsed.at[i]
        if tokens[i] in grammar.nouns or (
            item is not None and not _PREDICATES.isdisjoint(item.roles)
        ):
            return tokens[pronoun] in grammar.several
        if item is not None:
            return None
    return None


def _pronoun(parsed: Parsed, sentence: Sentence) -> int | None:
    """The pronoun that is the subject: the first word, or "On review, *this* is a variant"."""
    tokens, grammar = parsed.words.words, parsed.grammar
    first = tokens[sentence.start]
    if first in grammar.one or first in grammar.several:
        return sentence.start
    before = parsed.at[sentence.start]
    for i in range(sentence.start + 1, min(sentence.end, sentence.start + _PRONOUN_REACH)):
        roles = before.roles if before is not None else {}
        if not _NAMES.isdisjoint(roles) and _EARLIER.isdisjoint(roles):
            return None
        led = not {Role.LINK, Role.BREAK}.isdisjoint(roles)
        word = tokens[i]
        pronoun = word in grammar.one or word in grammar.several
        if pronoun and word not in grammar.opening and not led:
            return i
        before = parsed.at[i]
    return None


_EARLIER = frozenset({Role.ACUITY, Role.SECTION})  # "compared with the prior, this is new"
_NAMES = frozenset(
    {
        Role.TARGET, Role.OTHER, Role.FRACTURE, Role.DEFORMITY, Role.CEMENT, Role.CLOSE,
        Role.NEGATION_BEFORE,
    }
)  # fmt: skip


def _goes_on(parsed: Parsed, sentence: Sentence) -> bool | None:
    """As `subject_points_back`, and where the sentence has no subject at all: "Unchanged."."""
    pointed = subject_points_back(parsed, sentence)
    if pointed is not None or sentence.end - sentence.start > _ELLIPSIS_WORDS:
        return pointed
    tokens = parsed.words.words[sentence.start : sentence.end]
    if "none" in tokens[:3] or (tokens[0] == "no" and len(tokens) <= 2):
        return True
    first = parsed.at[sentence.start]
    begins = first is not None and not _ELLIPTIC.isdisjoint(first.roles)
    return True if begins and ":" not in tokens else None


_ELLIPTIC = frozenset({Role.ACUITY, Role.NEGATION_AFTER, Role.CONFIRMED, Role.UNCERTAIN_BEFORE})
_FINDINGS = frozenset({Role.FRACTURE, Role.DEFORMITY})


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What a sentence adds to the mentions before it; `several` tells whether to all of them."""

    several: bool
    site: Site = NONE
    acuity: str | None = None
    severity: str | None = None
    context: Context | None = None
    benign: str = ""


def follow_up(parsed: Parsed, sentence: Sentence) -> FollowUp | None:
    """Read a sentence as a remark on the mentions before it."""
    several = _goes_on(parsed, sentence)
    if several is None:
        return None
    levels: list[str] = []
    target = elsewhere = own = False
    benign = ""
    acuity = severity = None
    context: Context | None = None
    negation: Item | None = None
    subject = _pronoun(parsed, sentence) or sentence.start
    for item in _items(parsed, sentence):
        roles = item.roles
        if item.start < subject and Role.ACUITY in roles:
            continue  # "compared with the prior film this is new"
        negated = negation is not None and item.start - negation.end <= 3
        own = own or not _FINDINGS.isdisjoint(roles)
        elsewhere = elsewhere or (Role.OTHER in roles) or item.pair
        if Role.TARGET in roles and not negated:
            target = True
            levels += item.levels
        harmless = roles.get(Role.HARMLESS) or roles.get(Role.BENIGN)
        if harmless is not None and not negated and not own:
            benign = benign or harmless.id
        if Role.ACUITY in roles and not negated:
            acuity = acuity or roles[Role.ACUITY].value
        if Role.SEVERITY in roles and not negated:
            severity = severity or roles[Role.SEVERITY].value
        if Role.NEGATION_AFTER in roles:
            context = context or Context(Assertion.NEGATED, roles[Role.NEGATION_AFTER].id)
        elif Role.CONFIRMED in roles and not negated:
            context = context or Context(Assertion.AFFIRMED, roles[Role.CONFIRMED].id)
        if Role.NEGATION_BEFORE in roles:
            negation = item
            if item.end >= sentence.end - 1:  # "Fracture? No."
                context = context or Context(Assertion.NEGATED, roles[Role.NEGATION_BEFORE].id)
    if own:  # the sentence has a finding of its own: only a harmless cause is meant further back
        return FollowUp(several, benign=benign) if benign else None
    site = NONE
    if target and not elsewhere:
        site = Site("target", "reference", tuple(dict.fromkeys(levels)))
    return FollowUp(several, site, acuity, severity, context, benign)


def renamed_levels(parsed: Parsed, sentence: Sentence, spoken: set[str]) -> dict[str, str]:
    """Level -> the one it is corrected to: "L1 should read T12", "the level is T12, not L1".

    Where the body spoke of one level only, "Should read T12." corrects that one.
    """
    renamed: dict[str, str] = {}
    before: Item | None = None
    retracted = denied = False
    items = _items(parsed, sentence)
    named = [item for item in items if item.levels]
    if len(spoken) == len(named) == 1 and len(named[0].levels) == 1:
        k = items.index(named[0])
        if any(Role.RETRACTS in item.roles for item in items[:k]):
            return {next(iter(spoken)): named[0].levels[0]}
    for item in items:
        retracted = retracted or Role.RETRACTS in item.roles
        denied = denied or Role.NEGATION_BEFORE in item.roles
        if len(item.levels) != 1:
            continue
        if before is not None and before.levels != item.levels and (retracted or denied):
            wrong, right = (before, item) if retracted else (item, before)
            renamed[wrong.levels[0]] = right.levels[0]
        before, retracted, denied = item, False, False
    return renamed
