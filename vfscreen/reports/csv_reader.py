"""Reports from a CSV file, or from every CSV file of a folder, as a stream."""

import csv
import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, ReportsError
from vfscreen.reports.records import BadRecord, ReportRecord, report_record

COLUMNS = (
    "report_id",
    "accession_number",
    "issuer",
    "study_instance_uid",
    "patient_id",
    "report_datetime",
    "result_status",
    "text",
)

# Forms of a date beside ISO 8601 in which day and month are plain.
_DATE_FORMS = (
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y %H:%M",
    "%d-%b-%Y",
    "%d %b %Y %H:%M",
    "%d %b %Y",
    "%b %d, %Y %H:%M",
    "%b %d, %Y",
)
# DICOM DT and HL7 TS: "20240501", "202405011020", "20240501102030.123456+0800". ISO 8601 knows them
# only with a T, and Python would take the first digit of the hour for it.
_DIGITS = re.compile(r"(\d{8})(?:(\d{4}|\d{6})(\.\d{1,6})?)?([+-]\d{4})?")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?)?")


def read_reports(path: Path, config: ReportsConfig) -> Iterator[ReportRecord | BadRecord]:
    """Stream the reports of a CSV file, or of every ``*.csv`` of a folder in the order of names.

    Memory is bounded by the longest record. A record that is no report (ragged, without text or
    keys, too long) comes as a `BadRecord` in its place and the rest goes on.

    Parameters
    ----------
    path : Path
        A file or a folder.
    config : ReportsConfig
        Encoding, delimiter, renamed columns, longest text.

    Yields
    ------
    ReportRecord or BadRecord

    Raises
    ------
    ReportsError
        The source is missing or empty, lacks a column, or is in another encoding (possibly after
        earlier records were yielded: a later line may be the first to show it).
    ConfigError
        `reports.columns` renames a column that does not exist here.
    """
    names = _their_names(config)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".csv" and p.is_file())
        if not files:
            raise ReportsError(f"The reports folder {path} holds no .csv file.")
        for number, file in enumerate(files, start=1):
            # File names may be accession numbers: the place is given by the order of names.
            label = f"Reports file {number} of {len(files)} in {path}"
            yield from _read_file(file, label, number, names, config)
    else:
        yield from _read_file(path, f"The reports file {path}", 1, names, config)


def parse_datetime(value: str) -> datetime | None:
    """Read a date and time; one without a zone is taken as UTC, one not understood is ``None``.

    ``01/02/2024`` is not understood, since nothing says which is the month; ``31/01/2024`` and
    ``01/31/2024`` are.
    """
    value = " ".join(value.split())
    moment: datetime | None = None
    digits = _DIGITS.fullmatch(value)
    if digits:
        day, time, fraction, zone = (group or "" for group in digits.groups())
        value = f"{day}T{time or '0000'}{fraction}{zone}"
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = _slashed(value)
    for form in _DATE_FORMS if moment is None else ():
        try:
            moment = datetime.strptime(value, form)
        except ValueError:
            continue
        break
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # year 1 or 9999, used as "unknown", next to a zone
        return None


def _slashed(value: str) -> datetime | None:
    match = _SLASHED.fullmatch(value)
    if not match:
        return None
    first, second, year, hour, minute, second_of_minute = (int(g or 0) for g in match.groups())
    if first <= 12 and second <= 12 and first != second:
        return None
    day, month = (second, first) if second > 12 else (first, second)
    try:
        return datetime(year, month, day, hour, minute, second_of_minute)
    except ValueError:
        return None


def _their_names(config: ReportsConfig) -> dict[str, str]:
    """Our column name -> the name in the file; only the configured ones differ."""
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


def _read_file(
    path: Path, label: str, file_number: int, names: dict[str, str], config: ReportsConfig
) -> Iterator[ReportRecord | BadRecord]:
    if len(config.delimiter) != 1:
        raise ConfigError("`reports.delimiter` is one character.")
    with _field_limit(config.max_text_characters), _opened(path, label, config) as stream:
        rows = csv.reader(stream, delimiter=config.delimiter)
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
                yield BadRecord(line, "field too long, or a quote never closed", file_number)
            except UnicodeError:
                raise _encoding_error(path, label, config) from None
            else:
                if row is None:
                    break
                if places is None and row:
                    places, width = _places(row, label, names, config), len(row)
                elif row:
                    assert places is not None
                    yield _record(row, places, width, line, file_number, config)
            line = rows.line_num + 1
        if places is None:
            raise ReportsError(f"{label} is empty: its first line must name the columns.")


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


def _places(
    header: list[str], label: str, names: dict[str, str], config: ReportsConfig
) -> dict[str, int]:
    """Our column name -> index in a row."""
    present = [name.strip().lower() for name in header]
    if any("\0" in name for name in header):
        raise ReportsError(
            f"{label}: line 1 holds NUL characters when read as {config.encoding}; "
            'it is probably UTF-16. Set reports.encoding = "utf-16-le" (or "utf-16-be").'
        )
    places: dict[str, int] = {}
    for ours in COLUMNS:
        theirs = names.get(ours, ours).lower()
        if present.count(theirs) > 1:
            raise ReportsError(f"{label}: the column `{theirs}` occurs more than once.")
        if theirs in present:
            places[ours] = present.index(theirs)
        elif ours in names or ours == "text":
            raise _missing(label, f"the column `{theirs}`", theirs, present, config)
    if "accession_number" not in places and "study_instance_uid" not in places:
        what = "a column `accession_number` or `study_instance_uid`"
        raise _missing(label, what, "accession_number", present, config)
    return places


def _missing(
    label: str, what: str, name: str, present: list[str], config: ReportsConfig
) -> ReportsError:
    for other in (";", "\t", "|", ","):
        if len(present) == 1 and other != config.delimiter and other in present[0]:
            return ReportsError(
                f"{label} lacks {what}; its fields seem to be separated by {other!r}: "
                "set reports.delimiter."
            )
    nearest = difflib.get_close_matches(name, present, n=1, cutoff=0.0)
    hint = f" The nearest is `{nearest[0]}`" if nearest and nearest[0] else " It has no name near"
    return ReportsError(
        f'{label} lacks {what}.{hint}: rename in reports.columns, as in "text=report_body".'
    )


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
    row: list[str],
    places: dict[str, int],
    width: int,
    line: int,
    file_number: int,
    config: ReportsConfig,
) -> ReportRecord | BadRecord:
    if len(row) != width:
        return BadRecord(line, f"{len(row)} fields instead of {width}", file_number)
    text = row[places["text"]]
    if len(text) > config.max_text_characters:
        return BadRecord(line, "text longer than reports.max_text_characters", file_number)
    if not text.strip():
        return BadRecord(line, "no text", file_number)
    fields = {
        name: (row[places[name]].replace("\0", "").strip() or None) if name in places else None
        for name in COLUMNS
        if name != "text"
    }
    if fields["accession_number"] is None and fields["study_instance_uid"] is None:
        return BadRecord(line, "neither accession_number nor study_instance_uid", file_number)
    when, status = fields.pop("report_datetime"), fields.pop("result_status")
    return report_record(
        report_id=fields["report_id"],
        accession_number=fields["accession_number"],
        issuer=fields["issuer"],
        study_instance_uid=fields["study_instance_uid"],
        patient_id=fields["patient_id"],
        report_datetime=parse_datetime(when) if when else None,
        result_status=status.lower() if status else None,
        text=text,
    )
