"""Reports from a CSV or TSV file, as a stream."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, ReportsError
from vfscreen.reports.columns import present_columns, row_report
from vfscreen.reports.records import BadRecord, ReportRecord, attempt

_TABBED = (".tsv", ".tab")


def read_csv(path: Path, config: ReportsConfig, label: str) -> Iterator[ReportRecord | BadRecord]:
    """Stream the reports of a file; memory is bounded by the longest record.

    A record that is no report (ragged, without text or keys, too long) comes as a `BadRecord` in
    its place and the rest goes on.

    Parameters
    ----------
    path
        The file.
    config
        Encoding, delimiter, renamed columns, longest text.
    label
        What error messages call the file.

    Raises
    ------
    ReportsError
        The file is empty, lacks a column, or is in another encoding (possibly after earlier
        records were yielded: a later line may be the first to show it).
    ConfigError
        `reports.columns` renames a column that does not exist here.
    """
    delimiter = _delimiter(path, config)
    with _field_limit(config.max_text_characters), _opened(path, label, config) as stream:
        rows = csv.reader(stream, delimiter=delimiter)
        line = 1
        places: dict[str, int] | None = None
        width = 0
        while True:
            try:
                row = next(rows, None)
            except csv.Error:
                if places is None:
                    raise ReportsError(f"{label}: its first line is no CSV header.") from None
                # An unclosed quote swallows lines up to the limit; reading goes on after them.
                yield BadRecord(f"line {line}", "field too long, or a quote never closed")
            except UnicodeError:
                raise _encoding_error(path, label, config) from None
            else:
                if row is None:
                    break
                if places is None and row:
                    places, width = _places(row, label, delimiter, config), len(row)
                elif row:
                    assert places is not None
                    yield _record(row, places, width, line, config)
            line = rows.line_num + 1
        if places is None:
            raise ReportsError(f"{label} is empty: its first line must name the columns.")


def _delimiter(path: Path, config: ReportsConfig) -> str:
    if len(config.delimiter) > 1:
        raise ConfigError("`reports.delimiter` is one character, or empty.")
    return config.delimiter or ("\t" if path.suffix.lower() in _TABBED else ",")


@contextmanager
def _opened(path: Path, label: str, config: ReportsConfig) -> Iterator[TextIO]:
    try:
        stream = path.open(encoding=config.encoding, errors="strict", newline="")
    except LookupError:
        raise ConfigError(
            f"`reports.encoding`: there is no encoding {config.encoding!r}. "
            "Common ones: utf-8-sig, windows-1252, utf-16, big5."
        ) from None
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None
    with stream:
        yield stream


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    # One above the longest text that is read, so that the limit itself still is.
    old = csv.field_size_limit(characters + 1)
    try:
        yield
    finally:
        csv.field_size_limit(old)


def _places(header: list[str], label: str, delimiter: str, config: ReportsConfig) -> dict[str, int]:
    """Our column name -> index in a row."""
    present = [name.strip() for name in header]
    if any("\0" in name for name in header):
        raise ReportsError(
            f"{label}: line 1 holds NUL characters when read as {config.encoding}; "
            'it is probably UTF-16. Set reports.encoding = "utf-16-le" (or "utf-16-be").'
        )
    for other in (";", "\t", "|", ","):
        if len(present) == 1 and other != delimiter and other in present[0]:
            raise ReportsError(
                f"{label} has a single column; its fields seem to be separated by {other!r}: "
                "set reports.delimiter."
            )
    names = present_columns(present, label, config)
    return {ours: present.index(theirs) for ours, theirs in names.items()}


def _encoding_error(path: Path, label: str, config: ReportsConfig) -> ReportsError:
    """Find the line that the encoding cannot read, and say what would."""
    number = 1
    with path.open("rb") as raw:
        start = raw.read(2)
        raw.seek(0)
        for line in raw:
            try:
                line.decode(config.encoding)
            except UnicodeError:
                break
            number += 1
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) and "16" not in config.encoding:
        hint = 'it begins as UTF-16 does: set reports.encoding = "utf-16"'
    elif "16" in config.encoding or "32" in config.encoding:
        number, hint = 1, 'set reports.encoding to what it is, for instance "utf-8-sig"'
    else:
        hint = 'set reports.encoding to what it is, for instance "windows-1252" or "latin-1"'
    return ReportsError(f"{label}: line {number} is not {config.encoding}; {hint}.")


def _record(
    row: list[str], places: dict[str, int], width: int, line: int, config: ReportsConfig
) -> ReportRecord | BadRecord:
    if len(row) != width:
        return BadRecord(f"line {line}", f"{len(row)} fields instead of {width}")
    values = {name: row[at] for name, at in places.items()}
    return attempt(f"line {line}", lambda: row_report(values, "csv", config))
