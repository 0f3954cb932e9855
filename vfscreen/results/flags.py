"""Putting studies on the list and taking them off it, and what the list goes by."""

from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from vfscreen.config import Config
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results
from vfscreen.results.parts import write_part
from vfscreen.results.schemas import FLAGS, SETTINGS
from vfscreen.results.sql import ask, fetch, query
from vfscreen.results.staging import staged


def flag_changes(
    connection: duckdb.DuckDBPyConnection, *, finding: str, threshold: float, run_id: str
) -> pa.Table:
    """The rows that make `flags` follow what is known now; none where nothing moved.

    Parameters
    ----------
    connection
        An open catalogue, of which everything that counts is published.
    finding, threshold
        What is listed, and from which calibrated probability (0..1) on.
    """
    bound = {"finding": finding, "threshold": threshold}
    candidates = query("flag_candidates")
    with staged(connection, candidates):
        connection.execute(f"create or replace temp table flag_candidates as {candidates}", bound)
        changes = ask(connection, "flag_changes", **bound)
        connection.execute("drop table flag_candidates")
    now = datetime.now(UTC)
    count = changes.num_rows
    changes = changes.append_column("run_id", pa.array([run_id] * count, pa.string()))
    times = pa.array([now] * count, FLAGS.field("flagged_at").type)
    return changes.append_column("flagged_at", times).select(FLAGS.names).cast(FLAGS)


def update_flags(
    results: Results, *, finding: str, threshold: float, run_id: str
) -> dict[str, int]:
    """Write what `flag_changes` finds, publish, and count it by reason.

    Returns
    -------
    dict
        Changes by state and reason (`flagged_new`, `unflagged_reported` ...); empty: none.
    """
    with connect(results) as connection:
        changes = flag_changes(connection, finding=finding, threshold=threshold, run_id=run_id)
    if changes.num_rows:
        write_part(results, "flags", changes)
        publish(results)
    counts: dict[str, int] = {}
    for row in changes.select(["state", "reason"]).to_pylist():
        key = f"{row['state']}_{row['reason']}"
        counts[key] = counts.get(key, 0) + 1
    return counts


def register_checkpoint(results: Results, rows: pa.Table) -> bool:
    """Make a checkpoint (rows of `checkpoints_table`) the current one; False if it was already.

    It counts for readers from the next publication on.
    """
    telling = [n for n in rows.column_names if n != "registered_at"]
    with connect(results) as connection:
        latest = fetch(
            connection,
            "select * from parts.checkpoints "
            "where registered_at = (select max(registered_at) from parts.checkpoints)",
        )
    if _same(latest.select(telling), rows.select(telling)):
        return False
    return write_part(results, "checkpoints", rows) is not None


def record_settings(results: Results, config: Config, run_id: str) -> bool:
    """Note what the views need of the configuration; False if it was so already.

    It counts for readers from the next publication on.
    """
    names = ["finding", "capacity", "lookback_before_days", "lookback_after_days"]
    values = {name: [getattr(config.list, name)] for name in names}
    values["match_by_patient_and_date"] = [config.reports.match_by_patient_and_date]
    with connect(results) as connection:
        written = fetch(connection, "select count(*) as n from parts.settings")
        latest = fetch(connection, "select * from settings").select(list(values))
    if written["n"][0].as_py() and latest.to_pydict() == values:
        return False
    now = {"run_id": [run_id], "set_at": [datetime.now(UTC)]}
    return write_part(results, "settings", pa.table(values | now, schema=SETTINGS)) is not None


def _same(a: pa.Table, b: pa.Table) -> bool:
    def rows(table: pa.Table) -> list[str]:
        return sorted(repr(sorted(row.items())) for row in table.to_pylist())

    return rows(a) == rows(b)
