"""Raw element values as text, numbers, dates and ages; what cannot be understood is None.

DICOM PS3.5 section 6.2 (value representations) and annexes H to K (character sets).
"""

import re
import threading
import warnings
from datetime import date
from functools import lru_cache
from typing import Literal

MAX_CHARACTERS = 1024
"""Longer text is cut: the longest value that DICOM allows in these elements is 64 characters."""
MAX_AGE_YEARS = 130
"""A higher age is a slip of the keyboard or a placeholder date of birth."""

_ESCAPE = b"\x1b"
_PADDING = " \0\t\r\n"
_AGE = re.compile(r"(\d{1,3})([DWMY])", re.ASCII)
_DATE = re.compile(r"(\d{4})([.-]?)(\d{2})\2(\d{2})", re.ASCII)
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.2425, "D": 1 / 365.2425}
# pydicom warns through `warnings`, whose filters are process-wide; only one thread changes them.
_WARNINGS = threading.Lock()


def texts(raw: bytes | None, character_set: bytes = b"") -> tuple[str, ...]:
    """All values of an element, padding removed and length bounded; empty where there is none."""
    if not raw:
        return ()
    values = _decode(raw[: 8 * MAX_CHARACTERS], character_set).split("\\")
    return tuple(value.strip(_PADDING)[:MAX_CHARACTERS] for value in values)


def text(raw: bytes | None, character_set: bytes = b"") -> str | None:
    """The first value that is not empty."""
    return next((value for value in texts(raw, character_set) if value), None)


def integer(raw: bytes | None, byte_order: Literal["little", "big"]) -> int | None:
    """A US or UL, or an IS where a writer chose the wrong VR; None beyond 31 bits."""
    if not raw:
        return None
    # Four digits in ASCII would be a binary number above 800 million: no film has it.
    if len(raw) == 2 or (len(raw) == 4 and not raw.isdigit()):
        number = int.from_bytes(raw, byte_order)
        return number if number < 1 << 31 else None
    return integer_string(raw)


def integer_string(raw: bytes | None) -> int | None:
    """An IS: digits in ASCII."""
    digits = text(raw)
    if digits is None or re.fullmatch(r"[+-]?\d{1,12}", digits, re.ASCII) is None:
        return None
    number = int(digits)
    return number if 0 <= number < 1 << 31 else None


def day(raw: bytes | None) -> date | None:
    """A DA: YYYYMMDD, or YYYY.MM.DD as before 1993; years outside 1850-2200 are placeholders."""
    match = _DATE.fullmatch(text(raw) or "")
    if match is None or not 1850 <= int(match[1]) <= 2200:
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def age_years(age: bytes | None, study_date: date | None, birth_date: date | None) -> int | None:
    """Completed years of age: PatientAge, else from the two dates, else None.

    A newborn is written in days, weeks or months; `000Y` is what devices write when nobody typed
    an age, and counts as none.
    """
    match = _AGE.fullmatch((text(age) or "").upper())
    if match is not None and not (int(match[1]) == 0 and match[2] == "Y"):
        # The epsilon keeps 600 months at 50 years.
        years = int(int(match[1]) * _YEARS_PER_UNIT[match[2]] + 1e-9)
        if years <= MAX_AGE_YEARS:
            return years
    if study_date is None or birth_date is None:
        return None
    before_birthday = (study_date.month, study_date.day) < (birth_date.month, birth_date.day)
    years = study_date.year - birth_date.year - before_birthday
    return years if 0 <= years <= MAX_AGE_YEARS else None


def _decode(raw: bytes, character_set: bytes) -> str:
    """Text in the data set's SpecificCharacterSet; bytes that do not fit it become U+FFFD."""
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    encodings = _encodings(character_set)
    if len(encodings) == 1 and _ESCAPE not in raw:
        return raw.decode(encodings[0], "replace")
    from pydicom.charset import decode_bytes

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            decoded = decode_bytes(raw, encodings, {0x5C})
        except (LookupError, UnicodeError, ValueError):
            return raw.decode("ascii", "replace")
    return decoded.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=256)
def _encodings(character_set: bytes) -> tuple[str, ...]:
    """Python's names for a SpecificCharacterSet; an unknown one reads as Latin-1, as in pydicom."""
    names = [name.strip() for name in character_set.decode("latin-1").strip(_PADDING).split("\\")]
    if not any(names):
        return ("iso8859",)
    from pydicom.charset import convert_encodings

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(convert_encodings(names))
        except (LookupError, ValueError):
            return ("iso8859",)
