"""Tables from a results file, for README.md and benchmarks/README.md.

Both hold them between the markers `benchmarks:begin` and `benchmarks:end`, and name the file that
they are from; `--write` puts them there, of the file that is given or of the newest full grid in
benchmarks/results that is finished. `--check` says whether pages and picture are in step with the
file that they name.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from benchmarks.corpus import HERE, MIXED, MIXED_SHORT, SHORT_EACH, SYNTAXES
from benchmarks.figures import (
    STAGES,
    Figure,
    Floor,
    Row,
    efficiency,
    failures,
    floor_rate,
    floors,
    rows,
)
from benchmarks.grid import CANARY, FLOOR, HALF, RESULTS, VFSCREEN, half_of

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
# (short, full): the project's README shows what matters, the benchmarks' everything.
TARGETS = {HERE.parent / "README.md": False, HERE / "README.md": True}
PICTURE = RESULTS / "grid.png"
SOURCE = re.compile(r"From `benchmarks/results/([^`]+)`")
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
    MIXED: "mixed, equal parts",
    MIXED_SHORT: "mixed, equal parts",
}
SHOWN = {
    "obvious": "obvious",
    "tuned": "tuned",
    "monai": "MONAI",
    "torchxrayvision": "TorchXRayVision",
    VFSCREEN: "**vfscreen**",
}


Key = tuple[str, str, int]


def newest(folder: Path = RESULTS) -> Path | None:
    """The newest full grid that is finished; None where there is none."""
    begun = {path: json.loads(path.read_text()) for path in folder.glob("*-cores.json")}
    grids = [path for path, result in begun.items() if "plan" in result]
    return max(grids, default=None, key=lambda path: str(begun[path]["made"]))


def render(result: dict[str, Any], source: str, *, full: bool) -> str:
    """All tables as Markdown; `source` is the results file's name."""
    cores = result["machine"]["cores"]
    measured = {(row.system, row.archive, row.input_size_px): row for row in rows(result["cells"])}
    failed = failures(result["failed"])
    floor = {(f.archive, f.input_size_px): f for f in floors(result["floor"])}
    busy = {(f.archive, f.input_size_px): f for f in floors(result["floor"], cores)}
    first = result["plan"]["sizes_px"][0]
    lines = [_heading(result), ""]
    lines += _rates(result, measured, failed, floor, busy)
    lines += ["", _explanation(result, failed, full=full)]
    if full:
        lines += ["", "### The floor", "", *_floor_table(floor, busy, cores)]
        lines += ["", "### Start-up, memory, and whether they do the same job", ""]
        lines += _systems_table(measured, failed, first)
        lines += _canary(measured, failed, first)
    return "\n".join([*lines, "", _provenance(result, source)]) + "\n"


def _heading(result: dict[str, Any]) -> str:
    machine, plan = result["machine"], result["plan"]
    film, films, repeats = result["film_px"], plan["films"], plan["repeats"]
    mixed = films // len(SYNTAXES) * len(SYNTAXES)
    return (
        f"Films a second, median of {repeats} interleaved repeat{'s' * (repeats > 1)} (lowest to "
        f"highest), {machine['cores']} cores of an {machine['processor']}, no GPU, torch "
        f"{machine['versions']['torch']}, {films} films a row (mixed: {mixed}) of about "
        f"{film['rows']} x {film['columns']} px. Input to the network {plan['sizes_px'][0]} px "
        "where no other is named."
    )


def _provenance(result: dict[str, Any], source: str) -> str:
    begun_at = result["machine"]["commit"]
    cells = [*result["cells"], *result["floor"]]
    commits = dict.fromkeys(cell.get("commit", begun_at) for cell in cells)
    return (
        f"From `benchmarks/results/{source}`, made by `{result['command']}` in "
        f"{result['measured_s'] / 60:.0f} minutes at commit {', '.join(commits)}; tables by "
        "`python -m benchmarks.report --write`."
    )


def _rates(
    result: dict[str, Any],
    measured: dict[Key, Row],
    failed: Counter[Key],
    floor: dict[tuple[str, int], Floor],
    busy: dict[tuple[str, int], Floor],
) -> list[str]:
    cores, first = result["machine"]["cores"], result["plan"]["sizes_px"][0]
    systems = [name for name in SHOWN if any(key[0] == name for key in (*measured, *failed))]
    head = ["archive", *(SHOWN[s] for s in systems), "floor", "against obvious", "against tuned"]
    head += ["efficiency", f"(floor on {cores} busy cores)"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for archive, size in places(result):
        ours = measured.get((VFSCREEN, archive, size))
        cells = [NAMES[archive] if size == first else f"{NAMES[archive]}, {size} px"]
        for key in ((system, archive, size) for system in systems):
            cells.append(_rate(measured.get(key), failed[key]))
        lowest, loaded = floor.get((archive, size)), busy.get((archive, size))
        if lowest:
            cells.append(number(floor_rate(lowest, cores)))
        else:
            cells.append(_rate(None, failed[FLOOR, archive, size]))
        for other in ("obvious", "tuned"):
            theirs = measured.get((other, archive, size))
            cells.append(f"{ours.rate.median / theirs.rate.median:.1f}x" if ours and theirs else "")
        for one in (lowest, loaded):
            if ours and one:
                cells.append(f"{efficiency(one, rate=ours.rate.median, cores=cores):.0%}")
            else:
                cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def places(result: dict[str, Any]) -> list[tuple[str, int]]:
    """What has been measured or has failed: archive and input size, in the order of the tables."""
    order, sizes = list(NAMES), result["plan"]["sizes_px"]
    there = {(cell["archive"], cell["input_size_px"]) for cell in result["cells"]}
    there |= {(archive, size) for _, archive, size in failures(result["failed"])}
    return sorted(there, key=lambda place: (sizes.index(place[1]), order.index(place[0])))


def _rate(row: Row | None, failed: int) -> str:
    if row is None:
        return "failed" if failed else ""
    return _spread(row.rate) + (f", {failed} failed" if failed else "")


def _spread(figure: Figure) -> str:
    if figure.repeats == 1:
        return number(figure.median)
    low, high = (number(rate, like=figure.median) for rate in (figure.low, figure.high))
    return f"{number(figure.median)} ({low}-{high})"


def number(rate: float, like: float | None = None) -> str:
    """Films/s with one decimal, with two where they (or what they stand beside) are under 2."""
    return f"{rate:.1f}" if (like or rate) >= 2 else f"{rate:.2f}"


def _explanation(result: dict[str, Any], failed: Counter[Key], *, full: bool) -> str:
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
            f" {half} read the first {half_of(result['plan']['films'])} films of each archive. "
            f"Larger inputs read the beginning of the mixed archive, {SHORT_EACH} films a syntax."
        )
    if failed:
        names = sorted({SHOWN.get(system, system).strip("*") for system, _, _ in failed})
        text += f" **Failed: {', '.join(names)}.**"
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


def _systems_table(measured: dict[Key, Row], failed: Counter[Key], size: int) -> list[str]:
    lines = [
        f"At {size} px; differences are those of the probabilities to the plain reference's.",
        "",
        "| system | start-up, s | peak memory, GB | largest difference | mean difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for system, shown in SHOWN.items():
        mine = [row for (name, _, at), row in measured.items() if name == system and at == size]
        if not mine:
            if any(key[0] == system and key[2] == size for key in failed):
                lines.append(f"| {shown} | failed | | | |")
            continue
        startup = median(row.startup_s.median for row in mine)
        peak = max(row.peak_bytes for row in mine) / 1e9
        worst = max(row.max_difference for row in mine)
        mean = sum(row.mean_difference for row in mine) / len(mine)
        lines.append(f"| {shown} | {startup:.1f} | {peak:.1f} | {worst:.4f} | {mean:.4f} |")
    return lines


def _canary(measured: dict[Key, Row], failed: Counter[Key], size: int) -> list[str]:
    with_it = measured.get((CANARY, MIXED, size))
    without = measured.get((VFSCREEN, MIXED, size))
    times_failed = failed[CANARY, MIXED, size]
    if (with_it is None and not times_failed) or without is None:
        return []
    return [
        "",
        "With the canary at its default (at least 8 films a run decoded a second time by the "
        "plain reference), films a second on the mixed archive: "
        f"{_rate(with_it, times_failed)} instead of {_spread(without.rate)}.",
    ]


def replaced(text: str, tables: str, begin: str = BEGIN, end: str = END) -> str:
    """A page with the tables between its markers replaced.

    Raises
    ------
    ValueError
        The page has no place for them.
    """
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{tables}{end}", text)


def out_of_step() -> list[str]:
    """What on the pages does not agree with the results that they say they are from."""
    wrong = []
    for page, full in TARGETS.items():
        text, name = page.read_text(), page.relative_to(HERE.parent)
        named = SOURCE.search(text)
        source = RESULTS / named[1] if named else None
        if source is None or not source.is_file():
            wrong.append(f"{name} names no results file that is there")
            continue
        if replaced(text, render(json.loads(source.read_text()), source.name, full=full)) != text:
            wrong.append(f"{name} is out of step with {source.name}")
        if (drawn := drawn_from(PICTURE)) != source.name:
            wrong.append(f"{PICTURE.name} shows {drawn}, {name} {source.name}")
    return wrong


def drawn_from(picture: Path) -> str | None:
    """The results file that a plot says it was drawn from."""
    with Image.open(picture) as image:
        return image.info.get("Description")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tables from a results file.")
    parser.add_argument("file", type=Path, nargs="?", help="default: the newest finished full grid")
    parser.add_argument("--write", action="store_true", help="into both READMEs")
    parser.add_argument("--check", action="store_true", help="exit with 1 if they are out of step")
    options = parser.parse_args(arguments)
    if options.check:
        wrong = out_of_step()
        print("\n".join(wrong), end="\n" if wrong else "")
        sys.exit(1 if wrong else 0)
    source = options.file or newest()
    if source is None:
        parser.error("there are no results of a finished full grid yet")
    result = json.loads(source.read_text())
    if not options.write:
        print(render(result, source.name, full=True), end="")
        return
    for page, full in TARGETS.items():
        page.write_text(replaced(page.read_text(), render(result, source.name, full=full)))


if __name__ == "__main__":
    main()
