"""The training loop in miniature: what it promises a site, not how well it learns."""

import numpy as np
import pytest
import torch

from vfscreen.errors import TrainingError
from vfscreen.model.augmentation import (
    Variation,
    box_masks,
    draw,
    random_geometry,
    vary_display,
    warp,
)
from vfscreen.model.batches import Batches, FilmArrays
from vfscreen.model.network import build
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.pruning import magnitude_masks, prunable, sparsity_at, zero_share
from vfscreen.model.training import TrainingState, train
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing(input_size_px=32)
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


class Squares:
    """Films with a bright square, the same with a bright line, the same with nothing."""

    def __init__(self, groups: int, ready: int | None = None) -> None:
        rng = np.random.default_rng(0)
        plain = rng.integers(60, 140, (groups, 1, 40, 40)).astype(np.uint8)
        self.films = plain.repeat(3, 1)
        self.boxes = np.full((groups, 3, 1, 4), np.nan, np.float32)
        self.targets = np.zeros((groups, 3, 1), np.float32)
        self.targets[:, 0] = 1
        for g, (x, y) in enumerate(rng.integers(6, 24, (groups, 2))):
            self.films[g, 0, y : y + 10, x : x + 10] = 240
            self.films[g, 1, y : y + 1, x : x + 10] = 240
            self.boxes[g, 0, 0] = np.array([x, y, x + 10, y + 10]) / 40
        self.count = groups if ready is None else ready

    def arrays(self) -> FilmArrays:
        return FilmArrays(self.films, self.targets, self.boxes)

    def ready(self) -> np.ndarray:
        return np.arange(self.count)


def run(plan: TrainingPlan, *, source: Squares | None = None) -> tuple:
    torch.manual_seed(0)
    states: list[TrainingState] = []
    model = train(
        build("resnext50_32x4d", ("vertebral_fracture",)),
        source or Squares(24),
        SPEC,
        plan,
        CPU,
        report=states.append,
        report_every_s=0.0,
    ).model
    return model, states


QUICK = TrainingPlan(
    steps=16,
    batch_size=12,
    learning_rate=1e-3,
    ema_steps=5,
    sparsity=0.84,
    mask_steps=8,
    statistics_passes=2,
)


@pytest.fixture(scope="module")
def trained() -> tuple:
    return run(QUICK)


def test_the_loss_falls(trained: tuple) -> None:
    totals = [sum(state.losses.values()) for state in trained[1]]
    # Before pruning takes most of the weights away.
    assert np.mean(totals[4:8]) < 0.8 * np.mean(totals[:2])


def test_most_weights_are_zero_in_the_end_and_all_survive_storing(trained: tuple) -> None:
    weights = prunable(trained[0])
    assert zero_share(weights) == pytest.approx(QUICK.sparsity, abs=1e-3)
    assert all(torch.equal(w, w.half().float()) for w in weights.values())


def test_pruned_weights_stay_zero_when_training_goes_on(trained: tuple) -> None:
    model = trained[0]
    zeros = {name: w.detach() == 0 for name, w in prunable(model).items()}
    states: list[TrainingState] = []
    again = train(
        build_copy(model),
        Squares(8),
        SPEC,
        TrainingPlan(steps=2, batch_size=6, statistics_passes=1),
        CPU,
        already_pruned=True,
        report=states.append,
    ).model
    changed = False
    for name, weight in prunable(again).items():
        assert (weight[zeros[name]] == 0).all()
        changed |= not torch.equal(weight, prunable(model)[name])
    assert changed


def build_copy(model: torch.nn.Module) -> torch.nn.Module:
    copy = build("resnext50_32x4d", ("vertebral_fracture",))
    copy.load_state_dict(model.state_dict())
    return copy


def test_the_same_seed_gives_the_same_weights() -> None:
    plan = TrainingPlan(steps=2, batch_size=6, seed=3)
    first, second = run(plan)[0].state_dict(), run(plan)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    source = Squares(4)
    source.targets[0, 0] = np.inf
    with pytest.raises(TrainingError, match="not finite"):
        run(TrainingPlan(epochs=2, batch_size=6), source=source)


def test_films_that_become_ready_are_taken_in() -> None:
    source = Squares(8, ready=2)
    batches = Batches(source, SPEC, TrainingPlan(steps=1, batch_size=6), CPU)
    assert sorted(np.concatenate(batches.rows_of(0))) == [0, 1]
    source.count = 8
    assert sorted(np.concatenate(batches.rows_of(1))) == list(range(8))


def test_films_of_a_patient_are_varied_alike() -> None:
    rng = torch.Generator().manual_seed(1)
    films = torch.rand(4, 1, 32, 32, generator=rng).repeat_interleave(3, 0)
    varied = vary_display(films, draw(4, 3, Variation(noise=0.0), rng))
    by_patient = varied.view(4, 3, -1)
    assert torch.allclose(by_patient[:, 0], by_patient[:, 2], atol=1e-6)
    assert not torch.allclose(by_patient[0, 0], films.view(4, 3, -1)[0, 0], atol=1e-3)
    assert varied.min() >= 0 and varied.max() <= 1


def test_a_box_moves_with_its_film() -> None:
    rng = torch.Generator().manual_seed(2)
    geometry = random_geometry(16, Variation(), rng)
    box = torch.tensor([[[0.4, 0.3, 0.6, 0.5]]]).expand(16, 1, 4)
    film = torch.zeros(16, 1, 80, 80)
    film[:, :, 24:40, 32:48] = 1
    where = warp(box_masks(box, 80), geometry, 64)
    assert ((warp(film, geometry, 64) - where).abs().mean((1, 2, 3)) < 0.01).all()


def test_pruning_follows_a_cubic_and_ends_at_its_target() -> None:
    shares = [sparsity_at(p, start=0.2, end=0.8, target=0.84) for p in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert shares == pytest.approx([0, 0, 0.84 * 0.875, 0.84, 0.84])


def test_pruning_keeps_the_largest_weights_of_every_layer() -> None:
    torch.manual_seed(0)
    layers = {
        "small": torch.nn.Parameter(torch.randn(40, 10, 1, 1) * 1e-3),
        "large": torch.nn.Parameter(torch.randn(40, 10, 1, 1) * 1e3),
    }
    masks = magnitude_masks(layers, 0.9)
    kept = sum(int(m.sum()) for m in masks.values())
    assert kept == 80
    for name, mask in masks.items():
        # A layer's scale is meaningless before normalisation: both keep their own largest.
        size = layers[name].detach().abs()
        assert mask.sum() > 20
        assert size[mask == 1].min() >= size[mask == 0].max()
