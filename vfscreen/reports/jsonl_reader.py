"""Reports from JSON Lines: one object a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from vfscreen.config import ReportsConfig
from vfscreen.errors import ReportsError
from vfscreen.reports.columns import COLUMNS, row_report, their_names
from vfscreen.reports.records import BadRecord, RecordProblemError, ReportRecord, attempt

MAX_LINE_BYTES = 64 << 20
"""A longer line is not held in memory; a report with pictures in it is shorter."""


def read_jsonl(path: Path, config: ReportsConfig, label: str) -> Iterator[ReportRecord | BadRecord]:
    """Stream the objects of a file, UTF-8; memory is bounded by the longest line.

    Raises
    ------
    ReportsError
        The file cannot be read.
    ConfigError
        `reports.columns` renames a column that does not exist here.
    """
    names = {ours: their_names(config).get(ours, ours) for ours in COLUMNS}

    def report(line: bytes) -> ReportRecord:
        values = json_object(line)
        ours = {name: nested(values, theirs) for name, theirs in names.items()}
        return row_report(ours, "jsonl", config)

    for number, line in numbered_lines(path, label):
        if isinstance(line, BadRecord):
            yield line
        else:
            yield attempt(f"line {number}", lambda line=line: report(line))  # type: ignore[misc]


def numbered_lines(path: Path, label: str) -> Iterator[tuple[int, bytes | BadRecord]]:
    """Lines with their number from 1, blank ones left out; a line that is too long is bad."""
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    _skip_line(stream)
                    yield number, BadRecord(f"line {number}", "line too long")
                elif not line.isspace():
                    yield number, line
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def json_object(line: bytes) -> dict[str, Any]:
    """The object that a line is.

    Raises
    ------
    RecordProblemError
        It is none, is not UTF-8, or is nested too deeply.
    """
    try:
        found = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError:
        raise RecordProblemError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise RecordProblemError("not JSON") from None
    if not isinstance(found, dict):
        raise RecordProblemError("not a JSON object")
    return found


def nested(values: dict[str, Any], name: str) -> Any:
    """The value of a key, or of a path of keys with dots between them."""
    if name in values:
        return values[name]
    found: Any = values
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found
