"""The Indiana University chest reports (OpenI, CC BY-NC-ND 4.0): read from their archive in memory.

Their text stays where it is: results name reports by number. De-identification has put XXXX for
many words, so recall is asked only of reports that still say so.
"""

import csv
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

ARCHIVE = HERE.parents[1] / "shared" / "data" / "openi_dev.tar.gz"
"""Beside the repository, where a site or a reviewer has put it; not part of it."""
READ = HERE / "report_sets" / "openi_read.csv"
"""What a reader found where codes and text disagree: number, verdict, reason in his own words."""

_HEADS = frozenset({"fractures, bone", "deformity"})
_PLACES = frozenset({"thoracic vertebrae", "lumbar vertebrae", "cervical vertebrae", "spine"})
# "Still says fracture, deformity, wedging or collapse about the spine": both in one sentence.
_FINDING = re.compile(r"\b(?:fractur|deform|wedg|collaps)", re.I)
_SPINE = re.compile(
    r"\bvertebra|\bspin(?:e|al)\b|\b(?:thoracic|lumbar|cervical|dorsal|thoracolumbar)\b"
    r"|\bend ?plates?\b|\b[tlcd]-?\d{1,2}\b",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+")


@dataclass(frozen=True, slots=True)
class Report:
    """One report: `fractured` is what its human codes say."""

    uid: str
    text: str
    fractured: bool
    says_so: bool


def reports(archive: Path = ARCHIVE) -> list[Report]:
    """All reports of the archive, in the order of their numbers; none where it is not there."""
    if not archive.is_file():
        return []
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".xml")]
        found = [parsed(file.read()) for file in files if file is not None]
    return sorted(found, key=lambda report: int(re.sub(r"\D", "", report.uid) or 0))


def parsed(raw: bytes) -> Report:
    """One report from its XML."""
    root = ElementTree.fromstring(raw)
    parts = [
        (part.get("Label") or "", " ".join((part.text or "").split()))
        for part in root.iter("AbstractText")
    ]
    said = " ".join(text for head, text in parts if head in ("FINDINGS", "IMPRESSION"))
    uid = root.find("uId")
    return Report(
        uid="" if uid is None else uid.get("id", ""),
        text="\n\n".join(f"{head}: {text}" for head, text in parts if text),
        fractured=any(_is_vertebral(code.text or "") for code in root.iter("major")),
        says_so=any(
            _FINDING.search(sentence) and _SPINE.search(sentence)
            for sentence in _SENTENCE.split(said)
        ),
    )


def _is_vertebral(code: str) -> bool:
    head, *places = code.lower().split("/")
    return head in _HEADS and not _PLACES.isdisjoint(places)


def read() -> dict[str, tuple[str, str]]:
    """Number -> (verdict, reason) of the reports that a reader has looked at.

    Verdicts: ``names_one`` (no code, but the text truly names a vertebral fracture, its shape or
    its cement), ``says_none`` (a code, but no sentence says so of a vertebra).
    """
    with READ.open(encoding="utf-8", newline="") as file:
        return {row["uid"]: (row["verdict"], row["reason"]) for row in csv.DictReader(file)}
