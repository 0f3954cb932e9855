"""The training loop on a GPU; skipped where there is no CUDA device."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

from vfscreen.jobs.augmenting import augment_of  # noqa: E402
from vfscreen.model.augmentation import VARIATIONS, draw, vary  # noqa: E402
from vfscreen.model.batches import FilmArrays, Films  # noqa: E402
from vfscreen.model.network import build  # noqa: E402
from vfscreen.model.plan import TrainingPlan  # noqa: E402
from vfscreen.model.training import Trained, train  # noqa: E402
from vfscreen.preprocessing import Preprocessing  # noqa: E402

SPEC = Preprocessing(input_size_px=96)


def run(**options) -> Trained:
    rng, device = np.random.default_rng(0), torch.device("cuda")
    targets = (np.arange(24) % 2).astype(np.float32).reshape(-1, 1, 1)
    arrays = FilmArrays(rng.integers(0, 256, (24, 1, 128, 128)).astype(np.uint8), targets)
    torch.manual_seed(0)
    return train(
        build("resnext50_32x4d", ("vertebral_fracture",)),
        Films(arrays, np.arange(16)), SPEC, TrainingPlan(epochs=2, batch_size=4), device,
        validation=Films(arrays, np.arange(16, 24)), augment=augment_of("dali", SPEC, 4, device),
        **options,
    )  # fmt: skip


def test_dali_varies_films_on_the_gpu_as_the_reference_does() -> None:
    device = torch.device("cuda")
    films = torch.linspace(0, 255, 128 * 128).reshape(1, 128, 128).byte().repeat(8, 1, 1).to(device)
    draws = draw(8, 1, VARIATIONS["default"], torch.Generator().manual_seed(1))
    dali = augment_of("dali", SPEC, 8, device)(films, draws, SPEC)
    assert dali.is_cuda and (dali - vary(films, draws, SPEC)).abs().max() < 0.02


def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, state = run(), tmp_path / "state.safetensors"
    calls = count(1)
    assert run(state=state, stop=lambda: next(calls) == 3).stopped == "asked"
    resumed = run(state=state).model.state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.model.state_dict().items())
