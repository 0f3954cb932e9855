"""Reports that belong to no study of the archive: how many, which, and why."""

from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config
from vfscreen.jobs.run import Run
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import record_settings
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import fetch, query
from vfscreen.results.staging import staged

if TYPE_CHECKING:
    import pyarrow as pa


def count_unmatched(run: Run, config: Config) -> None:
    """Note in the ledger how many reports count for no study, by reason, as matched now."""
    # Whether patient and day match is one of the settings, which the views read.
    if record_settings(run.results, config, run.run_id):
        publish(run.results)
    question = query("unmatched_by_reason")
    with (
        run.timed("match"),
        connect(run.results) as catalogue,
        staged(catalogue, question),
    ):
        counted = fetch(catalogue, question).to_pylist()
    run.ledger.unmatched_reports.clear()
    for row in counted:
        run.ledger.add("unmatched_reports", row["reason"], row["reports"])


def unmatched_reports(results_path: Path, *, show_identifiers: bool) -> "pa.Table":
    """Counts by reason and source format; with identifiers, each report and what it names."""
    each = "select * from unmatched_reports order by reason, report_datetime desc, report_id"
    question = each if show_identifiers else query("unmatched_by_reason")
    with connect(existing_results(results_path)) as catalogue, staged(catalogue, question):
        return fetch(catalogue, question)
