"""What stands behind a mention: the predicate that takes it back, doubts it or confirms it."""

from vfscreen.reports.lexicon import Entry, Role
from vfscreen.reports.parsing import Item, Parsed, is_or, parts_clauses

_FURTHER_BEHIND = 25
# From "unlikely" to the "cannot be excluded" that takes half of it back.
_TAKEN_BACK = 10
_DASHES = frozenset({"-", "–", "—", "("})
_ENDS_PREDICATE = frozenset({Role.STOP, Role.NEGATION_BEFORE, Role.SEEN, Role.BREAK})


def behind(parsed: Parsed, low: int, high: int, start: int, end: int) -> tuple[Role, Entry] | None:
    """The predicate behind a mention that takes it back, doubts it or confirms it."""
    at, tokens = parsed.at, parsed.words.words
    joined = alternative = other_finding = False
    predicate = start > low and _is_copula(at[start - 1])
    doubted: tuple[Role, Entry] | None = None
    i = end
    ceiling = min(high, end + _FURTHER_BEHIND)
    while i < ceiling:
        item = at[i]
        if item is None:
            i += 1
            continue
        roles = item.roles
        if Role.CONFIRMED in roles and (
            doubted is not None or roles[Role.CONFIRMED].value == "result"
        ):
            return Role.CONFIRMED, roles[Role.CONFIRMED]
        if Role.NEGATION_AFTER in roles or Role.UNCERTAIN_AFTER in roles:
            role = Role.NEGATION_AFTER if Role.NEGATION_AFTER in roles else Role.UNCERTAIN_AFTER
            if other_finding and not alternative:
                return doubted
            if joined and roles[role].value == "adjective":
                return doubted  # "fractura de L1 y probable ...": it belongs to what follows
            if role is Role.NEGATION_AFTER and _qualifies_age(at, item.end, high):
                return doubted  # "# L1 and L2, nil acute"
            if role is Role.NEGATION_AFTER:
                return _taken_back(parsed, item.end, high) or (role, roles[role])
            if _qualifies_attribute(at, item.end, high):
                return doubted
            doubted = doubted or (role, roles[role])
        elif Role.HYPOTHETICAL in roles and roles[Role.HYPOTHETICAL].value == "behind":
            return doubted or (Role.HYPOTHETICAL, roles[Role.HYPOTHETICAL])
        elif Role.HISTORICAL in roles and roles[Role.HISTORICAL].value == "behind":
            return doubted or (Role.HISTORICAL, roles[Role.HISTORICAL])
        elif Role.CONJUNCTION in roles:
            if parts_clauses(item):
                return doubted
            alternative = alternative or is_or(item)
            joined = True
            if predicate and not alternative and _new_subject(parsed, item.end, ceiling):
                return doubted  # "L1 is fractured, L2 is not"
        elif Role.NEGATION_BEFORE in roles and _ends(parsed, item.end, high):
            return Role.NEGATION_AFTER, roles[Role.NEGATION_BEFORE]  # "Fracture: no."
        elif not _ENDS_PREDICATE.isdisjoint(roles):
            # "VCF - nil", "fracture (none)"; a doubt may be settled in a clause of its own.
            if not (doubted or (tokens[i] in _DASHES and i - end < 2)):
                return None
        elif (Role.CLOSE in roles or Role.FRACTURE in roles or Role.DEFORMITY in roles) and joined:
            other_finding = True
        i = item.end
    return doubted


def _is_copula(item: Item | None) -> bool:
    return item is not None and Role.COPULA in item.roles


def _new_subject(parsed: Parsed, i: int, ceiling: int) -> bool:
    """Whether a site with a verb of its own follows: a new clause."""
    site = False
    for k in range(i, min(i + 5, ceiling)):
        item = parsed.at[k]
        if item is None:
            continue
        if Role.COPULA in item.roles:
            return site
        site = site or Role.TARGET in item.roles or Role.OTHER in item.roles
        site = site or (Role.ANAPHOR in item.roles and item.roles[Role.ANAPHOR].value != "")
    return False


def _taken_back(parsed: Parsed, i: int, high: int) -> tuple[Role, Entry] | None:
    """A doubt that outlives a denial: "considered unlikely but cannot be excluded"."""
    for k in range(i, min(high, i + _TAKEN_BACK)):
        item = parsed.at[k]
        if item is None:
            continue
        if Role.UNCERTAIN_AFTER in item.roles:
            return Role.UNCERTAIN_AFTER, item.roles[Role.UNCERTAIN_AFTER]
        if not {Role.FRACTURE, Role.DEFORMITY, Role.TARGET, Role.OTHER, Role.CLOSE}.isdisjoint(
            item.roles
        ):
            return None
    return None


def _ends(parsed: Parsed, i: int, high: int) -> bool:
    return (
        i >= high
        or parsed.words.ends_sentence[i]
        or (parsed.words.words[i] in ")]" or parts_clauses(parsed.at[i]))
    )


def _leads_on(item: Item | None) -> bool:
    return item is not None and not {Role.LINK, Role.COPULA}.isdisjoint(item.roles)


def _qualifies_attribute(at: list[Item | None], i: int, high: int) -> bool:
    """Whether the doubt is about age or cause only: "... fracture is likely chronic"."""
    for _ in range(2):  # "is favoured to be chronic"
        if i < high and _leads_on(at[i]):
            i += 1
    following = at[i] if i < high else None
    return following is not None and not {
        Role.ACUITY,
        Role.CAUSE,
        Role.BENIGN,
        Role.HARMLESS,
    }.isdisjoint(following.roles)


def _qualifies_age(at: list[Item | None], i: int, high: int) -> bool:
    """Whether a time is all that is denied: "nil acute.", unlike "nil acute fracture"."""
    following = at[i] if i < high else None
    if following is None or Role.ACUITY not in following.roles:
        return False
    behind = at[following.end] if following.end < high else None
    return behind is None or _MENTIONED.isdisjoint(behind.roles)


_MENTIONED = frozenset({Role.FRACTURE, Role.DEFORMITY, Role.TARGET, Role.OTHER, Role.CLOSE})


def versus(parsed: Parsed, low: int, high: int, start: int, end: int) -> tuple[Role, Entry] | None:
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
        if not all(side is not None and Role.ACUITY in side.roles for side in sides):
            return Role.VERSUS, item.roles[Role.VERSUS]
    return None
