"""Read reports into the results folder and label what is new."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from vfscreen.config import Config
from vfscreen.errors import Stage
from vfscreen.jobs.labelling import CHUNK_REPORTS, label_new
from vfscreen.jobs.matching import count_unmatched
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run, open_run
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.ledger import Ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import Failure, failures_table
from vfscreen.results.sql import ask

log = logging.getLogger("vfscreen")
T = TypeVar("T")


def run_import(source: Path, results_path: Path, config: Config) -> Ledger:
    """`vfscreen reports import`.

    Raises
    ------
    ReportsError
        The source cannot be read as what it claims to be.
    """
    with open_run(results_path, "reports import", config) as run:
        read_reports_into(run, source, config)
        count_unmatched(run, config)
        return run.ledger


def read_reports_into(
    run: Run, source: Path | None, config: Config, stop: Callable[[], bool] = lambda: False
) -> None:
    """Import what is new in `source` (None: nothing to import), then label what has no label.

    Stopped, it ends after the chunk in hand; the next run goes on.
    """
    if source is not None:
        with run.timed("reports"):
            _import(run, source, config, stop)
            publish(run.results)
    with run.timed("label"):
        label_new(run, config, stop)
        publish(run.results)


def _import(run: Run, source: Path, config: Config, stop: Callable[[], bool]) -> None:
    import pyarrow as pa

    from vfscreen.reports.csv_reader import read_reports
    from vfscreen.reports.records import BadRecord
    from vfscreen.results.schemas import REPORTS

    with connect(run.results) as catalogue:
        known = set(
            zip(
                *ask(catalogue, "known_reports").to_pydict().values(),
                strict=True,
            )
        )
    with progress("reading reports", unit="reports") as show:
        for chunk in _chunks(read_reports(source, config.reports), CHUNK_REPORTS):
            now = datetime.now(UTC)
            rows: list[dict[str, Any]] = []
            failures: list[Failure] = []
            for record in chunk:
                show()
                if isinstance(record, BadRecord):
                    failures.append(_bad_record(run, record))
                    continue
                identity = (record.report_id, record.content_sha256)
                if identity in known:
                    run.ledger.add("reports", "already_there")
                    continue
                known.add(identity)
                rows.append(asdict(record) | {"run_id": run.run_id, "imported_at": now})
            write_part(run.results, "reports", pa.Table.from_pylist(rows, schema=REPORTS))
            write_part(run.results, "failures", failures_table(failures, run.run_id))
            run.ledger.add("reports", "imported", len(rows))
            run.ledger.add("reports", "bad_records", len(failures))
            if stop():
                return


def _bad_record(run: Run, record: Any) -> Failure:
    where = f"file {record.file_number}, line {record.line}"
    return Failure(
        instance_key=run.hash(where),
        sop_instance_uid=None,
        content_fingerprint=None,
        model_sha256=None,
        stage=Stage.REPORTS,
        reason=record.reason,
        message=f"{where}: {record.message}",
        transfer_syntax_uid=None,
    )


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
