"""The nightly job, from an archive folder to a ranked list."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vfscreen.archive.manifest import ELIGIBLE
from vfscreen.archive.scan import ScanResult
from vfscreen.archive.walk import archive_root
from vfscreen.config import Config
from vfscreen.errors import ArchiveError, VfscreenError
from vfscreen.jobs.explain import explain_listed
from vfscreen.jobs.films import PlannedFilms, screen_films
from vfscreen.jobs.flag import flag_studies, register
from vfscreen.jobs.reports import read_archive_reports_into, read_reports_into
from vfscreen.jobs.run import Run, end, open_run, reports_verdict, verdict
from vfscreen.jobs.scan import refuse_nesting, scan_archive
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.worklist import write_worklist
from vfscreen.model.checkpoint import CheckpointInfo, read_info
from vfscreen.results.catalogue import connect
from vfscreen.results.ledger import Ledger
from vfscreen.results.sql import ask


@dataclass(frozen=True, slots=True)
class ScreenRequest:
    """What to screen, with what, into where."""

    archive: Path
    results: Path
    checkpoint: str
    reports: Path | None = None


@dataclass(frozen=True, slots=True)
class ScreenOutcome:
    """The ledger, and the error whose exit code the run ends with (None: all went well)."""

    ledger: Ledger
    error: VfscreenError | None


def run_screen(request: ScreenRequest, config: Config, stop: StopRequest) -> ScreenOutcome:
    """Read reports, screen what is new, flag, render heatmaps, write the worklist.

    Stopped early, or with the archive gone, it still flags and explains what is done.

    Raises
    ------
    InputError
        Configuration, checkpoint, reports or archive cannot be used; nothing was screened.
    """
    refuse_nesting(request.archive, request.results)
    info = read_info(request.checkpoint)
    with open_run(request.results, "screen", config) as run:
        register(run, info, config)
        read_reports_into(run, request.reports, config, stop)
        bad_feed = reports_verdict(run, config)
        scanned = scan_archive(run, request.archive, config, stop)
        read_archive_reports_into(run, request.archive, config, stop)
        films = plan(run, request.archive, scanned, info, config)
        gone = screen_or_gone(run, films, request.archive, info, config, stop)
        flag_studies(run, config)
        if gone is None:
            explain_listed(run, info, config, stop)
        write_worklist(run.results, run.run_id, config.list.capacity)
        error = gone or verdict(run, config, stop.reason) or nothing_there(scanned) or bad_feed
        end(run, error)
        return ScreenOutcome(run.ledger, error)


def plan(
    run: Run, archive: Path, scanned: ScanResult, info: CheckpointInfo, config: Config
) -> PlannedFilms:
    """Eligible films that this model has not screened yet, newest study first.

    Only what tonight's scan has seen: a film below a folder that could not be listed waits, and
    after a scan that was stopped nothing is planned.
    """
    if not scanned.complete:
        run.ledger.not_reached += scanned.counts[ELIGIBLE]
        return PlannedFilms(pa.table({}))
    with run.timed("plan"), connect(run.results) as catalogue:
        rows = ask(
            catalogue,
            "to_screen",
            archive_roots=[archive_root(archive)],
            model_sha256=info.model_sha256,
            transient_nights=config.run.transient_nights,
        )
    for folder in scanned.unreadable_folders:
        hidden = pc.starts_with(rows["archive_path"], f"{folder.archive_path}/")
        rows = rows.filter(pc.invert(hidden))
    films = PlannedFilms(rows)
    run.ledger.already_done += scanned.counts[ELIGIBLE] - len(films)
    return films


def screen_or_gone(
    run: Run,
    films: PlannedFilms,
    archive: Path,
    info: CheckpointInfo,
    config: Config,
    stop: StopRequest,
) -> ArchiveError | None:
    """Screen the films; an archive that goes away is the run's verdict, not the end of its list."""
    try:
        screen_films(run, films, archive, info, config, stop)
    except ArchiveError as error:
        return error
    return None


def nothing_there(scanned: ScanResult) -> ArchiveError | None:
    """An archive without a single film for the network is most likely the wrong folder."""
    if scanned.counts[ELIGIBLE]:
        return None
    reasons = ", ".join(f"{n:,} {state}" for state, n in scanned.counts.most_common(4))
    return ArchiveError(
        f"There is no film that can be screened in this archive: {scanned.found:,} files found"
        f"{f' ({reasons})' if reasons else ''}. `vfscreen scan` shows all reasons; [eligibility] "
        "in vfscreen.toml decides."
    )
