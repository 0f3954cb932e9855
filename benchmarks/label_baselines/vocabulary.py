"""The words that a competent person writes down in an afternoon, shared by the baselines.

From the clinical page that vfscreen's own lexicon began with: how a vertebral fracture is called,
what ties it to the spine, which other bones break, what looks like one and is none.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FRACTURE = r"\b(?:fractur\w*|fxs?|vcfs?)\b|#"
DEFORMITY = (
    r"\b(?:(?:compression|wedge|biconcave|crush|vertebral|anterior)\s+)*deformit(?:y|ies)\b"
    r"|\bwedg(?:ing|ed)\b|\bcollapsed?\b|\b(?:partially\s+)?compressed\b"
    r"|\b(?:loss|decrease|reduction)\s+(?:of|in)\s+(?:the\s+)?"
    r"(?:(?:anterior|central|posterior|vertebral|body)\s+)*(?:height|stature)\b"
    r"|\bheight\s+(?:loss|reduction)\b|\b(?:decreased|reduced)\s+(?:in\s+)?height\b"
    r"|\b(?:lost|reduced)\s+(?:\w+\s+){0,3}height\b"
)
CEMENT = r"\b(?:vertebro|kypho)plast(?:y|ies)\b"
# Said of the spine, these deny the finding.
INTACT = (
    r"\bvertebra[el]?(?:\s+bod(?:y|ies))?(?:\s+heights?)?\s+(?:(?:is|are|appears?)\s+)?"
    r"(?:well\s+|grossly\s+)?(?:maintained|preserved|intact|normal)\b"
    r"|\bvertebral\s+bod(?:y|ies)\s+(?:is|are|appear)\s+(?:of\s+)?normal\s+(?:in\s+)?height\b"
    r"|\b(?:normal|preserved)\s+vertebral\s+(?:body\s+)?heights?\b"
)
SPINE = (
    r"\bvertebra\w*|\bspin(?:e|al)\b|\b(?:thoracic|lumbar|cervical|dorsal|thoracolumbar)\b"
    r"|\bend\s?-?plates?\b|\b(?:t|th|d|l|c)\s?\d{1,2}\b|\bvcfs?\b"
    r"|\b\d{1,2}(?:st|nd|rd|th)\s+(?:thoracic|lumbar|cervical)\b"
)
# Other bones, parts of a vertebra that do not count, and what else is compressed or loses height.
OTHER = (
    r"\bribs?\b|\bclavic\w+|\bhumer\w+|\bfem(?:ur|oral)\b|\bhips?\b|\bpelvi[cs]\b|\bpubic\b|\brami\b"
    r"|\bramus\b|\bsacr\w+|\bcoccy\w+|\bstern\w+|\bscapul\w+|\bradi(?:us|al)\b|\buln\w+|\btibi\w+"
    r"|\bwrist\b|\bankle\b|\bskull\b|\bacetabul\w+|\bili(?:ac|um)\b|\bhardware\b|\bscrews?\b|\brods?\b"
    r"|\b(?:transverse|spinous)\s+process(?:es)?\b|\bpedicles?\b|\bdens\b|\bdis[ck]s?\b"
    r"|\bnerve\b|\bcord\b|\bcava\b|\bivc\b|\bbowel\b|\blobe\b|\blungs?\b|\bstockings?\b|\bcatheter\b"
)
BENIGN = (
    r"\bphysiolog\w+|\bcongenital\b|\bdevelopmental\b|\bscheuermann\w*|\bschmorl\w*|\blimbus\b"
    r"|\bbutterfly\b|\bhemivertebra\w*|\bcupid\w*|\bpositional\b"
)
HEADINGS = (
    r"indications?|clinical\s+(?:history|details|indication|information)|history|hx"
    r"|reason\s+for\s+(?:exam|examination|study)|comparison|technique|exam(?:ination)?"
    r"|findings?|impression|conclusion|addendum|report|opinion"
)
_COUNTING = re.compile(r"findings?|impression|conclusion|addendum|report|opinion", re.I)
_HEADING = re.compile(rf"\b({HEADINGS})\s*:", re.I)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n\s*\n")
_SITES = re.compile(f"(?P<spine>{SPINE})|(?P<other>{OTHER})", re.I)
_BENIGN = re.compile(BENIGN, re.I)
_MENTION = re.compile(
    f"(?P<INTACT>{INTACT})|(?P<DEFORMITY>{DEFORMITY})|(?P<CEMENT>{CEMENT})|(?P<FRACTURE>{FRACTURE})",
    re.I,
)
STRENGTH = ("not_mentioned", "denied", "ambiguous", "uncertain", "reported")


@dataclass(frozen=True, slots=True)
class Mention:
    """A term of the finding in a sentence; `kind` as in the pattern of mentions."""

    kind: str
    start: int
    end: int


def body(text: str) -> str:
    """The text without the sections that say what was known or asked."""
    heads = list(_HEADING.finditer(text))
    if not heads:
        return text
    ends = [*(head.start() for head in heads[1:]), len(text)]
    kept = [
        text[head.end() : end]
        for head, end in zip(heads, ends, strict=True)
        if _COUNTING.match(head[1])
    ]
    return "\n\n".join([text[: heads[0].start()], *kept])


def sentences(text: str) -> list[str]:
    """Split after full stops and at empty lines; other line breaks are blanks."""
    return [" ".join(part.split()) for part in _SENTENCE.split(text) if part.strip()]


def mentions(sentence: str) -> Iterator[Mention]:
    """Terms of the finding that are about the spine, or in a sentence that names no bone."""
    for found in _MENTION.finditer(sentence):
        kind = found.lastgroup or ""
        if about_the_spine(sentence, kind, found.start(), found.end()):
            yield Mention(kind, found.start(), found.end())


def about_the_spine(sentence: str, kind: str, start: int, end: int) -> bool:
    """Whether the nearest bone is of the spine.

    Where none is named, only a fracture counts: "no acute fracture" is about all bones.
    """
    if kind in ("CEMENT", "INTACT"):
        return True
    if kind == "DEFORMITY" and _BENIGN.search(sentence):
        return False
    near = min(
        _SITES.finditer(sentence),
        key=lambda site: max(site.start() - end, start - site.end(), 0),
        default=None,
    )
    return kind == "FRACTURE" if near is None else near.lastgroup == "spine"


def status(kind: str, *, negated: bool, uncertain: bool) -> str:
    """What a mention makes of a report."""
    if kind == "INTACT":
        return "not_mentioned" if negated or uncertain else "denied"
    if negated:
        return "denied"
    if uncertain:
        return "uncertain"
    return "reported" if kind == "FRACTURE" else "ambiguous"


def strongest(found: Iterable[str]) -> str:
    """The status of a report, from those of its mentions."""
    return max(found, key=STRENGTH.index, default="not_mentioned")
