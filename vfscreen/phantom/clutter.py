"""What else lies in archives: films of other things, damaged films, and what is no film at all.

A fixed number of each, whatever the size of the archive. None of it is in the truth.

================== ====== =====================================================================
kind               pieces what a reader should make of it
================== ====== =====================================================================
chest                   3 excluded: body part; one says so in its description only
lateral                 2 excluded: view; one says so in its description only
decubitus               2 excluded: view
young                   3 excluded: under age; one by its birth date, one in months
unknown_region          1 excluded: body part unknown, no description tells
small                   1 excluded: too small
secondary_capture       1 excluded: secondary
ct                      4 excluded: modality
structured_report       1 excluded: not an image
encapsulated_pdf        1 excluded: not an image
dicomdir                1 excluded: not an image
text                    1 not DICOM
empty                   1 not DICOM
truncated               2 eligible by its header, fails: cut off, one native, one encapsulated
corrupt_codestream      2 eligible by its header, fails: JPEG 2000 and JPEG lossless
dimensions_disagree     1 eligible by its header, fails
constant                1 eligible by its header, fails
bomb                    1 eligible by its header, fails: claims 60000 x 60000
link_loop               1 a symbolic link to the archive's root, from two folders down
forbidden_folder        1 mode 000, a text file inside
================== ====== =====================================================================
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from vfscreen.phantom.anatomy import Variant, sample_patient
from vfscreen.phantom.dicom_habits import MANUFACTURERS, SITES, Preamble, StudyHabit, Tree
from vfscreen.phantom.encode import encode_codestream
from vfscreen.phantom.films import render_film
from vfscreen.phantom.headers import (
    Exposure,
    Identity,
    add_pixels,
    build_header,
    to_bytes,
    uid_of,
)
from vfscreen.phantom.others import ct_slice, dicomdir, encapsulated_pdf, structured_report
from vfscreen.phantom.stored_values import Modality, ValueHabit, Voi, to_stored
from vfscreen.phantom.streams import stream

# Small, since none is ever looked at, but above the smallest short side that is screened.
LONG_SIDE_PX = 900
SMALL_PX = 160
BOMB_PX = 60_000
# Anatomy seeds of clutter, far from every study's.
PATIENT_SEEDS = 9 * 10**12
CT_SLICES = 4
# Shut by the caller once all times are set: its owner may not look into it either.
FORBIDDEN = "misc/forbidden"

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClutterSummary:
    """What was written: pieces by kind, and the files among them."""

    pieces: dict[str, int]
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Film:
    """A film that is not to be screened, or cannot be; None leaves an element out."""

    kind: str
    study: str = "XR ABDOMEN"
    series: str = "ABDOMEN AP"
    body_part: str | None = "ABDOMEN"
    view: str | None = "AP"
    age: str | None = "068Y"
    age_years: int = 68
    syntax: UID = uid.JPEGLosslessSV1
    turn: int = 0  # quarter turns of the rendered film
    crop_px: int | None = None
    image_type: tuple[str, ...] = field(default=("ORIGINAL", "PRIMARY"))


FILMS = (
    _Film("chest", "XR CHEST PA", "CHEST PA", "CHEST", "PA", turn=2),
    _Film("chest", "Thorax", "Thorax p.a.", "THORAX", "PA", turn=2, syntax=uid.JPEG2000Lossless),
    _Film("chest", "XR CHEST PA AND LATERAL", "CHEST PA", None, None, turn=2),
    _Film("lateral", "XR LUMBAR SPINE", "ABDOMEN LATERAL", "ABDOMEN", "LL", turn=1),
    _Film("lateral", "Abdomen", "ABDOMEN LATERAL", "ABDOMEN", None, turn=1),
    _Film("decubitus", "XR ABDOMEN", "ABDOMEN LEFT LATERAL DECUBITUS", "ABDOMEN", "LLD", turn=1),
    _Film("decubitus", "XR ABDOMEN", "Abdomen DECUBITUS", "ABDOMEN", None, turn=3),
    _Film("young", age="045Y", age_years=45),
    _Film("young", age=None, age_years=38),
    _Film("young", age="004M", age_years=0, syntax=uid.RLELossless),
    _Film("unknown_region", "XR PORTABLE", "AP", None, "AP"),
    _Film("small", crop_px=SMALL_PX),
    _Film(
        "secondary_capture", syntax=uid.JPEGBaseline8Bit,
        image_type=("DERIVED", "SECONDARY"),
    ),
    _Film("truncated", syntax=uid.ExplicitVRLittleEndian),
    _Film("truncated", syntax=uid.JPEGLSLossless),
    _Film("corrupt_codestream", syntax=uid.JPEG2000Lossless),
    _Film("corrupt_codestream", syntax=uid.JPEGLosslessSV1),
    _Film("dimensions_disagree", syntax=uid.JPEGLosslessSV1),
    _Film("constant", syntax=uid.JPEG2000Lossless),
    _Film("bomb", syntax=uid.JPEG2000Lossless),
)  # fmt: skip


def write_clutter(root: Path, seed: int) -> ClutterSummary:
    """Write all of it below `root`."""
    sizes: list[int] = []
    pieces: Counter[str] = Counter()

    def keep(kind: str, relative: str | PurePosixPath, data: bytes) -> None:
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sizes.append(len(data))
        pieces[kind] += 1

    base = render_film(
        sample_patient(PATIENT_SEEDS + seed), Variant.PLAIN, long_side_px=LONG_SIDE_PX
    ).pixels
    for number, film in enumerate(FILMS):
        keep(film.kind, _place(film, number), _film_file(film, number, seed, base))
    for kind, relative, data in _no_films(seed):
        keep(kind, relative, data)
    loop = root / "misc" / "previous" / "link"
    loop.parent.mkdir(parents=True, exist_ok=True)
    loop.symlink_to(Path("..", ".."), target_is_directory=True)
    pieces["link_loop"] += 1
    keep("forbidden_folder", f"{FORBIDDEN}/README.TXT", b"Nobody may read this.\r\n")
    return ClutterSummary(dict(sorted(pieces.items())), len(sizes), sum(sizes))


def _place(film: _Film, number: int) -> PurePosixPath:
    if number % 2:
        return PurePosixPath("misc", film.kind.replace("_", " "), f"IM{number:04d}")
    return PurePosixPath("2021", "03", f"{1 + number:02d}", f"79{number:07d}", "001.dcm")


def _film_file(film: _Film, number: int, seed: int, base: Pixels) -> bytes:
    identity = _identity(number, seed, film.age_years)
    habit = _habit(film)
    pixels = np.ascontiguousarray(np.rot90(base, film.turn))
    if film.crop_px is not None:
        pixels = np.ascontiguousarray(pixels[: film.crop_px, : film.crop_px])
    if film.kind == "constant":
        pixels = np.full_like(pixels, 0.5)
    ds = build_header(
        identity, habit, Exposure(uid_of(identity.study_instance_uid, "film"), 1, 1, 0.4)
    )
    ds.ImageType = list(film.image_type)
    if film.age is None:
        del ds.PatientAge
    else:
        ds.PatientAge = film.age
    if film.kind == "secondary_capture":
        ds.SOPClassUID = uid.SecondaryCaptureImageStorage
        ds.ConversionType = "WSD"
    frame = to_stored(pixels, habit.values, big_endian=False)
    add_pixels(ds, frame, habit)
    if film.kind in ("dimensions_disagree", "corrupt_codestream", "bomb"):
        shown = frame.values[:-100] if film.kind == "dimensions_disagree" else frame.values
        codestream = encode_codestream(
            np.ascontiguousarray(shown), habit.transfer_syntax, habit.values.bits_stored
        )
        if film.kind == "corrupt_codestream":
            codestream = _corrupted(codestream, stream(seed, "corrupt", number))
        elif film.kind == "bomb":
            codestream = _claiming(codestream, BOMB_PX)
            ds.Rows = ds.Columns = BOMB_PX
        ds.PixelData = encapsulate([codestream])
    data = to_bytes(ds, habit.transfer_syntax)
    return data[: len(data) * 3 // 5] if film.kind == "truncated" else data


def _corrupted(codestream: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite the codestream from just behind its first marker: no decoder gets past it."""
    return codestream[:4] + rng.bytes(len(codestream) - 4)


def _claiming(codestream: bytes, size_px: int) -> bytes:
    """Write another size into the SIZ marker: image and tile (ISO 15444-1 A.5.1)."""
    size = size_px.to_bytes(4, "big") * 2
    # SOC, SIZ, Lsiz, Rsiz; then size and offset of the image, and both of the tiles.
    return codestream[:8] + size + codestream[16:24] + size + codestream[32:]


def _identity(number: int, seed: int, age_years: int) -> Identity:
    when = datetime(2021, 3, 1 + number, 9, 30)
    return Identity(
        patient_id=f"PC{seed % 1000:03d}{number:06d}",
        patient_name=f"PHANTOM^CLUTTER^{number:02d}",
        sex="FM"[number % 2],
        age_years=age_years,
        birth_date=when - timedelta(days=int(age_years * 365.25) + 120),
        accession_number=f"79{number:07d}",
        issuer=SITES[0].issuer,
        study_instance_uid=uid_of("clutter", seed, number),
        study_datetime=when,
    )


def _habit(film: _Film) -> StudyHabit:
    bits = 8 if film.syntax == uid.JPEGBaseline8Bit else 12
    return StudyHabit(
        manufacturer=replace(MANUFACTURERS[0], anatomic_code=None),
        model="5000Plus",
        site=SITES[0],
        tree=Tree.BY_HAND,
        transfer_syntax=film.syntax,
        values=ValueHabit(
            bits_stored=bits, monochrome1=False, lut_shape=None, modality=Modality.IDENTITY,
            voi=Voi.LINEAR, low=0.05, high=0.9, steepness=1.0,
        ),
        odd_size=False,
        preamble=Preamble.FULL,
        fragments=1,
        offset_table=True,
        derived=False,
        body_part=film.body_part,
        view_position=film.view,
        study_description=film.study,
        series_description=film.series,
        has_age=True,
        has_birth_date=film.age_years != 0,
        second_film=False,
        for_processing=False,
        stored_twice=False,
    )  # fmt: skip


def _no_films(seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield kind, path and content of what is no film."""
    identity = _identity(25, seed, 71)

    def file(ds: Dataset) -> bytes:
        return to_bytes(ds, uid.ExplicitVRLittleEndian)

    for number in range(CT_SLICES):
        slice_ = ct_slice(identity, number, stream(seed, "ct", number))
        yield "ct", f"CT/{identity.accession_number}/2/{number + 1:04d}.dcm", file(slice_)
    yield "structured_report", "misc/dose/SR000001", file(structured_report(identity))
    yield "encapsulated_pdf", "misc/letter.dcm", file(encapsulated_pdf(identity))
    yield "dicomdir", "DICOM/DICOMDIR", file(dicomdir(identity))
    yield "text", "misc/README.TXT", "Bilder vom alten Server, bitte prüfen.\r\n".encode("latin-1")
    yield "empty", "misc/IM0000", b""
