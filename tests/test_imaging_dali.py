"""DALI's pipeline against Pillow, and against itself in other batches."""

import dicom_films as films
import numpy as np
import pytest
from numpy.typing import NDArray

from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.reference import reference_prepare
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing()
SHAPES = [(1200, 1000), (640, 900), (2000, 300), (224, 224), (150, 200)]


def displays() -> list[NDArray[np.uint16]]:
    return [films.anatomy(*shape, bits=16, seed=i) for i, shape in enumerate(SHAPES)]


def prepared(preparer: Preparer, batch: list[NDArray[np.uint16]]) -> NDArray[np.float32]:
    return np.array(np.from_dlpack(preparer.prepare(batch)))


@pytest.fixture(scope="module")
def preparer() -> Preparer:
    return Preparer(SPEC, batch_size=8)


def test_a_batch_is_nchw_float32(preparer: Preparer) -> None:
    batch = np.from_dlpack(preparer.prepare(displays()))
    assert batch.dtype == np.float32 and batch.shape == (5, 1, 224, 224)
    assert batch.flags.c_contiguous


def test_as_the_reference(preparer: Preparer) -> None:
    """1e-3 of the range inside, 5 % in the outermost two pixels: there the filters differ."""
    batch = prepared(preparer, displays())
    for got, display in zip(batch, displays(), strict=True):
        difference = np.abs(got - reference_prepare(display, SPEC))[0] * SPEC.std
        assert difference[2:-2, 2:-2].max() < 1e-3
        assert difference.max() < 0.05


def test_another_spec(preparer: Preparer) -> None:
    spec = Preprocessing(input_size_px=96, mean=0.1, std=0.5)
    batch = prepared(Preparer(spec, batch_size=2), displays()[:1])
    assert batch.shape == (1, 1, 96, 96)
    difference = np.abs(batch[0] - reference_prepare(displays()[0], spec))[0] * spec.std
    assert difference[2:-2, 2:-2].max() < 1e-3


def test_a_film_does_not_depend_on_its_batch(preparer: Preparer) -> None:
    together = prepared(preparer, displays())
    for i, display in enumerate(displays()):
        assert np.array_equal(prepared(preparer, [display])[0], together[i])
        assert np.array_equal(prepared(preparer, displays()[i:])[0], together[i])
    backwards = prepared(preparer, displays()[::-1])
    assert np.array_equal(backwards[::-1], together)


def test_black_and_white(preparer: Preparer) -> None:
    batch = prepared(preparer, [np.full((300, 200), v, np.uint16) for v in (0, 65535)])
    assert np.allclose(batch[0], (0 - SPEC.mean) / SPEC.std, atol=1e-5)
    assert np.allclose(batch[1], (1 - SPEC.mean) / SPEC.std, atol=1e-5)


def test_a_batch_outlives_the_next(preparer: Preparer) -> None:
    first = np.from_dlpack(preparer.prepare(displays()[:2]))
    before = first.copy()
    preparer.prepare(displays()[2:4])
    assert np.array_equal(first, before)


def test_read_only_input_is_taken_as_it_is(preparer: Preparer) -> None:
    display = displays()[0]
    display.setflags(write=False)
    assert np.array_equal(prepared(preparer, [display]), prepared(preparer, displays()[:1]))


def test_too_many_or_no_films_are_refused(preparer: Preparer) -> None:
    for batch in ([], displays() * 2):
        with pytest.raises(ValueError, match="1 to 8 films"):
            preparer.prepare(batch)


def test_torch_takes_a_batch_without_a_copy(preparer: Preparer) -> None:
    torch = pytest.importorskip("torch")
    tensor = preparer.prepare(displays()[:2])
    batch = torch.from_dlpack(tensor)
    assert batch.shape == (2, 1, 224, 224) and batch.is_contiguous()
    assert batch.data_ptr() == torch.from_dlpack(tensor).data_ptr()
