"""The benchmarks' arithmetic, and the READMEs' figures against the committed results."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from benchmarks import figures, report
from benchmarks.grid import (
    CANARY,
    FLOOR,
    FULL,
    HALF,
    ROOT,
    UNFINISHED,
    Grid,
    Plan,
    tasks,
    unfinished,
)
from benchmarks.plots import draw
from benchmarks.process import ProcessFailedError, kill_tree
from benchmarks.scaling import growth


def cell(system="vfscreen", archive="raw", seconds=2.0, repeat=0, **more):
    return {
        "system": system,
        "archive": archive,
        "input_size_px": 224,
        "repeat": repeat,
        "films": 10,
        "seconds": seconds,
        "startup_s": 7.0,
        "peak_bytes": 2_000_000_000,
        "max_difference": 0.001,
        "mean_difference": 0.0001,
    } | more


def floor_cell(busy_cores=1, decode=0.02, archive="raw"):
    core_s = {"read": 0.001, "decode": decode, "prepare": 0.004, "infer": 0.055}
    return {
        "system": "floor", "archive": archive, "input_size_px": 224, "repeat": 0,
        "busy_cores": busy_cores, "core_s_a_film": core_s,
    }  # fmt: skip


def result(cells, floor):
    machine = {"cores": 2, "processor": "Test", "versions": {"torch": "2.0"}, "commit": "abc"}
    return {
        "format": 1,
        "made": "2026-01-01",
        "command": "python -m benchmarks.grid",
        "machine": machine,
        "plan": {"sizes_px": [224], "repeats": 3, "films": 10},
        "film_px": {"rows": 2650, "columns": 2170},
        "cells": cells,
        "floor": floor,
        "failed": [],
        "measured_s": 60.0,
    }


def test_median_and_spread_are_those_of_the_rates():
    cells = [cell(seconds=s, repeat=n) for n, s in enumerate((2.0, 5.0, 1.0))]
    (row,) = figures.rows(cells)
    assert row.rate == figures.Figure(median=5.0, low=2.0, high=10.0, repeats=3)
    assert row.startup_s.median == 7.0


def test_efficiency_is_the_floors_core_seconds_over_the_runs():
    (floor,) = figures.floors([floor_cell()])
    assert floor.total_s == pytest.approx(0.08)
    # 10 films of 0.08 core-seconds in 0.5 s on 2 cores: 0.8 of 1 core-second.
    assert figures.efficiency(floor, rate=10 / 0.5, cores=2) == pytest.approx(0.8)
    assert figures.efficiency(floor, rate=figures.floor_rate(floor, 2), cores=2) == 1.0


def test_the_floor_is_the_median_of_each_stage():
    cells = [floor_cell(decode=d) for d in (0.01, 0.09, 0.02)] + [floor_cell(2, decode=0.5)]
    (floor,) = figures.floors(cells)
    assert floor.core_s["decode"] == 0.02
    (busy,) = figures.floors(cells, 2)
    assert busy.core_s["decode"] == 0.5


def test_differences_are_absolute():
    worst, mean = figures.differences([0.5, 0.2], [0.4, 0.5])
    assert (worst, mean) == (pytest.approx(0.3), pytest.approx(0.2))


def test_the_tables_hold_ratio_efficiency_and_spread():
    cells = [cell(seconds=s, repeat=n) for n, s in enumerate((0.5, 0.4, 0.625))]
    cells += [cell("obvious", seconds=2.0), cell("tuned", seconds=1.0)]
    text = report.render(result(cells, [floor_cell(), floor_cell(2)]), "file.json", full=False)
    line = next(line for line in text.splitlines() if line.startswith("| raw 16-bit"))
    assert "20.0 (16.0-25.0)" in line
    assert "| 4.0x | 2.0x | 80% | 80% |" in line


def failed(system, repeats=1, archive="raw"):
    task = {"system": system, "archives": [archive], "input_size_px": 224}
    return [{"task": task | {"repeat": n}, "error": "no memory"} for n in range(repeats)]


def test_a_system_that_failed_is_not_left_out():
    broken = result([cell(), cell("tuned")], [floor_cell()])
    broken["failed"] = failed("monai", 3) + failed("tuned", 1) + failed("obvious", archive="rle")
    text = report.render(broken, "file.json", full=True)
    assert "| raw 16-bit |  | 5.0, 1 failed | failed |" in text
    assert "| RLE | failed |" in text
    assert "| MONAI | failed |" in text
    assert "**Failed: MONAI, obvious, tuned.**" in text


def measuring(tmp_path, monkeypatch, system):
    """A grid of one system on one archive, whose process is `system`."""
    plan = Plan(films=9, repeats=2, sizes_px=(224,), systems=("obvious",), archives=("raw",))
    monkeypatch.setattr(Grid, "_into_page_cache", lambda self, task: None)
    monkeypatch.setattr(Grid, "_floor", lambda self, task: None)
    monkeypatch.setattr(Grid, "_system", system)
    begun = result([], []) | {"plan": asdict(plan)}
    return Grid(plan, None, {}, tmp_path / f"2026-test-2-cores{UNFINISHED}", begun)


def test_a_process_that_failed_is_in_the_results_and_the_grid_goes_on(tmp_path, monkeypatch):
    def system(grid, task):
        if task.repeat == 0:
            raise ProcessFailedError(f"line\nOSError: {ROOT}/benchmarks/films is gone\n  ^^^^\n")
        grid.result["cells"].append(cell(task.system, repeat=task.repeat))

    grid = measuring(tmp_path, monkeypatch, system)
    grid.measure()
    found = json.loads((tmp_path / "2026-test-2-cores.json").read_text())
    assert [entry["error"] for entry in found["failed"]] == ["OSError: benchmarks/films is gone"]
    assert [one["repeat"] for one in found["cells"]] == [1]
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".json"]


def test_a_stopped_grid_goes_on_where_it_was(tmp_path, monkeypatch):
    done = []

    def system(grid, task):
        if len(done) == 1:
            done.append("stopped")
            raise KeyboardInterrupt
        done.append(task.repeat)
        grid.result["cells"].append(cell(task.system, repeat=task.repeat))

    grid = measuring(tmp_path, monkeypatch, system)
    with pytest.raises(KeyboardInterrupt):
        grid.measure()
    assert report.newest(tmp_path) is None
    wanted = result([], []) | {"plan": asdict(grid.plan)}
    wanted["machine"] = wanted["machine"] | {"commit": "another"}
    stopped = unfinished(tmp_path, wanted)
    assert stopped == grid.out
    grid.result = json.loads(stopped.read_text())
    grid.measure()
    assert done == [0, "stopped", 1]
    assert unfinished(tmp_path, wanted) is None
    assert report.newest(tmp_path) == tmp_path / "2026-test-2-cores.json"


def test_a_grid_of_another_plan_or_of_other_versions_is_not_gone_on_with(tmp_path):
    begun = result([], [])
    (tmp_path / f"2026-test-2-cores{UNFINISHED}").write_text(json.dumps(begun))
    assert unfinished(tmp_path, begun) is not None
    assert unfinished(tmp_path, begun | {"plan": begun["plan"] | {"films": 11}}) is None
    other = begun["machine"] | {"versions": {"torch": "3.0"}}
    assert unfinished(tmp_path, begun | {"machine": other}) is None


def test_the_newest_grid_is_the_one_begun_last_whatever_its_name(tmp_path):
    for name, made in (("b", "2026-01-01"), ("a", "2026-01-01T10:00:00"), ("c", "2025-12-31")):
        begun = result([], []) | {"made": made}
        (tmp_path / f"{name}-2-cores.json").write_text(json.dumps(begun))
    assert report.newest(tmp_path) == tmp_path / "a-2-cores.json"


def test_whatever_a_process_started_ends_with_it():
    inner = "import time; print('here', flush=True); time.sleep(60)"
    outer = (
        "import subprocess, sys;"
        f"subprocess.run([sys.executable, '-c', {inner!r}], start_new_session=True)"
    )
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        kill_tree(process.pid)
        # The pipe ends when nobody holds it any more.
        assert process.stdout.read() == b""


def test_the_order_of_the_systems_rotates_and_every_task_is_there_once():
    plan = tasks(FULL)
    assert len(set(plan)) == len(plan)
    first = [next(t.system for t in plan if t.repeat == n) for n in range(3)]
    assert len(set(first)) == 3
    at_224 = {t.system for t in plan if t.repeat == 2 and t.input_size_px == 224}
    assert at_224 == {*FULL.systems, FLOOR}
    assert [t.archives for t in plan if t.system == CANARY] == [("mixed",)] * 3


def test_larger_inputs_are_measured_on_the_mixed_archive_only():
    plan = tasks(Plan(films=9, repeats=1, sizes_px=(224, 512)))
    assert {t.archives for t in plan if t.input_size_px == 512} == {("mixed-short",)}


def test_tables_go_between_the_markers_and_nowhere_else():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.replaced(page, "new\n") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="there is no"):
        report.replaced("no markers", "new\n")


def test_growth_compares_the_smallest_with_the_largest():
    def size(films, wall_s, peak):
        return {"films": films, "nights": [{"films": films, "wall_s": wall_s,
                "peak_parent_bytes": peak}]}  # fmt: skip

    said = growth({"sizes": [size(1000, 10.0, 1e9), size(10_000, 50.0, 1.1e9)]})
    assert said.startswith("10 times the films take 5.0 times the time")
    assert "1.10 times the job's memory" in said


def test_the_pages_and_the_picture_hold_the_committed_results():
    assert report.out_of_step() == []


def test_a_page_that_disagrees_with_its_results_is_found(tmp_path, monkeypatch):
    page, source = tmp_path / "README.md", tmp_path / "2026-2-cores.json"
    measured = result([cell(), cell("obvious")], [floor_cell()])
    source.write_text(json.dumps(measured))
    page.write_text(
        f"{report.BEGIN}\n{report.render(measured, source.name, full=False)}{report.END}"
    )
    monkeypatch.setattr(report, "HERE", tmp_path / "benchmarks")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "TARGETS", {page: False})
    monkeypatch.setattr(report, "drawn_from", lambda picture: source.name)
    assert report.out_of_step() == []
    page.write_text(page.read_text().replace("| 5.0 |", "| 5.1 |", 1))
    assert report.out_of_step() == ["README.md is out of step with 2026-2-cores.json"]
    source.unlink()
    assert report.out_of_step() == ["README.md names no results file that is there"]


def test_a_plot_says_which_results_it_shows(tmp_path):
    shown = result([cell(), cell("obvious", archive="mixed")], [floor_cell()])
    shown["failed"] = failed("monai")
    draw(shown, "file.json", tmp_path / "grid.png")
    assert report.drawn_from(tmp_path / "grid.png") == "file.json"


def test_all_systems_of_the_committed_results_did_the_same_job():
    found = json.loads(report.newest().read_text())
    for row in figures.rows(found["cells"]):
        if row.input_size_px == found["plan"]["sizes_px"][0]:
            # Area averaging instead of a triangle filter is what these two may differ by.
            bound = 0.05 if row.system in HALF else 0.01
            assert row.mean_difference < bound, (row.system, row.archive)


def test_committed_results_name_no_host_and_no_place():
    for path in report.RESULTS.glob("*.json"):
        text = path.read_text()
        for word in ("hostname", "/home/", "/root/", "/tmp/", str(report.HERE)):
            assert word not in text, path.name
        assert json.loads(text)["machine"]["cores"] >= 1
