"""Stored values show the rendered film again, whatever the manufacturer's habit."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from phantom_reader import displayed
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from vfscreen.phantom.stored_values import Modality, StoredFrame, ValueHabit, Voi, to_stored


def film() -> NDArray[np.float32]:
    y, x = np.mgrid[0:1:60j, 0:1:80j]
    return np.clip(0.5 + 0.6 * np.sin(5 * x + y), 0, 1).astype(np.float32)


def shown_by(frame: StoredFrame) -> NDArray[np.float64]:
    frame.tags.file_meta = FileMetaDataset()
    frame.tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return displayed(frame.tags, frame.values)


def habit(**changes: object) -> ValueHabit:
    usual: dict[str, object] = {
        "bits_stored": 12, "monochrome1": False, "lut_shape": None, "modality": Modality.ABSENT,
        "voi": Voi.LINEAR, "low": 0.07, "high": 0.9, "steepness": 1.4,
    }  # fmt: skip
    return ValueHabit(**{**usual, **changes})  # type: ignore[arg-type]


DRAWN = [
    (modality, voi, bits)
    for modality, voi, bits in itertools.product(Modality, Voi, [8, 10, 12, 16])
    if modality is not Modality.OFFSET or bits <= 12
]


@pytest.mark.parametrize(("modality", "voi", "bits"), DRAWN)
def test_a_reader_sees_the_film_again(modality: Modality, voi: Voi, bits: int) -> None:
    pixels = film()
    frame = to_stored(pixels, habit(bits_stored=bits, modality=modality, voi=voi), big_endian=False)
    shown = shown_by(frame)
    # 8 bits through a curve are coarse; a sigmoid never reaches its ends; without a window the
    # reader stretches between percentiles.
    allowed = 0.03 if voi in (Voi.SIGMOID, Voi.ABSENT) or bits == 8 else 0.012
    assert np.abs(shown - pixels).max() < allowed


@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("lut_shape", [None, "IDENTITY", "INVERSE"])
@pytest.mark.parametrize("modality", [Modality.IDENTITY, Modality.NEGATIVE, Modality.LUT])
def test_inversion_is_undone_once(
    monochrome1: bool, lut_shape: str | None, modality: Modality
) -> None:
    pixels = film()
    how = habit(monochrome1=monochrome1, lut_shape=lut_shape, modality=modality)
    frame = to_stored(pixels, how, big_endian=False)
    assert np.abs(shown_by(frame) - pixels).max() < 0.01
    padded = to_stored(
        pixels, habit(monochrome1=monochrome1, lut_shape=lut_shape, modality=modality, padded=True),
        big_endian=False,
    )  # fmt: skip
    assert (padded.values[0] == padded.tags.PixelPaddingValue).all()
    assert shown_by(padded)[0].max() < 0.01, "padding shows black"


def test_lookup_tables_of_a_big_endian_file_are_swapped() -> None:
    def entries(big_endian: bool) -> NDArray[np.uint16]:
        tags: Dataset = to_stored(film(), habit(voi=Voi.LUT), big_endian=big_endian).tags
        kind = ">u2" if big_endian else "<u2"
        return np.frombuffer(tags.VOILUTSequence[0].LUTData, kind).astype(np.uint16)

    np.testing.assert_array_equal(entries(True), entries(False))
