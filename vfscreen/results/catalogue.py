"""The catalogue: one DuckDB file of views that list, explicitly, the parts that count.

It is the only switch between what was and what is: built in a place of its own, then renamed over
the last one. A reader keeps the file it opened; nothing ever holds it open for writing.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

import vfscreen
from vfscreen.errors import StorageError, UsageError
from vfscreen.results.folder import Results, writing
from vfscreen.results.parts import counted_parts, empty_part, place, tidy
from vfscreen.results.schemas import FOLDERS
from vfscreen.results.sql import VIEWS, query

STORAGE_VERSION = "v1.0.0"
"""What a hospital's DuckDB client of the last years reads; views need nothing newer."""

PUBLISH_EVERY_S = 30.0
"""A publication takes 0.05 to 0.3 s, whatever was added: after each shard of a fast GPU, a fifth
of the run."""

_NAME = "vfscreen"


def publish_if_due(results: Results, every_s: float = PUBLISH_EVERY_S) -> bool:
    """`publish`, unless that was done less than `every_s` seconds ago; whether it was done.

    For a run that adds part after part. A part is safe from the moment it is written: what a
    killed run did not publish counts from the next publication on, which is how a run begins.
    """
    try:
        age_s = time.time() - results.catalogue.stat().st_mtime
    except OSError:
        age_s = every_s
    if 0 <= age_s < every_s:  # negative where the clock was set back
        return False
    publish(results)
    return True


def publish(results: Results) -> None:
    """Make everything that was written so far visible to readers.

    Also merges small parts and removes leftovers of killed runs. Safe beside other writers.

    Raises
    ------
    StorageError
        The catalogue cannot be written; the last one is still there.
    """
    try:
        with writing(results, exclusive=True):
            tidy(results)
            # Aside means in a folder of its own: beside the catalogue, DuckDB would have to open
            # a path of the user's, and it reads `?` in the name of a database as its end.
            with tempfile.TemporaryDirectory(prefix="vfscreen-") as aside:
                built = Path(aside) / "catalog.duckdb"
                _build(results, built)
                data = built.read_bytes()
            place(results, results.catalogue, data, results.file_mode & 0o440)
            # Left by a client that had it open for writing: it belongs to a file that is gone.
            results.catalogue.with_name("catalog.duckdb.wal").unlink(missing_ok=True)
    except (OSError, duckdb.IOException) as error:
        raise StorageError(
            f"The catalogue of {results.path} cannot be written: "
            f"{getattr(error, 'strerror', None) or 'the disk refused it'}."
        ) from None


def connect(results: Results, *, restricted: bool = False) -> duckdb.DuckDBPyConnection:
    """Open the catalogue for questions; several processes may, at any time.

    Where the catalogue cannot be used (the folder was moved or copied, another version made it, or
    the file is missing, damaged or held by someone's client), the same views are made in memory
    from the parts.

    Parameters
    ----------
    results
        The results folder.
    restricted
        For statements that a person typed: no file outside the folder, no setting, no extension.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            # A hospital's server has no business with an extension repository.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # Spilled rows hold identifiers: inside the folder or nowhere.
            "temp_directory": str(results.path / ".spill") if _may_write(results) else "",
        },
    )
    if not _attach(connection, results):
        if _was_moved(results) and _may_write(results):
            publish(results)
        if not _attach(connection, results):
            _create(connection)
            _fill(connection, results)
    if restricted:
        connection.execute(f"set allowed_directories = [{_literal(str(results.path) + '/')}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    return connection


def select_only(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Check that a person's text is one question, which changes and writes nothing.

    Raises
    ------
    UsageError
        It is something else, or cannot be parsed.
    """
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise UsageError(f"This is not SQL that DuckDB understands: {error}") from None
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in kinds:
        raise UsageError("Ask one question: a single SELECT statement. The catalogue is read-only.")
    return statements[0].query


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every view of `sql/` over a schema `parts` that is there already."""
    for name in VIEWS:
        connection.execute(f"create or replace view {name} as {query(name)}")


def _build(results: Results, path: Path) -> None:
    """Write the catalogue to a path: the template, with its parts filled in."""
    path.write_bytes(_template())
    with _attached(path) as connection:
        _fill(connection, results)


@cache
def _template() -> bytes:
    """A catalogue of no place and no parts.

    Binding the views takes most of the time and is the same for all shards of a run, so it is done
    once a process; and over no parts, since each would be opened by every view that reads it.
    """
    with tempfile.TemporaryDirectory(prefix="vfscreen-") as aside:
        path = Path(aside) / "catalog.duckdb"
        with _attached(path) as connection:
            _create(connection)
        return path.read_bytes()


@contextmanager
def _attached(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in which a catalogue can be written; complete on disk when it is left."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute(
            f"attach {_literal(str(path))} as {_NAME} (storage_version '{STORAGE_VERSION}')"
        )
        connection.execute(f"use {_NAME}")
        yield connection
        connection.execute("use memory")
        connection.execute(f"detach {_NAME}")


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    """All relations, over no parts."""
    connection.execute("begin")
    connection.execute("create schema parts")
    for folder, schema in FOLDERS.items():
        connection.execute(f"create view parts.{folder} as {_no_rows(connection, schema)}")
    create_views(connection)
    connection.execute("commit")


def _no_rows(connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> str:
    """A question without an answer that has the columns of a schema."""
    connection.register("columns_of", schema.empty_table())
    columns = connection.execute("describe select * from columns_of").fetchall()
    connection.unregister("columns_of")
    plain = ((name, kind.removesuffix(" WITH TIME ZONE")) for name, kind, *_ in columns)
    return f"select {', '.join(f'null::{kind} as {name}' for name, kind in plain)} where false"


def _fill(connection: duckdb.DuckDBPyConnection, results: Results) -> None:
    """Name the parts that count, and the place that this catalogue is for."""
    connection.execute("begin")
    for folder in FOLDERS:
        parts = counted_parts(results, folder)
        # Someone who may only read makes do without an empty part where there is none.
        empty = empty_part(results, folder, make=_may_write(results))
        if empty or parts:
            # Parts of an earlier version may lack a column: the empty part has them all.
            more = "" if empty else f" union all by name {_no_rows(connection, FOLDERS[folder])}"
            _create_parts(connection, folder, [*([empty] if empty else []), *parts], more)
    published_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    connection.execute(
        f"create view catalogue as select {_literal(str(results.path))} as results_path, "
        f"{_literal(vfscreen.__version__)} as vfscreen_version, "
        f"{_literal(_views_sha256())} as views_sha256, "
        f"timestamp '{published_at}' as published_at"
    )
    connection.execute("commit")


def _create_parts(
    connection: duckdb.DuckDBPyConnection, folder: str, parts: list[Path], more: str
) -> None:
    """`parts.<folder>`: every row ever written. Times are UTC, without a zone for clients to show.

    `union_by_name`: parts of an earlier version may lack a column.
    """
    times = [f.name for f in FOLDERS[folder] if str(f.type).startswith("timestamp")]
    plain = ", ".join(f"make_timestamp(epoch_us({name})) as {name}" for name in times)
    listed = ", ".join(_literal(str(path)) for path in parts)
    connection.execute(
        f"create or replace view parts.{folder} as select * replace ({plain}) "  # noqa: S608
        f"from read_parquet([{listed}], union_by_name = true){more}"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@cache
def _views_sha256() -> str:
    """Of all views: a catalogue of another version of them is not asked."""
    return hashlib.sha256("".join(query(name) for name in VIEWS).encode()).hexdigest()


def _attach(connection: duckdb.DuckDBPyConnection, results: Results) -> bool:
    """Attach the catalogue if it is there, readable, and made for this place by these views."""
    if not results.catalogue.exists():
        return False
    try:
        connection.execute(f"attach {_literal(str(results.catalogue))} as {_NAME} (read_only)")
        row = connection.execute(
            "select results_path, views_sha256 from vfscreen.catalogue"
        ).fetchone()
        if row == (str(results.path), _views_sha256()):
            connection.execute(f"use {_NAME}")
            return True
        connection.execute(f"detach {_NAME}")
    except duckdb.Error:
        return False
    return False


def _was_moved(results: Results) -> bool:
    """Whether the catalogue was made for a place that is no longer there.

    A copy, or a second mount of the same folder, is left alone: its catalogue serves others.
    """
    if not results.catalogue.exists():
        return True
    with duckdb.connect(":memory:") as connection:
        try:
            connection.execute(f"attach {_literal(str(results.catalogue))} as c (read_only)")
            row = connection.execute("select results_path from c.catalogue").fetchone()
        except duckdb.Error:
            return False
    return row is not None and not Path(row[0]).exists()


def _may_write(results: Results) -> bool:
    return os.access(results.path, os.W_OK | os.X_OK)
