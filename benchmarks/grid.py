"""The grid: every system on every archive, interleaved, repeated; saved after every process.

One process tree after another. The order of the systems rotates from repeat to repeat, so that a
machine that warms up or slows down is nobody's advantage. Before each process its files are read
once: all systems find them in the page cache.

Until all is measured the results are in a file `....unfinished.json`. Started again with the same
plan, on the same machine with the same versions, the grid goes on with it.
"""

import argparse
import csv
import io
import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.corpus import CACHE, FILMS, HERE, MIXED, MIXED_SHORT, QUICK_FILMS, SYNTAXES, Corpus
from benchmarks.corpus import corpus as open_corpus
from benchmarks.figures import differences
from benchmarks.process import ProcessFailedError, interrupt_on_sigterm, run, say
from benchmarks.reference import known

RESULTS = HERE / "results"
ROOT = HERE.parent
# The baselines have an environment of their own: it holds GPL decoders.
BASELINE_PYTHON = HERE / ".venv" / "bin" / "python"
FORMAT = 1
UNFINISHED = ".unfinished.json"

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


def half_of(films: int) -> int:
    """How many films of each archive a system of `HALF` reads."""
    return (films + 1) // 2


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
        began, before = time.monotonic(), self.result.get("measured_s", 0.0)
        self.result["failed"] = []  # what failed is tried again
        for number, task in enumerate(todo):
            say(
                f"{number + 1}/{len(todo)} repeat {task.repeat + 1}, {task.system}, "
                f"{task.input_size_px} px, {', '.join(task.archives)}; "
                f"{(time.monotonic() - began) / 60:.1f} min so far"
            )
            self._into_page_cache(task)
            try:
                (self._floor if task.system == FLOOR else self._system)(task)
            except ProcessFailedError as error:
                # The others' figures are worth having; the report shows that this one is missing.
                say(f"FAILED: {error}")
                self.result["failed"].append({"task": asdict(task), "error": _last_line(error)})
            self.result["measured_s"] = before + time.monotonic() - began
            self.save()
        finished = self.out.with_name(self.out.name.replace(UNFINISHED, ".json"))
        self.out.replace(finished)
        self.out.with_suffix(".csv").replace(finished.with_suffix(".csv"))
        self.out = finished

    def _into_page_cache(self, task: Task) -> None:
        for archive in task.archives:
            for path in self.corpus.paths(archive):
                path.read_bytes()

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
        ours = task.system in (VFSCREEN, CANARY)
        more = [] if ours else ["--started-at", repr(time.monotonic())]
        if task.system == CANARY:
            more += ["--canary"]
        if task.system in HALF:
            more += ["--films", str(half_of(self.plan.films))]
        python = sys.executable if ours else str(BASELINE_PYTHON)
        module = f"benchmarks.systems.{MODULES[task.system]}"
        commit = machine.commit()
        measured, peak_bytes = self._run(task, python, module, more)
        for done in measured["passes"]:
            _, model_sha256 = self.checkpoints[task.input_size_px]
            found = done.pop("probabilities")
            expected = known(self.corpus, done["archive"], done["films"], model_sha256)
            worst, mean = differences(found, expected)
            cell = {
                "system": task.system,
                "input_size_px": task.input_size_px,
                "repeat": task.repeat,
                # A system that starts anew for every archive says the next two itself.
                "startup_s": measured.get("startup_s"),
                "peak_bytes": peak_bytes,
                "settings": measured["settings"],
                "commit": commit,
                "max_difference": worst,
                "mean_difference": mean,
                "ended_at": time.strftime("%Y-%m-%dT%H:%M:%S"),
            } | done
            self.result["cells"].append(cell)
            say(f"    {cell['archive']:14} {cell['films'] / cell['seconds']:6.2f} films/s")

    def _floor(self, task: Task) -> None:
        """Each stage alone on one core; then again with the same on every core."""
        commit, levels = machine.commit(), sorted({1, len(os.sched_getaffinity(0))})
        films = ["--films", str(self.plan.floor_films)]
        measured = {
            busy: self._run(
                task, sys.executable, "benchmarks.floor", [*films, "--busy", str(busy)]
            )[0]
            for busy in levels
        }
        self.result["floor"] += [
            {
                "system": FLOOR,
                "archive": archive,
                "input_size_px": task.input_size_px,
                "repeat": task.repeat,
                "busy_cores": busy,
                "commit": commit,
                "core_s_a_film": core_s,
            }
            for busy in levels
            for archive, core_s in measured[busy].items()
        ]

    def _run(
        self, task: Task, python: str, module: str, more: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        """What a script found, and the peak memory of its process tree."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            finished = run(
                [
                    python, "-m", module, "--corpus", str(self.corpus.folder),
                    "--archives", ",".join(task.archives),
                    "--checkpoint", self.checkpoints[task.input_size_px][0],
                    "--out", str(out), *more,
                ],
                cwd=ROOT,
            )  # fmt: skip
            return json.loads(out.read_text()), finished.peak_tree_bytes

    def save(self) -> None:
        """Write JSON and CSV, each whole or not at all."""
        columns = (
            "system", "archive", "input_size_px", "repeat", "films", "seconds", "startup_s",
            "peak_bytes", "max_difference", "mean_difference", "ended_at",
        )  # fmt: skip
        table = io.StringIO()
        rows = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(self.result["cells"])
        aside = self.out.with_suffix(".part")
        for suffix, text in (
            (".csv", table.getvalue()), (".json", json.dumps(self.result, indent=1) + "\n")
        ):  # fmt: skip
            aside.write_text(text)
            aside.replace(self.out.with_suffix(suffix))


def _last_line(error: ProcessFailedError) -> str:
    """The last line with words; a traceback may end in carets, and names places of this machine."""
    lines = [line for line in str(error).splitlines() if re.search(r"\w", line)]
    return lines[-1].strip().replace(f"{ROOT}/", "")[-500:]


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
        load_weights(info).members,
        name=f"{info.name}, {size_px} px, for benchmarks only",
        demonstration=True,
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
    parser = argparse.ArgumentParser(description="Measure the grid, or go on with a stopped one.")
    parser.add_argument("--quick", action="store_true", help="one repeat, few films, 224 px only")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--films", type=int, help="films a transfer syntax")
    parser.add_argument("--side-px", type=int, help="side of a film; the area is its square")
    parser.add_argument("--sizes", help="input sizes in pixels, separated by commas")
    for name, known_names in (("--systems", MODULES), ("--archives", FULL.archives)):
        parser.add_argument(name, type=_some_of(known_names), help=f"of {', '.join(known_names)}")
    parser.add_argument("--fresh", action="store_true", help="begin anew, do not go on")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--only-prepare", action="store_true", help="films and references only")
    options = parser.parse_args(arguments)
    if not BASELINE_PYTHON.exists():
        parser.error("the baselines' environment is missing: start this by `make bench`")
    interrupt_on_sigterm()
    try:
        _prepare_and_measure(options)
    except KeyboardInterrupt:
        say("stopped; what is done is kept, the same command goes on")
        raise SystemExit(130) from None


def _prepare_and_measure(options: argparse.Namespace) -> None:
    plan = _plan(options)
    made = open_corpus(plan.films, options.cache, side_px=plan.side_px)
    found = checkpoints(plan, made.folder)
    say("the plain reference's probabilities, where they are not known yet")
    compute_references(plan, made, found)
    if options.only_prepare:
        return
    grid = _grid(plan, made, found, options)
    grid.measure()
    for entry in grid.result["failed"]:
        say(f"FAILED: {entry['task']['system']}: {entry['error']}")
    say(f"written: {grid.out}")


def _some_of(names: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    def some(text: str) -> tuple[str, ...]:
        wanted = tuple(text.split(","))
        if unknown := set(wanted) - set(names):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
        return wanted

    return some


def _plan(options: argparse.Namespace) -> Plan:
    changes: dict[str, Any] = {
        name: value
        for name in ("repeats", "films", "side_px", "systems", "archives")
        if (value := getattr(options, name)) is not None
    }
    if options.sizes:
        changes["sizes_px"] = tuple(int(size) for size in options.sizes.split(","))
    return replace(QUICK if options.quick else FULL, **changes)


def _grid(
    plan: Plan, made: Corpus, found: dict[int, tuple[str, str]], options: argparse.Namespace
) -> Grid:
    here, began = machine.describe(BASELINE_PYTHON), time.strftime("%Y-%m-%dT%H:%M:%S")
    options.results.mkdir(parents=True, exist_ok=True)
    result = {
        "format": FORMAT,
        "made": began,
        "command": shlex.join(["python", "-m", "benchmarks.grid", *sys.argv[1:]]),
        "precision": machine.precision(),
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
    if not options.fresh and (stopped := unfinished(options.results, result)):
        earlier = json.loads(stopped.read_text())
        say(f"going on with {stopped}, {len(earlier['cells'])} cells; --fresh would begin anew")
        return Grid(plan, made, found, stopped, earlier)
    kind = "" if plan == FULL else "-quick" if plan == QUICK else "-part"
    out = options.results / f"{machine.stem(here, began)}{kind}{UNFINISHED}"
    return Grid(plan, made, found, out, result)


def unfinished(folder: Path, wanted: dict[str, Any]) -> Path | None:
    """The newest stopped grid of the same plan on the same machine with the same versions.

    The commit may be another one: each cell says at which it was measured.
    """

    def what(result: dict[str, Any]) -> Any:
        return result["format"], result["plan"], result["machine"] | {"commit": ""}

    wanted = json.loads(json.dumps(wanted))
    for path in sorted(folder.glob(f"*{UNFINISHED}"), reverse=True):
        if what(json.loads(path.read_text())) == what(wanted):
            return path
    return None


def _film_px(made: Corpus) -> dict[str, int]:
    films = made.archives["raw"]
    return {
        side: round(sum(film[side] for film in films) / len(films)) for side in ("rows", "columns")
    }


if __name__ == "__main__":
    main()
