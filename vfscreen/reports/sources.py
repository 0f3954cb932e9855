"""A source of reports, file or folder: which format each file is in, and its records."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, ReportsError
from vfscreen.reports.columns import their_names
from vfscreen.reports.csv_reader import read_csv
from vfscreen.reports.fhir_reader import read_fhir
from vfscreen.reports.hl7_reader import read_hl7
from vfscreen.reports.jsonl_reader import read_jsonl
from vfscreen.reports.parquet_reader import read_parquet
from vfscreen.reports.records import BadRecord, NotAReport, ReportRecord
from vfscreen.reports.sr_reader import read_sr
from vfscreen.reports.text_reader import read_text

Item = ReportRecord | BadRecord | NotAReport
Reader = Callable[[Path, ReportsConfig, str], Iterator[Item]]

READERS: dict[str, Reader] = {
    "csv": read_csv,
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "hl7": read_hl7,
    "fhir": read_fhir,
    "sr": read_sr,
    "text": read_text,
}
"""Every format; what is not `csv` to `jsonl` names its own fields."""

HEAD_BYTES = 64 << 10

_PACKED = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "fhir",
    ".hl7": "hl7", ".er7": "hl7", ".oru": "hl7", ".parquet": "parquet",
}  # fmt: skip
"""What a file is whose first bytes do not tell."""
_TEXTS = (".txt", ".text")
_HL7_STARTS = (b"MSH", b"FHS", b"BHS")
_MARK = b"\xef\xbb\xbf"


def read_reports(path: Path, config: ReportsConfig) -> Iterator[Item]:
    """Stream the reports of a file, or of every file of a folder and those below it.

    Files are read in the order of their names, a folder's files before its subfolders; names that
    begin with a dot are left out. Memory is bounded by the longest record (for FHIR, see there).

    Parameters
    ----------
    path
        A file or a folder, of one format or of several.
    config
        What of the format its content does not say.

    Yields
    ------
    ReportRecord, BadRecord or NotAReport
        A file of a folder that cannot be read at all is a bad record, too; one that holds no
        reports by its format (a film, a PDF) is no report.

    Raises
    ------
    ReportsError
        The source is missing or an empty file, or holds nothing that can be read as what it is.
    ConfigError
        A key of [reports] cannot be.
    """
    if config.format != "auto" and config.format not in READERS:
        raise ConfigError(f"`reports.format` is `auto` or one of {', '.join(READERS)}.")
    their_names(config)  # a wrong name is said before anything is read
    if path.is_dir():
        yield from _folder(path, config)
        return
    label = f"The reports file {path}"
    if path.exists() and not path.is_file():
        raise ReportsError(f"{label} is neither a file nor a folder.")
    name = _format(path, config, label)
    if name is None:
        raise ReportsError(
            f"{label} is in no format that is read, or packed: unpack it, or set reports.format "
            f"to one of {', '.join(READERS)}."
        )
    yield from READERS[name](path, config, label)


def _folder(folder: Path, config: ReportsConfig) -> Iterator[Item]:
    """The records of a folder's files; one without any that can be read is the wrong folder."""
    number = readable = 0
    first: ReportsError | None = None
    for number, file in enumerate(_files(folder), start=1):
        # Names of files and folders may be accession numbers: their order gives the place.
        label = f"Reports file {number}"
        try:
            if file is None:
                raise ReportsError(f"{label} is a folder that cannot be listed.")
            name = _format(file, config, label)
            if name is None:
                yield NotAReport()
                continue
            for item in READERS[name](file, config, label):
                yield replace(item, file_number=number) if isinstance(item, BadRecord) else item
            readable += 1
        except ReportsError as error:
            first = first or error
            yield BadRecord("whole file", str(error), number)
    if number == 0:
        raise ReportsError(f"The reports folder {folder} holds no file.")
    if readable == 0:
        why = str(first) if first else f"None of its {number:,} files is in a format that is read."
        raise ReportsError(f"The reports folder {folder} holds nothing that can be read. {why}")


def _files(folder: Path, *, top: bool = True) -> Iterator[Path | None]:
    """Files in the order of their names; None for a folder below that cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(
                (e for e in listing if not e.name.startswith(".")), key=lambda e: e.name
            )
    except OSError as error:
        if top:
            raise ReportsError(
                f"The reports folder {folder} cannot be listed: {error.strerror}."
            ) from None
        yield None
        return
    for entry in entries:
        if entry.is_file():
            yield Path(entry.path)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), top=False)


def _format(path: Path, config: ReportsConfig, label: str) -> str | None:
    """The format of a file, by its first bytes, else by its suffix; None: none that is read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None
    told = config.format if config.format != "auto" else _told(head, path.suffix.lower(), config)
    if told is not None and not head:
        raise ReportsError(f"{label} is empty.")
    return told


def _told(head: bytes, suffix: str, config: ReportsConfig) -> str | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[128:132] == b"DICM":
        return "sr"
    if head.startswith(_PACKED):
        return None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head[: len(head) & ~1].decode("utf-16", "replace").encode()
    start = head.removeprefix(_MARK).lstrip(b"\x0b\r\n\t ")
    if start[:3] in _HL7_STARTS and not start[3:4].isalnum():
        return "hl7"
    if _SUFFIXES.get(suffix) == "csv":  # its header may begin in any way
        return "csv"
    if start.startswith((b"%PDF", b"{\\rtf")):
        return None
    if start.startswith(b"{"):
        return "fhir" if b'"resourceType"' in head or suffix == ".json" else "jsonl"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if b"\0" in head:
        return None
    if (not suffix or suffix in _TEXTS) and _has_header(start, config):
        return "csv"
    return "text" if suffix in _TEXTS else None


def _has_header(start: bytes, config: ReportsConfig) -> bool:
    """Whether the first line names the column of the text, as that of a CSV file does."""
    header = start.splitlines()[0].decode("latin-1").lower() if start else ""
    names = [name.strip(' "') for name in header.split(config.delimiter or ",")]
    return their_names(config).get("text", "text").lower() in names
