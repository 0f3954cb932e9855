"""What people ask of a results folder: the list, the last runs, a query; and what they decided."""

import getpass
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.errors import UsageError
from vfscreen.results.catalogue import connect
from vfscreen.results.folder import existing_results
from vfscreen.results.ledger import Ledger, read_ledgers
from vfscreen.results.levels import with_levels
from vfscreen.results.sql import ask, fetch

if TYPE_CHECKING:
    import pyarrow as pa


def flagged_list(
    results_path: Path, capacity: int, since: date | None, statuses: list[str]
) -> "pa.Table":
    """The ranked list, cut at `capacity` rows.

    `no_report` is a list of its own: it is shown only when `statuses` names it. Where the
    checkpoint answers by level, `levels` has those at or above their operating point.
    """
    with connect(existing_results(results_path)) as catalogue:
        listed = ask(catalogue, "list", capacity=capacity, since=since, statuses=statuses)
        return with_levels(catalogue, listed)


def list_moves(results_path: Path, since: datetime) -> "pa.Table":
    """What moved on or off the list since a time (UTC), newest first, and why."""
    with connect(existing_results(results_path)) as catalogue:
        return ask(catalogue, "list_moves", since=since)


def record_review(
    results_path: Path, accession: str, decision: str, note: str, reviewer: str | None
) -> None:
    """Append what a person decided about a study.

    Raises
    ------
    UsageError
        No screened study, or several, go by this accession number; or nobody can be named.
    """
    from vfscreen.results.reviews import append_review, find_study

    results = existing_results(results_path)
    with connect(results) as catalogue:
        study = find_study(catalogue, accession)
        finding = fetch(catalogue, "select finding from settings")["finding"][0].as_py()
    append_review(results, study, finding, decision, note, reviewer or _user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("Nobody is logged in: name the reviewer with --reviewer.") from None


@dataclass(frozen=True, slots=True)
class StatusOfResults:
    """The last runs, and what has failed so far."""

    ledgers: list[Ledger]
    failures: "pa.Table"
    failed_files: "pa.Table | None"


def status_of(results_path: Path, runs: int, show_identifiers: bool) -> StatusOfResults:
    """The ledgers of the last runs, newest first, and failures by reason."""
    results = existing_results(results_path)
    with connect(results) as catalogue:
        failures = fetch(catalogue, "select * from failures_by_reason")
        files = ask(catalogue, "failed_files") if show_identifiers else None
    return StatusOfResults(read_ledgers(results, runs), failures, files)


def run_query(results_path: Path, statement: str) -> "pa.Table":
    """Answer one statement of an analyst on the read-only catalogue.

    Raises
    ------
    UsageError
        DuckDB refuses it; the text says why.
    """
    import duckdb

    from vfscreen.results.catalogue import select_only
    from vfscreen.results.staging import staged

    with connect(existing_results(results_path), restricted=True) as catalogue:
        try:
            question = select_only(catalogue, statement)
            with staged(catalogue, question):
                return fetch(catalogue, question)
        except duckdb.Error as error:
            raise UsageError(f"DuckDB refuses this: {error}") from None
