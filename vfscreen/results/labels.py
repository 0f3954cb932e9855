"""Labels of a file matched to the films of an archive, by the questions of `sql/`."""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from vfscreen.results.sql import ask, query

_STAGED = ("label_matches", "agreed_labels")


@dataclass(frozen=True, slots=True)
class MatchedLabels:
    """What a labels file says of an archive.

    Attributes
    ----------
    rows : pa.Table
        `line`, `reason` (null: the row is used), one row a row of the file, in its order.
    films : pa.Table
        The columns of sql/labelled_films.sql, one row an eligible labelled film.
    values : pa.Table
        `unit` (of `films`), `finding` (its place among the findings), `value` (0 or 1).
    """

    rows: pa.Table
    films: pa.Table
    values: pa.Table


def match_labels(
    connection: duckdb.DuckDBPyConnection,
    label_key: str,
    rows: pa.Table,
    values: pa.Table,
    archive_roots: list[str],
) -> MatchedLabels:
    """Match the rows of a labels file to the films below some roots.

    Parameters
    ----------
    connection
        An open catalogue, of which everything that counts is published.
    label_key
        Which identifier `rows` name: sop_instance_uid, study_instance_uid or accession_number.
    rows
        `line`, `key`, `issuer` (text or null), one row a row of the file.
    values
        `line`, `finding` (its place among the findings), `value` (0 or 1): the cells filled in.
    """
    bound = {"label_key": label_key, "archive_roots": archive_roots}
    try:
        for name, table in (("label_rows", rows), ("label_values", values)):
            connection.register("given", table)
            connection.execute(f"create temp table {name} as select * from given")  # noqa: S608
            connection.unregister("given")
        for name in _STAGED:
            text = query(name)
            used = {key: value for key, value in bound.items() if f"${key}" in text}
            connection.execute(f"create temp table {name} as {text}", used)
        return MatchedLabels(
            rows=ask(connection, "label_states"),
            films=ask(connection, "labelled_films", **bound),
            values=connection.table("agreed_labels").to_arrow_table(),
        )
    finally:
        for name in ("label_rows", "label_values", *_STAGED):
            connection.execute(f"drop table if exists temp.{name}")
