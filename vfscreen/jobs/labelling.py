"""Label what no rules, or other rules, have labelled yet: a row a report and finding."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run
from vfscreen.results.catalogue import connect
from vfscreen.results.parts import write_part
from vfscreen.results.sql import fetch, query

if TYPE_CHECKING:
    from vfscreen.reports.lexicon import Lexicon

log = logging.getLogger("vfscreen")

CHUNK_REPORTS = 20_000
"""Reports held in memory at a time, and the rows of a part."""
ALWAYS = "vertebral_fracture"
"""Labelled before there is a checkpoint: `reports import` can come first."""


def label_new(run: Run, config: Config, stop: Callable[[], bool]) -> None:
    """Label each version of a report that these rules have not labelled yet."""
    with connect(run.results) as catalogue:
        predicted = fetch(catalogue, "select distinct finding from parts.checkpoints")
    for lexicon in lexicons(config, predicted["finding"].to_pylist()):
        _label_with(run, lexicon, stop)
        if stop():
            return


def lexicons(config: Config, predicted: Iterable[str]) -> "list[Lexicon]":
    """One for each finding that a checkpoint predicts: the site's, else the shipped one.

    A finding that nothing reads is said once a run; its studies stay ``no_report``.
    """
    from vfscreen.reports.lexicon import SHIPPED, combined, load

    own: dict[str, list[Lexicon]] = {}
    for path in config.reports.lexicons:
        lexicon = load(Path(path))
        own.setdefault(lexicon.finding, []).append(lexicon)
    found = [combined(same) for same in own.values()]
    languages = config.reports.languages
    for finding in sorted({ALWAYS, *predicted} - own.keys()):
        if finding == ALWAYS or set(languages) & SHIPPED.get(finding, {}).keys():
            found.append(load(finding=finding, languages=languages))
        else:
            log.warning(
                "No lexicon reads reports for %s in %s: its studies stay no_report. "
                "Name one in reports.lexicons.",
                finding,
                ", ".join(languages),
            )
    return found


def _label_with(run: Run, lexicon: "Lexicon", stop: Callable[[], bool]) -> None:
    import pyarrow as pa

    from vfscreen.reports.labelling import label
    from vfscreen.results.schemas import REPORT_LABELS

    about = f"labelling reports for {lexicon.finding}"
    bound = {"lexicon_sha256": lexicon.sha256}
    with connect(run.results) as catalogue:
        text = query("reports_to_label")
        count = fetch(catalogue, f"select count(*) as n from ({text})", bound)["n"][0].as_py()  # noqa: S608
        waiting = catalogue.sql(text, params=bound).to_arrow_reader(CHUNK_REPORTS)
        with progress(about, unit="reports", total=count) as show:
            for batch in waiting:
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
