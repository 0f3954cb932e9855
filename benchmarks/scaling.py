"""How the cost grows: whole nights on 1,000, 10,000 and 100,000 films, time and memory each.

The films are small (96 x 96 pixels, raw) and the network's input is 32 pixels, so that what grows
with the archive shows: scan, plan, queue, ledger, writing, flagging. Each film is a study of a
patient of its own. Stopped by Ctrl-C, what is measured is kept.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import machine
from benchmarks.corpus import CACHE
from benchmarks.grid import RESULTS, resized_demo
from benchmarks.process import interrupt_on_sigterm, run, say

SIZES = (1_000, 10_000, 100_000)
SIDE_PX, INPUT_SIZE_PX = 96, 32
FILMS_A_FOLDER = 1_000
SEED = 5
# Written into the template with as many characters as what replaces them.
MARKS = {"sop": "2.25.900000001", "study": "2.25.900000002", "patient": "BENCH900000003"}
SETTINGS = (
    f"[eligibility]\nmin_short_side_px = {SIDE_PX}\n"
    # Heatmaps do not grow with the archive, but with the list.
    "[list]\ncapacity = 1\n"
)


def make_archive(folder: Path, films: int) -> None:
    """Write `films` small films; what is there from an earlier call is kept."""
    template = _template()
    noise = np.random.default_rng(SEED).integers(0, 4096, 2 * SIDE_PX**2, np.uint16)
    pixels_at = len(template) - 2 * SIDE_PX**2
    for number in tqdm(range(films), desc="small films", unit=" films", disable=None):
        path = folder / f"{number // FILMS_A_FOLDER:05d}" / f"{number:07d}.dcm"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        header = template[:pixels_at]
        for place, (name, mark) in enumerate(MARKS.items()):
            start = "BENCH" if name == "patient" else "2.25."
            header = header.replace(
                mark.encode(), f"{start}{(place + 1) * 100_000_000 + number:09d}".encode()
            )
        when = date(2025, 6, 30) - timedelta(days=number % 3650)
        header = header.replace(b"19990909", when.strftime("%Y%m%d").encode())
        first = number * 7 % SIDE_PX**2
        data = header + noise[first : first + SIDE_PX**2].tobytes()
        aside = path.with_suffix(".part")
        aside.write_bytes(data)
        aside.replace(path)


def _template() -> bytes:
    """An eligible film whose last bytes are its pixels."""
    from datetime import datetime

    from pydicom import uid
    from pydicom.dataset import Dataset

    from vfscreen.phantom.headers import to_bytes

    when = datetime(1999, 9, 9)
    film = Dataset()
    film.ImageType = ["ORIGINAL", "PRIMARY"]
    film.SOPClassUID = uid.ComputedRadiographyImageStorage
    film.SOPInstanceUID = MARKS["sop"]
    film.StudyInstanceUID = MARKS["study"]
    film.SeriesInstanceUID = MARKS["study"]
    film.StudyDate = when.strftime("%Y%m%d")
    film.StudyTime = "120000"
    film.AccessionNumber = MARKS["patient"]
    film.Modality = "CR"
    film.PatientID = film.PatientName = MARKS["patient"]
    film.PatientAge = "070Y"
    film.PatientSex = "F"
    film.BodyPartExamined = "ABDOMEN"
    film.ViewPosition = "AP"
    film.SamplesPerPixel = 1
    film.PhotometricInterpretation = "MONOCHROME2"
    film.Rows = film.Columns = SIDE_PX
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
    film.PixelRepresentation = 0
    film.WindowCenter, film.WindowWidth = "2048", "4096"
    film.add_new("PixelData", "OW", bytes(2 * SIDE_PX**2))
    return to_bytes(film, uid.ExplicitVRLittleEndian)


def measure(archive: Path, work: Path, checkpoint: str, films: int) -> dict[str, Any]:
    """A first night on an archive, then a second on which nothing is new."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "vfscreen.toml").write_text(SETTINGS)
    nights = []
    for night in ("first", "second, nothing new"):
        known = set(work.glob("results/runs/*.json"))
        finished = run(
            [
                sys.executable, "-m", "vfscreen.cli.main", "screen", str(archive),
                "--checkpoint", checkpoint, "--results", "results",
            ],
            cwd=work, environment={"XDG_CONFIG_HOME": str(work / "config")},
        )  # fmt: skip
        (file,) = set(work.glob("results/runs/*.json")) - known
        ledger = json.loads(file.read_text())
        nights.append(
            {
                "films": films,
                "night": night,
                "screened": ledger["screened"],
                "wall_s": finished.wall_s,
                "peak_parent_bytes": finished.peak_parent_bytes,
                "peak_children_bytes": finished.peak_children_bytes,
                "peak_tree_bytes": finished.peak_tree_bytes,
                "stage_s": {name: stage["seconds"] for name, stage in ledger["stages"].items()},
            }
        )
        say(f"{films:,} films, {night}: {sentence(nights[-1])}")
    shutil.rmtree(work)
    return {"films": films, "nights": nights}


def sentence(night: dict[str, Any]) -> str:
    """One night in words."""
    return (
        f"{night['wall_s']:.0f} s, {night['films'] / night['wall_s']:,.0f} films/s, "
        f"{night['peak_parent_bytes'] / 1e9:.2f} GB in the job, "
        f"{night['peak_children_bytes'] / 1e9:.2f} GB in its workers"
    )


def growth(result: dict[str, Any]) -> str:
    """The smallest archive against the largest, in one sentence."""
    firsts = [size["nights"][0] for size in result["sizes"]]
    if len(firsts) < 2:
        return f"{firsts[0]['films']:,} films: {sentence(firsts[0])}."
    small, large = firsts[0], firsts[-1]
    times = large["films"] / small["films"]
    return (
        f"{times:,.0f} times the films take {large['wall_s'] / small['wall_s']:.1f} times the time "
        f"(start-up included) and {large['peak_parent_bytes'] / small['peak_parent_bytes']:.2f} "
        "times the job's memory."
    )


def draw(result: dict[str, Any], out: Path) -> None:
    """Time and memory by number of films."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (times, memory) = plt.subplots(1, 2, figsize=(11, 4.4))
    films = [size["films"] for size in result["sizes"]]
    for number, (name, colour) in enumerate(
        (("first night", "#0072B2"), ("second night, nothing new", "#E69F00"))
    ):
        nights = [size["nights"][number] for size in result["sizes"]]
        times.plot(films, [night["wall_s"] for night in nights], "o-", color=colour, label=name)
        for night in nights:
            times.annotate(
                f"{night['wall_s']:.0f} s", (night["films"], night["wall_s"]), xytext=(6, -10),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
    times.set(
        xscale="log", yscale="log", xlabel="films in the archive", ylabel="seconds, whole run"
    )
    for key, name, colour in (
        ("peak_parent_bytes", "the job", "#0072B2"),
        ("peak_children_bytes", "its decode workers", "#E69F00"),
    ):
        peaks = [size["nights"][0][key] / 1e9 for size in result["sizes"]]
        memory.plot(films, peaks, "o-", color=colour, label=name)
    memory.set(xscale="log", xlabel="films in the archive", ylabel="peak resident memory, GB")
    memory.set_ylim(bottom=0)
    for axis in (times, memory):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    where = result["machine"]
    figure.suptitle(
        f"Small films, {where['cores']} cores of an {where['processor']}, {result['made'][:10]}",
        fontsize=11,
    )
    figure.tight_layout()
    figure.savefig(out, dpi=130)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how the cost grows.")
    parser.add_argument("--up-to", default="100k", help="1k, 10k or 100k")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    most = int(options.up_to.lower().replace("k", "000"))
    sizes = [size for size in SIZES if size <= most] or [most]
    options.results.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    checkpoint = resized_demo(options.cache / f"demo-{INPUT_SIZE_PX}-px.safetensors", INPUT_SIZE_PX)
    here, made = machine.describe(), time.strftime("%Y-%m-%dT%H:%M:%S")
    out = options.results / f"scaling-{machine.stem(here, made)}.json"
    interrupt_on_sigterm()
    result: dict[str, Any] = {
        "made": made,
        "command": f"python -m benchmarks.scaling --up-to {options.up_to}",
        "machine": here,
        "film_px": SIDE_PX,
        "input_size_px": INPUT_SIZE_PX,
        "sizes": [],
    }
    try:
        for films in sizes:
            archive = options.cache / "small" / f"{films}"
            make_archive(archive, films)
            result["sizes"].append(
                measure(archive, options.cache / "small" / "work", checkpoint, films)
            )
            result["growth"] = growth(result)
            out.write_text(json.dumps(result, indent=1) + "\n")
            draw(result, out.with_suffix(".png"))
    except KeyboardInterrupt:
        say(f"stopped; what is measured is in {out}")
        raise SystemExit(130) from None
    say(result["growth"])
    say(f"written: {out}")


if __name__ == "__main__":
    main()
