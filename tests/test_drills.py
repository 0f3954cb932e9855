"""Failure drills: what must hold when things go wrong. Slow: `make drills` runs them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pydicom
import pytest
from conftest import SMALL, screen, vfscreen
from pydicom.misc import is_dicom
from pydicom.uid import generate_uid

from vfscreen.archive.walk import locate
from vfscreen.jobs.phantom_figures import phantom_figures

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

KEYS = "select sop_instance_uid, finding, model_sha256, probability from predictions order by all"


def ask(folder, statement, results="results"):
    with duckdb.connect(str(folder / results / "catalog.duckdb"), read_only=True) as catalogue:
        return catalogue.execute(statement).fetchall()


def arguments(phantom, results="results"):
    return [
        "screen", str(phantom / "archive"), "--checkpoint", "demo", "--results", results,
        "--reports", str(phantom / "reports.csv"),
    ]  # fmt: skip


def environment(folder):
    return {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}


def start(folder, phantom, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "vfscreen.cli.main", *arguments(phantom), *more],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def wait_for_predictions(folder, process, parts=1):
    """Wait until the run has saved its first shard."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 120:
        if len(list((folder / "results" / "predictions").glob("part-*.parquet"))) >= parts:
            return
        time.sleep(0.02)
    raise AssertionError(f"no shard was saved in time: {process.communicate()}")


def same_as(folder, expected):
    """Every key of an uninterrupted run, none twice, probabilities within 1e-3."""
    rows = ask(folder, KEYS)
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    assert all(abs(a[3] - b[3]) < 1e-3 for a, b in zip(rows, expected, strict=True))
    raw = ask(folder, "select count(*), count(distinct sop_instance_uid) from parts.predictions")
    assert raw[0][0] == raw[0][1]


@pytest.fixture(scope="module")
def expected(workplace):
    """The predictions of a run that nothing interrupted."""
    return ask(workplace, KEYS)


@pytest.fixture(scope="module")
def longer(phantom, workplace, tmp_path_factory):
    """Each film twelve times, each in a study of its own: a run that is not over at once."""
    out = tmp_path_factory.mktemp("longer")
    places = (
        "select distinct archive_root, archive_path from manifest "
        "semi join predictions using (sop_instance_uid) order by all"
    )
    for number, place in enumerate(ask(workplace, places)):
        path = locate(*place)
        if not Path(os.fsdecode(path)).is_file() or not is_dicom(path):
            continue  # a bare data set, which is screened as well
        film = pydicom.dcmread(path)
        for copy in range(12):
            film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            film.StudyInstanceUID = generate_uid()
            target = out / "archive" / str(number) / f"{copy}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            film.save_as(target)
    shutil.copy(phantom / "reports.csv", out / "reports.csv")
    return out


def run_killed_at(folder, phantom, point):
    script = Path(__file__).with_name("killed_at.py")
    return subprocess.run(
        [sys.executable, str(script), str(point), *arguments(phantom)],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip


def test_killed_at_ten_points_and_run_again(phantom, expected, tmp_path):
    counted = tmp_path / "counted"
    counted.mkdir()
    (counted / "vfscreen.toml").write_text(SMALL)
    whole = run_killed_at(counted, phantom, 0)
    touches = int(whole.stdout.rsplit("touches ", 1)[1])
    rng = random.Random(7)
    points = [rng.randrange(1 + i * touches // 10, (i + 1) * touches // 10) for i in range(10)]
    for point in points:
        folder = tmp_path / f"killed-{point}"
        folder.mkdir()
        (folder / "vfscreen.toml").write_text(SMALL)
        killed = run_killed_at(folder, phantom, point)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
        again = screen(folder, phantom)
        same_as(folder, expected)
        assert "found" in again.stdout
        left = [p.name for p in (folder / "results").rglob("*") if "aside" in p.name]
        assert left == [], (point, left)
        listed = vfscreen("flagged", "--format", "json", "-r", "results", cwd=folder).stdout
        assert len(json.loads(listed)) == len(
            ask(counted, "select 1 from flagged where list = 'unreported'")
        )
        shutil.rmtree(folder)


def test_interrupted_by_ctrl_c_and_run_again(longer, site):
    process = start(site, longer)
    wait_for_predictions(site, process)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert process.returncode == 130
    assert "Stopped early" in stderr
    assert "Traceback" not in stderr
    assert (site / "results" / "worklist.html").is_file()
    screened = ask(site, KEYS)
    screen(site, longer)
    assert 0 < len(screened) < len(ask(site, KEYS))
    screen(site, longer, results="whole")
    same_as(site, ask(site, KEYS, "whole"))


def test_terminated_by_the_service_manager(longer, site):
    process = start(site, longer)
    wait_for_predictions(site, process)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    (ledger,) = [json.loads(p.read_text()) for p in (site / "results" / "runs").glob("*.json")]
    assert ledger["outcome"] == "interrupted"
    assert ledger["not_reached"] > 0


def test_stopped_at_a_time_still_gives_a_list(phantom, site):
    soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 12))
    answer = screen(site, phantom, "--stop-at", soon, check=False)
    assert answer.returncode in (0, 130)
    assert (site / "results" / "worklist.html").is_file()


def test_disk_full_then_freed(phantom, expected, site):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = site / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        (disk / "results").mkdir()
        (disk / "ballast").write_bytes(bytes(2_900_000))
        full = screen(site, phantom, results="disk/results", check=False)
        assert full.returncode == 6, full.stderr
        assert "Traceback" not in full.stderr
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        screen(site, phantom, results="disk/results")
        assert [r[:3] for r in ask(site, KEYS, "disk/results")] == [r[:3] for r in expected]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_analysts_client_is_killed_with_the_catalogue_open(phantom, workplace, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(workplace, copy)
    code = (
        "import duckdb, sys, time\n"
        "c = duckdb.connect(sys.argv[1], read_only=len(sys.argv) < 3)\n"
        "c.execute('select * from flagged').fetchall(); print('open', flush=True); time.sleep(600)"
    )
    for more in ([], ["writing"]):
        catalogue = str(copy / "results" / "catalog.duckdb")
        client = subprocess.Popen(
            [sys.executable, "-c", code, catalogue, *more], stdout=subprocess.PIPE, text=True
        )
        assert client.stdout.readline() == "open\n"
        screen(copy, phantom)
        client.kill()
        client.wait()
        client.stdout.close()
        screen(copy, phantom)
        assert ask(copy, "select count(*) from predictions")[0][0] > 0
        vfscreen("flagged", "-r", "results", cwd=copy)


def test_an_archive_that_goes_away_for_a_night(longer, site):
    # Little memory: most films are not read yet when the first ones are saved.
    little = SMALL.replace("workers = 2", "workers = 2\nbuffer_bytes = 16777216")
    (site / "vfscreen.toml").write_text(little)
    mounted = site / "mounted"
    shutil.copytree(longer, mounted)
    process = start(site, mounted)
    wait_for_predictions(site, process)
    (mounted / "archive").rename(mounted / "away")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert "gone away" in stderr
    missing = screen(site, mounted, check=False)
    assert missing.returncode == 3
    (mounted / "archive").mkdir()
    empty = screen(site, mounted, check=False)
    assert empty.returncode == 3
    assert "mounted" in empty.stderr
    screened = ask(site, KEYS)
    (mounted / "archive").rmdir()
    (mounted / "away").rename(mounted / "archive")
    screen(site, mounted)
    assert 0 < len(screened) < len(ask(site, KEYS))
    screen(site, mounted, results="whole")
    same_as(site, ask(site, KEYS, "whole"))


def test_the_demonstration(tmp_path):
    began = time.monotonic()
    out = vfscreen("demo", "demo", cwd=tmp_path).stdout
    seconds = time.monotonic() - began
    assert "phantom demonstration model" in out
    assert (tmp_path / "demo" / "results" / "worklist.html").stat().st_size < 30e6
    demo = tmp_path / "demo"
    figures = phantom_figures(demo / "results", demo / "truth.parquet")
    assert figures.films_not_screened == 0
    assert figures.listed.share >= 0.8, figures.listed
    print(f"demo: {seconds:.0f} s, {figures.listed}")


def test_two_thousand_films_twice(site):
    vfscreen_slowly("phantom", "big", "--studies", 1800, "--long-side-px", 400, cwd=site)
    (site / "vfscreen.toml").write_text(SMALL.replace("300", "200").replace("= 8", "= 256"))
    vfscreen_slowly(*arguments(site / "big"), cwd=site)
    films = ask(site, "select count(*) from predictions")[0][0]
    assert films >= 2000
    began = time.monotonic()
    vfscreen(*arguments(site / "big"), cwd=site)
    seconds = time.monotonic() - began
    assert seconds < 10, seconds
    assert ask(site, "select count(*) from parts.predictions")[0][0] == films


def vfscreen_slowly(*words, cwd):
    subprocess.run(
        [sys.executable, "-m", "vfscreen.cli.main", *map(str, words)],
        cwd=cwd, env=environment(cwd), check=True, capture_output=True, timeout=900,
    )  # fmt: skip
