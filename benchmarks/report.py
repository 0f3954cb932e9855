"""Tables from a results file, for README.md and benchmarks/README.md.

Both hold them between the markers `benchmarks:begin` and `benchmarks:end`; `--write` puts them
there, `--check` says whether they are in step. Without a file named, it is the newest full grid in
benchmarks/results.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpus import HERE, MIXED, SYNTAXES
from benchmarks.figures import (
    STAGES,
    Figure,
    Floor,
    Row,
    efficiency,
    floor_rate,
    floors,
    rows,
)
from benchmarks.grid import CANARY, HALF, RESULTS, VFSCREEN

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
# (short, full): the project's README shows what matters, the benchmarks' everything.
TARGETS = {HERE.parent / "README.md": False, HERE / "README.md": True}
NAMES = {
    "raw": "raw 16-bit",
    "rle": "RLE",
    "jpeg-8": "JPEG 8-bit",
    "jpeg-12": "JPEG 12-bit",
    "jpeg-lossless": "JPEG lossless",
    "jpeg-ls": "JPEG-LS",
    "j2k-lossless": "JPEG 2000 lossless",
    "j2k-lossy": "JPEG 2000 lossy",
    "htj2k": "HTJ2K",
    "mixed": "mixed, equal parts",
    "mixed-short": "mixed, equal parts",
}
SHOWN = {
    "obvious": "obvious",
    "tuned": "tuned",
    "monai": "MONAI",
    "torchxrayvision": "TorchXRayVision",
    VFSCREEN: "**vfscreen**",
}


def newest(folder: Path = RESULTS) -> Path | None:
    """The newest results of a full grid; None where there are none."""
    full = [
        path
        for path in folder.glob("*-cores.json")
        if json.loads(path.read_text()).get("format") is not None
    ]
    return max(full, default=None, key=lambda path: path.name)


def render(result: dict[str, Any], source: str, *, full: bool) -> str:
    """All tables as Markdown; `source` is the results file's name."""
    cores = result["machine"]["cores"]
    measured = {(row.system, row.archive, row.input_size_px): row for row in rows(result["cells"])}
    floor = {(f.archive, f.input_size_px): f for f in floors(result["floor"])}
    busy = {(f.archive, f.input_size_px): f for f in floors(result["floor"], cores)}
    sizes = result["plan"]["sizes_px"]
    lines = [_heading(result, sizes[0]), ""]
    lines += _rates(result, measured, floor, busy, sizes, cores)
    lines += ["", _explanation(result, full=full)]
    if full:
        lines += ["", "### The floor", "", *_floor_table(floor, busy, cores)]
        lines += ["", "### Start-up, memory, and whether they do the same job", ""]
        lines += _systems_table(measured, sizes[0])
        lines += ["", *_canary(measured, sizes[0])]
    lines += ["", f"From `benchmarks/results/{source}`, made by `{result['command']}`"]
    lines[-1] += f" at commit {result['machine']['commit']}; tables by"
    lines[-1] += " `python -m benchmarks.report --write`."
    return "\n".join(lines) + "\n"


def _heading(result: dict[str, Any], size: int) -> str:
    machine, plan = result["machine"], result["plan"]
    film = result["film_px"]
    repeats = plan["repeats"]
    return (
        f"Films a second, median of {repeats} interleaved repeat{'s' * (repeats > 1)} (lowest to "
        f"highest), {machine['cores']} cores of an {machine['processor']}, no GPU, torch "
        f"{machine['versions']['torch']}, {plan['films']} films a row of about {film['rows']} x "
        f"{film['columns']} px. Input to the network {size} px where no other is named."
    )


def _rates(
    result: dict[str, Any],
    measured: dict[tuple[str, str, int], Row],
    floor: dict[tuple[str, int], Floor],
    busy: dict[tuple[str, int], Floor],
    sizes: Sequence[int],
    cores: int,
) -> list[str]:
    systems = [name for name in SHOWN if any(key[0] == name for key in measured)]
    head = ["archive", *(SHOWN[s] for s in systems), "floor", "against obvious", "against tuned"]
    head += ["efficiency", f"(floor on {cores} busy cores)"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for archive, size in _places(measured, sizes):
        ours = measured.get((VFSCREEN, archive, size))
        cells = [_place(archive, size, sizes[0])]
        cells += [_rate(measured.get((system, archive, size))) for system in systems]
        lowest, loaded = floor.get((archive, size)), busy.get((archive, size))
        cells.append(f"{floor_rate(lowest, cores):.1f}" if lowest else "")
        for other in ("obvious", "tuned"):
            theirs = measured.get((other, archive, size))
            both = ours is not None and theirs is not None
            cells.append(f"{ours.rate.median / theirs.rate.median:.1f}x" if both else "")
        for one in (lowest, loaded):
            both = ours is not None and one is not None
            share = efficiency(one, rate=ours.rate.median, cores=cores) if both else 0.0
            cells.append(f"{share:.0%}" if both else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _places(
    measured: dict[tuple[str, str, int], Row], sizes: Sequence[int]
) -> list[tuple[str, int]]:
    order = [*SYNTAXES, MIXED, "mixed-short"]
    there = {(archive, size) for _, archive, size in measured}
    return sorted(there, key=lambda place: (sizes.index(place[1]), order.index(place[0])))


def _place(archive: str, size: int, first: int) -> str:
    return NAMES[archive] if size == first else f"{NAMES[archive]}, {size} px"


def _rate(row: Row | None) -> str:
    return "" if row is None else _spread(row.rate)


def _spread(figure: Figure) -> str:
    shown = f"{figure.median:.1f}"
    return shown if figure.repeats == 1 else f"{shown} ({figure.low:.1f}-{figure.high:.1f})"


def _explanation(result: dict[str, Any], *, full: bool) -> str:
    half = " and ".join(SHOWN[name] for name in HALF)
    text = (
        "Clock: from the first film asked for until the last probability is written, start-up not "
        "counted; vfscreen is the whole nightly job with writing on, its canary off (these few "
        "films stand for a night of many thousands; its cost is in benchmarks/README.md). Floor: "
        "each stage alone on one core, nothing else running; efficiency: the floor's "
        "core-seconds over the run's."
    )
    if full:
        text += (
            f" {half} read the first half of each archive. Larger inputs read the beginning of "
            "the mixed archive, three films a syntax."
        )
    failed = result["failed"]
    if failed:
        names = sorted({entry["task"]["system"] for entry in failed})
        text += f" **Did not finish: {', '.join(names)}.**"
    return text


def _floor_table(
    floor: dict[tuple[str, int], Floor], busy: dict[tuple[str, int], Floor], cores: int
) -> list[str]:
    lines = [
        "Core-milliseconds a film, each stage alone.",
        "",
        "| archive | input | " + " | ".join(STAGES) + f" | sum | sum with {cores} cores busy |",
        "|---|---:" + "|---:" * (len(STAGES) + 2) + "|",
    ]
    for (archive, size), one in floor.items():
        stages = " | ".join(f"{one.core_s[stage] * 1e3:.1f}" for stage in STAGES)
        loaded = busy.get((archive, size))
        both = f"{loaded.total_s * 1e3:.1f}" if loaded else ""
        lines.append(
            f"| {NAMES[archive]} | {size} px | {stages} | {one.total_s * 1e3:.1f} | {both} |"
        )
    return lines


def _systems_table(measured: dict[tuple[str, str, int], Row], size: int) -> list[str]:
    lines = [
        f"At {size} px; differences are those of the probabilities to the plain reference's.",
        "",
        "| system | start-up, s | peak memory, GB | largest difference | mean difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for system, shown in SHOWN.items():
        mine = [row for (name, _, at), row in measured.items() if name == system and at == size]
        if not mine:
            continue
        startup = sorted(row.startup_s.median for row in mine)[len(mine) // 2]
        peak = max(row.peak_bytes for row in mine) / 1e9
        worst = max(row.max_difference or 0.0 for row in mine)
        mean = sum(row.mean_difference or 0.0 for row in mine) / len(mine)
        lines.append(f"| {shown} | {startup:.1f} | {peak:.1f} | {worst:.4f} | {mean:.4f} |")
    return lines


def _canary(measured: dict[tuple[str, str, int], Row], size: int) -> list[str]:
    with_it = measured.get((CANARY, MIXED, size))
    without = measured.get((VFSCREEN, MIXED, size))
    if with_it is None or without is None:
        return []
    return [
        "With the canary at its default (at least 8 films a run decoded a second time by the "
        f"plain reference) the mixed archive runs at {_spread(with_it.rate)} films/s instead of "
        f"{_spread(without.rate)}."
    ]


def replaced(text: str, tables: str) -> str:
    """A page with its tables replaced.

    Raises
    ------
    ValueError
        The page has no place for them.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no {BEGIN} ... {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{tables}{END}", text)


def out_of_step(source: Path) -> list[Path]:
    """The pages that do not hold the tables of a results file."""
    result = json.loads(source.read_text())
    wrong = []
    for page, full in TARGETS.items():
        text = page.read_text()
        if replaced(text, render(result, source.name, full=full)) != text:
            wrong.append(page)
    return wrong


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tables from a results file.")
    parser.add_argument("file", type=Path, nargs="?", help="default: the newest full grid")
    parser.add_argument("--write", action="store_true", help="into both READMEs")
    parser.add_argument("--check", action="store_true", help="exit with 1 if they are out of step")
    options = parser.parse_args(arguments)
    source = options.file or newest()
    if source is None:
        parser.error("there are no results of a full grid yet")
    result = json.loads(source.read_text())
    if options.check:
        wrong = out_of_step(source)
        for page in wrong:
            print(f"{page.relative_to(HERE.parent)} is out of step with {source.name}")
        sys.exit(1 if wrong else 0)
    if options.write:
        for page, full in TARGETS.items():
            page.write_text(replaced(page.read_text(), render(result, source.name, full=full)))
        return
    print(render(result, source.name, full=True), end="")


if __name__ == "__main__":
    main()
