"""Reports as text files, each named by its accession number."""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, ReportsError
from vfscreen.reports.records import (
    BadRecord,
    RecordProblemError,
    ReportRecord,
    attempt,
    report_record,
)
from vfscreen.reports.statuses import ADDENDUM

_BYTES_PER_CHARACTER = 4


def read_text(path: Path, config: ReportsConfig, label: str) -> Iterator[ReportRecord | BadRecord]:
    """The one report of a file: `A123.txt`, or `A123_addendum2.txt` (`reports.text_addendum`).

    The id of the report is derived from the file's name: a file that has changed is a later
    version.

    Raises
    ------
    ReportsError
        The file cannot be read.
    ConfigError
        `reports.text_addendum` is no regular expression.
    """
    limit = config.max_text_characters * _BYTES_PER_CHARACTER
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None
    yield attempt("whole file", lambda: _report(path.stem, data, limit, config))


def _report(stem: str, data: bytes, limit: int, config: ReportsConfig) -> ReportRecord:
    if len(data) > limit:
        raise RecordProblemError("text longer than reports.max_text_characters")
    try:
        text = data.decode(config.encoding)
    except LookupError:
        raise ConfigError(
            f"`reports.encoding`: there is no encoding {config.encoding!r}."
        ) from None
    except UnicodeError:
        raise RecordProblemError(f"not {config.encoding}; set reports.encoding") from None
    addendum = _addendum(config.text_addendum).search(stem) if config.text_addendum else None
    name = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()
    return report_record(
        config,
        "text",
        text,
        report_id=f"file-{name[:32]}",
        accession_numbers=[stem[: addendum.start()] if addendum else stem],
        result_status=ADDENDUM if addendum else None,
    )


@lru_cache(maxsize=8)
def _addendum(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(f"(?:{pattern})$", re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"`reports.text_addendum` is no regular expression: {error}.") from None
