"""The GPU pipeline against the NumPy reference; skipped where there is no CUDA device."""

import dicom_films as films
import numpy as np
import pytest

from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.reference import reference_prepare
from vfscreen.preprocessing import Preprocessing

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SPEC = Preprocessing()


def displays() -> list[np.ndarray]:
    shapes = [(2400, 2000), (1600, 2500), (300, 280)]
    return [films.anatomy(*shape, bits=16, seed=i) for i, shape in enumerate(shapes)]


def test_the_gpu_prepares_as_the_reference_does() -> None:
    batch = torch.from_dlpack(Preparer(SPEC, 4, "cuda").prepare(displays()))
    assert batch.is_cuda and batch.shape == (3, 1, 224, 224) and batch.is_contiguous()
    for got, display in zip(batch.cpu().numpy(), displays(), strict=True):
        difference = np.abs(got - reference_prepare(display, SPEC))[0] * SPEC.std
        assert difference[2:-2, 2:-2].max() < 1e-3
        assert difference.max() < 0.05


def test_a_film_does_not_depend_on_its_batch_on_the_gpu() -> None:
    preparer = Preparer(SPEC, 4, "cuda")
    together = torch.from_dlpack(preparer.prepare(displays())).clone()
    for i, display in enumerate(displays()):
        alone = torch.from_dlpack(preparer.prepare([display]))
        assert torch.equal(alone[0], together[i])


def test_a_batch_is_complete_when_another_stream_reads_it() -> None:
    preparer = Preparer(SPEC, 4, "cuda")
    expected = torch.from_dlpack(preparer.prepare(displays())).clone()
    stream = torch.cuda.Stream()
    for _ in range(20):
        with torch.cuda.stream(stream):
            got = torch.from_dlpack(preparer.prepare(displays())) + 0
        stream.synchronize()
        assert torch.equal(got, expected)
