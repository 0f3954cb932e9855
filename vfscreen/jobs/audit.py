"""Audits: draw a sample of every stratum, take its readings back, estimate the whole archive."""

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.config import Config
from vfscreen.errors import InputError, UsageError
from vfscreen.jobs.flag import listing_threshold
from vfscreen.results.audits import (
    Plan,
    Stratum,
    current_readings,
    drawn_studies,
    population,
    record_audit,
    record_readings,
    said,
)
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results, add_missing_folders, existing_results
from vfscreen.results.reading_list import (
    Reading,
    Refused,
    Unread,
    read_reading_list,
    write_reading_list,
)
from vfscreen.results.sql import ask, fetch

if TYPE_CHECKING:
    import duckdb

    from vfscreen.model.survey import Figure

NOT_REPORTED = ("uncertain", "ambiguous", "denied", "not_mentioned")
_LINES_SHOWN = 20
_LEAST_RATE = 0.02
"""A stratum whose probabilities are all near 0 or 1 is still drawn from: they may be wrong."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What to draw: so many of each stratum, or so many in all by an allocation."""

    per_stratum: int | None = None
    total: int | None = None
    allocation: str = "neyman"
    seed: int | None = None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class DrawnStratum:
    """A stratum of an audit and how many of its studies were drawn."""

    above: bool
    report_status: str
    studies: int
    sampled: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """An audit that was drawn. `undated`: studies left out of a period for want of a date."""

    audit_id: str
    seed: int
    threshold: float
    strata: list[DrawnStratum]
    undated: int


def draw_audit(results_path: Path, config: Config, request: Draw, out: Path) -> Drawn:
    """`vfscreen audit draw`: sample every stratum, keep the sample, write the reading list.

    Raises
    ------
    UsageError
        Nothing was screened, the sample is too small, or the list may not be where it is wanted.
    StorageError
        The sample cannot be kept; then there is no list either.
    """
    results = _writable(results_path)
    now, seed = datetime.now(UTC), request.seed
    plan = Plan(
        audit_id=f"audit-{now:%Y%m%d}-{secrets.token_hex(3)}",
        finding=config.list.finding,
        threshold=listing_threshold(results, config),
        since=request.since,
        until=request.until,
        allocation=request.allocation if request.per_stratum is None else "per_stratum",
        seed=secrets.randbelow(1_000_000_000) if seed is None else seed,
    )
    with connect(results) as catalogue:
        _refuse_inside_archive(catalogue, out)
        with population(catalogue, plan) as studies:
            if not studies.strata:
                raise UsageError("No study was screened in this period: nothing can be drawn.")
            sampled = _sampled(studies.strata, request)
            rows = studies.draw(sampled)
            strata, undated = studies.strata, studies.undated
    write_reading_list(out, plan.audit_id, plan.finding, rows.to_pylist())
    try:
        record_audit(results, rows)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    drawn = [
        DrawnStratum(s.above, s.report_status, s.studies, n)
        for s, n in zip(strata, sampled, strict=True)
    ]
    return Drawn(plan.audit_id, plan.seed, plan.threshold, drawn, undated)


def _writable(results_path: Path) -> Results:
    """The results folder, with the folders that this version adds to it, all published."""
    results = existing_results(results_path)
    add_missing_folders(results)
    publish(results)
    return results


def _refuse_inside_archive(catalogue: "duckdb.DuckDBPyConnection", out: Path) -> None:
    from vfscreen.archive.walk import decode_path

    roots = fetch(catalogue, "select distinct archive_root from parts.manifest")["archive_root"]
    place = out.expanduser().resolve()
    if any(place.is_relative_to(decode_path(root)) for root in roots.to_pylist()):
        raise UsageError("The reading list may not be put into the archive: name another folder.")
    if not place.parent.is_dir():
        raise UsageError(f"There is no folder {place.parent}: make it, or name another.")


def _sampled(strata: list[Stratum], request: Draw) -> list[int]:
    """How many to draw from each stratum."""
    import numpy as np

    from vfscreen.model.survey import allocate

    if (request.per_stratum is None) == (request.total is None):
        raise UsageError("Say how many to draw: either --films-per-stratum or --films.")
    if request.per_stratum is not None:
        return [min(s.studies, request.per_stratum) for s in strata]
    assert request.total is not None
    expected = np.clip([s.mean_probability for s in strata], _LEAST_RATE, 1 - _LEAST_RATE)
    spread = np.sqrt(expected * (1 - expected))
    sizes = [s.studies for s in strata]
    try:
        return [int(n) for n in allocate(sizes, request.total, request.allocation, spread)]
    except ValueError:
        raise UsageError(
            f"--films {request.total} is too few for {len(strata)} strata: two of each are needed."
        ) from None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the lines of a reading list."""

    imported: int
    changed: int
    already_there: int
    left_empty: int


def import_readings(results_path: Path, source: Path, reader: str) -> Imported:
    """`vfscreen audit import`: take readings back, all of a file or none of it.

    A reading that is there already is left alone; one that its reader has changed counts from now
    on, and the earlier one is kept.

    Raises
    ------
    InputError
        A line cannot be taken; the message names the lines and repeats nothing of them.
    """
    results = _writable(results_path)
    with connect(results) as catalogue:
        audits = fetch(catalogue, "select audit_id, finding from audit_progress").to_pylist()
        if not audits:
            raise UsageError(_NO_AUDIT)
        findings = {row["audit_id"]: row["finding"] for row in audits}
        drawn, known = drawn_studies(catalogue), current_readings(catalogue)
    lines = list(_checked(read_reading_list(source, findings, reader), drawn))
    refused = [line for line in lines if isinstance(line, Refused)]
    if refused:
        raise InputError(_refusal(refused))
    readings = [line for line in lines if isinstance(line, Reading)]
    # A line that stands there twice is one reading.
    new = {_key(r): r for r in readings if known.get(_key(r)) != said(r)}
    record_readings(results, list(new.values()))
    changed = sum(key in known for key in new)
    return Imported(
        imported=len(new) - changed,
        changed=changed,
        already_there=len(readings) - len(new),
        left_empty=sum(isinstance(line, Unread) for line in lines),
    )


def _key(reading: Reading) -> tuple[str, str, str]:
    return reading.audit_id, reading.study_instance_uid, reading.reader


def _checked(
    lines: Iterable[Reading | Unread | Refused], drawn: set[tuple[str, str]]
) -> Iterable[Reading | Unread | Refused]:
    """Refuse readings of studies that were not drawn, and a reader who says two things at once."""
    before: dict[tuple[str, str, str], Reading] = {}
    for line in lines:
        if not isinstance(line, Reading):
            yield line
        elif (line.audit_id, line.study_instance_uid) not in drawn:
            yield Refused(line.line, "names a study that was not drawn for its audit")
        elif said(first := before.setdefault(_key(line), line)) != said(line):
            yield Refused(line.line, f"says otherwise than line {first.line} by the same reader")
        else:
            yield line


def _refusal(refused: list[Refused]) -> str:
    shown = [f"  line {r.line} {r.message}" for r in refused[:_LINES_SHOWN]]
    if len(refused) > _LINES_SHOWN:
        shown.append(f"  and {len(refused) - _LINES_SHOWN:,} more")
    lines = "1 line is" if len(refused) == 1 else f"{len(refused):,} lines are"
    return "\n".join([f"Nothing was imported: {lines} not understood. Mend and repeat.", *shown])


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of the archive with its 95 % interval and bounds; see model.survey.Estimated.

    A share in 0..1, or a number of studies.
    """

    measure: str
    value: float
    standard_error: float
    low: float
    high: float
    lowest: float
    highest: float
    is_share: bool


@dataclass(frozen=True, slots=True)
class AuditEstimate:
    """What an audit says of the archive; `strata` are rows of sql/audit_counts.sql."""

    progress: dict[str, Any]
    strata: list[dict[str, Any]]
    measures: list[Measure]


_NO_AUDIT = "No audit was drawn in this results folder: `vfscreen audit draw` draws one."


def estimate_audit(results_path: Path, audit_id: str | None) -> AuditEstimate:
    """`vfscreen audit estimate`: the figures of the archive from an audit's readings.

    Parameters
    ----------
    audit_id
        None: the audit that was drawn last.

    Raises
    ------
    UsageError
        There is no such audit, or nothing of it was read.
    """
    import numpy as np

    from vfscreen.model.survey import Estimator, Sample

    results = existing_results(results_path)
    if not (results.path / "audits").is_dir():  # made by an earlier version
        raise UsageError(_NO_AUDIT)
    with connect(results) as catalogue:
        audits = fetch(catalogue, "select * from audit_progress order by drawn_at").to_pylist()
        if not audits:
            raise UsageError(_NO_AUDIT)
        chosen = [a for a in audits if audit_id in (None, a["audit_id"])]
        if not chosen:
            known = ", ".join(a["audit_id"] for a in audits)
            raise UsageError(f"There is no such audit here; there are: {known}.")
        progress = chosen[-1]
        strata = ask(catalogue, "audit_counts", audit_id=progress["audit_id"]).to_pylist()
    if not progress["clear"]:
        raise UsageError(
            f"Nothing of {progress['audit_id']} was read yet: fill in its reading list, then "
            "`vfscreen audit import`."
        )
    names = ("studies", "sampled", "with_finding", "without")
    sample = Sample(*(np.array([s[name] for s in strata], np.int64) for name in names))
    estimator = Estimator(sample)
    measures = [
        Measure(name, **asdict(estimator.estimate(figure)), is_share=figure.among is not None)
        for name, figure in _figures(strata).items()
    ]
    return AuditEstimate(progress, strata, measures)


def _figures(strata: list[dict[str, Any]]) -> "dict[str, Figure]":
    """What is estimated, over these strata; docs/audit.md says what each is."""
    import numpy as np

    from vfscreen.model.survey import Figure

    above = np.array([s["above"] for s in strata])
    status = np.array([s["report_status"] for s in strata])
    everything = np.ones(len(strata), bool)
    with_report = status != "no_report"
    reported, unreported = status == "reported", np.isin(status, NOT_REPORTED)
    listed = above & unreported
    by_status = {
        f"report_{name}": Figure(True, status == name, with_report)
        for name in NOT_REPORTED
        if (status == name).any()
    }
    return {
        "prevalence": Figure(True, everything, everything, True),
        "reporting_rate": Figure(True, reported, with_report),
        **by_status,
        "unreported": Figure(True, unreported, None),
        "unreported_below": Figure(True, unreported & ~above, None),
        "sensitivity": Figure(True, above, everything),
        "sensitivity_reported": Figure(True, above & reported, reported),
        "sensitivity_unreported": Figure(True, listed, unreported),
        "specificity": Figure(False, ~above, everything),
        "ppv": Figure(True, above, above, True),
        "ppv_unreported_list": Figure(True, listed, listed, True),
        "npv": Figure(False, ~above, ~above, True),
    }
