"""What each command shows of its result: tables that read well on a terminal and in a journal."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from vfscreen.cli.rows import print_rows, print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from vfscreen.jobs.demo import Demonstration
    from vfscreen.jobs.doctor import Check
    from vfscreen.jobs.listing import StatusOfResults
    from vfscreen.model.checkpoint import CheckpointInfo
    from vfscreen.phantom.archive import PhantomSummary
    from vfscreen.results.ledger import Ledger

NOTICE = (
    "A research tool that ranks films for a human reader; not a diagnostic device. "
    "A probability is a reason to look, never a finding."
)
DEMONSTRATION = "Made with the phantom demonstration model: it knows nothing about real patients."


def print_scan(ledger: "Ledger") -> None:
    """Counts by reason."""
    rows: list[list[Any]] = [["eligible", ledger.not_reached]]
    rows += [[f"excluded: {words(k)}", n] for k, n in _by_count(ledger.excluded)]
    rows += [[f"failed: {words(k)}", n] for k, n in _by_count(ledger.failed)]
    rows.append(["found", ledger.found])
    print_table(["instances", "count"], rows)


def print_screen(ledger: "Ledger") -> None:
    """The summary at the end of a nightly run."""
    rows: list[list[Any]] = [
        ["screened", ledger.screened],
        ["already done", ledger.already_done],
        ["not reached", ledger.not_reached],
    ]
    rows += [[f"excluded: {words(k)}", n] for k, n in _by_count(ledger.excluded)]
    rows += [[f"failed: {words(k)}", n] for k, n in _by_count(ledger.failed)]
    rows.append(["found", ledger.found])
    print_table(["instances", "count"], rows)
    print_stages(ledger)
    print_flag(ledger)


def print_stages(ledger: "Ledger") -> None:
    """Where the time went, and what the canary found."""
    rows = [
        [
            name, round(s.seconds, 2), round(s.cpu_seconds, 2) or None,
            round(s.bytes / 1e6) or None, s.films or None, _rate(s.films, s.seconds),
        ]
        for name, s in ledger.stages.items()
    ]  # fmt: skip
    if rows:
        print_table(["stage", "seconds", "busy", "MB", "films", "films/s"], rows)
    canary = ledger.canary
    if canary.compared or canary.not_comparable:
        typer.echo(
            f"Canary: {canary.compared:,} films compared with the plain reference, "
            f"{canary.beyond_bound:,} beyond the bound; worst difference "
            f"{canary.worst_mean_difference:.2%} of the range on average, "
            f"{canary.worst_pixel_difference:.1%} at a pixel."
        )


def print_syntaxes(ledger: "Ledger") -> None:
    """What films of each transfer syntax cost to read and decode, the dearest first."""
    from pydicom.uid import UID

    by_cost = sorted(ledger.transfer_syntaxes.items(), key=lambda item: -item[1].cpu_seconds)
    rows = [
        [
            UID(uid).name, s.films, round(s.bytes / 1e6), round(s.cpu_seconds, 2),
            round(1000 * s.cpu_seconds / s.films, 1),
        ]
        for uid, s in by_cost
        if s.films
    ]  # fmt: skip
    print_table(["transfer syntax", "films", "MB read", "busy", "busy ms/film"], rows)


def print_flag(ledger: "Ledger") -> None:
    """What moved on the list."""
    if ledger.reports:
        print_reports(ledger)
    else:
        print_unmatched_counts(ledger)
    moved = ", ".join(f"{n:,} {words(state)}" for state, n in ledger.flags.items())
    typer.echo(f"Studies that moved on the list: {moved or 'none'}.")
    if ledger.heatmaps_rendered:
        typer.echo(f"Heatmaps rendered: {ledger.heatmaps_rendered:,}.")
    typer.echo(f"{NOTICE}\n`vfscreen flagged` shows the list, worklist.html the films.")


def print_reports(ledger: "Ledger") -> None:
    """What was imported."""
    counts = ", ".join(f"{n:,} {words(state)}" for state, n in ledger.reports.items() if n)
    typer.echo(f"Reports: {counts or 'nothing new'}.")
    print_unmatched_counts(ledger)


def print_unmatched_counts(ledger: "Ledger") -> None:
    """How many reports belong to no study, by reason; nothing where all do."""
    if ledger.unmatched_reports:
        why = ", ".join(f"{n:,} {words(r)}" for r, n in _by_count(ledger.unmatched_reports))
        typer.echo(
            f"Reports that belong to no study known so far: {why}. "
            "`vfscreen reports unmatched` says more."
        )


_LIST_COLUMNS = {
    "rank": "rank",
    "patient_id": "patient",
    "patient_age": "age",
    "patient_sex": "sex",
    "study_date": "study date",
    "accession_number": "accession",
    "probability": "prob.",
    "report_status": "report says",
    "known_elsewhere": "known",
}


def print_list(table: "pa.Table", format: str) -> None:
    """The ranked list; the table shows the columns that a nurse works with."""
    if format != "table":
        print_rows(table, format)
        return
    if table.num_rows == 0:
        typer.echo("Nobody is on this list.")
    else:
        shown = table.select(list(_LIST_COLUMNS))
        rows = [list(row.values()) for row in shown.to_pylist()]
        for row in rows:
            row[7] = words(row[7])
        print_table(list(_LIST_COLUMNS.values()), rows)
        typer.echo("known: a fracture of the patient is on record elsewhere.")
        if any(table["demonstration"].to_pylist()):
            typer.echo(DEMONSTRATION)
    typer.echo(NOTICE)


def print_status(status: "StatusOfResults") -> None:
    """The last runs, and failures by reason."""
    columns = [
        "run", "command", "began (UTC)", "minutes", "found", "screened", "excluded", "failed",
        "already done", "not reached", "ended (exit code)",
    ]  # fmt: skip
    rows = [
        [
            ledger.run_id,
            ledger.command,
            ledger.started_at.replace("T", " ")[:16],
            _minutes(ledger),
            ledger.found,
            ledger.screened,
            sum(ledger.excluded.values()),
            sum(ledger.failed.values()),
            ledger.already_done,
            ledger.not_reached,
            ledger.outcome
            if ledger.exit_code is None
            else f"{ledger.outcome} ({ledger.exit_code})",
        ]
        for ledger in status.ledgers
    ]
    if not rows:
        typer.echo("Nothing has been run in this results folder yet.")
        return
    print_table(columns, rows)
    screening = next((ledger for ledger in status.ledgers if ledger.transfer_syntaxes), None)
    if screening is not None:
        typer.echo(f"Where the time of {screening.run_id} went:")
        print_stages(screening)
        print_syntaxes(screening)
    matching = next((ledger for ledger in status.ledgers if "match" in ledger.stages), None)
    if matching is not None:
        print_unmatched_counts(matching)
    if status.failures.num_rows:
        print_rows(status.failures, "table")
    if status.failed_files is not None:
        print_rows(status.failed_files, "table")


def _rate(films: int, seconds: float) -> float | None:
    return round(films / seconds, 1) if films and seconds else None


def _ending(ledger: "Ledger") -> str:
    return f"{ledger.outcome} ({ledger.exit_code})" if ledger.ended_at else ledger.outcome


def _minutes(ledger: "Ledger") -> float | None:
    if ledger.ended_at is None:
        return None
    began, ended = (datetime.fromisoformat(t) for t in (ledger.started_at, ledger.ended_at))
    return round((ended - began).total_seconds() / 60, 1)


def print_doctor(checks: "list[Check]") -> bool:
    """All checks; whether everything that the nightly job needs works."""
    print_table(
        ["check", "works", "detail"],
        [[c.what, "yes" if c.works else "NO", c.detail] for c in checks],
    )
    missing = [c.what for c in checks if c.needed and not c.works]
    if missing:
        typer.echo(f"vfscreen cannot screen on this machine: {', '.join(missing)} must work.")
    return not missing


def print_checkpoint(info: "CheckpointInfo", *, card: bool) -> None:
    """What a checkpoint says about itself."""
    spec = info.preprocessing
    rows: list[list[Any]] = [
        ["name", info.name],
        ["clinical use", "none: phantom demonstration model" if info.demonstration else "see card"],
        ["architecture", info.architecture],
        ["findings", ", ".join(info.findings)],
        ["input", f"{spec.input_size_px} px square, {spec.interpolation}, {spec.aspect}"],
        ["normalisation", f"mean {spec.mean}, std {spec.std}"],
        ["networks", f"{info.members}, their logits averaged" if info.members > 1 else "1"],
        ["mirrored film", "averaged in" if info.flip else "not used"],
        ["locator", "finds the spine first" if info.locator else "none: the whole film is seen"],
        ["training patients", _training_patients(info)],
        ["reference for drift", ", ".join(info.reference or ()) or "none"],
    ]  # fmt: skip
    for finding in info.findings:
        calibration = info.calibration[finding]
        rows.append(
            [
                f"calibration of {finding}",
                f"{calibration.method}, slope {calibration.slope:.3f}, "
                f"intercept {calibration.intercept:.3f}"
                + (f", {len(calibration.knots)} knots" if calibration.knots else ""),
            ]
        )
        rows += [
            [f"operating point {name}", f"probability {threshold:.3f}"]
            for name, threshold in info.operating_points[finding].items()
        ]
    told = info.provenance.get("calibration")
    if isinstance(told, dict) and "seen_in_training" in told:
        rows.append(["calibrated on the site's films", told["seen_in_training"]])
    rows += [["model_sha256", info.model_sha256], ["checkpoint_sha256", info.checkpoint_sha256]]
    print_table(["checkpoint", ""], rows)
    if card:
        typer.echo(info.model_card)


def _training_patients(info: "CheckpointInfo") -> str:
    known = info.training_patients
    if known is None:
        return "not known"
    return f"{len(known.hashes)}, by hashes of key {known.key_id}"


def print_phantom(summary: "PhantomSummary") -> None:
    """What was made."""
    from dataclasses import asdict

    rows: list[list[Any]] = []
    for name, value in asdict(summary).items():
        if isinstance(value, dict):
            rows += [[f"{words(name)}: {words(key)}", count] for key, count in value.items()]
        else:
            rows.append([words(name), value])
    print_table(["phantom archive", "count"], rows)


def print_demo(demo: "Demonstration") -> None:
    """The run, the first rows of the list, and where to look."""
    print_screen(demo.outcome.ledger)
    print_list(demo.listed, "table")
    results = demo.folder / "results"
    typer.echo(f"\nFilms, heatmaps and reports side by side: {results / 'worklist.html'}")
    typer.echo(f"The whole list: vfscreen flagged --results {results}")


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def words(name: str) -> str:
    return str(name).replace("_", " ")
