"""Files of labels: CSV text as Arrow columns, with every cell understood or refused.

Nothing of a file's content is repeated in a message: a cell may hold an identifier.
"""

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from vfscreen.errors import LabelsError

KEYS = ("sop_instance_uid", "study_instance_uid", "accession_number")
"""What can name the films of a row, most specific first: a file with several goes by the first."""
ISSUER = "issuer"
_YES = ("1", "true", "yes", "1.0")
_NO = ("0", "false", "no", "0.0")
"""The last of each is how programs write whole numbers in a column that also has empty cells."""
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV file as text.

    Attributes
    ----------
    names : tuple of str
        The columns, as the first line spells them.
    columns : dict
        Name (in lower case) to its cells without surrounding space; an empty cell is null.
    line : NDArray
        (N,) int64, the line of the file on which each row begins; the header is line 1.
    sha256 : str
        Of the file.
    """

    names: tuple[str, ...]
    columns: dict[str, pa.Array]
    line: NDArray[np.int64]
    sha256: str


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A labels file, understood but not yet matched; `rows` and `values` as `match_labels` wants.

    Attributes
    ----------
    key : str
        One of `KEYS`: what names the films.
    findings : tuple of str
        A column each.
    """

    key: str
    findings: tuple[str, ...]
    rows: pa.Table
    values: pa.Table
    sha256: str


def read_csv_table(path: Path, what: str) -> CsvTable:
    """Read a whole CSV file; fields are separated by what the first line has most of `,;|` or tab.

    Parameters
    ----------
    path
        UTF-8, with or without a byte order mark; the first line names the columns.
    what
        What the file holds, for messages (`labels`, `marks`).

    Raises
    ------
    LabelsError
        The file cannot be read, is empty, is not UTF-8, has a line with more or fewer fields than
        the first, or names a column twice or not at all.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelsError(f"The {what} file {path} cannot be read: {error.strerror}.") from None
    try:
        header, _, _ = data.decode("utf-8-sig").partition("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise LabelsError(
            f"{path}: line {number} is not UTF-8; save the file as CSV in UTF-8."
        ) from None
    if not header.strip():
        raise LabelsError(f"{path} is empty: its first line must name the columns.")
    if "\0" in header:
        raise LabelsError(f"{path} is not UTF-8 (UTF-16, probably): save it as CSV in UTF-8.")
    delimiter = max(_DELIMITERS, key=header.count)
    names = _header(path, header, delimiter)
    table, line = _parsed(path, data, names, delimiter)
    columns = {}
    extra = np.zeros(len(line), np.int64)
    for name, column in zip(names, table.columns, strict=True):
        cells = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
        extra += np.asarray(pc.count_substring(cells, "\n"), np.int64)
        cells = pc.utf8_trim_whitespace(cells)
        columns[name.lower()] = pc.if_else(pc.equal(cells, ""), None, cells)
    # A quoted cell may run over several lines; the rows after it begin that much later.
    line[1:] += np.cumsum(extra)[:-1]
    return CsvTable(names, columns, line, hashlib.sha256(data).hexdigest())


def label_findings(path: Path) -> tuple[str, ...]:
    """The findings that a labels file has a column for, in its order.

    Raises
    ------
    LabelsError
        As `read_csv_table`, or there is no key column or no finding.
    """
    table = read_csv_table(path, "labels")
    _key_column(path, table)
    return _finding_columns(path, table, None)


def read_labels(path: Path, findings: tuple[str, ...] | None, reserved: set[str]) -> LabelTable:
    """Read a labels file.

    Parameters
    ----------
    path
        One column of `KEYS` (with several, the first of them counts), with accession_number
        perhaps `issuer`, and one column a finding: 0, 1, true, false, yes, no, or empty for
        unknown.
    findings
        The columns that count; None: all that are neither a key nor the issuer.
    reserved
        Names that no finding may have.

    Raises
    ------
    LabelsError
        As `read_csv_table`; or there is no key column, no (such) finding, a finding of a reserved
        name, or a cell that is none of the values. The message names file, line and column.
    """
    table = read_csv_table(path, "labels")
    key = _key_column(path, table)
    names = _finding_columns(path, table, findings)
    taken = [name for name in names if name in reserved]
    if taken:
        raise LabelsError(
            f"{path}: a finding cannot be called `{taken[0]}`, which is a column of the films: "
            "rename it, or leave it out."
        )
    line = pa.array(table.line)
    issuer = table.columns.get(ISSUER) if key == "accession_number" else None
    rows = pa.table(
        {
            "line": line,
            "key": table.columns[key],
            "issuer": pa.nulls(len(line), pa.string()) if issuer is None else issuer,
        }
    )
    return LabelTable(key, names, rows, _values(path, table, names), table.sha256)


def _header(path: Path, header: str, delimiter: str) -> tuple[str, ...]:
    first = pacsv.read_csv(
        pa.BufferReader((header.rstrip("\r") + "\n").encode()),
        parse_options=pacsv.ParseOptions(delimiter=delimiter),
        read_options=pacsv.ReadOptions(autogenerate_column_names=True),
        convert_options=pacsv.ConvertOptions(
            strings_can_be_null=False,
            column_types={f"f{n}": pa.string() for n in range(header.count(delimiter) + 1)},
        ),
    )
    names = tuple(column[0].as_py().strip() for column in first.columns)
    lowered = [name.lower() for name in names]
    for number, name in enumerate(lowered, 1):
        if not name:
            raise LabelsError(f"{path}: column {number} has no name in line 1.")
        if lowered.index(name) != number - 1:
            first_number = lowered.index(name) + 1
            raise LabelsError(f"{path}: columns {first_number} and {number} have the same name.")
    return names


def _parsed(
    path: Path, data: bytes, names: tuple[str, ...], delimiter: str
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows below the header, and the number of each among the rows of the file."""
    blank: list[int] = []
    ragged: list[tuple[int, int]] = []

    def judge(row: pacsv.InvalidRow) -> str:
        if row.text.strip():
            ragged.append((row.number, row.actual_columns))
        else:
            blank.append(row.number)
        return "skip"

    if data.count(b'"') % 2:
        # In a column that nobody asked for, the rest of the file would be one cell.
        raise _unclosed(path)
    places = [str(n) for n in range(len(names))]
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            # Rows are numbered only where one thread reads them.
            read_options=pacsv.ReadOptions(use_threads=False, skip_rows=1, column_names=places),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=judge,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        # Arrow's own message repeats a piece of the row.
        raise _unclosed(path) from None
    if ragged:
        number, fields = ragged[0]
        raise LabelsError(
            f"{path}: line {number} has {fields} field{'s'[: fields != 1]} instead of "
            f"{len(names)}{_more(ragged)}."
        )
    numbers = np.arange(2, table.num_rows + len(blank) + 2, dtype=np.int64)
    return table, np.delete(numbers, np.array(blank, np.int64) - 2)


def _unclosed(path: Path) -> LabelsError:
    return LabelsError(
        f"{path} cannot be read as CSV: a quote is opened and never closed (a quote within a "
        "quoted field is written twice)."
    )


def _more(problems: list[tuple[int, int]]) -> str:
    return f" (and {len(problems) - 1:,} more lines)" if len(problems) > 1 else ""


def _key_column(path: Path, table: CsvTable) -> str:
    for key in KEYS:
        if key in table.columns:
            return key
    # The first line may be data, so it is not repeated here.
    raise LabelsError(
        f"{path} has no column that names the films: one must be called {KEYS[0]}, {KEYS[1]} or "
        f"{KEYS[2]}, in the first line of the file."
    )


def _finding_columns(
    path: Path, table: CsvTable, findings: tuple[str, ...] | None
) -> tuple[str, ...]:
    columns = tuple(name for name in table.names if name.lower() not in (*KEYS, ISSUER))
    if not columns:
        raise LabelsError(f"{path} has no finding: each finding has a column of its own.")
    if findings is None:
        return columns
    for finding in findings:
        if finding not in columns:
            nearest = difflib.get_close_matches(finding, columns, n=1, cutoff=0.0)
            hint = f"; the nearest is `{nearest[0]}`" if nearest else ""
            raise LabelsError(f"{path} has no column `{finding}`{hint}.")
    return findings


def _values(path: Path, table: CsvTable, findings: tuple[str, ...]) -> pa.Table:
    """`line`, `finding`, `value` of every cell that is filled in."""
    line = pa.array(table.line)
    parts = []
    for number, finding in enumerate(findings):
        cells = pc.utf8_lower(table.columns[finding.lower()])
        yes = pc.is_in(cells, value_set=pa.array(_YES))
        known = pc.or_(yes, pc.is_in(cells, value_set=pa.array(_NO)))
        filled = pc.is_valid(cells)
        wrong = np.flatnonzero(pc.and_not(filled, known))
        if len(wrong):
            more = f" (and {len(wrong) - 1:,} more cells)" if len(wrong) > 1 else ""
            raise LabelsError(
                f"{path}: line {table.line[wrong[0]]}, column `{finding}`: neither 0 or 1, true or "
                f"false, yes or no, nor empty for unknown{more}. Correct it; if the column is no "
                "finding, leave it out or name the findings."
            )
        parts.append(
            pa.table(
                {
                    "line": line.filter(filled),
                    "finding": pa.repeat(
                        pa.scalar(number, pa.int32()), pc.sum(filled).as_py() or 0
                    ),
                    "value": yes.filter(filled).cast(pa.int8()),
                }
            )
        )
    return pa.concat_tables(parts)
