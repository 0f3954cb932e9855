"""Score labelled films by the path of the nightly job: what evaluation and calibration start from.

with open_scoring("evaluate", archive, out, results, config) as run:
    labelled = scan_and_label(run, archive, labels, config, stop)
    scored = score_films(run, labelled, archive, info, config, stop)
    error = scoring_verdict(run, scored, config)
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from vfscreen.archive.manifest import ELIGIBLE
from vfscreen.archive.walk import archive_root
from vfscreen.config import Config
from vfscreen.errors import (
    InterruptedRunError,
    TooManyFailuresError,
    VfscreenError,
)
from vfscreen.jobs.films import PlannedFilms, screen_films
from vfscreen.jobs.labels import Labelled, label_films
from vfscreen.jobs.run import Run, fidelity, open_run
from vfscreen.jobs.scan import refuse_nesting, scan_archive
from vfscreen.jobs.stopping import StopRequest
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import ask

if TYPE_CHECKING:
    from vfscreen.model.checkpoint import CheckpointInfo

log = logging.getLogger("vfscreen")


@contextmanager
def open_scoring(
    command: str, archive: Path, out: Path, results: Path | None, config: Config
) -> Iterator[Run]:
    """Open the results folder in which films are scored, and hold it as a run.

    Parameters
    ----------
    command
        What the ledger calls the run.
    out
        What the command makes; without `results`, films are scored in a private folder beside it,
        as `scoring_folder` says.
    results
        An existing results folder instead: what it holds of this model is not decoded again.

    Raises
    ------
    UsageError
        The results folder is not there, or lies in the archive, or the archive in it.
    LockedError
        Another run is at work on this folder.
    """
    if results is not None:
        existing_results(results)
        refuse_nesting(archive, results)
        with open_run(results, command, config) as run:
            yield run
        return
    private = replace(config, run=replace(config.run, group=""))
    with scoring_folder(out) as folder:
        refuse_nesting(archive, folder)
        with open_run(folder, command, private) as run:
            yield run


@contextmanager
def scoring_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, `.NAME.scoring`, for this user alone; removed when done.

    It is kept where the body ends with an error, so that the same command goes on from there.
    """
    out = out.expanduser().absolute()
    folder = out.with_name(f".{out.name}.scoring")
    try:
        yield folder
    except BaseException:
        if folder.exists():
            log.warning("what is done is kept in %s: the same command goes on from it", folder)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def scan_and_label(
    run: Run,
    archive: Path,
    labels: Path,
    config: Config,
    stop: StopRequest,
    *,
    findings: tuple[str, ...] | None = None,
    problems_path: Path | None = None,
) -> Labelled:
    """Bring the manifest up to date, and join the labels with it; fill in the ledger.

    Eligible films without a label count as excluded, as `not_labelled`.

    Raises
    ------
    InterruptedRunError
        Stopped during the scan.
    LabelsError, ArchiveError
        As `label_films` and `scan_archive`.
    """
    scanned = scan_archive(run, archive, config, stop)
    if not scanned.complete:
        run.ledger.not_reached += scanned.counts[ELIGIBLE]
        raise _interrupted(stop)
    labelled = label_films(
        run, archive, labels, config, findings=findings, problems_path=problems_path
    )
    run.ledger.add("excluded", "not_labelled", scanned.counts[ELIGIBLE] - len(labelled.films))
    folders = Counter(folder.reason.value for folder in scanned.unreadable_folders)
    return replace(labelled, archive_files=dict(scanned.counts + folders))


def score_films(
    run: Run,
    labelled: Labelled,
    archive: Path,
    info: "CheckpointInfo",
    config: Config,
    stop: StopRequest,
) -> pa.Table:
    """Put every labelled film through the network that the nightly job would.

    Films that this model has seen already (in this results folder, with this content) are not
    decoded again, nor those that failed for good. A run may score with several checkpoints, one
    after another.

    Returns
    -------
    pa.Table
        `labelled.films` and, for each finding of the checkpoint, `logit:<finding>` (float32), and
        `failure_reason`: a film has either logits or a reason.

    Raises
    ------
    InterruptedRunError
        Stopped: what is done is saved, and the same command goes on.
    ArchiveError
        The archive has gone away meanwhile.
    """
    if run.ledger.model_sha256 is not None:
        # Another checkpoint in the same run: each film is to be accounted for again.
        run.ledger.found += len(labelled.films)
    run.ledger.model_sha256 = info.model_sha256
    run.ledger.checkpoint_sha256 = info.checkpoint_sha256
    run.ledger.checkpoint_name, run.ledger.demonstration = info.name, info.demonstration
    films = _unscored(run, labelled, archive, info, config)
    run.ledger.already_done += len(labelled.films) - len(films)
    screen_films(run, films, archive, info, config, stop)
    if stop():
        raise _interrupted(stop)
    publish(run.results)
    scored = _with_outcomes(run, labelled, archive, info)
    lost = pc.and_(
        pc.is_null(scored[f"logit:{info.findings[0]}"]), pc.is_null(scored["failure_reason"])
    )
    if missing := pc.sum(lost).as_py():
        raise VfscreenError(f"{missing:,} films have neither logits nor a failure: report this.")
    return scored


def scoring_verdict(run: Run, scored: pa.Table, config: Config) -> VfscreenError | None:
    """The error that a command on scored films ends with, once its output is written.

    As the nightly job's, but the failure rate is that of the labelled films: headers elsewhere in
    the archive that cannot be read do not count, films that failed before an interruption do.
    """
    if (unbalanced := run.ledger.balance()) is not None:
        return VfscreenError(unbalanced)
    if (unfaithful := fidelity(run.ledger.canary)) is not None:
        return unfaithful
    failed = len(scored) - scored["failure_reason"].null_count
    if failed >= config.run.min_failures and failed > config.run.max_failure_rate * len(scored):
        return TooManyFailuresError(
            f"{failed:,} of {len(scored):,} labelled films failed, more than run.max_failure_rate "
            f"allows ({config.run.max_failure_rate:.0%})."
        )
    return None


def failed_by_reason(scored: pa.Table) -> dict[str, int]:
    """Labelled films that could not be screened, the most frequent reason first."""
    return dict(Counter(pc.drop_null(scored["failure_reason"]).to_pylist()).most_common())


def _interrupted(stop: StopRequest) -> InterruptedRunError:
    return InterruptedRunError(
        f"Stopped early ({stop.reason}): what is done is kept, and the same command goes on."
    )


def _unscored(
    run: Run, labelled: Labelled, archive: Path, info: "CheckpointInfo", config: Config
) -> PlannedFilms:
    """The labelled films that are left, by the plan of the nightly job."""
    with run.timed("plan"), connect(run.results) as catalogue:
        rows = ask(
            catalogue,
            "to_screen",
            archive_roots=[archive_root(archive)],
            model_sha256=info.model_sha256,
            transient_nights=config.run.transient_nights,
        )
    uids = labelled.films["sop_instance_uid"].combine_chunks()
    return PlannedFilms(rows.filter(pc.is_in(rows["sop_instance_uid"], value_set=uids)))


def _with_outcomes(run: Run, labelled: Labelled, archive: Path, info: "CheckpointInfo") -> pa.Table:
    with connect(run.results) as catalogue:
        outcomes = ask(
            catalogue,
            "film_outcomes",
            archive_roots=[archive_root(archive)],
            model_sha256=info.model_sha256,
        )
    films = labelled.films
    uids = films["sop_instance_uid"]

    def of_films(rows: pa.Table, column: str) -> pa.ChunkedArray:
        at = pc.index_in(uids, value_set=rows["sop_instance_uid"].combine_chunks())
        return rows[column].take(at)

    for finding in info.findings:
        rows = outcomes.filter(pc.equal(outcomes["finding"], finding))
        films = films.append_column(f"logit:{finding}", of_films(rows, "logit"))
    failed = outcomes.filter(pc.is_valid(outcomes["failure_reason"]))
    return films.append_column("failure_reason", of_films(failed, "failure_reason"))
