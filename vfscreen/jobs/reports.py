"""Read reports into the results folder and label what is new."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.archive.walk import archive_root, locate
from vfscreen.config import Config
from vfscreen.errors import Stage
from vfscreen.jobs.labelling import CHUNK_REPORTS, label_new
from vfscreen.jobs.matching import count_unmatched
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run, open_run, reports_verdict
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.ledger import Ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import Failure, failures_table
from vfscreen.results.sql import ask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vfscreen.reports.records import BadRecord, NotAReport, ReportRecord

    Item = ReportRecord | NotAReport | Failure

log = logging.getLogger("vfscreen")

CHUNK_CHARACTERS = 64 << 20
"""Text held in memory at a time, should reports be long."""


def run_import(source: Path, results_path: Path, config: Config) -> Ledger:
    """`vfscreen reports import`.

    Raises
    ------
    ReportsError
        The source cannot be read as what it claims to be.
    TooManyFailuresError
        All is imported that could be, but too many records are no reports.
    """
    with open_run(results_path, "reports import", config) as run:
        read_reports_into(run, source, config)
        count_unmatched(run, config)
        if (bad_feed := reports_verdict(run, config)) is not None:
            raise bad_feed
        return run.ledger


def read_reports_into(
    run: Run, source: Path | None, config: Config, stop: Callable[[], bool] = lambda: False
) -> None:
    """Import what is new in `source` (None: nothing to import), then label what has no label.

    Stopped, it ends after the chunk in hand; the next run goes on.
    """
    if source is not None:
        with run.timed("reports"):
            _import(run, _of_source(run, source, config), stop)
            publish(run.results)
    with run.timed("label"):
        label_new(run, config, stop)
        publish(run.results)


def read_archive_reports_into(
    run: Run, archive: Path, config: Config, stop: Callable[[], bool]
) -> None:
    """Import and label the DICOM SR reports that the manifest knows and nobody has read yet."""
    if not config.reports.from_archive:
        return
    from vfscreen.reports.sr_reader import SR_CLASSES

    with connect(run.results) as catalogue:
        waiting = ask(
            catalogue,
            "archive_reports",
            archive_root=archive_root(archive),
            sr_classes=list(SR_CLASSES),
            transient_nights=config.run.transient_nights,
        )
    if waiting.num_rows == 0:
        return
    with run.timed("reports"):
        _import(run, _of_archive(run, waiting.to_pylist(), config), stop)
        publish(run.results)
    with run.timed("label"):
        label_new(run, config, stop)
        publish(run.results)


def _of_source(run: Run, source: Path, config: Config) -> "Iterator[Item]":
    from vfscreen.reports.records import BadRecord
    from vfscreen.reports.sources import read_reports

    name = str(source.resolve())
    for item in read_reports(source, config.reports):
        if isinstance(item, BadRecord):
            where = f"file {item.file_number}, {item.place}"
            yield _failure(item, where, run.hash(f"{name}: {where}"))
        else:
            yield item


def _of_archive(run: Run, rows: list[dict[str, str]], config: Config) -> "Iterator[Item]":
    from vfscreen.reports.records import BadRecord
    from vfscreen.reports.sr_reader import read_sr

    for row in rows:
        path = Path(locate(row["archive_root"], row["archive_path"]))
        for item in read_sr(path, config.reports):
            if isinstance(item, BadRecord):
                yield _failure(
                    item,
                    "structured report of the archive",
                    run.hash(row["sop_instance_uid"]),
                    row["sop_instance_uid"],
                    row["content_fingerprint"],
                )
            else:
                yield item


def _failure(
    record: "BadRecord",
    where: str,
    instance_key: str,
    sop_instance_uid: str | None = None,
    content_fingerprint: str | None = None,
) -> Failure:
    return Failure(
        instance_key=instance_key,
        sop_instance_uid=sop_instance_uid,
        content_fingerprint=content_fingerprint,
        model_sha256=None,
        stage=Stage.REPORTS,
        reason=record.reason,
        message=f"{where}: {record.message}",
        transfer_syntax_uid=None,
    )


@dataclass(slots=True)
class _Problems:
    """What was wrong with bad records, and where each kind of problem was met first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, message: str) -> None:
        where, _, what = message.partition(": ")
        self.counts[what] += 1
        self.first.setdefault(what, where)

    def say(self) -> None:
        for what, count in self.counts.most_common(5):
            log.warning("bad report records: %d, %s; first in %s", count, what, self.first[what])


def _import(run: Run, items: "Iterable[Item]", stop: Callable[[], bool]) -> None:
    """Write what is new, chunk by chunk; count everything else."""
    from vfscreen.reports.records import ReportRecord

    with connect(run.results) as catalogue:
        known = _sorted_keys(ask(catalogue, "known_reports")["content_key"])
        bad = ask(catalogue, "known_bad_records")
    known_bad = set(zip(bad["instance_key"].to_pylist(), bad["message"].to_pylist(), strict=True))
    problems = _Problems()
    with progress("reading reports", unit="reports") as show:
        for chunk in _chunks(items):
            show(len(chunk))
            records = [item for item in chunk if isinstance(item, ReportRecord)]
            all_bad = [item for item in chunk if isinstance(item, Failure)]
            failures = [f for f in all_bad if (f.instance_key, f.message) not in known_bad]
            new, known = _new(records, known)
            _write(run, new, failures)
            for failure in failures:
                problems.add(failure.message)
            counts = {
                "imported": len(new),
                "already_there": len(records) - len(new),
                "bad_records": len(failures),
                "bad_records_known": len(all_bad) - len(failures),
                "not_reports": len(chunk) - len(records) - len(all_bad),
                "unknown_status": sum(record.unknown_status for record in new),
            }
            for state, count in counts.items():
                if count:
                    run.ledger.add("reports", state, count)
            if stop():
                break
    problems.say()


def _sorted_keys(keys: object) -> "NDArray[np.uint64]":
    import numpy as np

    return np.sort(np.asarray(keys, np.uint64))


def _new(
    records: "Sequence[ReportRecord]", known: "NDArray[np.uint64]"
) -> "tuple[list[ReportRecord], NDArray[np.uint64]]":
    """The records whose content is not known yet, and all known keys with theirs, sorted.

    A key is 64 bits of the content's hash, so that ten million known reports take 80 MB; that
    one of ten thousand new reports is taken for one of them has a chance of 1 in 10^8.
    """
    import numpy as np

    keys = np.array([int(r.content_sha256[:16], 16) for r in records], np.uint64)
    at = np.searchsorted(known, keys)
    there = np.zeros(len(keys), np.bool_)
    if len(known):
        there = known[np.minimum(at, len(known) - 1)] == keys
    first = np.zeros(len(keys), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    fresh = first & ~there
    new = [record for record, is_new in zip(records, fresh.tolist(), strict=True) if is_new]
    if not new:
        return new, known
    return new, np.sort(np.concatenate([known, keys[fresh]]), kind="stable")


def _write(run: Run, records: "Sequence[ReportRecord]", failures: Sequence[Failure]) -> None:
    import pyarrow as pa

    from vfscreen.results.schemas import REPORTS

    stamp = {"run_id": run.run_id, "imported_at": datetime.now(UTC)}
    columns = {
        column.name: pa.array(
            [stamp[column.name]] * len(records)
            if column.name in stamp
            else [getattr(record, column.name) for record in records],
            column.type,
        )
        for column in REPORTS
    }
    write_part(run.results, "reports", pa.table(columns, schema=REPORTS))
    write_part(run.results, "failures", failures_table(failures, run.run_id))


def _chunks(items: "Iterable[Item]") -> "Iterator[list[Item]]":
    """At most `CHUNK_REPORTS` records and about `CHUNK_CHARACTERS` of text at a time."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += len(getattr(item, "text", ""))
        if len(chunk) == CHUNK_REPORTS or size > CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
