"""Audits: samples drawn from every stratum of the screened studies, and what readers saw."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from vfscreen.results.catalogue import publish
from vfscreen.results.folder import Results
from vfscreen.results.parts import write_part
from vfscreen.results.reading_list import Reading
from vfscreen.results.schemas import AUDIT_READINGS, AUDITS
from vfscreen.results.sql import ask, fetch, query
from vfscreen.results.staging import staged


@dataclass(frozen=True, slots=True)
class Plan:
    """What an audit speaks of, and how it is drawn.

    Attributes
    ----------
    threshold : float
        Calibrated probability (0..1) from which a study is above.
    since, until : date or None
        Study dates, both included.
    """

    audit_id: str
    finding: str
    threshold: float
    since: date | None
    until: date | None
    allocation: str
    seed: int


@dataclass(frozen=True, slots=True)
class Stratum:
    """Studies on one side of the threshold with one report status."""

    above: bool
    report_status: str
    studies: int
    mean_probability: float


class Population:
    """The screened studies that an audit speaks of, computed once for its questions."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
        self._connection, self._plan = connection, plan
        rows = ask(connection, "audit_strata").to_pylist()
        self.undated = sum(r["studies"] for r in rows if r["in_period"] is None)
        self.strata = [
            Stratum(r["above"], r["report_status"], r["studies"], r["mean_probability"])
            for r in rows
            if r["in_period"]
        ]

    def draw(self, sampled: Sequence[int]) -> pa.Table:
        """Rows of `audits`, in reading order: `sampled` studies of each stratum."""
        plan = self._plan
        drawn = ask(
            self._connection,
            "audit_draw",
            seed=plan.seed,
            above=[s.above for s in self.strata],
            report_status=[s.report_status for s in self.strata],
            studies=[s.studies for s in self.strata],
            sampled=[int(n) for n in sampled],
        )
        count = drawn.num_rows
        same = {
            "audit_id": plan.audit_id,
            "threshold": plan.threshold,
            "allocation": plan.allocation,
            "seed": plan.seed,
            "since": plan.since,
            "until": plan.until,
            "drawn_at": datetime.now(UTC),
        }
        for name, value in same.items():
            column = pa.array([value] * count, AUDITS.field(name).type)
            drawn = drawn.append_column(name, column)
        return drawn.select(AUDITS.names).cast(AUDITS)


@contextmanager
def population(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Iterator[Population]:
    """Open the population of an audit on a catalogue of which everything is published."""
    bound = {
        "finding": plan.finding,
        "threshold": plan.threshold,
        "since": plan.since,
        "until": plan.until,
    }
    text = query("audit_population")
    with staged(connection, text):
        connection.execute(f"create or replace temp table audit_population as {text}", bound)
        try:
            yield Population(connection, plan)
        finally:
            connection.execute("drop table audit_population")


def record_audit(results: Results, drawn: pa.Table) -> None:
    """Keep a drawn sample (rows of `Population.draw`) and make it count."""
    write_part(results, "audits", drawn)
    publish(results)


def record_readings(results: Results, readings: Sequence[Reading]) -> None:
    """Append readings and make them count."""
    now = datetime.now(UTC)
    rows = [
        {name: getattr(reading, name) for name in AUDIT_READINGS.names if name != "imported_at"}
        | {"levels": list(reading.levels), "imported_at": now}
        for reading in readings
    ]
    if write_part(results, "audit_readings", pa.Table.from_pylist(rows, schema=AUDIT_READINGS)):
        publish(results)


def drawn_studies(connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """Audit and study of everything that was ever drawn."""
    rows = fetch(connection, "select audit_id, study_instance_uid from parts.audits").to_pydict()
    return set(zip(rows["audit_id"], rows["study_instance_uid"], strict=True))


def current_readings(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str], object]:
    """Audit, study and reader of each current reading -> `said` of it."""
    rows = fetch(connection, "select * from audit_readings_current").to_pylist()
    return {
        (r["audit_id"], r["study_instance_uid"], r["reader"]): (
            r["reading"], tuple(r["levels"] or ()), r["grade"], r["note"],
        )
        for r in rows
    }  # fmt: skip


def said(reading: Reading) -> object:
    """What a reading says, to compare with another of the same study and reader."""
    return reading.reading, reading.levels, reading.grade, reading.note
