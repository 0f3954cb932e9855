"""The report of an evaluation: one page and one JSON, in a folder that exists whole or not at all.

Nothing in it names a patient, a reader or a path. What comes from DICOM is escaped by the template;
the page runs no script and loads nothing, and its content security policy holds it to that.
"""

import base64
import json
import math
import os
import shutil
import tomllib
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.errors import StorageError, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment

    from vfscreen.jobs.evaluate import Evaluation, FindingEvaluation

SCHEMA, SCHEMA_VERSION = "vfscreen-evaluation", 1
PAGE, FIGURES = "index.html", "report.json"
DEMONSTRATION = (
    "Phantom demonstration model: trained on synthetic films only. It knows nothing about real "
    "patients, and these figures say nothing about them."
)
RESEARCH = (
    "A research tool that ranks films for a human reader; not a diagnostic device. Figures of one "
    "site's films, labelled by that site."
)
_LONGEST_TEXT = 200
_MOST_PROVENANCE = 80
_NOT_SHOWN = ("command", "configuration", "operating_point_counts")
_NO_BREAK = "\N{NO-BREAK SPACE}"

Json = dict[str, Any]


def refuse_folder(out: Path) -> None:
    """Refuse a place for a report that holds anything but an earlier one.

    Raises
    ------
    UsageError
        It is a file, or a folder with something else in it.
    """
    try:
        others = {path.name for path in out.iterdir()} - {PAGE, FIGURES}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"The report cannot be written to {out}: {error.strerror}.") from None
    if others:
        raise UsageError(f"{out} holds something else than a report: name a new folder.")


def report_json(evaluation: "Evaluation") -> Json:
    """All figures with their intervals and counts, as plain objects; NaN is null."""
    notices = notices_of(evaluation)
    raw = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "made_at": evaluation.made_at,
        "notices": notices,
        "versions": evaluation.versions,
        "model": _model(asdict(evaluation.model)),
        "second_model": evaluation.second_model and _model(asdict(evaluation.second_model)),
        "overlaps": [
            {"checked": o.checked, "patients": o.patients, "films": o.films, "sentence": o.sentence}
            for o in evaluation.overlaps
        ],
        "material": asdict(evaluation.material),
        "settings": evaluation.settings,
        "prevalence": evaluation.prevalence,
        "findings": [_finding(finding) for finding in evaluation.findings],
    }
    report: Json = _known(raw)
    report["guidelines"] = _guidelines(report)
    return report


def notices_of(evaluation: "Evaluation") -> list[str]:
    """What every output says first."""
    models = [evaluation.model, evaluation.second_model]
    notices = [DEMONSTRATION] if any(m is not None and m.demonstration for m in models) else []
    notices += dict.fromkeys(o.sentence for o in evaluation.overlaps if o.patients or not o.checked)
    failed = sum(evaluation.material.failed.values())
    if failed:
        notices.append(
            f"{failed:,} of {evaluation.material.labelled_films:,} labelled films could not be "
            "screened. They are counted, and count as wrong in the worst case."
        )
    if evaluation.error is not None:
        notices.append(str(evaluation.error))
    return [*notices, RESEARCH]


def write_report(evaluation: "Evaluation", out: Path) -> None:
    """Write page and figures aside, and put them in the place of an earlier report.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    report = report_json(evaluation)
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    page = _page(report, evaluation.findings)
    out = out.expanduser().absolute()
    aside, old = (out.with_name(f".{out.name}.{kind}-{os.getpid()}") for kind in ("new", "old"))
    try:
        aside.mkdir(parents=True)
        for name, content in ((FIGURES, text), (PAGE, page)):
            with (aside / name).open("w", encoding="utf-8", errors="replace") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if out.exists():
            out.rename(old)
        aside.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise StorageError(f"The report {out} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _finding(finding: "FindingEvaluation") -> Json:
    raw = asdict(finding)
    raw["levels"] = {level["level"]: level for level in raw["levels"]}
    return raw


def _model(raw: Json) -> Json:
    """A checkpoint's description; of its provenance what is short, without paths and commands."""
    provenance = {k: v for k, v in raw["trained_with"].items() if k not in _NOT_SHOWN}
    settings = raw["trained_with"].get("configuration")
    if isinstance(settings, dict) and "train" in settings:
        provenance["settings"] = settings["train"]
    flat: Json = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else str(key), inner)
        elif isinstance(value, bool | int | float):
            flat[name] = value
        elif isinstance(value, str) and not {"/", "\\"} & set(value):
            flat[name] = value[:_LONGEST_TEXT]

    walk("", provenance)
    return raw | {"trained_with": dict(list(flat.items())[:_MOST_PROVENANCE])}


def _known(value: Any) -> Any:
    """The same with null for what is not a number."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_known(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@lru_cache(maxsize=1)
def reporting_items() -> Json:
    """CLAIM 2024 and TRIPOD+AI: their items, in our words, and what fills them."""
    text = files("vfscreen.jobs").joinpath("reporting_items.toml").read_text("utf-8")
    return tomllib.loads(text)


def _guidelines(report: Json) -> list[Json]:
    """The items with what this evaluation says of them."""
    environment = _environment(escape=False)
    first = report["findings"][0]
    bound = {
        "r": report,
        "f": first,
        "film": first["levels"]["film"],
        "study": first["levels"]["study"],
    }
    return [
        {
            "key": guideline["key"],
            "name": guideline["name"],
            "cite": guideline["cite"],
            "items": [
                {
                    "id": item["id"],
                    "section": item["section"],
                    "item": item["item"],
                    "by": item["by"],
                    "says": environment.from_string(item.get("says", "")).render(bound).strip(),
                    "site": item.get("site", ""),
                }
                for item in guideline["items"]
            ],
        }
        for guideline in reporting_items()["guideline"]
    ]


def _page(report: Json, findings: "list[FindingEvaluation]") -> str:
    template = files("vfscreen.jobs").joinpath("evaluation.html.jinja").read_text("utf-8")
    plots = [_plots(finding) for finding in findings]
    return _environment(escape=True).from_string(template).render(r=report, plots=plots)


def _plots(finding: "FindingEvaluation") -> dict[str, str]:
    """Plot name to an SVG as a data URI: as an image, nothing in it can act.

    All by film, and the ROC curve by study where studies are not films.
    """
    from vfscreen.jobs.evaluation_plots import (
        calibration_plot,
        decision_plot,
        histogram_plot,
        precision_recall_plot,
        roc_plot,
    )

    film, study = finding.levels
    if film.curves is None:
        return {}
    drawn = {
        "roc": roc_plot(film, finding.readers),
        "precision_recall": precision_recall_plot(film),
        "calibration": calibration_plot(film),
        "histogram": histogram_plot(film),
        "decision": decision_plot(film),
    }
    if study.curves is not None and (study.units != film.units or finding.readers is not None):
        drawn["study_roc"] = roc_plot(study, finding.readers)
    prefix = "data:image/svg+xml;base64,"
    return {name: prefix + base64.b64encode(s.encode()).decode() for name, s in drawn.items()}


def _environment(*, escape: bool) -> "Environment":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        n=_count, e=_estimate, i=_interval, pc=_percent, pi=_percent_interval, p=_p_value, d=_signed
    )
    return environment


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _estimate(of: Json | None, digits: int = 3) -> str:
    """Value and interval."""
    if of is None or of["value"] is None:
        return "–"
    return f"{of['value']:.{digits}f} {_interval(of, digits)}".strip()


def _interval(of: Json | None, digits: int = 3) -> str:
    if of is None or of["low"] is None or of["high"] is None:
        return ""
    return f"({of['low']:.{digits}f} to {of['high']:.{digits}f})".replace(" ", _NO_BREAK)


def _percent(of: Json | None) -> str:
    if of is None or of["value"] is None:
        return "–"
    return f"{100 * of['value']:.1f}{_NO_BREAK}% {_percent_interval(of)}".strip()


def _percent_interval(of: Json | None) -> str:
    if of is None or of["low"] is None or of["high"] is None:
        return ""
    return f"({100 * of['low']:.1f} to {100 * of['high']:.1f})".replace(" ", _NO_BREAK)


def _signed(of: Json | None, scale: float = 1.0, digits: int = 3) -> str:
    """A difference and its interval, with the sign."""
    if of is None or of["value"] is None:
        return "–"
    value, low, high = (
        "" if of[key] is None else f"{round(scale * of[key], digits) + 0.0:+.{digits}f}"
        for key in ("value", "low", "high")
    )
    if not low or not high:
        return value.replace("-", "−")
    interval = f"({low} to {high})".replace(" ", _NO_BREAK)
    return f"{value} {interval}".replace("-", "−")


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
