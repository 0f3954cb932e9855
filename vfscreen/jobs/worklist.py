"""The worklist page: film, heatmap and report of each listed patient, in one static file.

Everything that comes from DICOM or a report is escaped by the template; the page runs no script
and loads nothing, and its content security policy holds it to that.
"""

import base64
import io
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from vfscreen.results.catalogue import connect
from vfscreen.results.folder import Results
from vfscreen.results.levels import with_levels
from vfscreen.results.parts import write_aside
from vfscreen.results.sql import ask, fetch

EMBEDDED_LONG_SIDE_PX = 800
"""Long side of embedded pictures: 40 patients stay under about 15 MB."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of report text; a mention of the finding where `assertion` is set."""

    text: str
    assertion: str | None = None
    rule_id: str | None = None


def pieces(text: str, evidence: list[dict[str, Any]] | None) -> list[Piece]:
    """Cut a report into plain stretches and mentions; overlapping mentions: the first wins."""
    cut: list[Piece] = []
    at = 0
    for mention in sorted(evidence or [], key=lambda m: (m["start"], -m["end"])):
        start, end = mention["start"], min(mention["end"], len(text))
        if start < at or end <= start:
            continue
        cut += [Piece(text[at:start])] if start > at else []
        cut.append(Piece(text[start:end], mention["assertion"], mention["rule_id"]))
        at = end
    return [*cut, Piece(text[at:])] if at < len(text) else cut


def write_worklist(results: Results, run_id: str, capacity: int) -> Path:
    """Write `worklist.html` into the results folder and return its path."""
    from jinja2 import Environment

    with connect(results) as catalogue:
        listed = with_levels(catalogue, ask(catalogue, "worklist", capacity=capacity)).to_pylist()
        report_rows = ask(catalogue, "worklist_reports", capacity=capacity).to_pylist()
        total = fetch(catalogue, "select count(*) as n from flagged where list = 'unreported'")
    by_study: dict[str, list[dict[str, Any]]] = {}
    for report in report_rows:
        title = (report["result_status"] or "report").replace("_", " ")
        when = report["report_datetime"]
        shown = {
            "title": f"{title}, {when:%Y-%m-%d %H:%M}" if when else title,
            "pieces": pieces(report["text"], report["evidence"]),
        }
        by_study.setdefault(report["study_instance_uid"], []).append(shown)
    rows = [
        row
        | {
            "film": _embedded(results, row["film_file"]),
            "overlay": _embedded(results, row["heatmap_file"]),
            "reports": by_study.get(row["study_instance_uid"], []),
        }
        for row in listed
    ]
    template = files("vfscreen.jobs").joinpath("worklist.html.jinja").read_text("utf-8")
    page = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            rows=rows,
            total=total["n"][0].as_py(),
            finding=(rows[0]["finding"] if rows else "vertebral_fracture").replace("_", " "),
            demonstration=any(row["demonstration"] for row in rows),
            model=rows[0]["checkpoint_name"] if rows else "none",
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            run_id=run_id,
        )
    )
    path = results.path / "worklist.html"
    write_aside(results, path, page.encode("utf-8", "replace"))
    return path


def _embedded(results: Results, name: str | None) -> str | None:
    """A picture of the heatmaps folder as a JPEG data URI."""
    from PIL import Image

    if name is None or os.sep in name:
        return None
    path = results.path / "heatmaps" / name
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        picture.thumbnail((EMBEDDED_LONG_SIDE_PX, EMBEDDED_LONG_SIDE_PX))
        out = io.BytesIO()
        picture.convert("RGB" if picture.mode != "L" else "L").save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
