"""The levels at which a listed film looks suspicious, where the checkpoint answers by level."""

from typing import TYPE_CHECKING

import pyarrow as pa

from vfscreen.results.sql import ask, fetch

if TYPE_CHECKING:
    import duckdb

LEVELS = pa.list_(pa.struct([("level", pa.string()), ("probability", pa.float64())]))


def with_levels(catalogue: "duckdb.DuckDBPyConnection", listed: pa.Table) -> pa.Table:
    """Rows of the list with `levels`: those at or above their operating point, likeliest first.

    Unchanged where the checkpoint in use has no finding of a level: it asks for nothing then.
    """
    by_level = fetch(
        catalogue,
        "select finding from current_checkpoint "
        "where regexp_matches(finding, '_((T1[0-2])|(L[1-5]))$')",
    )
    if not len(by_level):
        return listed
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for finding in set(listed["finding"].to_pylist()):
        rows = ask(
            catalogue,
            "listed_levels",
            sop_instance_uids=listed["sop_instance_uid"].to_pylist(),
            finding=finding,
        )
        for row in rows.to_pylist():
            level = {"level": row["level"], "probability": row["probability"]}
            found.setdefault((row["sop_instance_uid"], finding), []).append(level)
    keys = zip(listed["sop_instance_uid"].to_pylist(), listed["finding"].to_pylist(), strict=True)
    return listed.append_column("levels", pa.array([found.get(key, []) for key in keys], LEVELS))
