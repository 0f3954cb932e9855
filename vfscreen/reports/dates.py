"""Dates and times as exports, HL7, DICOM and FHIR write them."""

import re
from datetime import UTC, date, datetime

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
# DICOM DT and HL7 TS: "20240501", "2024050110", "20240501102030.123456+0800". ISO 8601 knows them
# only with a T, and Python would take the first digit of the hour for it.
_DIGITS = re.compile(r"(\d{8})(?:(\d{2}|\d{4}|\d{6})(\.\d{1,6})?)?([+-]\d{4})?")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?)?")
# Nothing that is a date is longer; a regular expression need not look at more.
_LONGEST = 64


def parse_datetime(value: str) -> datetime | None:
    """Read a date and time; one without a zone is taken as UTC, one not understood is ``None``.

    ``01/02/2024`` is not understood, since nothing says which is the month; ``31/01/2024`` and
    ``01/31/2024`` are.
    """
    moment = _moment(value)
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # year 1 or 9999, used as "unknown", next to a zone
        return None


def parse_date(value: str) -> date | None:
    """Read the day of a date or of a date and time, as its own place and zone count it."""
    moment = _moment(value)
    return None if moment is None else moment.date()


def _moment(value: str) -> datetime | None:
    value = " ".join(value[: _LONGEST + 1].split())
    if not value or len(value) > _LONGEST:
        return None
    digits = _DIGITS.fullmatch(value)
    if digits:
        day, time, fraction, zone = (group or "" for group in digits.groups())
        value = f"{day}T{time or '0000'}{fraction}{zone}"
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        pass
    if (moment := _slashed(value)) is not None:
        return moment
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(value, form)
        except ValueError:
            continue
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
