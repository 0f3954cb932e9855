"""Locate, then classify: from films to the logits of columns and of levels."""

from pathlib import Path

import numpy as np
import pytest
import random_networks
import torch
from test_model_straightening import centres, heatmaps_of

from vfscreen.errors import CheckpointError
from vfscreen.model.checkpoint import CheckpointInfo, load_weights
from vfscreen.model.column import LEVELS, ColumnSpec, to_json
from vfscreen.model.heatmap import heatmaps, peak
from vfscreen.model.inference import Predictor, answered
from vfscreen.model.locating import Locator
from vfscreen.model.network import FilmClassifier, build
from vfscreen.model.straightening import Straightener

SIZE, SPEC = 96, ColumnSpec(256, 96)
FINDINGS = ("fracture", "fracture_T10", "fracture_L1", "fracture_L2", "other_L1")
L1, L2 = FINDINGS.index("fracture_L1"), FINDINGS.index("fracture_L2")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locator that finds the same spine on every film, without T10."""
    maps = heatmaps_of(centres(), absent=(0,))
    monkeypatch.setattr(
        Locator, "heatmaps", lambda _, films: maps.to(films.device).expand(len(films), -1, -1, -1)
    )


@pytest.fixture(scope="module")
def network() -> FilmClassifier:
    torch.manual_seed(0)
    model = build("resnext50_32x4d", FINDINGS).eval()
    with torch.no_grad():
        # Statistics as a trained network has them: features of different films differ.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        model.train()(torch.randn(4, 1, SPEC.height_px, SPEC.width_px))
        model.output.weight.mul_(10)
        model.output.bias.copy_(torch.arange(len(FINDINGS)) / 4.0)
    return model.eval()


@pytest.fixture(scope="module")
def info(network: FilmClassifier, tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    return stored(tmp_path_factory.mktemp("located") / "c.safetensors", [network])


def stored(path: Path, members: list[FilmClassifier], seed: int = 1, **more) -> CheckpointInfo:
    torch.manual_seed(seed)
    spec = to_json(SPEC) | more
    return random_networks.stored(path, members, SIZE, locator=Locator(), locator_spec=spec)


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    return torch.randn(6, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def test_a_level_is_judged_by_what_is_around_it(network: FilmClassifier) -> None:
    last = torch.randn(1, 2048, 8, 3, generator=torch.Generator().manual_seed(1))
    windows = torch.full((1, len(LEVELS), 4), torch.nan)
    # The second row of cells, whole.
    windows[0, LEVELS.index("L1")] = torch.tensor([0.0, 1 / 8, 1.0, 2 / 8])
    with torch.no_grad():
        logits = network.judge(last, windows)[0]
        film = network.judge(last)[0]
        features = last[0, :, 1].mean(1)
        alike = network.output.weight[1:4].mean(0)
        expected = features @ alike + network.output.bias[L1]
    assert logits[0] == film[0]
    assert logits[L1] == pytest.approx(float(expected), rel=1e-4)
    assert logits[[1, L2]].isnan().all()
    # Another finding's only level looks for what it alone looks for.
    other = features @ network.output.weight[4] + network.output.bias[4]
    assert logits[4] == pytest.approx(float(other.detach()), rel=1e-4)


def test_without_a_column_a_finding_of_a_level_is_a_finding(network: FilmClassifier) -> None:
    last = torch.randn(1, 2048, 8, 3)
    with torch.no_grad():
        assert torch.equal(network.judge(last), network.classify(last.mean((2, 3))))


def test_a_level_that_is_not_seen_teaches_nothing(network: FilmClassifier) -> None:
    last = torch.randn(1, 2048, 8, 3, requires_grad=True)
    windows = torch.full((1, len(LEVELS), 4), torch.nan)
    logits = network.judge(last, windows)
    logits.nan_to_num(0.0)[:, 1:].sum().backward()
    assert last.grad is not None
    assert (last.grad == 0).all()
    network.zero_grad(set_to_none=True)


@pytest.mark.usefixtures("sure")
def test_the_predictor_gives_what_the_plain_networks_give(
    info: CheckpointInfo, films: torch.Tensor
) -> None:
    predictor = Predictor(info, device="cpu", precision="float32")
    logits = predictor.logits(films)
    with torch.inference_mode():
        plain = load_weights(info)(films).numpy()
    assert np.isnan(logits[:, 1]).all()  # T10 is not on these films
    seen = [0, L1, L2, 4]
    assert np.abs(logits - plain)[:, seen].max() < 1e-3
    assert np.ptp(logits[:, L1]) > 0.01
    # Neither the number of films nor their order matters.
    assert np.array_equal(predictor.logits(films[4:5])[0, seen], logits[4, seen])
    assert answered(logits, info).all()


@pytest.mark.usefixtures("sure")
def test_a_film_that_is_no_number_is_a_failure_not_a_film_without_levels(
    info: CheckpointInfo, films: torch.Tensor
) -> None:
    broken = films.clone()
    broken[2, 0, SIZE // 2] = torch.nan
    logits = Predictor(info, device="cpu", precision="float32").logits(broken)
    assert answered(logits, info).tolist() == [i != 2 for i in range(6)]


def test_where_no_spine_is_found_the_film_has_an_answer_and_its_levels_have_none(
    info: CheckpointInfo, films: torch.Tensor
) -> None:
    logits = Predictor(info, device="cpu", precision="float32").logits(films[:2])
    assert np.isfinite(logits[:, 0]).all()
    assert np.isnan(logits[:, 1:]).all()


@pytest.mark.usefixtures("sure")
def test_flip_mirrors_columns_and_their_windows(
    network: FilmClassifier, films: torch.Tensor, tmp_path: Path
) -> None:
    straightener = Straightener(Locator(), SPEC)
    columns = straightener(films)
    x0, y0, x1, y1 = columns.windows.unbind(-1)
    mirrored = torch.stack([1 - x1, y0, 1 - x0, y1], -1)
    flipping = stored(tmp_path / "c", [network])
    with torch.inference_mode():
        model = load_weights(flipping)
        both = (
            model.members[0](columns.pixels, columns.windows)
            + model.members[0](columns.pixels.flip(3), mirrored)
        ) / 2
        model.flip = True
        assert torch.allclose(model(films), both, atol=1e-5, equal_nan=True)


def test_the_locator_is_part_of_what_the_model_is(
    network: FilmClassifier, info: CheckpointInfo, tmp_path: Path
) -> None:
    other = stored(tmp_path / "weights", [network], seed=2)
    margin = stored(tmp_path / "spec", [network], margin=1.0)
    assert len({info.model_sha256, other.model_sha256, margin.model_sha256}) == 3
    found = load_weights(info).straightener
    assert found is not None and found.spec == SPEC
    torch.manual_seed(1)
    for name, tensor in Locator().state_dict().items():
        assert (found.locator.state_dict()[name] - tensor).abs().max() < 1e-3


def test_a_locator_that_is_not_understood_is_refused(
    network: FilmClassifier, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="locator is not understood"):
        load_weights(stored(tmp_path / "c", [network], height_px=100))


def test_tensors_that_do_not_fit_the_locator_are_refused(
    network: FilmClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Locator((8, 16, 24, 32, 32))
    monkeypatch.setattr(f"{__name__}.Locator", lambda: small)
    info = stored(tmp_path / "c", [network])
    with pytest.raises(CheckpointError, match="do not fit the locator"):
        load_weights(info)


@pytest.mark.usefixtures("sure")
def test_the_heatmap_lies_on_the_film_where_the_column_lay(
    info: CheckpointInfo, films: torch.Tensor
) -> None:
    predictor = Predictor(info, device="cpu", precision="float32")
    found = heatmaps(predictor, films[:2], "fracture_L1")
    assert found.shape == (2, SIZE, SIZE)
    assert found.max() > 0
    assert not predictor.reference.members[0].last._forward_hooks
    width = SPEC.width * 0.085
    at = (np.arange(SIZE) + 0.5) / SIZE
    for heat in found:
        lit = np.nonzero(heat.max(0))[0]
        assert np.abs(at[lit] - 0.5).max() < width / 2 + 0.1
        x, y = peak(heat)
        assert 0 < x < 1 and 0 < y < 1
    assert (heatmaps(predictor, films[:1], "fracture_T10") == 0).all()
