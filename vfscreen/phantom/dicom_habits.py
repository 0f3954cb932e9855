"""What PACS hold: manufacturers, vocabularies, folder trees, and what one study makes of them.

Shares follow a public set of 7,469 CR/DX headers (48 % MONOCHROME1, 20 % with 15 bits stored,
34 % without BodyPartExamined, 35 % without ViewPosition, 8 % PresentationLUTShape INVERSE); the
rest is chosen so that every path of a reader is walked in an archive of a hundred studies.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from pydicom import uid
from pydicom.uid import UID

from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, SETTINGS, Difficulty
from vfscreen.phantom.stored_values import Modality, ValueHabit, Voi
from vfscreen.phantom.streams import stream

SHARE_MONOCHROME1 = 0.48
SHARE_INVERSE = 0.08
SHARE_NO_BODY_PART = 0.34
SHARE_NO_VIEW = 0.35
SHARE_NO_AGE = 0.25
# Of those without an age, these have no birth date either: their age stays unknown.
SHARE_NO_BIRTH_DATE = 0.15
SHARE_DERIVED = 0.30
SHARE_PADDED = 0.08
SHARE_FOR_PROCESSING = 0.08  # of DX studies: the raw instance beside the processed one
SHARE_SECOND_FILM = 0.12
SHARE_STORED_TWICE = 0.04
SHARE_NO_PREAMBLE = 0.35  # of implicit little endian films
SHARE_BELOW_ZERO = 0.06  # of usual films: modality values, and the VOI LUT's first, are negative

MODALITY_SHARES = {
    Modality.ABSENT: 0.25,
    Modality.IDENTITY: 0.55,
    Modality.HALF: 0.05,
    Modality.OFFSET: 0.06,
    Modality.NEGATIVE: 0.05,
    Modality.LUT: 0.04,
}
VOI_SHARES = {
    Voi.LINEAR: 0.40,
    Voi.SEVERAL: 0.12,
    Voi.LINEAR_EXACT: 0.08,
    Voi.SIGMOID: 0.10,
    Voi.LUT: 0.12,
    Voi.LUT_AND_WINDOW: 0.06,
    Voi.ABSENT: 0.12,
}

BODY_PARTS = ("ABDOMEN", "ABDOMEN", "ABDOMEN", "ABDO", "ABD", "KUB", "ABDOMENPELVIS")
VIEWS = ("AP", "AP", "AP", "AP", "PA")


class Syntax(StrEnum):
    """A slot of the rota of encodings."""

    ODD = "explicit little endian, 8 bits, odd number of bytes"


# Every twenty studies pass through this rota once, in an order of their own: each syntax is
# there as soon as there are twenty studies, the common ones more than once.
ROTA: tuple[UID | Syntax, ...] = (
    uid.ImplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    Syntax.ODD,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLossless,
)


@dataclass(frozen=True, slots=True)
class Manufacturer:
    """One manufacturer's header vocabulary."""

    name: str
    models: tuple[str, ...]
    modality: str
    bits_stored: tuple[int, ...]
    software: str
    character_set: str
    private_creator: str
    study_descriptions: tuple[str, ...]
    series_descriptions: tuple[str, ...]
    anatomic_code: tuple[str, str, str] | None


# Descriptions always say abdomen: a film whose body part is missing can still be told by them.
MANUFACTURERS = (
    Manufacturer(
        "FUJIFILM Corporation", ("5000Plus", "CR-IR 357"), "CR", (10, 10, 12), "A13-04",
        "ISO_IR 100", "FDMS 1.0", ("XR ABDOMEN", "ABDOMEN"), ("ABDOMEN AP", "ABDOMEN GENERAL"),
        None,
    ),
    Manufacturer(
        "FUJIFILM Corporation", ("DR-ID 300CL",), "DX", (14, 15), "V9.2.0005", "ISO_IR 192",
        "FDMS 1.0", ("腹部 臥位 正面", "腹部単純撮影"), ("腹部", "Abdomen"),
        ("T-D4000", "SRT", "Abdomen"),
    ),
    Manufacturer(
        "Agfa", ("DX-G", "CR 85-X"), "CR", (12, 15, 15), "ADC_50", "ISO_IR 100",
        "Agfa ADC NX", ("ABDOMEN SUPINE", "AXR ABDOMEN"), ("Abdomen", "ABDOMEN A.P."), None,
    ),
    Manufacturer(
        "Carestream Health", ("DRX-EVOLUTION", "CR 975"), "DX", (12, 15), "5.7.412.6", "ISO_IR 192",
        "Carestream DRX", ("XR Abdomen 1 View", "XR KUB"), ("ABDOMEN AP", "KUB"),
        ("818981001", "SCT", "Abdomen"),
    ),
    Manufacturer(
        "Philips Medical Systems", ("DigitalDiagnost", "PCR Eleva"), "DX", (12, 15, 15), "2.1.3",
        "ISO_IR 100", "Philips DX Phantom", ("Abdomen liegend", "RX ABDOMEN"),
        ("Abdomen ap", "Abdomen a.p. liegend"), ("T-D4000", "SRT", "Abdomen"),
    ),
    Manufacturer(
        "SIEMENS", ("Fluorospot Compact FD", "AXIOM Aristos FX"), "DX", (12, 14), "VB10D",
        "ISO_IR 100", "SIEMENS DX PHANTOM", ("Abdomen", "Abdomen^Abdomen stehend"),
        ("Abdomen ap", "Abdomen a.p."), None,
    ),
    Manufacturer(
        "\"GE Healthcare\"", ("Definium 8000", "Optima XR656"), "DX", (14, 14, 16),
        "dm_Platform_release", "ISO_IR 100", "GEMS_DL_PHANTOM", ("ABDOMEN 1 VIEW", "Abd AP"),
        ("Abdomen AP", "ABD SUPINE"), ("818981001", "SCT", "Abdomen"),
    ),
    Manufacturer(
        "KONICA MINOLTA", ("0402", "REGIUS 190"), "CR", (12,), "1.60R00", "ISO_IR 100",
        "KONICA PHANTOM", ("ABDOMEN", "PLAIN ABDOMEN"), ("ABDOMEN AP", "ABDOMEN"), None,
    ),
    Manufacturer(
        "Canon Inc.", ("CXDI Control Software NE",), "DX", (14, 16, 16), "2.17.0.2", "ISO_IR 192",
        "CANON PHANTOM", ("X-ray abdomen", "Abdomen"), ("Abdomen AP", "ABDOMEN"), None,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """A hospital of the network; accession numbers are unique within one only."""

    name: str
    address: str
    issuer: str
    department: str


SITES = (
    Site("Phantom General Hospital North", "1 Phantom Road, Northtown", "PGH-N", "RADIOLOGY"),
    Site("Phantom Klinikum Süd", "Phantomstraße 2, Südstadt", "PKS", "Röntgen"),
)


class Tree(StrEnum):
    """How an archive lays out its folders."""

    BY_DATE = "by date"
    BY_UID = "by uid"
    MEDIA = "media"
    HASHED = "hashed"
    BY_HAND = "by hand"


class Preamble(StrEnum):
    """What precedes the data set."""

    FULL = "full"
    META_ONLY = "meta only"  # file meta information without the 128 bytes and DICM
    NONE = "none"  # nothing: the bare data set, implicit little endian


@dataclass(frozen=True, slots=True)
class StudyHabit:
    """Everything about one study that is neither anatomy nor identity."""

    manufacturer: Manufacturer
    model: str
    site: Site
    tree: Tree
    transfer_syntax: UID
    values: ValueHabit
    odd_size: bool
    preamble: Preamble
    fragments: int
    offset_table: bool
    derived: bool
    body_part: str | None
    view_position: str | None
    study_description: str
    series_description: str
    has_age: bool
    has_birth_date: bool
    second_film: bool
    for_processing: bool
    stored_twice: bool


def draw_habit(seed: int, index: int, difficulty: Difficulty = DEFAULT_DIFFICULTY) -> StudyHabit:
    """Draw the habit of the archive's study `index`.

    Parameters
    ----------
    seed : int
        Of the archive.
    index : int
        Of the study, from 0.
    difficulty : Difficulty
        Usual films have values below zero now and then; nothing else depends on it.
    """
    block, place = divmod(index, len(ROTA))
    slot = ROTA[int(stream(seed, "rota", block).permutation(len(ROTA))[place])]
    odd = isinstance(slot, Syntax)
    syntax = uid.ExplicitVRLittleEndian if isinstance(slot, Syntax) else slot
    rng = stream(seed, "habit", index)
    maker = MANUFACTURERS[int(rng.integers(len(MANUFACTURERS)))]
    birth_date_missing = bool(rng.random() < SHARE_NO_BIRTH_DATE)
    has_age = bool(rng.random() >= SHARE_NO_AGE)
    model = _one_of(rng, maker.models)
    site = SITES[int(rng.random() < 0.35)]
    tree = tuple(Tree)[int(rng.choice(5, p=(0.4, 0.2, 0.1, 0.2, 0.1)))]
    values = _draw_values(rng, syntax, odd, maker)
    below = stream(seed, "below-zero", index)
    if SETTINGS[difficulty].varied and below.random() < SHARE_BELOW_ZERO:
        voi = Voi.LUT if below.random() < 0.7 else Voi.LUT_AND_WINDOW
        values = replace(values, modality=Modality.BELOW_ZERO, voi=voi)
    return StudyHabit(
        manufacturer=maker,
        model=model,
        site=site,
        tree=tree,
        transfer_syntax=syntax,
        values=values,
        odd_size=odd,
        preamble=_draw_preamble(rng, syntax),
        fragments=1 if rng.random() < 0.8 else 3,
        offset_table=bool(rng.random() < 0.5),
        derived=bool(rng.random() < SHARE_DERIVED),
        body_part=None if rng.random() < SHARE_NO_BODY_PART else _one_of(rng, BODY_PARTS),
        view_position=None if rng.random() < SHARE_NO_VIEW else _one_of(rng, VIEWS),
        study_description=_one_of(rng, maker.study_descriptions),
        series_description=_one_of(rng, maker.series_descriptions),
        has_age=has_age,
        has_birth_date=has_age or not birth_date_missing,
        second_film=bool(rng.random() < SHARE_SECOND_FILM),
        for_processing=bool(rng.random() < SHARE_FOR_PROCESSING) and maker.modality == "DX",
        stored_twice=bool(rng.random() < SHARE_STORED_TWICE),
    )


def _draw_values(
    rng: np.random.Generator, syntax: UID, odd: bool, maker: Manufacturer
) -> ValueHabit:
    bits = int(rng.choice(maker.bits_stored))
    if odd or syntax == uid.JPEGBaseline8Bit:
        bits = 8
    elif syntax == uid.JPEGExtended12Bit:
        bits = 12
    modality = tuple(MODALITY_SHARES)[int(rng.choice(6, p=tuple(MODALITY_SHARES.values())))]
    voi = tuple(VOI_SHARES)[int(rng.choice(7, p=tuple(VOI_SHARES.values())))]
    if modality is Modality.OFFSET and bits > 12:
        # A VOI LUT over such a range would need more entries than its descriptor can count.
        modality = Modality.IDENTITY
    shape = rng.random()
    return ValueHabit(
        bits_stored=bits,
        monochrome1=bool(rng.random() < SHARE_MONOCHROME1),
        lut_shape="INVERSE" if shape < SHARE_INVERSE else "IDENTITY" if shape < 0.6 else None,
        modality=modality,
        voi=voi,
        low=float(rng.uniform(0.0, 0.12)),
        high=float(rng.uniform(0.72, 0.98)),
        steepness=float(rng.uniform(0.8, 1.8)),
        padded=bool(rng.random() < SHARE_PADDED),
    )


def _draw_preamble(rng: np.random.Generator, syntax: UID) -> Preamble:
    missing = rng.random() < SHARE_NO_PREAMBLE
    if missing and syntax == uid.ImplicitVRLittleEndian:
        return Preamble.NONE
    if missing and syntax == uid.ExplicitVRLittleEndian:
        return Preamble.META_ONLY
    return Preamble.FULL


def _one_of(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
