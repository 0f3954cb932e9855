"""Every architecture in float16 on the GPU against itself in float32 on the CPU."""

from pathlib import Path

import numpy as np
import pytest
from random_networks import SIZE, network, stored

from vfscreen.model.heatmap import heatmaps
from vfscreen.model.inference import Predictor
from vfscreen.model.network import ARCHITECTURES

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float16_on_the_gpu_stays_near_the_plain_network(architecture: str, tmp_path: Path) -> None:
    members = [network(architecture, seed) for seed in (1, 2)]
    info = stored(tmp_path / "c.safetensors", members, flip=True)
    films = torch.randn(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(4))
    predictor = Predictor(info, device="cuda")
    assert predictor.precision == "float16"
    logits = predictor.logits(films)
    with torch.inference_mode():
        views = [member(view) for member in members for view in (films, films.flip(3))]
    expected = torch.stack(views).mean(0).numpy()
    assert logits.dtype == np.float32
    assert np.linalg.norm(logits - expected) < 0.02 * np.linalg.norm(expected)
    assert np.isfinite(heatmaps(predictor, films[:1], info.findings[1])).all()
