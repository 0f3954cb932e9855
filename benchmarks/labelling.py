"""Report labellers side by side: what they get right, and how many reports they read a second.

The same texts go to every system, in processes of their own, one after the other, each on one
core; three repeats, interleaved. See benchmarks/README.md, "Reports". Ends with 1 where vfscreen
misses a target, and says which.
"""

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

from benchmarks import machine, openi, report_sets
from benchmarks.label_judging import judged, targets
from benchmarks.label_report import render, write
from benchmarks.label_systems import SYSTEMS, VFSCREEN, Answer
from benchmarks.label_texts import (
    FINDING,
    Item,
    openi_items,
    phantom_items,
    set_items,
    usual_mix,
)
from benchmarks.process import interrupt_on_sigterm, say

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BASELINE_PYTHON = HERE / ".venv" / "bin" / "python"
REPEATS = 3

# Text that is long and means nothing, or nearly: a pattern that is not linear shows here.
HOSTILE = (
    "no ", "fracture ", "L1 ", "L1-", "T12/", "of ", "loss ", "( ", "? ", "#", ":", "'s ", ".",
    "\n", "\0", "骨折", "aplastamiento ", "no fracture of L1, rib and ", "L1 to ", "loss of ",
    "Findings: no acute fracture. Old wedge fracture of T12, unchanged. ",
)  # fmt: skip
HOSTILE_CHARACTERS = (100_000, 400_000)


# ---- Running -----------------------------------------------------------------------------------


def ask(name: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """One system in a process of its own; nothing where its packages are not installed."""
    ours = not SYSTEMS[name].packages
    if not ours and not BASELINE_PYTHON.exists():
        return None
    python = sys.executable if ours else str(BASELINE_PYTHON)
    done = subprocess.run(
        [python, "-m", "benchmarks.label_systems", name],
        input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False,
        cwd=HERE.parent, start_new_session=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} failed with exit code {done.returncode}.")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def linearity() -> list[dict[str, Any]]:
    """Seconds for hostile text, of two lengths."""
    from benchmarks.label_systems import vfscreen_answer

    found = []
    for brick in HOSTILE:
        seconds = []
        for characters in HOSTILE_CHARACTERS:
            item = {"text": brick * (characters // len(brick)), "finding": FINDING}
            seconds.append(min(_cpu_s(lambda item=item: vfscreen_answer(item)) for _ in range(2)))
        small, large = HOSTILE_CHARACTERS
        found.append(
            {
                "brick": brick,
                "s": [round(value, 4) for value in seconds],
                "growth": round((seconds[1] / large) / max(seconds[0] / small, 1e-9), 2),
            }
        )
    return found


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[Answer]]]:
    """All figures, and vfscreen's own answers by set."""
    reports = openi.reports(options.openi)
    if not reports:
        say(f"OpenI's reports are not at {options.openi}: that part is skipped.")
    sets: dict[str, list[Item]] = {
        "openi": openi_items(reports),
        "adversarial": set_items("adversarial"),
        "phantom": phantom_items(),
    }
    if options.held_out:
        sets["held_out"] = set_items("held_out")
    items = [item for part in sets.values() for item in part]
    timed = usual_mix(sets["openi"], sets["phantom"])
    figures: dict[str, Any] = {
        "repeats": REPEATS,
        "texts": {
            "mix": len(timed),
            "mix_characters": round(mean(len(item["text"]) for item in timed)),
            **{name: len(part) for name, part in sets.items()},
        },
        "sets_sha256": {"adversarial": sha256("adversarial")},
        "first": json.loads((report_sets.FOLDER / "first_result.json").read_text()),
        "absent": [],
        "systems": {},
    }
    ours: dict[str, list[Answer]] = {}
    order = list(SYSTEMS)
    for repeat in range(REPEATS):
        for name in order[repeat:] + order[:repeat]:
            say(f"{name}, repeat {repeat + 1} of {REPEATS}")
            answered = ask(name, {"items": [] if repeat else items, "timed": timed})
            if answered is None:
                figures["absent"] = sorted({*figures["absent"], name})
                continue
            system = figures["systems"].setdefault(name, {"speed": []})
            system["versions"] = answered["versions"]
            system["speed"].append({k: answered[k] for k in ("startup_s", "reports", "cpu_s")})
            if not repeat:
                answers = by_set(sets, answered["answers"])
                system.update(judged(name, sets, answers, reports))
                if name == VFSCREEN:
                    ours = answers
    say("long and hostile text")
    figures["hostile_characters"] = HOSTILE_CHARACTERS
    figures["linearity"] = linearity()
    figures["targets"] = targets(figures)
    return figures, ours


def by_set(sets: dict[str, list[Item]], answers: list[Answer]) -> dict[str, list[Answer]]:
    """Answers to all items, by the set that they belong to."""
    left = iter(answers)
    return {name: [next(left) for _ in part] for name, part in sets.items()}


def sha256(name: str) -> str:
    """The hash of a set's file."""
    return hashlib.sha256((report_sets.FOLDER / f"{name}.csv").read_bytes()).hexdigest()


# ---- Telling -----------------------------------------------------------------------------------


def tell(figures: dict[str, Any], reports: Iterable[openi.Report], ours: dict[str, Any]) -> None:
    """What is for eyes only: sentences of false alarms, and what wrong rows got wrong."""
    read = openi.read()
    by_uid = {r.uid: a for r, a in zip(reports, ours["openi"], strict=True)}
    seen = figures["systems"][VFSCREEN].get("openi", {"alarms": {}, "missed": []})
    for uid, alarm in seen["alarms"].items():
        verdict, reason = read.get(uid, ("not read yet", ""))
        print(f"false alarm {uid}: {alarm['report_status']}; {verdict} {reason}".rstrip())
        for evidence in by_uid[uid]["evidence"]:
            if evidence["assertion"] in ("affirmed", "uncertain"):
                print(f"    {evidence['sentence']!r} ({evidence['rule_id']})")
    for uid in seen["missed"]:
        print(f"missed {uid}")
    for row, answer in zip(set_items("adversarial"), ours["adversarial"], strict=True):
        for column, (wanted, found) in report_sets.wrong(row, SimpleNamespace(**answer)).items():
            print(f"wrong {row['id']}: {column} is {found}, not {wanted}: {row['text'][:90]!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; with `--write` keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--openi", type=Path, default=openi.ARCHIVE, help="openi_dev.tar.gz")
    parser.add_argument("--held-out", action="store_true", help="the other set too; figures only")
    parser.add_argument("--write", action="store_true", help="results and tables of both READMEs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    interrupt_on_sigterm()
    began = time.monotonic()
    figures, ours = measure(options)
    figures["measured_s"] = round(time.monotonic() - began)
    tell(figures, openi.reports(options.openi), ours)
    command = shlex.join(["python", "-m", "benchmarks.labelling", *_shown(options)])
    whole = not figures["absent"] and "openi" in figures["systems"][VFSCREEN]
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out if options.write else Path(scratch)
        source = machine.keep(out, "reports" if whole else "partial-reports", command, figures)
        print(render(json.loads(source.read_text()), source.name, full=True), end="")
    if options.write and whole:
        write(source)
    elif options.write:
        say(f"Kept as {source.name}; the pages' tables stay: not everything was measured.")
    missed = [target for target in figures["targets"] if not target["kept"]]
    for target in missed:
        print(f"MISSED: {target['target']}: {target['found']}, wanted {target['wanted']}")
    return int(bool(missed))


def _shown(options: argparse.Namespace) -> list[str]:
    return ["--held-out"] * options.held_out + ["--write"] * options.write


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; nothing is kept")
        sys.exit(130)
