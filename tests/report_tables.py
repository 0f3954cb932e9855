"""Tables of reports that a radiologist can read: what each says, and what is expected of it."""

import re
from pathlib import Path
from typing import NamedTuple

from vfscreen.reports.labelling import ReportLabel


class Row(NamedTuple):
    """One report; `finding` is the second-level heading's first word that it stands under."""

    finding: str
    text: str
    status: str
    levels: tuple[str, ...]
    also: frozenset[str]


def rows_of(table: str) -> list[Row]:
    """The rows of a Markdown file beside the tests; `//` is a line break of the report."""
    rows, finding = [], ""
    for line in Path(__file__).with_name(table).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            finding = line.split()[1]
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or cells[0] in ("report", "---"):
            continue
        text, status, levels, also = (*cells, "", "")[:4]
        names = tuple(re.findall(r"\w+", levels))
        said = frozenset(re.findall(r"\w+", also))
        rows.append(Row(finding, text.replace(" // ", "\n"), status, names, said))
    return rows


def answer(labelled: ReportLabel) -> tuple[object, ...]:
    """All that must not depend on case and line breaks: everything but the quoted sentences."""
    return (
        labelled.report_status,
        labelled.history,
        labelled.levels,
        labelled.acuity,
        labelled.severity,
        labelled.recommendation,
        tuple((e.section, e.rule_id, e.assertion) for e in labelled.evidence),
    )
