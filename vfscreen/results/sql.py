"""The SQL that ships with the package: one file a relation or question, in `sql/`.

Values reach a query as bound parameters (`$name`), never as text.
"""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

VIEWS = (
    # What was written, made one row a thing.
    "settings",
    "manifest",
    "instances",
    "studies",
    "checkpoints",
    "calibrations",
    "current_checkpoint",
    "predictions",
    "failures",
    "failures_by_reason",
    "heatmaps",
    # What the reports say.
    "reports",
    "report_labels",
    "study_reports",
    "unmatched_reports",
    "study_statements",
    "study_report_status",
    # What people decided, and what is known of the patient.
    "reviews_current",
    "known_elsewhere",
    # The list.
    "study_predictions",
    "study_findings",
    "screened_studies",
    "flags_current",
    "flagged",
    "screening_funnel",
)
"""Every view of the catalogue, in build order: a view reads only views above it."""

QUERIES = (
    "known_files",
    "to_screen",
    "to_explain",
    "study_film",
    "known_reports",
    "reports_to_label",
    "unmatched_by_reason",
    "operating_point",
    "flag_candidates",
    "flag_changes",
    "list",
    "list_moves",
    "failed_files",
    "find_study",
    "worklist",
    "worklist_reports",
    "reporting_rate",
)
"""Questions with parameters, asked by the jobs."""


@cache
def query(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files("vfscreen.sql").joinpath(f"{name}.sql").read_text("utf-8")


def fetch(
    connection: "duckdb.DuckDBPyConnection", text: str, parameters: dict[str, Any] | None = None
) -> "pa.Table":
    """Run one statement and return its rows as an Arrow table."""
    return connection.sql(text, params=parameters or {}).to_arrow_table()


def ask(connection: "duckdb.DuckDBPyConnection", name: str, **parameters: Any) -> "pa.Table":
    """Run `sql/<name>.sql` with its parameters and return its rows as an Arrow table."""
    return fetch(connection, query(name), parameters)
