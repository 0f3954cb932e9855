"""Bring the manifest of an archive up to date; decodes nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from vfscreen.archive.manifest import ELIGIBLE
from vfscreen.archive.scan import NOT_REACHED, ScanResult, scan
from vfscreen.archive.walk import archive_root
from vfscreen.config import Config
from vfscreen.errors import FailureReason, InterruptedRunError, Stage, UsageError
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run, open_run
from vfscreen.jobs.stopping import StopRequest, stop_on_signals
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results
from vfscreen.results.ledger import Ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import Failure, failures_table
from vfscreen.results.sql import ask

if TYPE_CHECKING:
    import pyarrow as pa


def run_scan(archive: Path, results_path: Path, config: Config) -> Ledger:
    """`vfscreen scan`: headers only.

    Raises
    ------
    ArchiveError
        The archive cannot be reached.
    """
    refuse_nesting(archive, results_path)
    stop = StopRequest()
    with stop_on_signals(stop), open_run(results_path, "scan", config) as run:
        scanned = scan_archive(run, archive, config, stop)
        # Nothing is decoded here: what could be screened is left for `vfscreen screen`.
        run.ledger.not_reached += scanned.counts[ELIGIBLE]
        if stop():
            raise InterruptedRunError("Stopped early; the next scan goes on.")
        return run.ledger


def refuse_nesting(archive: Path, results_path: Path) -> None:
    """The results folder must not lie in the archive, nor the archive in it.

    Raises
    ------
    UsageError
        One lies in the other: the next scan would find the results, or results be exposed.
    """
    a, r = archive.resolve(), results_path.resolve()
    if a == r or a in r.parents or r in a.parents:
        raise UsageError("The results folder and the archive must not lie in one another.")


def scan_archive(run: Run, archive: Path, config: Config, stop: StopRequest) -> ScanResult:
    """Scan, write the manifest's new rows and the scan's failures, and fill in the ledger."""
    with run.timed("scan") as stage, progress("scanning", unit="files") as show:
        known = _known(run.results, archive)
        scanned = scan(
            archive,
            known,
            config,
            run_id=run.run_id,
            hash_key=run.hash,
            progress=show,
            stop=stop,
        )
        stage.films += scanned.found
    failures = _failures(run, scanned)
    with run.timed("write"):
        write_part(run.results, "manifest", scanned.new_rows)
        write_part(run.results, "failures", failures_table(failures, run.run_id))
        publish(run.results)
    _count(run.ledger, scanned, failures)
    return scanned


def _known(results: Results, archive: Path) -> "pa.Table":
    with connect(results) as catalogue:
        return ask(catalogue, "known_files", archive_root=archive_root(archive))


def _failures(run: Run, scanned: ScanResult) -> list[Failure]:
    """What this run could not read: headers, and folders."""
    new = scanned.new_rows
    # A file that vanished keeps the reason for which it once failed.
    failed = pc.and_(pc.is_valid(new["failure_reason"]), pc.is_null(new["exclusion_reason"]))
    rows = new.filter(failed).select(
        ["instance_key", "sop_instance_uid", "content_fingerprint", "failure_reason"]
    )
    failures = [
        _failure(row["instance_key"], FailureReason(row["failure_reason"]), row)
        for row in rows.to_pylist()
    ]
    return failures + [
        _failure(run.hash(folder.archive_path), folder.reason, {})
        for folder in scanned.unreadable_folders
    ]


def _failure(key: str, reason: FailureReason, row: dict[str, str | None]) -> Failure:
    return Failure(
        instance_key=key,
        sop_instance_uid=row.get("sop_instance_uid"),
        content_fingerprint=row.get("content_fingerprint"),
        model_sha256=None,
        stage=Stage.SCAN,
        reason=reason,
        message=reason.value.replace("_", " "),
        transfer_syntax_uid=None,
    )


def _count(ledger: Ledger, scanned: ScanResult, failures: list[Failure]) -> None:
    """Every file and unreadable folder found, by what became of it.

    A header that failed for good on an earlier night is done, not failing again.
    """
    known_failures = {reason.value for reason in FailureReason}
    ledger.found = scanned.found + len(scanned.unreadable_folders)
    ledger.headers_read = scanned.read
    ledger.unreadable_folders = len(scanned.unreadable_folders)
    ledger.not_reached = scanned.counts[NOT_REACHED]
    for failure in failures:
        ledger.add("failed", failure.reason.value)
    ledger.already_done = -len(failures) + len(scanned.unreadable_folders)
    for state, count in scanned.counts.items():
        if state in known_failures:
            ledger.already_done += count
        elif state not in (ELIGIBLE, NOT_REACHED):
            ledger.add("excluded", state, count)
