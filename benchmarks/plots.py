"""A plot of a results file: bars by transfer syntax and system, the floor drawn in."""

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.figures import failures, floor_rate, floors, rows
from benchmarks.grid import VFSCREEN
from benchmarks.report import NAMES, PICTURE, SHOWN, newest, number, places

# Told apart in grey and by the colour-blind as well (Okabe and Ito).
COLOURS = {
    "obvious": "#999999",
    "monai": "#CC79A7",
    "torchxrayvision": "#E69F00",
    "tuned": "#56B4E9",
    VFSCREEN: "#0072B2",
}
WIDTH = 0.16


def draw(result: dict[str, Any], source: str, out: Path) -> None:
    """Draw one grid: the transfer syntaxes on the left, larger inputs on the right.

    The picture keeps in its metadata that it is from the results file `source`.
    """
    sizes = result["plan"]["sizes_px"]
    measured = {(row.system, row.archive, row.input_size_px): row for row in rows(result["cells"])}
    cores = result["machine"]["cores"]
    floor = {(f.archive, f.input_size_px): floor_rate(f, cores) for f in floors(result["floor"])}
    failed = failures(result["failed"])
    here = places(result)
    groups = [[p for p in here if p[1] == sizes[0]], [p for p in here if p[1] != sizes[0]]]
    groups = [group for group in groups if group]
    figure, axes = plt.subplots(
        1, len(groups), figsize=(14, 6.2), squeeze=False,
        width_ratios=[max(len(group), 2.2) + 0.6 for group in groups],
    )  # fmt: skip
    titles = (f"input to the network {sizes[0]} px", "mixed archive, larger inputs")
    for axis, group, title in zip(axes[0], groups, titles[: len(groups)], strict=True):
        _bars(axis, group, measured, failed, floor, sizes[0])
        axis.set_ylabel("films a second")
        axis.set_title(title, fontsize=11)
    machine = result["machine"]
    repeats = result["plan"]["repeats"]
    figure.suptitle(
        f"From DICOM archive to probabilities: {machine['cores']} cores of an "
        f"{machine['processor']}, torch {machine['versions']['torch']}, {result['made'][:10]}\n"
        f"bars: median of {repeats}, whiskers: lowest to highest, line: the floor (every stage "
        "alone, all cores)",
        fontsize=11,
    )
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(out, dpi=130, metadata={"Description": source})
    plt.close(figure)


def _bars(
    axis: Any,
    group: list[tuple[str, int]],
    measured: dict[Any, Any],
    failed: Counter[Any],
    floor: dict[tuple[str, int], float],
    first_size: int,
) -> None:
    systems = [name for name in COLOURS if any(key[0] == name for key in (*measured, *failed))]
    top = 0.0
    for place, system in enumerate(systems):
        at = [x + (place - (len(systems) - 1) / 2) * WIDTH for x in range(len(group))]
        found = [measured.get((system, *where)) for where in group]
        heights = [row.rate.median if row else 0.0 for row in found]
        below = [row.rate.median - row.rate.low if row else 0.0 for row in found]
        above = [row.rate.high - row.rate.median if row else 0.0 for row in found]
        spread = (below, above) if any(below) or any(above) else None
        axis.bar(
            at, heights, WIDTH * 0.94, yerr=spread, color=COLOURS[system],
            label=SHOWN[system].strip("*"), error_kw={"elinewidth": 1, "capsize": 2},
        )  # fmt: skip
        top = max([top, *(row.rate.high for row in found if row)])
        for x, row, where in zip(at, found, group, strict=True):
            if row is None and failed[system, *where]:
                axis.annotate(
                    "failed", (x, 0), xytext=(0, 3), fontsize=8, rotation=90,
                    textcoords="offset points", ha="center",
                )  # fmt: skip
            if row and system == VFSCREEN:
                # In the bar's foot: nothing else is drawn there.
                axis.annotate(
                    number(row.rate.median), (x, 0), xytext=(0, 4), fontsize=8, rotation=90,
                    textcoords="offset points", ha="center", color="white",
                )  # fmt: skip
    half = WIDTH * len(systems) / 2 + 0.03
    for x, where in enumerate(group):
        if where in floor:
            axis.hlines(
                floor[where], x - half, x + half, colors="black", linewidth=1.6,
                label="floor" if x == 0 else None,
            )  # fmt: skip
            top = max(top, floor[where])
    axis.set_ylim(0, top * 1.1)
    axis.set_xlim(-0.55, len(group) - 0.45)
    labels = [_label(archive, size, first_size) for archive, size in group]
    axis.set_xticks(range(len(group)), labels, fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _label(archive: str, size: int, first_size: int) -> str:
    if size != first_size:
        return f"{size} px"
    return textwrap.fill(NAMES[archive], width=9)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Plot a results file.")
    parser.add_argument("file", type=Path, nargs="?", help="default: the newest finished full grid")
    parser.add_argument("--out", type=Path, help="PNG or SVG; default: the README's picture")
    options = parser.parse_args(arguments)
    source = options.file or newest()
    if source is None:
        parser.error("there are no results of a full grid yet")
    out = options.out or PICTURE
    draw(json.loads(source.read_text()), source.name, out)
    print(out)


if __name__ == "__main__":
    main()
