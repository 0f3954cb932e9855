"""How the results folder answers when it is full: every documented query, and what writing costs.

`python -m benchmarks.results_folder build FOLDER --films 4000000` makes a folder of that many
manifest rows (about 2.5 times as many in all) through the project's own schemas and part writer.
`... ask FOLDER` times every view and query of `sql/` in a process of its own, once each, from the
page cache as it happens to be. `... write FOLDER` times what a run adds: a shard, a publication,
a merge. Each prints its figures, and `--out DIR` keeps them as JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks import machine
from vfscreen.config import Config
from vfscreen.results import parts
from vfscreen.results.calibrations import Calibration
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import flag_changes, record_settings, register_checkpoint, update_flags
from vfscreen.results.folder import Results, existing_results, open_results
from vfscreen.results.ledger import new_ledger, write_ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import (
    CheckpointHead,
    ScreenedFilm,
    checkpoints_table,
    predictions_table,
)
from vfscreen.results.schemas import FOLDERS
from vfscreen.results.sql import QUERIES, VIEWS, fetch, query
from vfscreen.results.staging import staged

FINDING = "vertebral_fracture"
THRESHOLD = 0.3
HEADS = [CheckpointHead(FINDING, Calibration(), {"default": THRESHOLD})]
MODEL, CHECKPOINT = "m" * 64, "c" * 64
CHUNK_ROWS = 400_000
"""Rows of one generated part: about what compaction leaves behind."""
NIGHTS = 150
"""The last nights, whose parts nobody has merged yet."""

# A film of the archive by its number `n`; a study has 1 to 3 of them, a patient about 1.6 studies.
# `mix(n, salt)` is a number of 32 bits that looks drawn by chance and is the same every time.
MACROS = """
create macro mix(n, salt) as (hash(n, salt) & 4294967295)::bigint;
create macro study_of(n) as (n * 5) // 9;
create macro patient_of(s) as (mix(s, 1) % greatest(1, $films * 5 // 9 * 5 // 8));
create macro uid(kind, n) as
    '1.2.826.0.1.3680043.8.498.' || kind || lpad((hash(n, kind))::varchar, 20, '0')
    || lpad((n)::varchar, 10, '0');
create macro study_uid(s) as uid(1, s);
create macro film_uid(n) as uid(2, n);
create macro accession(s) as 'A' || lpad((s * 7919 % 1000000007)::varchar, 10, '0');
create macro day_of(s) as date '2014-01-01' + ((s * 3650) // greatest(1, $films * 5 // 9))::integer;
create macro excluded(n) as
    case when mix(n, 2) % 100 < 60 then null
    else ['body_part', 'modality', 'view', 'under_age', 'body_part', 'not_an_image']
        [1 + mix(n, 3) % 6] end;
"""

ROWS = {
    "manifest": """
        select
            '/archive' as archive_root,
            strftime(day_of(s), '%Y/%m/%d/') || accession(s) || '/' || film_uid(n) || '.dcm'
                as archive_path,
            2000000 + mix(n, 4) % 9000000 as size_bytes,
            1400000000000000000 + n * 31536 * 1000000 as mtime_ns,
            md5('content' || n) as content_fingerprint,
            md5('key' || n) as instance_key,
            film_uid(n) as sop_instance_uid,
            '1.2.840.10008.5.1.4.1.1.1.1' as sop_class_uid,
            uid(3, n // 2) as series_instance_uid,
            study_uid(s) as study_instance_uid,
            'P' || lpad(patient_of(s)::varchar, 9, '0') as patient_id,
            'HOSPITAL' as issuer_of_patient_id,
            accession(s) as accession_number,
            'RIS' as issuer_of_accession_number,
            day_of(s) as study_date,
            lpad((mix(s, 5) % 240000)::varchar, 6, '0') as study_time,
            (50 + mix(s, 6) % 45)::integer as patient_age_years,
            date '1940-01-01' + (mix(patient_of(s), 7) % 12000)::integer as patient_birth_date,
            ['F', 'M'][1 + mix(patient_of(s), 8) % 2] as patient_sex,
            'DX' as modality,
            'ABDOMEN' as body_part_examined,
            ['AP', 'PA', null][1 + mix(n, 9) % 3] as view_position,
            'Abdomen supine' as study_description,
            ['Abdomen AP', 'KUB', 'Abdomen erect'][1 + mix(n, 10) % 3] as series_description,
            ['ORIGINAL', 'PRIMARY'] as image_type,
            'FOR PRESENTATION' as presentation_intent_type,
            ['Maker A', 'Maker B', 'Maker C'][1 + mix(s, 11) % 3] as manufacturer,
            'Model ' || mix(s, 12) % 9 as manufacturer_model_name,
            'STATION' || mix(s, 13) % 30 as station_name,
            'General Hospital' as institution_name,
            '1.2.840.10008.1.2.4.' || [70, 90, 80][1 + mix(n, 14) % 3] as transfer_syntax_uid,
            'MONOCHROME2' as photometric_interpretation,
            (2000 + mix(n, 15) % 1000)::integer as rows,
            (2000 + mix(n, 16) % 1000)::integer as columns,
            1 as number_of_frames,
            16 as bits_allocated,
            12 as bits_stored,
            excluded(n) is null as eligible,
            excluded(n) as exclusion_reason,
            'e' as eligibility_sha256,
            $run as run_id,
            $at as scanned_at
        from (select n, study_of(n) as s from range($first, $last) as r(n))
    """,
    "predictions": """
        select
            film_uid(n) as sop_instance_uid,
            study_uid(study_of(n)) as study_instance_uid,
            'vertebral_fracture' as finding,
            (mix(n, 20) / 4294967296.0 * 8 - 6.5)::float as logit,
            0.5::float as raw_probability,
            0.5::float as probability,
            md5('content' || n) as content_fingerprint,
            $model as model_sha256,
            $checkpoint as checkpoint_sha256,
            'jpeg2000 reduced' as decode_route,
            $run as run_id,
            $at as screened_at
        from range($first, $last) as r(n)
        where excluded(n) is null and mix(n, 21) % 1000 >= 5 and $model is not null
    """,
    "failures": """
        select
            md5('key' || n) as instance_key,
            film_uid(n) as sop_instance_uid,
            md5('content' || n) as content_fingerprint,
            $model as model_sha256,
            'decode' as stage,
            ['truncated', 'timeout', 'bad_pixels'][1 + mix(n, 22) % 3] as reason,
            mix(n, 22) % 3 = 1 as transient,
            'The pixel data end early.' as message,
            '1.2.840.10008.1.2.4.70' as transfer_syntax_uid,
            $run as run_id,
            $at as failed_at
        from range($first, $last) as r(n)
        where excluded(n) is null and mix(n, 21) % 1000 < 5
    """,
    # One report a study, for 9 of 10; an addendum to one in 20.
    "reports": """
        select
            'R' || s || suffix as report_id,
            accession(s) as accession_number,
            'RIS' as issuer,
            case when mix(s, 30) % 2 = 0 then study_uid(s) end as study_instance_uid,
            'P' || lpad(patient_of(s)::varchar, 9, '0') as patient_id,
            day_of(s)::timestamp + to_hours(8 + mix(s, 31) % 12) as report_datetime,
            case suffix when '' then 'final' else 'addendum' end as result_status,
            ['consultant', 'registrar'][1 + mix(s, 34) % 2] as author_role,
            -- One in 200 is about the next study too.
            case when mix(s, 35) % 200 = 0 then [accession(s + 1)] end as also_accession_numbers,
            'ABDOMEN, AP SUPINE. Clinical information: ' || md5('a' || s) || '. Findings: normal '
            || 'bowel gas pattern, no free air. Degenerative changes of the lumbar spine. '
            || md5('b' || s) || ' Impression: no acute abnormality. ' || md5('c' || s) as text,
            md5('text' || s || suffix) as content_sha256,
            $run as run_id,
            $at as imported_at
        from (
            select
                s,
                unnest(case when mix(s, 32) % 20 = 0 then ['', '-add'] else [''] end) as suffix
            from range(study_of($first), study_of($last)) as r(s)
            where mix(s, 33) % 10 > 0
        )
    """,
}  # fmt: skip
ROWS["report_labels"] = f"""
    select
        report_id,
        content_sha256,
        accession_number,
        study_instance_uid,
        'vertebral_fracture' as finding,
        case
            when mix(report_id, 40) % 1000 < 60 then 'reported'
            when mix(report_id, 40) % 1000 < 70 then 'uncertain'
            when mix(report_id, 40) % 1000 < 100 then 'ambiguous'
            when mix(report_id, 40) % 1000 < 150 then 'denied'
            else 'not_mentioned'
        end as report_status,
        mix(report_id, 41) % 100 < 3 as history,
        []::varchar[] as levels,
        false as recommendation,
        [{{
            'section': 'findings', 'sentence': 'Degenerative changes of the lumbar spine.',
            'start': 120, 'end': 140, 'rule_id': 'degenerative', 'assertion': 'affirmed'
        }}] as evidence,
        'lexicon' as lexicon_sha256,
        $run as run_id,
        $at as labelled_at
    from ({ROWS["reports"]})
"""  # noqa: S608

ASKED: dict[str, dict[str, Any]] = {
    "known_files": {"archive_root": "/archive"},
    "to_screen": {"model_sha256": MODEL, "transient_nights": 3, "archive_roots": ["/archive"]},
    "to_explain": {"capacity": 40},
    "study_film": {"study_instance_uid": None, "finding": FINDING},
    "known_reports": {},
    "known_bad_records": {},
    "reports_to_label": {"lexicon_sha256": "lexicon"},
    "operating_point": {"finding": FINDING, "operating_point": "default"},
    "list": {"capacity": 40, "since": None, "statuses": []},
    "failed_files": {},
    "find_study": {"key": None},
    "worklist": {"capacity": 40},
    "worklist_reports": {"capacity": 40},
    "list_moves": {"since": datetime(2024, 1, 1)},
    "unmatched_by_reason": {},
    "reporting_rate": {"finding": FINDING, "threshold": THRESHOLD},
    "reporting_by_group": {"finding": FINDING, "threshold": THRESHOLD},
    "rcr_audit": {"finding": FINDING, "threshold": THRESHOLD},
    "turnaround": {},
    "archive_reports": {
        "archive_root": "/archive",
        "sr_classes": ["1.2.840.10008.5.1.4.1.1.88.11"],
        "transient_nights": 3,
    },
    "audit_population": {
        "finding": FINDING, "threshold": THRESHOLD, "since": None, "until": None,
    },
    "audit_counts": {"audit_id": "none"},
    "film_outcomes": {"model_sha256": MODEL, "archive_roots": ["/archive"]},
    "archive_logits": {"model_sha256": MODEL, "finding": FINDING, "archive_roots": ["/archive"]},
    "drift_reference": {},
    "drift_films": {"model_sha256": MODEL, "finding": FINDING, "since": datetime(2000, 1, 1)},
}  # fmt: skip
"""Parameters of each query; None for the study of the first listed patient."""
NOT_ALONE = {
    "flag_candidates", "flag_changes", "audit_strata", "audit_draw", "label_matches",
    "label_states", "agreed_labels", "labelled_films", "drift_totals", "drift_logits",
    "drift_manufacturers",
}  # fmt: skip
"""Asked over temporary tables: the first two by `flag`, the next of `audit_population`'s rows, the
next of the rows of a labels file, the last of `drift_films`."""


def build(folder: Path, films: int) -> None:
    """Fill a folder as a backlog and then half a year of nights would have."""
    results = open_results(folder)
    generate = duckdb.connect(config={"threads": 2})
    generate.execute(MACROS.replace("$films", str(films)))
    backlog = films * 95 // 100
    for first in range(0, backlog, CHUNK_ROWS):
        last = min(first + CHUNK_ROWS, backlog)
        for name in ROWS:
            _write(generate, results, name, first, last, "backlog", datetime(2024, 6, 1))
        print(f"{last:,} films", flush=True)
    for night in range(NIGHTS):
        first, last = (backlog + (films - backlog) * (night + k) // NIGHTS for k in (0, 1))
        for name in ROWS:
            _write(generate, results, name, first, last, f"night-{night:03}", datetime(2024, 7, 1))
    # One path in 50 was judged again; one film in 100 was screened by an earlier model too.
    _write(generate, results, "manifest", 0, films // 50, "again", datetime(2024, 12, 1))
    _write(generate, results, "predictions", 0, films // 60, "old", datetime(2024, 5, 1), "o" * 64)
    publish(results)
    register_checkpoint(
        results,
        checkpoints_table(
            HEADS, checkpoint_sha256=CHECKPOINT, model_sha256=MODEL, name="benchmark",
            path="/checkpoint", demonstration=True,
        ),
    )  # fmt: skip
    record_settings(results, Config(), "backlog")
    publish(results)
    with timing("flag, the first") as first_flag:
        update_flags(results, finding=FINDING, threshold=THRESHOLD, run_id="backlog")
    print(first_flag, flush=True)
    _review(results, films // 500)
    publish(results)


def _write(
    generate: duckdb.DuckDBPyConnection, results: Results, name: str, first: int, last: int,
    run: str, at: datetime, model: str = MODEL,
) -> None:  # fmt: skip
    bound = {"first": first, "last": last, "run": run, "at": at}
    bound |= {"model": model, "checkpoint": CHECKPOINT}
    text = ROWS[name]
    used = {key: value for key, value in bound.items() if f"${key}" in text}
    table = generate.sql(text, params=used).to_arrow_table()
    times = {f.name: f.type for f in FOLDERS[name] if pa.types.is_timestamp(f.type)}
    for column, kind in times.items():
        at_index = table.schema.get_field_index(column)
        values = table[column].cast(pa.timestamp("us")).cast(kind)
        table = table.set_column(at_index, column, values)
    write_part(results, name, table)


def _review(results: Results, count: int) -> None:
    """Decisions about the first studies that were flagged, as years of a nurse's work."""
    with connect(results) as catalogue:
        studies = fetch(
            catalogue,
            "select study_instance_uid, finding, patient_id, issuer_of_patient_id from flagged "
            "where list = 'unreported' order by hash(study_instance_uid) limit $count",
            {"count": count},
        )
    decisions = [
        ("confirm", "reject", "reject", "reject", "known")[n % 5] for n in range(len(studies))
    ]
    times = pa.array(
        [datetime.now(UTC)] * len(studies), FOLDERS["reviews"].field("reviewed_at").type
    )
    table = (
        studies.append_column("decision", pa.array(decisions, pa.string()))
        .append_column("reviewer", pa.array(["nurse"] * len(studies), pa.string()))
        .append_column("reviewed_at", times)
    )
    write_part(results, "reviews", table)


class timing:  # noqa: N801  reads as a verb
    """Wall and CPU seconds of a block."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "timing":
        self.began, self.cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began
        self.cpu_seconds = time.process_time() - self.cpu

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds:.2f} s, {self.cpu_seconds:.2f} CPU s"


def ask_one(folder: Path, name: str) -> dict[str, Any]:
    """Ask one view or query, all rows and columns, as a batch reader takes them."""
    results = existing_results(folder)
    rows = 0
    with timing(name) as taken, connect(results) as catalogue:
        if name == "flag":
            rows = flag_changes(
                catalogue, finding=FINDING, threshold=THRESHOLD, run_id="x"
            ).num_rows
        else:
            text, bound = _question(catalogue, name)
            with staged(catalogue, text):
                reader = catalogue.sql(text, params=bound).to_arrow_reader(100_000)
                rows = sum(batch.num_rows for batch in reader)
                del reader
    return {
        "name": name,
        "kind": "view" if name in VIEWS else "query",
        "rows": rows,
        "seconds": round(taken.seconds, 3),
        "cpu_seconds": round(taken.cpu_seconds, 3),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


def _question(catalogue: duckdb.DuckDBPyConnection, name: str) -> tuple[str, dict[str, Any]]:
    if name in VIEWS:
        return f"select * from {name}", {}  # noqa: S608
    bound = dict(ASKED[name])
    for key, value in bound.items():
        if value is None and key in ("study_instance_uid", "key"):
            column = "accession_number" if key == "key" else key
            bound[key] = fetch(
                catalogue,
                f"select {column} as v from parts.flags limit 1",  # noqa: S608
            )["v"][0].as_py()
    return query(name), bound


def ask_all(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Each in a process of its own, so that its peak memory is its own."""
    for name in names or [*VIEWS, *(n for n in QUERIES if n not in NOT_ALONE), "flag"]:
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.results_folder", "one", str(folder), name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if answer.returncode:
            yield {"name": name, "error": answer.stderr.strip().splitlines()[-1]}
        else:
            yield json.loads(answer.stdout)


def write_costs(folder: Path, shards: int = 40) -> Iterator[dict[str, Any]]:
    """What a run adds to a folder that is full already: shards of 256 films, and the switch."""
    results = existing_results(folder)
    with timing("publish, first of the process") as taken:
        publish(results)
    yield _cost(taken, 1)
    ledger = new_ledger("benchmark")
    logits = np.zeros((256, 1), np.float32)
    tables = []
    with timing("rows of a shard") as taken:
        for shard in range(shards):
            films = [
                ScreenedFilm(f"1.2.3.{shard}.{n}", f"1.2.4.{shard}", "f" * 32, "benchmark")
                for n in range(256)
            ]
            tables.append(
                predictions_table(
                    films,
                    logits,
                    HEADS,
                    model_sha256="x" * 64,
                    checkpoint_sha256="x" * 64,
                    run_id="benchmark",
                )
            )
    yield _cost(taken, shards)
    written = []
    try:
        with timing("part of a shard") as taken:
            written += [write_part(results, "predictions", table) for table in tables]
        yield _cost(taken, shards)
        with timing("ledger of a shard") as taken:
            for _ in tables:
                write_ledger(results, ledger)
        yield _cost(taken, shards)
        with timing("publish") as taken:
            for _ in range(10):
                publish(results)
        yield _cost(taken, 10)
    finally:
        # The folder stays what it was, to be measured again.
        for path in written:
            if path is not None:
                path.unlink(missing_ok=True)
        (results.runs / f"{ledger.run_id}.json").unlink(missing_ok=True)
        publish(results)


def merge_cost(folder: Path) -> Iterator[dict[str, Any]]:
    """As many shards of 256 films as are merged at once, in a folder of their own."""
    results = open_results(folder)
    logits = np.zeros((256, 1), np.float32)
    for shard in range(parts.MERGE_ABOVE_PARTS + 1):
        films = [
            ScreenedFilm(f"1.2.3.{shard}.{n}", f"1.2.4.{shard}.{n}", os.urandom(16).hex(), "x")
            for n in range(256)
        ]
        write_part(
            results, "predictions",
            predictions_table(
                films, logits, HEADS, model_sha256="x" * 64, checkpoint_sha256="x" * 64,
                run_id="benchmark",
            ),
        )  # fmt: skip
    publish(open_results(folder.with_name(f"{folder.name}-warm")))  # the views are bound once
    with timing(f"publish that merges {parts.MERGE_ABOVE_PARTS + 1} shards") as taken:
        publish(results)
    yield _cost(taken, 1)


def _cost(taken: timing, times: int) -> dict[str, Any]:
    return {
        "name": taken.name,
        "milliseconds": round(1000 * taken.seconds / times, 2),
        "cpu_milliseconds": round(1000 * taken.cpu_seconds / times, 2),
    }


def rows_of(results: Results) -> dict[str, int]:
    """Rows ever written, folder by folder."""
    with connect(results) as catalogue:
        return {
            name: fetch(catalogue, f"select count(*) as n from parts.{name}")["n"][0].as_py()  # noqa: S608
            for name in FOLDERS
        }


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "ask", "one", "write", "merge"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--films", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "build":
        build(given.folder, given.films)
        return
    if given.what == "one":
        print(json.dumps(ask_one(given.folder, given.names[0])))
        return
    measure = {"write": write_costs, "merge": merge_cost}
    figures = []
    for figure in (
        ask_all(given.folder, given.names)
        if given.what == "ask"
        else measure[given.what](given.folder)
    ):
        print(" ".join(f"{key}={value}" for key, value in figure.items()), flush=True)
        figures.append(figure)
    if given.out:
        rows = rows_of(existing_results(given.folder))
        found = {"rows": rows, "rows_in_all": sum(rows.values()), "figures": figures}
        command = f"python -m benchmarks.results_folder {given.what} FOLDER"
        print(machine.keep(given.out, f"results-folder-{given.what}", command, found))


if __name__ == "__main__":
    main()
