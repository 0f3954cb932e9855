"""CSV, Parquet and JSON Lines: our columns, the names they have in a file, a row as a report."""

import difflib
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, ReportsError
from vfscreen.reports.dates import parse_date, parse_datetime
from vfscreen.reports.records import RecordProblemError, ReportRecord, report_record

COLUMNS = (
    "report_id",
    "accession_number",
    "issuer",
    "study_instance_uid",
    "patient_id",
    "issuer_of_patient_id",
    "study_date",
    "modality",
    "author_role",
    "report_datetime",
    "result_status",
    "replaces",
    "text",
)
"""`text` and one of `KEYS` are required."""
KEYS = ("accession_number", "study_instance_uid", "patient_id")

SEPARATOR = ";"
"""Between several studies, or replaced reports, in one cell."""


def their_names(config: ReportsConfig) -> dict[str, str]:
    """Our column name -> the name in the file; only the configured ones differ.

    Raises
    ------
    ConfigError
        `reports.columns` renames a column that does not exist here.
    """
    names: dict[str, str] = {}
    for rename in config.columns:
        ours, equals, theirs = (part.strip() for part in rename.partition("="))
        if not equals or not theirs:
            raise ConfigError(f"`reports.columns`: write `our_name=their_name`, not `{rename}`.")
        if ours not in COLUMNS:
            nearest = difflib.get_close_matches(ours, COLUMNS, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"`reports.columns`: unknown column `{ours}`. Did you mean `{nearest}`?"
            )
        names[ours] = theirs
    return names


def present_columns(present: list[str], label: str, config: ReportsConfig) -> dict[str, str]:
    """Our column name -> the name in a file that has the columns `present`; case does not count.

    Raises
    ------
    ReportsError
        A column is missing or there twice.
    ConfigError
        See `their_names`.
    """
    names = their_names(config)
    spelt = {name.lower(): name for name in reversed(present)}
    lowered = [name.lower() for name in present]
    found: dict[str, str] = {}
    for ours in COLUMNS:
        theirs = names.get(ours, ours).lower()
        if lowered.count(theirs) > 1:
            raise ReportsError(f"{label}: the column `{theirs}` occurs more than once.")
        if theirs in spelt:
            found[ours] = spelt[theirs]
        elif ours in names or ours == "text":
            raise missing(label, f"the column `{theirs}`", theirs, lowered)
    if not any(key in found for key in KEYS):
        what = "a column `accession_number`, `study_instance_uid` or `patient_id`"
        raise missing(label, what, "accession_number", lowered)
    return found


def missing(label: str, what: str, name: str, present: list[str]) -> ReportsError:
    """The error of a file without a column, with the nearest name that it has."""
    nearest = difflib.get_close_matches(name, present, n=1, cutoff=0.0)
    hint = f" The nearest is `{nearest[0]}`" if nearest and nearest[0] else " It has no name near"
    return ReportsError(
        f'{label} lacks {what}.{hint}: rename in reports.columns, as in "text=report_body".'
    )


def row_report(
    values: Mapping[str, Any], source_format: str, config: ReportsConfig
) -> ReportRecord:
    """One row, by our column names; values as CSV, JSON or Arrow give them.

    Raises
    ------
    RecordProblemError
        The row is no report.
    """
    one = {
        name: _text(values.get(name))
        for name in COLUMNS
        if name not in ("accession_number", "study_instance_uid", "replaces")
    }
    when, day = one.pop("report_datetime"), one.pop("study_date")
    text = one.pop("text")
    return report_record(
        config,
        source_format,
        text,
        accession_numbers=_several(values.get("accession_number")),
        study_instance_uids=_several(values.get("study_instance_uid")),
        replaces=_several(values.get("replaces")),
        report_datetime=parse_datetime(when) if when else None,
        study_date=parse_date(day) if day else None,
        **one,
    )


def _several(value: Any) -> list[str | None]:
    if isinstance(value, list | tuple):
        return [_text(item) for item in value]
    text = _text(value)
    return list(text.split(SEPARATOR)) if text else []


def _text(value: Any) -> str | None:
    """A scalar as text; an accession number that became 700000001.0 on its way is an integer."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | list | tuple | dict):
        raise RecordProblemError("a field that is neither text nor a number")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise RecordProblemError("a field that is not UTF-8") from None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)
