"""The training study's tables, for benchmarks/README.md.

The page holds them between the markers `training:begin` and `training:end` and names the results
file that they are from; `--write` puts them there from the newest one.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import replaced
from benchmarks.training_rows import SHIFTS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- training:begin -->", "<!-- training:end -->"
PAGE = HERE / "README.md"
# What `vfscreen train` says where it writes no checkpoint.
CHANCE = re.compile(r"no better than chance \((AUC [^()]*\([^()]*\))\)")
GRADES = ("grade 1", "grade 2", "grade 3")

Figures = dict[str, Any]


def newest(folder: Path = RESULTS) -> Path | None:
    """The newest results; None where there are none."""
    return max(
        folder.glob("training-study-*.json"),
        default=None,
        key=lambda path: str(json.loads(path.read_text())["made"]),
    )


def render(result: Figures, source: str) -> str:
    """Both tables as Markdown; `source` is the results file's name."""
    study, machine = result["study"], result["machine"]
    lines = [
        f"Phantom films (`--films {study['films']}`, {study['long_side_px']} px): "
        f"{study['training']:,} studies to train on, {study['test']:,} of another seed to judge "
        f"by. {study['budget_min']:g} minutes of learning a network on {machine['cores']} cores "
        f"({machine['processor']}), one training a row: differences smaller than the intervals "
        "mean nothing, and how much another seed of the training would change is not known.",
        "",
        *_rows(result),
    ]
    if result["shifts"]:
        lines += ["", *_shifts(result)]
    failed = [
        row["shown"] for row in result["rows"].values() if "error" in row and _why(row) == "failed"
    ]
    failed += [SHIFTS[name] for name, both in result["shifts"].items() if "error" in both]
    if failed:
        lines += ["", f"**Failed: {'; '.join(failed)}.**"]
    lines += [
        "",
        f"From `benchmarks/results/{source}`, made by `{result['command']}` at commit "
        f"{machine['commit']}; 95 % intervals are those of `vfscreen evaluate`.",
    ]
    return "\n".join(lines) + "\n"


def _rows(result: Figures) -> list[str]:
    head = [
        "network", "AUC", *GRADES, "sensitivity", "specificity", "epochs", "films/s",
        "of the speed on random tensors",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in result["rows"].values():
        if "error" in row:
            lines.append(f"| {row['shown']} | {_why(row)} |" + " |" * (len(head) - 2))
            continue
        rate, reference = row["films_per_s"], row["random_films_per_s"]
        cells = [
            row["shown"],
            _interval(row["auc"]),
            *(_area(row["grades"].get(grade)) for grade in GRADES),
            _share(row["sensitivity"]),
            _share(row["specificity"]),
            str(row["settings"]["epochs"]),
            "" if rate is None else f"{rate:.1f}",
            "" if rate is None else f"{rate / reference:.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _why(row: Figures) -> str:
    """Why a row has no figures: a training that has learnt nothing is an answer, too."""
    found = CHANCE.search(row["error"])
    return f"no better than chance; in validation {found[1]}" if found else "failed"


def _shifts(result: Figures) -> list[str]:
    study = result["study"]
    unshifted = result["rows"][study["shift_row"]]
    lines = [
        f"The same films in another display, before and after `vfscreen calibrate` on "
        f"{study['calibration']:,} such studies of a third seed; the network is that of "
        f'"{unshifted["shown"]}".',
        "",
        "| display | AUC | sensitivity | specificity | Brier | calibration slope |",
        "|---|---:|---:|---:|---:|---:|",
        _shift("as trained on", unshifted),
    ]
    for name, both in result["shifts"].items():
        if "error" in both:
            lines.append(f"| {SHIFTS[name]} | failed |" + " |" * 4)
            continue
        lines.append(_shift(SHIFTS[name], both["before"]))
        lines.append(_shift(f"{SHIFTS[name]}, recalibrated", both["after"]))
    return lines


def _shift(shown: str, row: Figures) -> str:
    slope = row["calibration_slope"]
    cells = [
        shown,
        _interval(row["auc"]),
        _share(row["sensitivity"]),
        _share(row["specificity"]),
        "" if row["brier"] is None else f"{row['brier']['value']:.3f}",
        "" if slope is None else f"{slope['value']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _interval(of: Figures | None) -> str:
    return "" if of is None else f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"


def _area(of: Figures | None) -> str:
    return "" if of is None else f"{of['auc']:.3f}"


def _share(of: Figures) -> str:
    if of["value"] is None:
        return ""
    return f"{of['value']:.0%} ({of['low']:.0%} to {of['high']:.0%})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the newest study's tables, or put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md")
    options = parser.parse_args(arguments)
    source = newest()
    if source is None:
        parser.error("there is no finished study yet")
    tables = render(json.loads(source.read_text()), source.name)
    if options.write:
        PAGE.write_text(replaced(PAGE.read_text(), tables, BEGIN, END))
    else:
        print(tables, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
