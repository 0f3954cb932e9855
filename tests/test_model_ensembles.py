"""Every architecture, alone and in company: the fast ways give what the plain networks give."""

import numpy as np
import pytest
import torch
from random_networks import FINDINGS, SIZE, network, stored

from vfscreen.model.checkpoint import load_weights
from vfscreen.model.heatmap import heatmaps
from vfscreen.model.inference import Predictor, fold
from vfscreen.model.network import ARCHITECTURES, Ensemble, build
from vfscreen.model.packed import PackedNetwork, pack

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def films():
    return torch.randn(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def single(request, tmp_path_factory):
    """One network of each architecture, and its checkpoint in float32."""
    model = network(request.param)
    info = stored(tmp_path_factory.mktemp("single") / "c.safetensors", [model])
    return model, Predictor(info, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def pair():
    return [network("efficientnet_b5", 1), network("efficientnet_b5", 2)]


@pytest.fixture(scope="module")
def mirrored(pair, tmp_path_factory):
    info = stored(tmp_path_factory.mktemp("pair") / "c.safetensors", pair, flip=True)
    return Predictor(info, device="cpu", precision="float32")


def close(found, expected, bound=1e-4):
    expected = np.asarray(expected)
    assert np.abs(np.asarray(found) - expected).max() < bound * max(1.0, np.abs(expected).max())


def test_the_predictor_gives_what_the_plain_network_gives(single, films):
    model, predictor = single
    with torch.inference_mode():
        close(predictor.logits(films), model(films))
    assert predictor.packed == model.architecture.startswith("resnext")


def test_half_precision_stays_near(single, films):
    model, predictor = single
    logits = Predictor(predictor.info, device="cpu", precision="bfloat16").logits(films)
    with torch.inference_mode():
        expected = model(films).numpy()
    assert np.linalg.norm(logits - expected) < 0.03 * np.linalg.norm(expected)
    # The last layer is float32: logits do not come in bfloat16's steps.
    assert not np.array_equal(logits, torch.from_numpy(logits).bfloat16().float().numpy())


def test_a_film_that_gives_no_number_costs_only_itself(single, films):
    predictor = single[1]
    bad = films[:3].clone()
    bad[1, 0, 5, 5] = float("nan")
    logits = predictor.logits(bad)
    assert np.isfinite(logits).all(1).tolist() == [True, False, True]
    close(logits[[0, 2]], predictor.logits(films[:3])[[0, 2]])


def test_heatmaps_are_to_be_had_of_every_architecture(single, films):
    model, predictor = single
    found = heatmaps(predictor, films[:2], FINDINGS[1])
    assert found.shape == (2, SIZE, SIZE) and found.dtype == np.float32
    # Grad-CAM by its definition: gradients averaged over the cells weigh the features.
    last = model.feature_maps(films[:2])[1].detach().requires_grad_()
    model.classify(last.mean((2, 3)))[:, 1].sum().backward()
    cells = (last.grad.mean((2, 3), keepdim=True) * last).sum(1).clamp(min=0).detach().numpy()
    for heatmap, cell in zip(found, cells, strict=True):
        assert heatmap.min() == 0 and 0.99 < heatmap.max() <= 1
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert cell[row * 2 // SIZE, column * 2 // SIZE] == cell.max()


def test_every_normalisation_that_follows_a_convolution_is_folded():
    """What is left follows a ReLU or several layers at once, or is no batch normalisation."""
    left = {}
    for architecture in ("resnext50_32x4d", "densenet169", "efficientnet_b5"):
        folded = fold(build(architecture, FINDINGS), CPU, torch.bfloat16)
        norms = {n: m for n, m in folded.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
        left[architecture] = {name.rpartition(".")[2] for name in norms}
        assert all(m.running_var.dtype == torch.float32 for m in norms.values())
    assert left == {
        "resnext50_32x4d": set(),
        "densenet169": {"norm", "norm1", "norm5"},
        "efficientnet_b5": set(),
    }


def test_the_larger_resnext_is_packed_too(films):
    folded = fold(network("resnext101_32x8d"), CPU, torch.float32)
    packed = pack(folded, films)
    assert isinstance(packed, PackedNetwork)
    with torch.inference_mode():
        close(packed(films), folded(films))


def test_an_ensemble_with_flip_is_the_mean_of_all_four(pair, mirrored, films):
    with torch.inference_mode():
        expected = sum(model(view) for model in pair for view in (films, films.flip(3))) / 4
        close(load_weights(mirrored.info)(films), expected)
    close(mirrored.logits(films), expected)


def test_with_flip_left_and_right_are_alike(mirrored, films):
    close(mirrored.logits(films.flip(3)), mirrored.logits(films), 1e-5)


def test_packed_networks_are_averaged_like_plain_ones(tmp_path, films):
    pair = [network("resnext50_32x4d", seed) for seed in (1, 2)]
    info = stored(tmp_path / "c.safetensors", pair, flip=True)
    predictor = Predictor(info, device="cpu", precision="float32")
    assert predictor.packed
    with torch.inference_mode():
        close(predictor.logits(films), Ensemble(pair, flip=True)(films))


def test_logits_of_an_ensemble_depend_on_the_film_alone(mirrored, films):
    whole = mirrored.logits(films)
    assert np.array_equal(mirrored.logits(films[3:4]), whole[3:4])


def test_the_heatmap_of_an_ensemble_is_the_mean_of_its_members(pair, mirrored, tmp_path, films):
    alone = []
    for i, model in enumerate(pair):
        info = stored(tmp_path / f"{i}", [model])
        predictor = Predictor(info, device="cpu", precision="float32")
        alone.append(heatmaps(predictor, films[:3], FINDINGS[1]))
    mean = np.mean(alone, axis=0)
    mean -= mean.min((1, 2), keepdims=True)
    mean /= np.maximum(mean.max((1, 2), keepdims=True), 1e-7)  # nothing may speak for a finding
    assert np.abs(heatmaps(mirrored, films[:3], FINDINGS[1]) - mean).max() < 1e-3
    assert mean.any()
