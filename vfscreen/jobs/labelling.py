"""Label what no rules, or other rules, have labelled yet."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from vfscreen.config import Config
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run
from vfscreen.results.catalogue import connect
from vfscreen.results.parts import write_part
from vfscreen.results.sql import ask

CHUNK_REPORTS = 20_000
"""Reports held in memory at a time, and the rows of a part."""


def label_new(run: Run, config: Config, stop: Callable[[], bool]) -> None:
    """Label each version of a report that these rules have not labelled yet."""
    import pyarrow as pa

    from vfscreen.reports.labelling import label
    from vfscreen.reports.lexicon import load
    from vfscreen.results.schemas import REPORT_LABELS

    lexicon = load(Path(config.reports.lexicon) if config.reports.lexicon else None)
    with connect(run.results) as catalogue:
        waiting = ask(catalogue, "reports_to_label", lexicon_sha256=lexicon.sha256)
    with progress("labelling reports", unit="reports", total=waiting.num_rows) as show:
        for batch in waiting.to_batches(max_chunksize=CHUNK_REPORTS):
            now = datetime.now(UTC)
            rows = []
            for report in batch.to_pylist():
                found = label(report["text"], lexicon, report["result_status"])
                rows.append(
                    asdict(found)
                    | {k: report[k] for k in _CARRIED}
                    | {
                        "lexicon_sha256": lexicon.sha256,
                        "run_id": run.run_id,
                        "labelled_at": now,
                    }
                )
                show()
            write_part(
                run.results, "report_labels", pa.Table.from_pylist(rows, schema=REPORT_LABELS)
            )
            run.ledger.add("reports", "labelled", len(rows))
            if stop():
                return


_CARRIED = ("report_id", "content_sha256", "accession_number", "study_instance_uid")
