"""Parquet parts: each exists whole or not at all, and nothing rewrites one.

A part is written under a temporary name in its own folder, flushed to disk, renamed, and the
folder flushed. Compaction adds a merged part that names in its metadata the parts it stands for;
those count no longer, and are removed 7 days later, when no reader can still need them.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vfscreen.errors import StorageError
from vfscreen.results.folder import Results, writing
from vfscreen.results.schemas import FOLDERS

MERGED_TOGETHER_BYTES = ((0, 1 << 20), (1 << 20, 64 << 20))
"""Parts of like size are merged (from, below), so that a row is rewritten once or twice in its
life; larger ones are read well enough as they are."""
MERGE_AT_ONCE_BYTES = 256 << 20
"""Bound on what one merge reads and writes, which holds off every other writer."""
MERGE_ABOVE_PARTS = 50
"""A view that reads a folder ten times opens each of its parts ten times, at about 0.2 ms; a night
of a million films writes 4,000."""
KEEP_REPLACED_S = 7 * 86400.0
ROW_GROUP_ROWS = 122_880
"""DuckDB's own row group: the unit that its threads share."""

Write = Callable[[BinaryIO], None]
"""Writes the content of a file."""

_PART = re.compile(r"part-\d{8}T\d{12}Z-[0-9a-f]{12}(?P<merged>-merged)?\.parquet")
_TEMPORARY = ".aside-"
_REPLACES = b"vfscreen.replaces"


def write_part(results: Results, folder: str, table: pa.Table) -> Path | None:
    """Add a table to a folder as one part; an empty table adds nothing.

    Parameters
    ----------
    results
        The results folder.
    folder
        A key of `schemas.FOLDERS`.
    table
        Any columns of that folder's schema; nullable ones may be missing, types are cast safely.

    Raises
    ------
    StorageError
        The part cannot be written; nothing of it stays.
    ValueError
        The table is not of the folder's schema (a bug of the caller).
    """
    table = conform(table, FOLDERS[folder])
    if table.num_rows == 0:
        return None
    path = results.path / folder / _part_name()
    with writing(results):
        _place(results, path, _parquet([table]))
    return path


def write_aside(results: Results, path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file of the results folder whole or not at all, replacing what is there.

    Raises
    ------
    StorageError
        It cannot be written; what was there is still there.
    """
    with writing(results):
        _place(results, path, data, mode)


def place(results: Results, path: Path, data: bytes, mode: int) -> None:
    """`write_aside` for whoever holds the writers' lock already."""
    _place(results, path, data, mode)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns: order, types and required values checked."""
    unknown = set(table.column_names) - set(schema.names)
    if unknown:
        raise ValueError(f"columns that the schema does not have: {sorted(unknown)}")
    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name).cast(field.type)
        else:
            column = pa.nulls(table.num_rows, field.type)
        if not field.nullable and column.null_count:
            raise ValueError(f"the required column {field.name} has missing values")
        columns.append(column)
    return pa.table(columns, schema=schema)


def counted_parts(results: Results, folder: str) -> list[Path]:
    """The parts of a folder that count, oldest first: all, but those that a merged one replaces."""
    present, replaced = _inventory(results.path / folder)
    return [results.path / folder / name for name in present if name not in replaced]


def empty_part(results: Results, folder: str, *, make: bool = True) -> Path | None:
    """The part without rows that gives a folder's view its columns; made where it is missing."""
    schema = FOLDERS[folder]
    fields = ";".join(f"{f.name}:{f.type}:{f.nullable}" for f in schema)
    digest = blake2b(fields.encode(), digest_size=6).hexdigest()
    # The columns are part of the name: a later version's view must not read this one's.
    path = results.path / folder / f"empty-{digest}.parquet"
    if not path.exists():
        if not make:
            return None
        _place(results, path, _parquet([schema.empty_table()]))
    return path


def tidy(results: Results) -> None:
    """Merge small parts, remove replaced ones after 7 days, and what killed writers left behind.

    Only for whoever holds the writers' lock exclusively: then no temporary file is in use.
    """
    for folder in FOLDERS:
        where = results.path / folder
        _remove_leftovers(where)
        _merge(results, folder)
        _remove_replaced(where)
    for where in (results.path, results.runs):
        _remove_leftovers(where)


def _remove_leftovers(where: Path) -> None:
    for path in where.iterdir():
        if path.name.startswith(_TEMPORARY):
            _remove(path)


def _part_name(*, merged: bool = False) -> str:
    now = datetime.now(UTC)
    return f"part-{now:%Y%m%dT%H%M%S%fZ}-{uuid.uuid4().hex[:12]}{'-merged' * merged}.parquet"


def _inventory(where: Path) -> tuple[list[str], set[str]]:
    """Names of all whole parts, oldest first, and of those that merged parts replace."""
    present = sorted(p.name for p in where.iterdir() if _PART.fullmatch(p.name))
    replaced: set[str] = set()
    for name in present:
        if name.endswith("-merged.parquet"):
            replaced.update(_replaces(where / name))
    return present, replaced


def _replaces(path: Path) -> list[str]:
    metadata: dict[bytes, bytes] = pq.read_metadata(path).metadata or {}
    names: list[str] = json.loads(metadata.get(_REPLACES, b"[]"))
    return names


def _merge(results: Results, folder: str) -> None:
    sized = sorted((p.stat().st_size, p) for p in counted_parts(results, folder))
    for least, below in MERGED_TOGETHER_BYTES:
        chosen: list[Path] = []
        total = 0
        for size, path in sized:
            if least <= size < below and total + size <= MERGE_AT_ONCE_BYTES:
                chosen.append(path)
                total += size
        if len(chosen) > MERGE_ABOVE_PARTS:
            _merge_parts(results, folder, sorted(chosen))


def _merge_parts(results: Results, folder: str, chosen: list[Path]) -> None:
    replaces = [path.name for path in chosen]
    for path in chosen:
        # What a merged part replaced may still be there: it must not count again with it gone.
        replaces += _replaces(path) if path.name.endswith("-merged.parquet") else []
    tables = (conform(pq.ParquetFile(path).read(), FOLDERS[folder]) for path in chosen)
    merged = _parquet(tables, metadata={_REPLACES: json.dumps(replaces).encode()})
    _place(results, results.path / folder / _part_name(merged=True), merged)


def _remove_replaced(where: Path) -> None:
    """Oldest first: a kill in between never leaves a replaced part without the one that says so."""
    present, _ = _inventory(where)
    names = set(present)
    for merged in [name for name in present if name.endswith("-merged.parquet")]:
        if time.time() - (where / merged).stat().st_mtime > KEEP_REPLACED_S:
            for name in sorted(set(_replaces(where / merged)) & names):
                _remove(where / name)
                names.discard(name)


def _parquet(tables: Iterable[pa.Table], metadata: dict[bytes, bytes] | None = None) -> Write:
    """Tables of one schema as one Parquet file, a row group at a time.

    Straight into the file: a first night's manifest would else lie in memory once more.
    """

    def write(file: BinaryIO) -> None:
        writer: pq.ParquetWriter | None = None
        waiting: list[pa.Table] = []
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(file, table.schema, compression="zstd")
                waiting.append(table)
                if sum(t.num_rows for t in waiting) >= ROW_GROUP_ROWS:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
                    waiting = []
            assert writer is not None
            if waiting:
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP_ROWS)
            if metadata:
                writer.add_key_value_metadata(metadata)
        finally:
            if writer is not None:
                writer.close()

    return write


def _place(results: Results, path: Path, data: bytes | Write, mode: int | None = None) -> None:
    """Write aside (bytes, or whatever a `Write` writes), flush, rename, flush the folder."""
    aside = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        try:
            # Made unreadable to others from its first byte on.
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                if callable(data):
                    data(file)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            results.own(aside, results.file_mode if mode is None else mode)
            aside.replace(path)
            flush_folder(path.parent)
        except BaseException:
            _remove(aside)
            raise
    except OSError as error:
        raise StorageError(
            f"The results folder {results.path} cannot be written: {error.strerror}. What is "
            "there is whole; once that is mended, the next run goes on from it."
        ) from None


def flush_folder(folder: Path) -> None:
    """Make a rename last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    # What cannot be removed now is tried again at the next publication.
    with suppress(OSError):
        path.unlink()
