"""The films that every system reads: the same pictures in every transfer syntax.

::

    .cache/64-films-v1/raw/000.dcm ...        one archive a transfer syntax
    .cache/64-films-v1/mixed/000.dcm ...      equal parts of all, in turn (and mixed-short)
    .cache/64-films-v1/corpus.json            what they are; written last

The films are made by the phantom's own renderer and encoders, a seed says which, and they are made
once. Every archive also is an ordinary archive for the nightly job: eligible headers, unique UIDs.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import uid
from tqdm import tqdm

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
FILMS, QUICK_FILMS = 64, 18
SEED = 3_000_000_000_000  # of the anatomy; far from training, validation and archives
VERSION = 1  # of what is made; another one is made anew

SYNTAXES = {
    "raw": uid.ExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg-8": uid.JPEGBaseline8Bit,
    "jpeg-12": uid.JPEGExtended12Bit,
    "jpeg-lossless": uid.JPEGLosslessSV1,
    "jpeg-ls": uid.JPEGLSLossless,
    "j2k-lossless": uid.JPEG2000Lossless,
    "j2k-lossy": uid.JPEG2000,
    "htj2k": uid.HTJ2KLossless,
}
MIXED = "mixed"
# The beginning of the mixed archive, three films a syntax, for large inputs to the network.
MIXED_SHORT, SHORT_EACH = "mixed-short", 3
LOSSY = ("jpeg-8", "jpeg-12", "j2k-lossy")
# A film's short side varies with the patient; its area is that of 2400 x 2400 pixels.
SIDE_PX = 2400
NEWEST = datetime(2025, 6, 30, 18, 0)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A finished corpus.

    `archives` maps an archive's name to its films in the order in which they are read: path below
    the folder, SOPInstanceUID, transfer syntax (by our name) and number of the picture.
    """

    folder: Path
    archives: dict[str, list[dict[str, Any]]]

    @classmethod
    def at(cls, folder: str | Path) -> "Corpus":
        """Open what `make` has finished."""
        folder = Path(folder)
        return cls(folder, json.loads((folder / "corpus.json").read_text()))

    def paths(self, archive: str) -> list[Path]:
        """The files of one archive, in order."""
        return [self.folder / film["path"] for film in self.archives[archive]]


def corpus(
    films: int = FILMS, cache: Path = CACHE, *, side_px: int = SIDE_PX, workers: int = 2
) -> Corpus:
    """Open the corpus of `films` films a transfer syntax; make it where it is missing."""
    name = f"{films}-films-v{VERSION}"
    folder = cache / (name if side_px == SIDE_PX else f"{name}-{side_px}px")
    if not (folder / "corpus.json").exists():
        make(folder, films, side_px=side_px, workers=workers)
    return Corpus.at(folder)


def options_of(description: str) -> argparse.ArgumentParser:
    """The command line of every script that the grid starts on some archives."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--corpus", type=Corpus.at, required=True, help="folder with corpus.json")
    parser.add_argument(
        "--archives", type=lambda names: names.split(","), required=True,
        help="names, separated by commas",
    )  # fmt: skip
    parser.add_argument("--checkpoint", required=True)
    return parser


def make(folder: Path, films: int, *, side_px: int, workers: int) -> None:
    """Render and encode; half a corpus is thrown away and made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in (*SYNTAXES, MIXED, MIXED_SHORT):
        (folder / name).mkdir(parents=True)
    write = partial(_write_picture, folder, side_px=side_px)
    with (
        # Forked, a renderer would inherit the threads of whoever calls.
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool,
        tqdm(total=films, desc="making films", unit=" pictures", disable=None) as bar,
    ):
        written: list[list[dict[str, Any]]] = []
        for rows in pool.map(write, range(films)):
            written.append(rows)
            bar.update()
    archives = {
        name: [row for rows in written for row in rows if row["syntax"] == name]
        for name in SYNTAXES
    }
    each = films // len(SYNTAXES)
    archives |= {
        MIXED: _mix(folder, MIXED, archives, each),
        MIXED_SHORT: _mix(folder, MIXED_SHORT, archives, min(SHORT_EACH, each)),
    }
    (folder / "corpus.json").write_text(json.dumps(archives, indent=1))


def _mix(
    folder: Path, into: str, archives: dict[str, list[dict[str, Any]]], each: int
) -> list[dict[str, Any]]:
    """Equal parts of all syntaxes, in turn: any stretch of the archive costs about the same."""
    mixed: list[dict[str, Any]] = []
    for picture in range(each * len(SYNTAXES)):
        name = list(SYNTAXES)[picture % len(SYNTAXES)]
        film = archives[name][picture]
        path = f"{into}/{picture:03d}.dcm"
        os.link(folder / film["path"], folder / path)
        mixed.append(film | {"path": path})
    return mixed


def _write_picture(folder: Path, picture: int, *, side_px: int) -> list[dict[str, Any]]:
    """Render one picture and write it in every transfer syntax."""
    from vfscreen.phantom.anatomy import sample_patient
    from vfscreen.phantom.films import render_film

    patient = sample_patient(SEED + picture)
    field = patient.fields[0]
    aspect = max(field.width_mm, field.height_mm) / min(field.width_mm, field.height_mm)
    film = render_film(patient, long_side_px=round(side_px * aspect**0.5))
    rows = []
    for name in SYNTAXES:
        path = f"{name}/{picture:03d}.dcm"
        sop_instance_uid, data = _encode(name, picture, patient, film)
        (folder / path).write_bytes(data)
        rows.append(
            {
                "path": path,
                "sop_instance_uid": sop_instance_uid,
                "syntax": name,
                "picture": picture,
                "rows": film.pixels.shape[0],
                "columns": film.pixels.shape[1],
                "bytes": len(data),
            }
        )
    return rows


def _encode(name: str, picture: int, patient: Any, film: Any) -> tuple[str, bytes]:
    """One picture in one transfer syntax, with the header of an eligible film."""
    from vfscreen.phantom.dicom_habits import draw_habit
    from vfscreen.phantom.headers import (
        Exposure,
        Identity,
        add_pixels,
        build_header,
        to_bytes,
        uid_of,
    )
    from vfscreen.phantom.stored_values import Modality, ValueHabit, Voi, to_stored

    syntax = SYNTAXES[name]
    values = ValueHabit(
        bits_stored=8 if name == "jpeg-8" else 12,
        monochrome1=picture % 2 == 1,
        lut_shape=None,
        modality=Modality.IDENTITY,
        voi=Voi.LINEAR,
        low=0.08,
        high=0.85,
        steepness=1.0,
    )
    habit = replace(
        draw_habit(SEED, picture),
        transfer_syntax=syntax,
        values=values,
        fragments=1,
        derived=False,
        body_part="ABDOMEN",
        view_position="AP",
        has_age=True,
    )
    # The nightly job reads newest studies first: so the order is the same for all systems.
    when = NEWEST - timedelta(days=picture)
    age = max(50, int(patient.age_years))
    study = uid_of("benchmark", VERSION, name, picture)
    identity = Identity(
        patient_id=f"BENCH{picture:06d}",
        patient_name=f"PHANTOM^{picture:04d}",
        sex=patient.sex,
        age_years=age,
        birth_date=when - timedelta(days=age * 366),
        accession_number=f"{picture:09d}",
        issuer=habit.site.issuer,
        study_instance_uid=study,
        study_datetime=when,
    )
    exposure = Exposure(
        sop_instance_uid=uid_of(study, "film"),
        series_number=1,
        instance_number=1,
        pixel_spacing_mm=film.pixel_spacing_mm,
    )
    frame = to_stored(film.pixels, values, big_endian=False)
    dataset = build_header(identity, habit, exposure)
    add_pixels(dataset, frame, habit)
    return str(exposure.sop_instance_uid), to_bytes(dataset, syntax)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the films that the benchmarks read.")
    parser.add_argument("--films", type=int, default=FILMS, help="films a transfer syntax")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    made = corpus(options.films, options.cache)
    for name, films in made.archives.items():
        size = sum(film["bytes"] for film in films) / len(films) / 1e6
        print(f"{name:14} {len(films):4} films, {size:5.2f} MB each", file=sys.stderr)


if __name__ == "__main__":
    main()
