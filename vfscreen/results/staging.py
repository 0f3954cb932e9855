"""Relations that one question reads several times over, computed once for it.

A view is expanded wherever it is named: `screened_studies` reads the manifest five times. For a
question that does so, what is shared is made temporary tables of its connection, and the relations
that read them are made again over these, from the same files of `sql/`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from vfscreen.results.sql import query

_SHARED = {
    "studies": "*",
    "study_reports": "*",
    # Without the evidence, which is most of it and which none of the readers below asks for; all
    # of it where the statement itself names the relation.
    "report_labels": "report_id, finding, report_status, history, levels",
}
_READERS = (
    "unmatched_reports", "study_statements", "study_report_status", "known_elsewhere",
    "study_findings", "screened_studies", "screening_funnel",
)  # fmt: skip


@contextmanager
def staged(connection: duckdb.DuckDBPyConnection, text: str) -> Iterator[None]:
    """While a statement is asked, compute what its relations share once, if it reads such.

    Parameters
    ----------
    connection
        An open catalogue. A name without a schema finds a temporary relation first.
    text
        The statement.
    """
    # A name that stands in a comment costs time and changes nothing.
    named = set(re.findall(r"\w+", text.lower()))
    last = max((n for n, reader in enumerate(_READERS, 1) if reader in named), default=0)
    if not last:
        yield
        return
    readers = _READERS[:last]
    try:
        for name, columns in _SHARED.items():
            columns = "*" if name in named else columns
            connection.execute(
                f"create temp table {name} as select {columns} from ({query(name)})"  # noqa: S608
            )
        for name in readers:
            connection.execute(f"create temp view {name} as {query(name)}")
        yield
    finally:
        for name in reversed(readers):
            connection.execute(f"drop view if exists temp.{name}")
        for name in _SHARED:
            connection.execute(f"drop table if exists temp.{name}")
