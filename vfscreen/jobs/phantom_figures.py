"""Hold screened phantom films against their truth: the figures of the model card.

The only job that reads a truth file; no other job may know that one exists. Run by
`python -m vfscreen.jobs.phantom_figures RESULTS TRUTH`: a site has no truth file, and evaluates by
`vfscreen evaluate`.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from vfscreen.errors import InputError
from vfscreen.results.catalogue import connect
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import fetch

UNREPORTED = ("not_mentioned", "denied", "ambiguous", "uncertain")
ROWS_PER_TRUE_PATIENT = 1.5


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total`, with its Wilson interval."""

    count: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Area:
    """Area under the ROC curve with its DeLong interval; `positives` against `negatives`."""

    positives: int
    negatives: int
    auc: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PhantomFigures:
    """What the demonstration checkpoint does on phantoms it has never seen."""

    studies: int
    films_not_screened: int
    areas: dict[str, Area] = field(default_factory=dict)
    pairs: dict[str, Rate] = field(default_factory=dict)
    heatmaps: dict[str, Rate] = field(default_factory=dict)
    sensitivity: dict[str, Rate] = field(default_factory=dict)
    listed: Rate | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as plain objects."""
        return asdict(self)


_STUDIES = """
select
    truth.study_instance_uid,
    any_value(truth.pair) as pair,
    any_value(truth.variant) as variant,
    bool_or(truth.drawn) as drawn,
    bool_or(truth.vertebral_fracture) as fractured,
    max(list_max(truth.grades)) as grade,
    max(predictions.probability) as probability,
    max(predictions.logit) as logit
from read_parquet($truth) as truth
inner join predictions on truth.sop_instance_uid = predictions.sop_instance_uid
group by truth.study_instance_uid
"""

_MISSING = """
select count(*) as films from read_parquet($truth) as truth
anti join predictions on truth.sop_instance_uid = predictions.sop_instance_uid
where truth.eligible
"""

_PEAKS = """
select
    list_max(truth.grades) as grade,
    truth.vertebra_height_px as allowed_px,
    heatmaps.peak_column_px as x,
    heatmaps.peak_row_px as y,
    truth.boxes
from heatmaps
inner join read_parquet($truth) as truth
    on heatmaps.sop_instance_uid = truth.sop_instance_uid
where truth.vertebral_fracture
"""

_LISTED = """
with truth as (
    select
        patient_id,
        bool_or(vertebral_fracture and list_contains($statuses, report_status)) as wanted
    from read_parquet($truth) where drawn and eligible group by patient_id
)
select
    count(*) filter (where truth.wanted) as total,
    count(*) filter (
        where truth.wanted and flagged.rank <= $rows_per_patient * (
            select count(*) from truth as t where t.wanted
        )
    ) as listed
from truth left join flagged
    on truth.patient_id = flagged.patient_id and flagged.list = 'unreported'
"""


_THRESHOLD = """
select threshold from checkpoints where operating_point = 'default'
order by registered_at desc limit 1
"""


def phantom_figures(results_path: Path, truth: Path) -> PhantomFigures:
    """Compare a results folder with the truth of the phantom archive that it screened.

    Raises
    ------
    InputError
        None of the truth's films was screened.
    """
    with connect(existing_results(results_path)) as catalogue:
        bound = {"truth": str(truth)}
        studies = fetch(catalogue, _STUDIES, bound).to_pylist()
        missing = fetch(catalogue, _MISSING, bound)["films"][0].as_py()
        peaks = fetch(catalogue, _PEAKS, bound).to_pylist()
        wanted = {"statuses": list(UNREPORTED), "rows_per_patient": ROWS_PER_TRUE_PATIENT}
        (listed,) = fetch(catalogue, _LISTED, bound | wanted).to_pylist()
        (threshold,) = fetch(catalogue, _THRESHOLD)["threshold"].to_pylist()
    if not studies:
        raise InputError("None of the films in the truth file has been screened in this folder.")
    drawn = [s for s in studies if s["drawn"]]
    return PhantomFigures(
        studies=len(drawn),
        films_not_screened=missing,
        areas=_areas(drawn),
        pairs=_pairs(studies),
        heatmaps=_peaks(peaks),
        sensitivity=_sensitivity(drawn, threshold),
        listed=_rate(listed["listed"], listed["total"]) if listed["total"] else None,
    )


def _rate(count: int, total: int) -> Rate:
    from vfscreen.model.statistics import share

    if total == 0:
        return Rate(0, 0, float("nan"), float("nan"), float("nan"))
    estimate = share(count, total)
    return Rate(count, total, estimate.value, estimate.low, estimate.high)


def _areas(drawn: list[dict[str, Any]]) -> dict[str, Area]:
    from vfscreen.model.statistics import auc_interval

    groups = {"grade 1": {1}, "grade 2": {2}, "grade 3": {3}, "grades 2 and 3": {2, 3}}
    negatives = [s["logit"] for s in drawn if not s["fractured"]]
    areas = {}
    for name, grades in groups.items():
        positives = [s["logit"] for s in drawn if s["fractured"] and s["grade"] in grades]
        if positives and negatives:
            labels = [1] * len(positives) + [0] * len(negatives)
            area = auc_interval(positives + negatives, labels)
            areas[name] = Area(len(positives), len(negatives), area.value, area.low, area.high)
    return areas


def _pairs(studies: list[dict[str, Any]]) -> dict[str, Rate]:
    """How often a variant's probability exceeds that of the same patient without a finding."""
    by_pair: dict[int, dict[str, dict[str, Any]]] = {}
    for study in studies:
        by_pair.setdefault(study["pair"], {})[study["variant"]] = study
    compared: dict[str, list[bool]] = {}
    for variants in by_pair.values():
        plain = variants.get("plain")
        for name, study in variants.items():
            if plain is None or name == "plain":
                continue
            raised = study["logit"] > plain["logit"]
            compared.setdefault(f"{name} raises", []).append(raised)
            if name == "fracture":
                compared.setdefault(f"fracture of grade {study['grade']} raises", []).append(raised)
    return {name: _rate(sum(raised), len(raised)) for name, raised in sorted(compared.items())}


def _peaks(peaks: list[dict[str, Any]]) -> dict[str, Rate]:
    """How often the Grad-CAM maximum lies within one vertebra height of a fractured vertebra."""
    near: dict[str, list[bool]] = {}
    for peak in peaks:
        hit = any(
            _distance(peak["x"], peak["y"], box) <= peak["allowed_px"] for box in peak["boxes"]
        )
        near.setdefault("all", []).append(hit)
        near.setdefault(f"grade {peak['grade']}", []).append(hit)
    return {name: _rate(sum(hits), len(hits)) for name, hits in sorted(near.items())}


def _distance(x: float, y: float, box: dict[str, float]) -> float:
    """From a point to a box, 0 inside it; pixels."""
    dx = max(box["x0"] - x, 0.0, x - box["x1"])
    dy = max(box["y0"] - y, 0.0, y - box["y1"])
    return float((dx * dx + dy * dy) ** 0.5)


def _sensitivity(drawn: list[dict[str, Any]], threshold: float) -> dict[str, Rate]:
    """Sensitivity by grade and specificity, at the default operating point."""
    rates = {}
    for grade in (1, 2, 3):
        hits = [
            s["probability"] >= threshold for s in drawn if s["fractured"] and s["grade"] == grade
        ]
        rates[f"sensitivity, grade {grade}"] = _rate(sum(hits), len(hits))
    clear = [s["probability"] < threshold for s in drawn if not s["fractured"]]
    return rates | {"specificity": _rate(sum(clear), len(clear))}


def card(figures: PhantomFigures) -> str:
    """The table of the model card, as Markdown."""
    rows = [
        (f"AUC, {name}", f"{a.auc:.3f} ({a.low:.3f} to {a.high:.3f})", a.positives, "against",
         a.negatives)
        for name, a in figures.areas.items()
    ]  # fmt: skip
    rates = figures.sensitivity | figures.pairs
    rates |= {
        f"Grad-CAM maximum on a fractured vertebra, {name}": rate
        for name, rate in figures.heatmaps.items()
    }
    if figures.listed is not None:
        rates["listed in the first 1.5 N rows"] = figures.listed
    rows += [
        (name, f"{r.share:.1%} ({r.low:.1%} to {r.high:.1%})", r.count, "of", r.total)
        for name, r in rates.items()
    ]
    lines = [f"| {name} | {value} | {n} {word} {m} |" for name, value, n, word, m in rows]
    return "\n".join(["| figure | value (95 % interval) | of |", "|---|---|---|", *lines])


def _command(
    results: Annotated[Path, typer.Argument(help="a results folder")],
    truth: Annotated[Path, typer.Argument(help="the phantom's truth.parquet", exists=True)],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """The figures of the model card, as Markdown."""
    figures = phantom_figures(results, truth)
    if as_json:
        print(json.dumps(figures.to_json(), indent=1))
        return
    print(card(figures))
    print(
        f"\n{figures.studies:,} studies; {figures.films_not_screened:,} eligible films were not "
        "screened. Phantoms only: nothing here is about patients."
    )


if __name__ == "__main__":
    typer.run(_command)
