"""Who is on the list: join probabilities with what the reports say, and note what changed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config
from vfscreen.errors import ConfigError, UsageError
from vfscreen.jobs.matching import count_unmatched
from vfscreen.jobs.reports import read_reports_into
from vfscreen.jobs.run import Run, open_run, reports_verdict
from vfscreen.jobs.worklist import write_worklist
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import register_checkpoint, update_flags
from vfscreen.results.folder import Results, existing_results
from vfscreen.results.ledger import Ledger
from vfscreen.results.rows import CheckpointHead, checkpoints_table
from vfscreen.results.sql import ask

if TYPE_CHECKING:
    from vfscreen.model.checkpoint import CheckpointInfo


def run_flag(
    results_path: Path,
    config: Config,
    reports: Path | None,
    threshold: float | None,
    checkpoint: str | None,
) -> Ledger:
    """`vfscreen flag`: the join and the list again, without touching pixels.

    Raises
    ------
    UsageError
        Nothing has been screened in this folder.
    ConfigError
        The checkpoint has no such finding or operating point.
    TooManyFailuresError
        The list is made, but too many records of `reports` are no reports.
    """
    existing_results(results_path)
    if threshold is not None:
        config = replace(config, list=replace(config.list, threshold=threshold))
    with open_run(results_path, "flag", config) as run:
        if checkpoint is not None:
            from vfscreen.model.checkpoint import read_info

            register(run, read_info(checkpoint), config)
        read_reports_into(run, reports, config)
        flag_studies(run, config)
        write_worklist(run.results, run.run_id, config.list.capacity)
        if (bad_feed := reports_verdict(run, config)) is not None:
            raise bad_feed
        return run.ledger


def register(run: Run, info: "CheckpointInfo", config: Config) -> None:
    """Note a checkpoint's calibration and operating points: the views derive from them.

    The last one registered is the one whose probabilities are listed.
    """
    _check(info, config)
    ledger = run.ledger
    ledger.model_sha256, ledger.checkpoint_sha256 = info.model_sha256, info.checkpoint_sha256
    ledger.checkpoint_name, ledger.demonstration = info.name, info.demonstration
    rows = checkpoints_table(
        heads(info),
        checkpoint_sha256=info.checkpoint_sha256,
        model_sha256=info.model_sha256,
        name=info.name,
        path=str(info.path.resolve()),
        demonstration=info.demonstration,
    )
    if register_checkpoint(run.results, rows):
        publish(run.results)


def heads(info: "CheckpointInfo") -> list[CheckpointHead]:
    """The checkpoint's findings, in the order of its logits."""
    described = info.reference or {}
    return [
        CheckpointHead(
            finding=finding,
            calibration=info.calibration[finding],
            operating_points=info.operating_points[finding],
            reference=json.dumps(described[finding], sort_keys=True)
            if finding in described
            else None,
        )
        for finding in info.findings
    ]


def _check(info: "CheckpointInfo", config: Config) -> None:
    if config.list.finding not in info.findings:
        raise ConfigError(
            f"list.finding is `{config.list.finding}`, but the checkpoint predicts "
            f"{', '.join(info.findings)}."
        )
    known = info.operating_points[config.list.finding]
    if config.list.threshold is None and config.list.operating_point not in known:
        raise ConfigError(
            f"list.operating_point is `{config.list.operating_point}`, but the checkpoint has "
            f"{', '.join(known)}."
        )


def flag_studies(run: Run, config: Config) -> None:
    """Append to `flags` every study whose state has changed, by reports as they match now."""
    count_unmatched(run, config)
    with run.timed("flag"):
        counts = update_flags(
            run.results,
            finding=config.list.finding,
            threshold=listing_threshold(run.results, config),
            run_id=run.run_id,
        )
    for state, count in counts.items():
        run.ledger.add("flags", state, count)


def listing_threshold(results: Results, config: Config) -> float:
    """The configured threshold, else the operating point's of the checkpoint in use.

    Raises
    ------
    UsageError
        Nothing has been screened, or the checkpoint has no such operating point.
    """
    if config.list.threshold is not None:
        return config.list.threshold
    with connect(results) as catalogue:
        rows = ask(
            catalogue,
            "operating_point",
            finding=config.list.finding,
            operating_point=config.list.operating_point,
        ).to_pylist()
    if not rows:
        raise UsageError(
            "Nothing has been screened in this results folder yet, or the checkpoint in use has "
            "no such operating point: run `vfscreen screen` first, or set list.threshold."
        )
    return float(rows[0]["threshold"])
