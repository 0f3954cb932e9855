"""What trains a better network: the questions of Chen et al. 2021, answered on phantoms.

Every row is `vfscreen train` as a site runs it, on phantom films of one seed, then `vfscreen
screen` and `vfscreen evaluate` on films of another. The shift test screens the same films in
another display, before and after `vfscreen calibrate` on such films of a third seed. All networks
have the same time for learning (`--budget` minutes, by the speed of their architecture on random
tensors), and all are shown where the fractures are, but for the row that is not.

What is done lies in the work folder: the same command goes on where it was, row by row. See
benchmarks/README.md, "Training".
"""

import argparse
import csv
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.process import ProcessFailedError, interrupt_on_sigterm, run, say
from benchmarks.training_report import render
from benchmarks.training_rows import ARCHITECTURE, PRETEXT, ROWS, SHIFTED, SHIFTS, Row, Study
from vfscreen.phantom.clutter import FORBIDDEN

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FINDING = "vertebral_fracture"
VFSCREEN = str(Path(sys.executable).with_name("vfscreen"))
# Seconds over which the speed on random tensors is measured.
SPEED_S = 20


def epochs_of(budget_min: float, films_per_s: float, films: int) -> int:
    """Times that `films` can be seen in the budget, at least once."""
    return max(1, int(budget_min * 60 * films_per_s / films))


class Bench:
    """A work folder, and the steps that fill it; a step whose result is there is not done again."""

    def __init__(self, work: Path, study: Study) -> None:
        self.work, self.study = work.expanduser().absolute(), study
        self.work.mkdir(parents=True, exist_ok=True)
        plan = self.work / "study.json"
        wanted = json.dumps(asdict(study), indent=1)
        if plan.exists() and plan.read_text() != wanted:
            raise SystemExit(f"{self.work} holds another study: give another --work, or remove it.")
        plan.write_text(wanted)

    def figures(self) -> dict[str, Any]:
        """Do all that is missing; the figures of all rows and shifts."""
        rows = {
            row.name: {"shown": row.shown, **self.attempt(row.name, lambda row=row: self.row(row))}
            for row in self.study.chosen()
        }
        shifts = {}
        if "error" not in rows.get(self.study.shift_row, {"error": ""}):
            for shift in self.study.shifts:
                shifts[shift] = self.attempt(f"shift-{shift}", lambda to=shift: self.shift(to))
        return {"study": asdict(self.study), "rows": rows, "shifts": shifts}

    def attempt(self, name: str, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A row's figures, or why it has none: the others are not lost with it."""
        say(name)
        try:
            return step()
        except ProcessFailedError as error:
            say(f"{name} failed: {error}")
            return {"error": str(error)[-400:]}

    def row(self, row: Row) -> dict[str, Any]:
        """Train and evaluate one configuration."""
        folder = self.work / row.name
        done = folder / "row.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        folder.mkdir(exist_ok=True)
        settings = {"folds": 0, **self.study.train, **row.settings}
        size = settings["input_size_px"]
        rate = self.speed(size, located=bool(settings.get("locate")), batch=settings["batch_size"])
        share = 1 - 1 / settings["folds"] if settings["folds"] else 0.8
        settings["epochs"] = epochs_of(
            self.study.budget_min, rate, round(self.labelled("train") * share)
        )
        config = self.write_config(folder, settings)
        began, trained = time.monotonic(), folder / "network.safetensors"
        command = [
            VFSCREEN, "train", *self.data("train"), "--out", str(trained), "--config", str(config),
            "--init", self.first_weights(row.init),
        ]  # fmt: skip
        if row.marks:
            command += ["--marks", str(self.archive("train") / "marks.csv")]
        if not trained.exists():
            run(command)
        found = {
            "command": self.shown(command),
            "settings": settings,
            "commit": machine.commit(),
            "train_s": round(time.monotonic() - began),
            "random_films_per_s": round(rate, 2),
            "films_per_s": _median_rate(folder / "network.safetensors.training" / "epochs.csv"),
            **self.evaluated(trained, "test", folder),
        }
        done.write_text(json.dumps(found, indent=1))
        return found

    def shift(self, shift: str) -> dict[str, Any]:
        """The shifted row's network on the test films in another display, and recalibrated."""
        folder = self.work / f"shift-{shift}"
        done = folder / "row.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        folder.mkdir(exist_ok=True)
        network, again = (
            self.work / self.study.shift_row / "network.safetensors",
            folder / "again.safetensors",
        )
        config = self.write_config(folder, {})
        test, calibration = f"test-{shift}", f"calibration-{shift}"
        before = self.evaluated(network, test, folder)
        if not again.exists():
            run(
                [
                    VFSCREEN, "calibrate", "--checkpoint", str(network), *self.data(calibration),
                    "--out", str(again), "--config", str(config),
                ]
            )  # fmt: skip
        # The same network: only probabilities and operating points are others, nothing is decoded.
        after = self.evaluated(again, test, folder, report="again", screened=True)
        found = {"before": before, "after": after, "commit": machine.commit()}
        done.write_text(json.dumps(found, indent=1))
        return found

    def evaluated(
        self, checkpoint: Path, films: str, folder: Path, *, report: str = "report",
        screened: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Screen films as at night, and hold what comes of it against labels and truth."""
        results, out, config = folder / "results", folder / report, folder / "vfscreen.toml"
        archive = self.archive(films)
        if not screened:
            run(
                [
                    VFSCREEN, "screen", str(archive / "archive"), "--checkpoint", str(checkpoint),
                    "--results", str(results), "--config", str(config),
                ]
            )  # fmt: skip
        run(
            [
                VFSCREEN, "evaluate", "--checkpoint", str(checkpoint), *self.data(films),
                "--out", str(out), "--results", str(results), "--config", str(config),
            ]
        )  # fmt: skip
        grades = subprocess.run(
            [sys.executable, "-m", "vfscreen.jobs.phantom_figures", str(results),
             str(archive / "truth.parquet"), "--json"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return summary(json.loads((out / "report.json").read_text()), json.loads(grades))

    def archive(self, name: str) -> Path:
        """The folder of a phantom archive, made where it is missing.

        `train`, `calibration` and `test` are of seeds of their own; `test-noise` is `test` in
        another display.
        """
        folder = self.work / "archives" / name
        if folder.exists():
            return folder
        kind, _, shift = name.partition("-")
        study = self.study
        places = {"train": study.training, "calibration": study.calibration, "test": study.test}
        unfinished = folder.with_name(f"{name}.unfinished")
        if unfinished.exists():
            forbidden = unfinished / "archive" / FORBIDDEN
            if forbidden.exists():
                forbidden.chmod(0o700)  # else its owner cannot remove it
            shutil.rmtree(unfinished)
        unfinished.parent.mkdir(exist_ok=True)
        say(f"films: {name}")
        run(
            [
                VFSCREEN, "phantom", str(unfinished), "--studies", str(places[kind]),
                "--seed", str(study.seed + list(places).index(kind)), "--films", study.films,
                "--long-side-px", str(study.long_side_px), *(["--shift", shift] if shift else []),
            ]
        )  # fmt: skip
        unfinished.rename(folder)
        return folder

    def data(self, name: str) -> list[str]:
        """The options that name an archive and its labels."""
        folder = self.archive(name)
        return ["--archive", str(folder / "archive"), "--labels", str(folder / "labels.csv")]

    def labelled(self, name: str) -> int:
        """How many films an archive's labels name."""
        with (self.archive(name) / "labels.csv").open(newline="") as file:
            return sum(1 for _ in csv.DictReader(file))

    def first_weights(self, init: str) -> str:
        """What `--init` is given; the pretext task is learnt once, in a network's own time."""
        if init == "imagenet":
            assert self.study.imagenet is not None
            return self.study.imagenet
        if init != PRETEXT:
            return init
        path = self.work / "pretext.safetensors"
        if not path.exists():
            say("the pretext task")
            config = self.write_config(self.work, {})
            batch = self.study.train["batch_size"]
            rate = self.speed(224, located=False, batch=batch)
            steps = max(2, int(self.study.budget_min * 60 * rate / batch))
            run(
                [
                    sys.executable, "-m", "vfscreen.jobs.pretext", *self.data("train"),
                    "--marks", str(self.archive("train") / "marks.csv"), "--out", str(path),
                    "--steps", str(steps), "--batch-size", str(batch), "--config", str(config),
                ]
            )  # fmt: skip
        return str(path)

    def speed(self, size_px: int, *, located: bool, batch: int) -> float:
        """Films a second on random tensors of the size that the network sees."""
        from vfscreen.model.column import column_spec

        sides = (size_px, size_px)
        if located:
            column = column_spec(size_px)
            sides = (column.height_px, column.width_px)
        known = self.work / f"speed-{sides[0]}x{sides[1]}-{batch}.json"
        if not known.exists():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.training_speed", ARCHITECTURE,
                 *map(str, sides), str(batch), str(SPEED_S)],
                capture_output=True, text=True, check=True, cwd=HERE.parent,
            )  # fmt: skip
            known.write_text(done.stdout)
        return float(json.loads(known.read_text())["films_per_s"])

    def write_config(self, folder: Path, train: dict[str, Any]) -> Path:
        """A vfscreen.toml of a row; the list is not cut, so that every true positive is seen."""
        sections = {
            "train": train, "list": {"capacity": 100_000}, "eligibility": self.study.eligibility,
        }  # fmt: skip
        lines = [
            line
            for name, values in sections.items() if values
            for line in (f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items()))
        ]  # fmt: skip
        path = folder / "vfscreen.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def shown(self, command: Sequence[str]) -> str:
        """A command as others would type it."""
        return shlex.join(
            ["vfscreen" if part == VFSCREEN else part.removeprefix(f"{self.work}/")
             for part in command]
        )  # fmt: skip


def summary(report: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """What a row keeps of an evaluation's report and of the figures by grade."""
    (finding,) = [f for f in report["findings"] if f["finding"] == FINDING]
    film = finding["levels"]["film"]
    (point,) = [p for p in film["operating_points"] if p["name"] == "default"]
    return {
        "films": film["units"],
        "positives": film["positives"],
        "failed": film["failed_positives"] + film["failed_negatives"],
        "auc": film["auc"],
        "brier": film["brier"],
        "calibration_slope": film["calibration"] and film["calibration"]["slope"],
        "sensitivity": point["sensitivity"],
        "specificity": point["specificity"],
        "grades": truth["areas"],
    }


def _median_rate(log: Path) -> float | None:
    """Films a second of the training's epochs, the median; None where there is no log."""
    if not log.exists():
        return None
    with log.open(newline="") as file:
        rates = [float(row["films_per_s"]) for row in csv.DictReader(file)]
    return round(statistics.median(rates), 2) if rates else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, keep the figures, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=20.0, help="minutes of learning a network")
    parser.add_argument("--training", type=int, default=1500, help="studies to train on")
    parser.add_argument("--calibration", type=int, default=400, help="studies to recalibrate on")
    parser.add_argument("--test", type=int, default=600, help="studies to evaluate on")
    parser.add_argument("--films", default="usual", help="the phantom's --films")
    parser.add_argument("--long-side-px", type=int, default=900)
    parser.add_argument("--seed", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--input-size-px", type=int, default=224, help="where a row names none")
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--rows", nargs="+", default=[r.name for r in ROWS], metavar="ROW")
    parser.add_argument("--shifts", nargs="*", default=list(SHIFTS), choices=list(SHIFTS))
    parser.add_argument("--shift-row", default=SHIFTED, metavar="ROW")
    parser.add_argument("--imagenet", help="what its row gives to --init: torchvision's file")
    parser.add_argument("--smallest-px", type=int, help="eligibility.min_short_side_px")
    parser.add_argument("--work", type=Path, default=HERE / ".cache" / "training-study")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    known = {row.name for row in ROWS}
    if unknown := set(options.rows) - known:
        parser.error(f"no row is called {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    interrupt_on_sigterm()
    study = Study(
        budget_min=options.budget,
        training=options.training,
        calibration=options.calibration,
        test=options.test,
        films=options.films,
        long_side_px=options.long_side_px,
        seed=options.seed,
        rows=tuple(options.rows),
        shifts=tuple(options.shifts),
        shift_row=options.shift_row,
        train={
            "input_size_px": options.input_size_px,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            # A short training: averaged over fewer steps, and never ended before its time.
            "ema_steps": 100.0,
            "patience": 0,
            "seed": 1,
        },
        eligibility=(
            {"min_short_side_px": options.smallest_px} if options.smallest_px is not None else {}
        ),
        imagenet=options.imagenet,
    )
    began = time.monotonic()
    figures = Bench(options.work, study).figures()
    command = shlex.join(
        ["python", "-m", "benchmarks.training_study", *(arguments or sys.argv[1:])]
    )
    figures["measured_s"] = round(time.monotonic() - began)
    path = machine.keep(options.out, "training-study", command, figures)
    tables = render(json.loads(path.read_text()), path.name)
    print(tables, end="")
    return int("**Failed" in tables)


if __name__ == "__main__":
    sys.exit(main())
