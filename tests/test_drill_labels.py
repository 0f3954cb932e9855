"""A labels file of a million rows, and scoring that is killed. Slow: `make drills` runs these."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import vfscreen

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

ROWS = 1_000_000
MOST_S = 120.0
"""Joining takes about 10 s on two cores that have nothing else to do."""
MOST_MIB = 2500
"""Above what Python, Arrow and DuckDB need without any rows."""

# In a process of its own, whose peak memory is its own.
CHILD = """
import json, resource, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.csv
from vfscreen.config import Config
from vfscreen.jobs.labels import label_films, write_problems
from vfscreen.jobs.run import open_run
from vfscreen.results.catalogue import publish
from vfscreen.results.parts import write_part

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
config = replace(Config(), run=replace(Config().run, pseudonym_key=str(folder / "key")))
number = np.arange(rows)
uid = pa.array(np.char.add("1.2.826.0.1.3680043.8.498.", number.astype(str)))
manifest = {
    "archive_root": pa.repeat("/archive", rows), "archive_path": uid, "instance_key": uid,
    "sop_instance_uid": uid, "content_fingerprint": uid, "size_bytes": number,
    "study_instance_uid": uid.take(pa.array(number // 2)),
    "patient_id": uid.take(pa.array(number // 4)),
    "eligible": pa.repeat(True, rows), "run_id": pa.repeat("run", rows),
    "scanned_at": pa.repeat(pa.scalar(0, pa.timestamp("us", "UTC")), rows),
    "rows": pa.repeat(pa.scalar(2000, pa.int32()), rows),
    "columns": pa.repeat(pa.scalar(2000, pa.int32()), rows),
}
# One row in ten is about no film; one in a hundred says again what another says.
named = np.where(number % 10 == 0, rows + number, np.where(number % 100 == 1, number + 1, number))
labels = {
    "sop_instance_uid": np.char.add("1.2.826.0.1.3680043.8.498.", named.astype(str)),
    "vertebral_fracture": number % 100 // 50, "hip_fracture": number % 3 % 2,
}
with open_run(folder / "results", "test", config) as run:
    write_part(run.results, "manifest", pa.table(manifest))
    publish(run.results)
    pyarrow.csv.write_csv(pa.table(labels), folder / "labels.csv")
    del manifest, labels, uid, named
    pa.default_memory_pool().release_unused()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    labelled = label_films(run, Path("/archive"), folder / "labels.csv", config)
    seconds = time.monotonic() - began
    write_problems(labelled.problems, folder / "problems.csv")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "seconds": seconds, "before_mib": before / 1024, "peak_mib": peak / 1024,
    "films": labelled.films.num_rows, "used": labelled.problems.used,
    "counts": labelled.problems.counts,
}))
"""


def test_a_million_rows(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    answer = subprocess.run(
        [sys.executable, str(tmp_path / "child.py"), str(tmp_path), str(ROWS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["used"] + sum(found["counts"].values()) == ROWS
    assert found["counts"]["unmatched"] == ROWS // 10
    assert set(found["counts"]) == {"unmatched", "contradictory", "repeated"}
    assert len((tmp_path / "problems.csv").read_text().splitlines()) == ROWS - found["used"] + 1
    assert found["seconds"] < MOST_S, found
    assert found["peak_mib"] < MOST_MIB, found
    print(found)


def evaluation(phantom, out):
    return [
        "evaluate", "--checkpoint", "demo", "--archive", str(phantom / "archive"),
        "--labels", str(phantom / "labels.csv"), "--out", str(out),
    ]  # fmt: skip


def figures(out):
    report = json.loads((out / "report.json").read_text())
    return {name: report[name] for name in ("findings", "material")}


def test_an_evaluation_that_is_killed_goes_on_and_says_the_same(phantom, site):
    killed, folder = site / "killed", site / ".killed.scoring"
    process = subprocess.Popen(
        [sys.executable, "-m", "vfscreen.cli.main", *evaluation(phantom, killed)],
        cwd=site, env={**os.environ, "XDG_CONFIG_HOME": str(site / "config")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(folder.glob("predictions/part-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not killed.exists()
    done = sum(path.stat().st_size for path in folder.glob("predictions/part-*"))
    assert done > 0
    vfscreen(*evaluation(phantom, killed), cwd=site)
    vfscreen(*evaluation(phantom, site / "whole"), cwd=site)
    assert figures(killed) == figures(site / "whole")
    assert not folder.exists()
