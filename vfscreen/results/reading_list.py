"""The reading list of an audit: a CSV file that goes out blinded and comes back filled in.

It names the studies and nothing that would tell a reader what to see: no probability, no stratum,
no report status, and the order is random.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from vfscreen.errors import InputError, UsageError
from vfscreen.results.spreadsheet import as_text, from_text

NAMED = ("number", "accession_number", "study_instance_uid", "study_date")
"""Columns that find the study, filled in; the readers' own column is named after the finding."""
ASKED = ("levels", "grade", "reader", "note")
"""Further columns to fill in."""

_ANSWERS = {"yes": "yes", "y": "yes", "no": "no", "n": "no", "unclear": "unclear", "?": "unclear"}
_LEVEL = re.compile(r"(?:C[1-7]|T(?:[1-9]|1[0-2])|L[1-6])")
_MOST_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One filled-in line. `reading` is `yes`, `no` or `unclear`."""

    line: int
    audit_id: str
    study_instance_uid: str
    reader: str
    reading: str
    levels: tuple[str, ...]
    grade: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A line that nobody has filled in yet."""

    line: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that cannot be taken, and why; the message repeats nothing of it."""

    line: int
    message: str


def write_reading_list(
    path: Path, audit_id: str, finding: str, studies: Iterable[dict[str, Any]]
) -> None:
    """Write a new reading list, readable by its owner only.

    Parameters
    ----------
    path
        A file that is not there yet.
    studies
        Rows of `audits`, in reading order.

    Raises
    ------
    UsageError
        There is such a file already, or it cannot be made.
    """
    try:
        # Never over a list that somebody may have filled in.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already: name a new file for the list.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}.") from None
    # The mark at the beginning tells spreadsheets that the file is UTF-8.
    with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as file:
        os.fchmod(file.fileno(), 0o600)
        out = csv.writer(file)
        out.writerow([*NAMED, finding, *ASKED, "audit"])
        for study in studies:
            row = [
                study["reading_number"],
                as_text(study["accession_number"] or ""),
                as_text(study["study_instance_uid"]),
                study["study_date"] or "",
            ]
            out.writerow([*row, "", *("" for _ in ASKED), audit_id])
        file.flush()
        os.fsync(file.fileno())


def read_reading_list(
    path: Path, findings: dict[str, str], reader: str
) -> Iterator[Reading | Unread | Refused]:
    """The lines of a reading list that came back, in their order.

    Parameters
    ----------
    path
        A CSV file in UTF-8, with commas, semicolons or tabs between the columns.
    findings
        The finding of each audit that was drawn.
    reader
        Whose readings these are where a line names nobody; may be empty.

    Raises
    ------
    InputError
        It is no such file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=_delimiter(file))
            header = [name.strip().lower() for name in next(rows, [])]
            _check(header, set(findings.values()), path)
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    yield _line(rows.line_num, header, cells, findings, reader)
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not in UTF-8: save it as `CSV UTF-8` and import that."
        ) from None
    except csv.Error:
        raise InputError(f"{path} is not a CSV file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _delimiter(file: TextIO) -> str:
    """What separates the columns: spreadsheets write what is usual in their country."""
    first = file.readline()
    file.seek(0)
    return max(",;\t", key=first.count)


def _check(header: list[str], findings: set[str], path: Path) -> None:
    missing = [n for n in ("audit", "study_instance_uid", *ASKED) if n not in header]
    if not findings & set(header):
        missing.insert(0, next(iter(sorted(findings)), "vertebral_fracture"))
    if missing:
        raise InputError(
            f"{path} lacks the column {missing[0]}: import the reading list that "
            "`vfscreen audit draw` wrote, with all of its columns."
        )


def _line(
    number: int, header: list[str], cells: list[str], findings: dict[str, str], reader: str
) -> Reading | Unread | Refused:
    if len(cells) > len(header):
        return Refused(number, "has more cells than the first line has columns")
    filled = [*cells, *("" for _ in header[len(cells) :])]
    row = {name: " ".join(cell.split()) for name, cell in zip(header, filled, strict=True)}
    finding = findings.get(row["audit"])
    if finding is None:
        return Refused(number, "belongs to no audit of this results folder")
    answer = row.get(finding, "")
    if not answer:
        if row["levels"] or row["grade"]:
            return Refused(number, f"names a level or a grade, but {finding} is empty")
        return Unread(number)
    reading = _ANSWERS.get(answer.lower())
    if reading is None:
        return Refused(number, f"{finding} is neither yes, no nor unclear")
    levels = _levels(row["levels"])
    if levels is None:
        return Refused(number, "levels are not as in `T12, L1`")
    grade = row["grade"].removesuffix(".0")
    if grade not in ("", "0", "1", "2", "3"):
        return Refused(number, "grade is not 1, 2 or 3")
    if reading == "no" and (levels or grade in ("1", "2", "3")):
        return Refused(number, f"{finding} is no, yet a level or a grade is named")
    who = (row["reader"] or reader.strip()).lower()
    if not who:
        return Refused(number, "names no reader; --reader names one for all such lines")
    if max(map(len, row.values())) > _MOST_CHARACTERS:
        return Refused(number, f"has a cell of more than {_MOST_CHARACTERS:,} characters")
    return Reading(
        line=number,
        audit_id=row["audit"],
        study_instance_uid=from_text(row["study_instance_uid"]),
        reader=who,
        reading=reading,
        levels=levels,
        grade=int(grade) if grade in ("1", "2", "3") else None,
        note=from_text(row["note"]),
    )


def _levels(text: str) -> tuple[str, ...] | None:
    """Vertebrae as they are called here (`D12` and `Th12` are T12); None if one is none."""
    words = [w for w in re.split(r"[\s,;/+&]+", text.upper()) if w]
    named = [re.sub(r"^(?:TH|D)(?=\d)", "T", word) for word in words]
    return tuple(named) if all(_LEVEL.fullmatch(name) for name in named) else None
