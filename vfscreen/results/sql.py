"""The SQL that ships with the package: one file a relation or question, in `sql/`.

Values reach a query as bound parameters (`$name`), never as text.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
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
    "calibration_pieces",
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
    # What people saw on a drawn sample.
    "audit_readings_current",
    "audited_studies",
    "audit_progress",
)
"""Every view of the catalogue, in build order: a view reads only views above it."""

QUERIES = (
    "known_files",
    "to_screen",
    "to_explain",
    "study_film",
    "known_reports",
    "known_bad_records",
    "archive_reports",
    "reports_to_label",
    "unmatched_by_reason",
    "operating_point",
    "archive_logits",
    "drift_reference",
    "drift_films",
    "drift_totals",
    "drift_logits",
    "drift_manufacturers",
    "flag_candidates",
    "flag_changes",
    "list",
    "listed_levels",
    "list_moves",
    "failed_files",
    "find_study",
    "worklist",
    "worklist_reports",
    "reporting_rate",
    "reporting_by_group",
    "rcr_audit",
    "turnaround",
    "audit_population",
    "audit_strata",
    "audit_draw",
    "audit_counts",
    "label_matches",
    "label_states",
    "agreed_labels",
    "labelled_films",
    "film_outcomes",
)
"""Questions with parameters, asked by the jobs."""

MEASURES = (
    "reporting_rate",
    "reporting_by_group",
    "rcr_audit",
    "turnaround",
    "screening_funnel",
    "failures_by_reason",
)
"""What a service wants to know of itself: views, and queries of no other parameters than
$finding and $threshold."""

_TAGS = ("Grain", "Parameter", "Parameters", "Caveat", "Reference")


@cache
def query(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files("vfscreen.sql").joinpath(f"{name}.sql").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class About:
    """What the head of a file in `sql/` says of it."""

    meaning: str
    grain: str
    caveat: str
    reference: str

    @property
    def first_sentence(self) -> str:
        """What it is, without its name."""
        _, _, text = self.meaning.partition(": ")
        return text.partition(". ")[0].rstrip(".") + "."


def about(name: str) -> About:
    """The comments at the head of `sql/<name>.sql`: what it means, and what to beware of."""
    paragraphs = {"": ""}
    tag = ""
    for line in takewhile(lambda line: line.startswith("--"), query(name).splitlines()):
        text = line.removeprefix("--").strip()
        first, _, rest = text.partition(": ")
        if first in _TAGS:
            tag, text = first, rest
        paragraphs[tag] = f"{paragraphs.get(tag, '')} {text}".strip()
    return About(
        paragraphs[""], *(paragraphs.get(tag, "") for tag in ("Grain", "Caveat", "Reference"))
    )


def fetch(
    connection: "duckdb.DuckDBPyConnection", text: str, parameters: dict[str, Any] | None = None
) -> "pa.Table":
    """Run one statement and return its rows as an Arrow table."""
    return connection.sql(text, params=parameters or {}).to_arrow_table()


def ask(connection: "duckdb.DuckDBPyConnection", name: str, **parameters: Any) -> "pa.Table":
    """Run `sql/<name>.sql` with its parameters and return its rows as an Arrow table."""
    return fetch(connection, query(name), parameters)
