"""The grid: every system on every archive, interleaved, repeated; saved after every process.

One process tree after another. The order of the systems rotates from repeat to repeat, so that a
machine that warms up or slows down is nobody's advantage. The files are read once beforehand: all
systems find them in the page cache.
"""

import argparse
import csv
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.corpus import CACHE, FILMS, HERE, MIXED, MIXED_SHORT, QUICK_FILMS, SYNTAXES, Corpus
from benchmarks.corpus import corpus as open_corpus
from benchmarks.figures import STAGES, differences
from benchmarks.process import ProcessFailedError, run, say
from benchmarks.reference import known

RESULTS = HERE / "results"
ROOT = HERE.parent
# The baselines have an environment of their own: it holds GPL decoders.
BASELINE_PYTHON = HERE / ".venv" / "bin" / "python"
FORMAT = 1

VFSCREEN, CANARY, FLOOR = "vfscreen", "vfscreen with canary", "floor"
MODULES = {
    "obvious": "obvious",
    "tuned": "tuned",
    "monai": "monai_system",
    "torchxrayvision": "torchxrayvision_system",
    VFSCREEN: "nightly",
    CANARY: "nightly",
}
# These two are there for orientation, and slow: they read the first half of each archive.
HALF = ("monai", "torchxrayvision")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: at `sizes_px[0]` all archives, at the larger ones the mixed one."""

    films: int
    repeats: int
    sizes_px: tuple[int, ...]
    systems: tuple[str, ...] = tuple(MODULES)
    archives: tuple[str, ...] = (*SYNTAXES, MIXED)
    floor_films: int = 18
    side_px: int = 2400


FULL = Plan(films=FILMS, repeats=3, sizes_px=(224, 512, 1024))
QUICK = Plan(films=QUICK_FILMS, repeats=1, sizes_px=(224,))


@dataclass(frozen=True, slots=True)
class Task:
    """One process: a system on some archives at one input size, in one repeat."""

    system: str
    input_size_px: int
    archives: tuple[str, ...]
    repeat: int


def tasks(plan: Plan) -> list[Task]:
    """All processes in the order in which they run: all repeats of a size, then the next size."""
    planned = []
    systems = (*plan.systems, FLOOR)
    for number, size in enumerate(plan.sizes_px):
        archives_of_size = plan.archives if number == 0 else (MIXED_SHORT,)
        for repeat in range(plan.repeats):
            at = repeat % len(systems)
            for system in systems[at:] + systems[:at]:
                archives = archives_of_size
                if system == CANARY:
                    archives = tuple(name for name in (MIXED,) if name in archives)
                # A night is a process of its own; the others keep their workers.
                alone = system in (VFSCREEN, CANARY)
                groups = [(name,) for name in archives] if alone else [archives]
                planned += [Task(system, size, group, repeat) for group in groups]
    return planned


@dataclass(slots=True)
class Grid:
    """A grid that is being measured."""

    plan: Plan
    corpus: Corpus
    checkpoints: dict[int, tuple[str, str]]
    out: Path
    result: dict[str, Any]

    def measure(self) -> None:
        """Run what is not in the result yet."""
        todo = [task for task in map(self._rest, tasks(self.plan)) if task is not None]
        began = time.monotonic()
        for number, task in enumerate(todo):
            say(
                f"{number + 1}/{len(todo)} repeat {task.repeat + 1}, {task.system}, "
                f"{task.input_size_px} px, {', '.join(task.archives)}; "
                f"{(time.monotonic() - began) / 60:.1f} min so far"
            )
            try:
                (self._floor if task.system == FLOOR else self._system)(task)
            except ProcessFailedError as error:
                # The others' figures are worth having; the report shows that this one is missing.
                say(f"FAILED: {error}")
                self.result["failed"].append({"task": asdict(task), "error": str(error)[-500:]})
            self.result["measured_s"] = self._before + time.monotonic() - began
            self.save()

    @property
    def _before(self) -> float:
        return float(self.result.get("measured_s_before", 0.0))

    def _rest(self, task: Task) -> Task | None:
        where = "floor" if task.system == FLOOR else "cells"
        done = {
            cell["archive"]
            for cell in self.result[where]
            if (cell["system"], cell["input_size_px"], cell["repeat"])
            == (task.system, task.input_size_px, task.repeat)
        }
        archives = tuple(name for name in task.archives if name not in done)
        return replace(task, archives=archives) if archives else None

    def _system(self, task: Task) -> None:
        films = (self.plan.films + 1) // 2 if task.system in HALF else None
        measured, peak_bytes = self._run(task, MODULES[task.system], films)
        for done in measured["passes"]:
            _, model_sha256 = self.checkpoints[task.input_size_px]
            found = done.pop("probabilities")
            expected = known(self.corpus, done["archive"], done["films"], model_sha256)
            worst, mean = differences(found, expected)
            cell = {
                "system": task.system,
                "input_size_px": task.input_size_px,
                "repeat": task.repeat,
                "startup_s": measured.get("startup_s"),
                "peak_bytes": peak_bytes,
                "settings": measured["settings"],
                "max_difference": worst,
                "mean_difference": mean,
                "ended_at": time.strftime("%Y-%m-%dT%H:%M:%S"),
            } | done
            self.result["cells"].append(cell)
            say(f"    {cell['archive']:14} {cell['films'] / cell['seconds']:6.2f} films/s")

    def _run(self, task: Task, module: str, films: int | None) -> tuple[dict[str, Any], int]:
        nightly = task.system in (VFSCREEN, CANARY)
        python = sys.executable if nightly else str(BASELINE_PYTHON)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            more = ["--canary"] if task.system == CANARY else []
            if films is not None:
                more += ["--films", str(films)]
            if not nightly:
                more += ["--started-at", repr(time.monotonic())]
            finished = run(
                [
                    python, "-m", f"benchmarks.systems.{module}", *self._arguments(task),
                    "--out", str(out), *more,
                ],
                cwd=ROOT,
            )  # fmt: skip
            return json.loads(out.read_text()), finished.peak_tree_bytes

    def _arguments(self, task: Task) -> list[str]:
        return [
            "--corpus", str(self.corpus.folder), "--archives", ",".join(task.archives),
            "--checkpoint", self.checkpoints[task.input_size_px][0],
        ]  # fmt: skip

    def _floor(self, task: Task) -> None:
        """Each stage alone on one core; then again with the same on every core."""
        cores = len(os.sched_getaffinity(0))
        for busy in sorted({1, cores}):
            for archive, core_s in self._floor_processes(task, busy).items():
                self.result["floor"].append(
                    {
                        "system": FLOOR,
                        "archive": archive,
                        "input_size_px": task.input_size_px,
                        "repeat": task.repeat,
                        "busy_cores": busy,
                        "core_s_a_film": core_s,
                    }
                )

    def _floor_processes(self, task: Task, busy: int) -> dict[str, dict[str, float]]:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(busy) as pool:
            outs = [Path(folder) / f"{core}.json" for core in range(busy)]
            commands = [
                [
                    sys.executable, "-m", "benchmarks.floor", *self._arguments(task),
                    "--films", str(self.plan.floor_films), "--core", str(core), "--out", str(out),
                ]
                for core, out in enumerate(outs)
            ]  # fmt: skip
            list(pool.map(lambda command: run(command, cwd=ROOT), commands))
            measured = [json.loads(out.read_text()) for out in outs]
        return {
            archive: {
                stage: sum(one[archive][stage] for one in measured) / busy for stage in STAGES
            }
            for archive in measured[0]
        }

    def save(self) -> None:
        """Write JSON and CSV, whole or not at all."""
        aside = self.out.with_suffix(".part")
        aside.write_text(json.dumps(self.result, indent=1) + "\n")
        aside.replace(self.out)
        columns = (
            "system", "archive", "input_size_px", "repeat", "films", "seconds", "startup_s",
            "peak_bytes", "max_difference", "mean_difference", "ended_at",
        )  # fmt: skip
        with self.out.with_suffix(".csv").open("w", newline="") as file:
            rows = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            rows.writeheader()
            rows.writerows(self.result["cells"])


def checkpoints(plan: Plan, folder: Path) -> dict[int, tuple[str, str]]:
    """Input size to checkpoint and its model's hash; the demonstration's weights at every size."""
    from vfscreen.model.checkpoint import read_info

    demo = read_info("demo")
    found = {}
    for size in plan.sizes_px:
        path = "demo"
        if size != demo.preprocessing.input_size_px:
            path = resized_demo(folder / f"demo-{size}-px.safetensors", size)
        found[size] = (path, read_info(path).model_sha256)
    return found


def resized_demo(path: Path, size_px: int) -> str:
    """The demonstration checkpoint with another input size: the network fits any."""
    from vfscreen.model.checkpoint import load_weights, read_info, save

    info = read_info("demo")
    save(
        path,
        load_weights(info),
        name=f"{info.name}, {size_px} px, for benchmarks only",
        demonstration=True,
        architecture=info.architecture,
        findings=info.findings,
        preprocessing=replace(info.preprocessing, input_size_px=size_px),
        calibration=info.calibration,
        operating_points=info.operating_points,
        provenance=info.provenance,
        model_card=info.model_card,
    )
    return str(path)


def compute_references(plan: Plan, corpus: Corpus, found: dict[int, tuple[str, str]]) -> None:
    """The probabilities that every system is held to; kept beside the films."""
    for number, (checkpoint, _) in enumerate(found.values()):
        archives = plan.archives if number == 0 else (MIXED_SHORT,)
        run(
            [
                str(BASELINE_PYTHON), "-m", "benchmarks.reference", "--corpus", str(corpus.folder),
                "--archives", ",".join(archives), "--checkpoint", checkpoint,
            ],
            cwd=ROOT,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the grid.")
    parser.add_argument("--quick", action="store_true", help="one repeat, few films, 224 px only")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--films", type=int, help="films a transfer syntax")
    parser.add_argument("--side-px", type=int, help="side of a film; the area is its square")
    parser.add_argument("--sizes", help="input sizes in pixels, separated by commas")
    parser.add_argument("--systems", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--archives", help=f"of {', '.join((*SYNTAXES, MIXED))}")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--resume", type=Path, help="a results file that was left unfinished")
    parser.add_argument("--only-prepare", action="store_true", help="films and references only")
    options = parser.parse_args(arguments)
    plan = _plan(options)
    if not BASELINE_PYTHON.exists():
        parser.error("the baselines' environment is missing: start this by `make bench`")
    made = open_corpus(plan.films, options.cache, side_px=plan.side_px)
    found = checkpoints(plan, made.folder)
    compute_references(plan, made, found)
    if options.only_prepare:
        return
    grid = _grid(plan, made, found, options)
    _into_page_cache(plan, made)
    try:
        grid.measure()
    except KeyboardInterrupt:
        say(f"stopped; what is done is in {grid.out}, go on with --resume {grid.out}")
        raise SystemExit(130) from None
    say(f"written: {grid.out}")


def _plan(options: argparse.Namespace) -> Plan:
    if options.resume:
        raw = json.loads(options.resume.read_text())["plan"]
        return Plan(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    plan = QUICK if options.quick else FULL
    changes: dict[str, Any] = {
        name: value
        for name in ("repeats", "films", "side_px")
        if (value := getattr(options, name)) is not None
    }
    if options.sizes:
        changes["sizes_px"] = tuple(int(size) for size in options.sizes.split(","))
    for name in ("systems", "archives"):
        if text := getattr(options, name):
            changes[name] = tuple(text.split(","))
    return replace(plan, **changes)


def _grid(
    plan: Plan, made: Corpus, found: dict[int, tuple[str, str]], options: argparse.Namespace
) -> Grid:
    if options.resume:
        result = json.loads(options.resume.read_text())
        result["measured_s_before"] = result.get("measured_s", 0.0)
        now = machine.describe(BASELINE_PYTHON)
        # A reader must be able to see what was measured by which state of the code.
        result.setdefault("resumed", []).append(
            {"cells_before": len(result["cells"]), "commit": now["commit"]}
        )
        return Grid(plan, made, found, options.resume, result)
    here = machine.describe(BASELINE_PYTHON)
    precision = machine.precision()
    torch = (here["versions"]["torch"] or "unknown").split("+")[0]
    kind = "" if plan == FULL else "-quick" if plan == QUICK else "-part"
    name = f"{time.strftime('%Y-%m-%d')}-{precision}-torch{torch}-{machine.slug(here)}{kind}.json"
    options.results.mkdir(parents=True, exist_ok=True)
    result = {
        "format": FORMAT,
        "made": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks.grid", *sys.argv[1:]]),
        "precision": precision,
        "machine": here,
        "plan": asdict(plan),
        "film_px": _film_px(made),
        "archive_bytes": {
            name: sum(film["bytes"] for film in films) for name, films in made.archives.items()
        },
        "cells": [],
        "floor": [],
        "failed": [],
    }
    return Grid(plan, made, found, options.results / name, result)


def _film_px(made: Corpus) -> dict[str, int]:
    films = made.archives["raw"]
    return {
        side: round(sum(film[side] for film in films) / len(films)) for side in ("rows", "columns")
    }


def _into_page_cache(plan: Plan, made: Corpus) -> None:
    for archive in plan.archives:
        for path in made.paths(archive):
            path.read_bytes()


if __name__ == "__main__":
    main()
