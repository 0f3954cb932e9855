"""One regular expression for the finding, one for its negation, one for doubt: no library.

What a data scientist writes who has a table of reports and an hour.
"""

import re
from collections.abc import Callable

_SITE = (
    r"(?:vertebra\w*|spin(?:e|al)|thoracic|lumbar|compression|wedge|burst|crush|"
    r"\b[tlcd]h?\s?\d{1,2}(?:\s?[-/]\s?[tlcd]?\d{1,2})?)"
)
_NAMED = r"(?:fractur\w*|fx|vcf)"
_SHAPE = r"(?:deformit\w+|wedging|collapse\w*|height\s+loss|loss\s+of\s+(?:\w+\s+){0,2}height)"
_GAP = r"[^.;]{0,40}?"
_FRACTURE = re.compile(rf"{_SITE}{_GAP}\b{_NAMED}\b|\b{_NAMED}\b{_GAP}{_SITE}", re.I)
_DEFORMITY = re.compile(rf"{_SITE}{_GAP}\b{_SHAPE}\b|\b{_SHAPE}\b{_GAP}{_SITE}", re.I)
_NEGATED = re.compile(
    r"\b(?:no|not|without|negative for|absence of|free of|denies)\b[^.;,]{0,60}$", re.I
)
_NEGATED_AFTER = re.compile(r"^[^.;,]{0,30}\b(?:not (?:seen|identified|present)|absent)", re.I)
_UNCERTAIN = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|likely|suspicious|suspected|questionable|may|might|could|"
    r"cannot|versus|vs)\b|\?",
    re.I,
)
_DENIED = re.compile(
    r"\bno\b[^.;]{0,30}\bfracture|vertebral[^.;]{0,30}\b(?:maintained|preserved|intact|normal)",
    re.I,
)
_HISTORY = re.compile(
    r"\b(?:indication|(?:clinical )?history|clinical details|comparison|reason for exam)\s*:"
    r".*?(?=\b(?:findings?|impression|conclusion|report)\s*:|\n\s*\n|\Z)",
    re.I | re.S,
)


def load() -> Callable[[str], str]:
    """The labeller."""
    return label


def label(text: str) -> str:
    """The status of one report."""
    text = " ".join(_HISTORY.sub(" ", text).split())
    doubted = denied = False
    for pattern, status in ((_FRACTURE, "reported"), (_DEFORMITY, "ambiguous")):
        for found in pattern.finditer(text):
            before, after = text[max(0, found.start() - 80) : found.start()], text[found.end() :]
            if _NEGATED.search(before) or _NEGATED_AFTER.search(after[:60]):
                denied = True
            elif _UNCERTAIN.search(
                before.rpartition(".")[2] + found[0] + after[:40].partition(".")[0]
            ):
                doubted = True
            elif status == "reported" or not doubted:
                return status
        if doubted:
            return "uncertain"
    return "denied" if denied or _DENIED.search(text) else "not_mentioned"
