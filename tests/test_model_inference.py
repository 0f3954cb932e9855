"""Logits depend on the film and the checkpoint, and on nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_networks
import torch
from random_networks import FINDINGS, SIZE

from vfscreen.errors import UsageError
from vfscreen.model.calibration import Calibration, probability
from vfscreen.model.checkpoint import CheckpointInfo, load_weights
from vfscreen.model.heatmap import heatmaps, peak
from vfscreen.model.inference import Predictor
from vfscreen.model.network import build

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    torch.manual_seed(1)
    model = build("resnext50_32x4d", FINDINGS)
    films = torch.randn(16, 1, SIZE, SIZE)
    with torch.no_grad():
        for _ in range(3):
            model.train()(films)  # statistics that are not trivial
        model.output.weight.mul_(30)
    return random_networks.stored(tmp_path_factory.mktemp("inference") / "c.safetensors", [model])


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    return torch.randn(11, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def stored(info: CheckpointInfo, films: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return load_weights(info)(films).numpy()


def test_folding_changes_nothing_but_rounding(
    info: CheckpointInfo, films: torch.Tensor, stored: np.ndarray
) -> None:
    logits = Predictor(info, device="cpu", precision="float32").logits(films)
    assert logits.dtype == np.float32
    assert np.abs(logits - stored).max() < 1e-4 * max(1, np.abs(stored).max())


def test_half_precision_ranks_like_float32(
    info: CheckpointInfo, films: torch.Tensor, stored: np.ndarray
) -> None:
    logits = Predictor(info, device="cpu", precision="bfloat16").logits(films)
    assert np.corrcoef(logits[:, 0], stored[:, 0])[0, 1] > 0.99
    # The last layer is float32: logits do not come in steps of 1/64.
    assert not np.array_equal(logits, torch.from_numpy(logits).bfloat16().float().numpy())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_probabilities_depend_neither_on_batch_size_nor_on_order(
    info: CheckpointInfo, films: torch.Tensor, precision: str
) -> None:
    predictor = Predictor(info, device="cpu", precision=precision)
    whole = probability(predictor.logits(films), Calibration())
    for size in (1, 4):
        if size == 1:
            parts = [predictor.logits(films[i : i + 1]) for i in (0, 10)]
            found, expected = np.concatenate(parts), whole[[0, 10]]
        else:
            parts = [predictor.logits(part) for part in films.split(size)]
            found, expected = np.concatenate(parts), whole
        assert np.abs(probability(found, Calibration()) - expected).max() <= 1e-3
    order = torch.randperm(len(films), generator=torch.Generator().manual_seed(2))
    shuffled = probability(predictor.logits(films[order]), Calibration())
    assert np.abs(shuffled - whole[order.numpy()]).max() <= 1e-3


def test_a_film_that_gives_no_number_costs_only_itself(
    info: CheckpointInfo, films: torch.Tensor
) -> None:
    predictor = Predictor(info, device="cpu")
    bad = films[:3].clone()
    bad[1, 0, 5, 5] = float("nan")
    logits = predictor.logits(bad)
    assert np.isfinite(logits).all(1).tolist() == [True, False, True]
    assert np.allclose(logits[[0, 2]], predictor.logits(films[:3])[[0, 2]])


def test_no_films_are_no_logits(info: CheckpointInfo, films: torch.Tensor) -> None:
    assert Predictor(info, device="cpu").logits(films[:0]).shape == (0, 2)


def test_films_of_another_size_are_refused(info: CheckpointInfo) -> None:
    with pytest.raises(ValueError, match="64"):
        Predictor(info, device="cpu").logits(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cpu", "int3")])
def test_unknown_devices_and_precisions_are_usage_errors(
    info: CheckpointInfo, device: str, precision: str
) -> None:
    with pytest.raises(UsageError, match="known"):
        Predictor(info, device=device, precision=precision)


def test_the_heatmap_is_what_speaks_for_the_finding(info: CheckpointInfo) -> None:
    # With mean pooling and one linear layer, Grad-CAM is known in closed form: the positive part
    # of the features weighted by the layer's weights.
    predictor = Predictor(info, device="cpu", precision="float32")
    films = torch.randn(3, 1, 2 * SIZE, 2 * SIZE, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        found = heatmaps(predictor, films, FINDINGS[1])
        features = load_weights(info).members[0].feature_maps(films)[1]
        weights = predictor.reference.members[0].output.weight[1]
        cells = torch.einsum("nchw,c->nhw", features, weights).numpy()
    assert found.shape == (3, 2 * SIZE, 2 * SIZE) and found.dtype == np.float32
    for heatmap, cell in zip(found, cells, strict=True):
        assert heatmap.min() == 0 and 0.99 < heatmap.max() <= 1
        row, column = np.unravel_index(cell.argmax(), cell.shape)
        x, y = peak(heatmap)
        assert (int(x * cell.shape[1]), int(y * cell.shape[0])) == (column, row)


def test_an_unknown_finding_has_no_heatmap(info: CheckpointInfo, films: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="nodule"):
        heatmaps(Predictor(info, device="cpu"), films[:1], "nodule")


def test_heatmaps_leave_no_hooks_behind(info: CheckpointInfo, films: torch.Tensor) -> None:
    predictor = Predictor(info, device="cpu", precision="float32")
    first = heatmaps(predictor, films[:2], FINDINGS[0])
    assert np.array_equal(heatmaps(predictor, films[:2], FINDINGS[0]), first)
    assert not predictor.reference.members[0].last._forward_hooks


def test_the_peak_is_the_middle_of_the_hottest_place() -> None:
    heatmap = np.zeros((10, 20), np.float32)
    heatmap[2:4, 6:8] = 1
    assert peak(heatmap) == (pytest.approx(7 / 20), pytest.approx(3 / 10))


def test_info_needs_no_torch(info: CheckpointInfo) -> None:
    code = (
        "import sys; from vfscreen.model.checkpoint import read_info; "
        f"read_info({str(info.path)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
