"""What a model screened lately, held against the films that it was calibrated on."""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.errors import CheckpointError
from vfscreen.results.catalogue import connect
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import ask, query

if TYPE_CHECKING:
    import duckdb

    from vfscreen.model.drift import Drift, Month, Reference

MONTH = timedelta(days=30)


def run_drift(results_path: Path) -> "dict[str, Drift]":
    """`drift_of` a results folder."""
    with connect(existing_results(results_path)) as catalogue:
        return drift_of(catalogue)


def drift_of(catalogue: "duckdb.DuckDBPyConnection") -> "dict[str, Drift]":
    """Drift of each finding that the checkpoint in use describes; none where it describes none.

    The month ends with the last film that the model screened, and counts by the time of screening:
    what came onto the list in it, be it a backlog.

    Raises
    ------
    CheckpointError
        What the checkpoint says of its calibration set is damaged.
    """
    found = {}
    for row in ask(catalogue, "drift_reference").to_pylist():
        if row["until"] is not None:
            from vfscreen.model.drift import compare

            reference = _reference(row["reference"])
            found[row["finding"]] = compare(reference, _month(catalogue, row, reference))
    return found


def _reference(text: str) -> "Reference":
    from vfscreen.model.drift import from_json

    try:
        return from_json(json.loads(text))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise CheckpointError(
            "What the checkpoint in use says of its calibration set is damaged: calibrate it "
            "again, or use another with `vfscreen flag --checkpoint`."
        ) from None


def _month(
    catalogue: "duckdb.DuckDBPyConnection", row: dict[str, Any], reference: "Reference"
) -> "Month":
    from vfscreen.model.drift import TAGS, Month

    model, since = row["model_sha256"], row["until"] - MONTH
    bound = {"model_sha256": model, "finding": row["finding"], "since": since}
    catalogue.execute(f"create or replace temp table drift_films as {query('drift_films')}", bound)
    (totals,) = ask(
        catalogue,
        "drift_totals",
        threshold_logit=reference.threshold_logit,
        model_sha256=model,
        since=since,
    ).to_pylist()
    in_bins = ask(catalogue, "drift_logits", edges=list(reference.edges)).to_pylist()
    makers = ask(catalogue, "drift_manufacturers").to_pylist()
    catalogue.execute("drop table drift_films")
    bins = {one["bin"]: one["films"] for one in in_bins}
    return Month(
        since=since.date(),
        until=row["until"].date(),
        films=totals["films"],
        studies=totals["studies"],
        bins=tuple(bins.get(number, 0) for number in range(len(reference.shares))),
        missing={tag: totals[f"without_{tag}"] for tag in TAGS},
        manufacturers={one["manufacturer"]: one["films"] for one in makers},
        positive=totals["positive"],
        failed=totals["failed"],
    )
