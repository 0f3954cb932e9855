"""The CheXpert labeller's way with "Fracture" (Irvin et al. 2019, arXiv:1901.07031).

Its phrases, its cleaning and its order of rules: a mention is the string "fracture"; first the
uncertainty that looks like negation ("cannot exclude", "no new"), then negation, then uncertainty;
a report is positive if any mention is, else uncertain if any is, else negative.

The original finds what a rule is about in a dependency parse (NegBio on BLLIP with a model that
has to be fetched from its authors), which cannot be installed from a package registry. Here each
published rule is a pattern of words over the clause around the mention. That is an equivalent,
not the original: it is thousands of times faster, and may be right where a parse fails and wrong
where one succeeds.

`load_spine` is what a competent person makes of it: the finding's other words, spine words near
it, other bones left out, and no history sections.
"""

import re
from collections.abc import Callable

from benchmarks.label_baselines.vocabulary import body, mentions, status, strongest
from benchmarks.label_baselines.vocabulary import sentences as split

# "and/or" becomes "or", "a/b" becomes "a or b", as in the original's loader.
_OR = re.compile(r"(?<=[a-z])/(?=[a-z])")
_CLAUSE = re.compile(r"\bbut\b|\bhowever\b|\balthough\b|\bthough\b|;|\bwhich\b|\bexcept\b")
_NEAR = r"(?:[^,;:]|,(?!\s*(?:there|it|with)\b))*$"

_UNCERTAIN_FIRST_BEFORE = re.compile(
    r"\b(?:can\s?not|can't|not)\s+(?:be\s+)?(?:entirely\s+|completely\s+)?(?:exclude|rule\s+out)\b"
    rf"{_NEAR}|\bno\s+new\b{_NEAR}|\bno\s+evidence\s+to\s+rule\s+out\b{_NEAR}"
)
_UNCERTAIN_FIRST_AFTER = re.compile(
    r"^[^.;]*\b(?:not\s+(?:be\s+)?(?:entirely\s+|completely\s+)?excluded|cannot\s+be\s+"
    r"(?:entirely\s+|completely\s+)?(?:excluded|ruled\s+out))"
)
_NEGATED_BEFORE = re.compile(
    r"\b(?:no|not|without|negative\s+for|free\s+of|rather\s+than|absence\s+of|clear\s+of|"
    r"resolution\s+of|history\s+of|removal\s+of|rule\s+out|exclude|disappearance\s+of|"
    rf"normal|unremarkable|resolved)\b{_NEAR}"
)
_NEGATED_AFTER = re.compile(
    r"^[^,;]*?\b(?:(?:has|have)\s+resolved|(?:is|are)\s+absent|no\s+longer\s+seen|"
    r"(?:is|are)\s+not\s+(?:seen|identified|present|demonstrated|evident)|within\s+normal\s+limits|"
    r"previously\s+(?:demonstrated|visualized)|(?:has|have)\s+cleared|removed|unlikely)"
)
_UNCERTAIN = re.compile(
    r"\b(?:possibl[ey]|presumabl[ey]|probabl[ey]|questionabl[ey]|suspect(?:ed)?|suspicious|question|"
    r"may|maybe|might|would|could|versus|vs|favor|consider|concern|suspicion|suggestion|worrisome|"
    r"differential)\b"
)
_UNCERTAIN_AFTER = re.compile(
    r"^\s*or\b|^[^.;]*\b(?:poorly|incompletely|not\s+well|not\s+clearly)\s+"
    r"(?:seen|evaluated|visualized)|^[^.;]*\bnot\s+(?:evaluated|visualized|appreciated)"
)
_OR_BEFORE = re.compile(r"\bor\s+(?:\w+\s+){0,2}$")


def load() -> Callable[[str], str]:
    """The labeller with its own phrase, for any bone."""
    return label


def load_spine() -> Callable[[str], str]:
    """The labeller with phrases for the spine."""
    return label_spine


def clean(text: str) -> str:
    """The text as the original's loader prepares it."""
    text = _OR.sub(" or ", text.lower().replace("and/or", "or")).replace("..", ".")
    return " ".join(text.replace(".", ". ").replace(",", ", ").split())


def asserted(sentence: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether a mention is negated, and whether it is uncertain, in the original's order."""
    before = _CLAUSE.split(sentence[:start])[-1]
    after = _CLAUSE.split(sentence[end:])[0]
    if _UNCERTAIN_FIRST_BEFORE.search(before) or _UNCERTAIN_FIRST_AFTER.search(after):
        return False, True
    if _NEGATED_BEFORE.search(before) or _NEGATED_AFTER.search(after):
        return True, False
    doubt = (
        _UNCERTAIN.search(before)
        or _UNCERTAIN.search(after)
        or _UNCERTAIN_AFTER.search(after)
        or _OR_BEFORE.search(before)
    )
    return False, bool(doubt)


def label(text: str) -> str:
    """The status of one report, as far as the original's four labels can say it."""
    found = []
    for sentence in split(clean(text)):
        for mention in re.finditer("fracture", sentence):
            negated, uncertain = asserted(sentence, mention.start(), mention.end())
            found.append(status("FRACTURE", negated=negated, uncertain=uncertain))
    return strongest(found)


def label_spine(text: str) -> str:
    """The status of one report, with phrases for the spine."""
    found = []
    for sentence in split(clean(body(text))):
        for mention in mentions(sentence):
            negated, uncertain = asserted(sentence, mention.start, mention.end)
            found.append(status(mention.kind, negated=negated, uncertain=uncertain))
    return strongest(found)
