"""Training on columns: the loop with a straightener before it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_straightening import centres, heatmaps_of

from vfscreen.errors import TrainingError
from vfscreen.model.batches import Batches, FilmArrays, Films
from vfscreen.model.column import LEVELS, ColumnSpec
from vfscreen.model.locating import Locator
from vfscreen.model.network import build
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener
from vfscreen.model.training import Trained, train
from vfscreen.preprocessing import Preprocessing

CPU, SIZE, SPEC = torch.device("cpu"), 64, ColumnSpec(128, 64)
FINDINGS = ("fracture", "fracture_T10", "fracture_L1", "fracture_L3")
PLAN = TrainingPlan(epochs=2, batch_size=4, learning_rate=1e-3, ema_steps=3, statistics_passes=1)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locator that finds the same spine on every film, without T10."""
    maps = heatmaps_of(centres(shift=0.0, lean=0.0), absent=(0,))
    monkeypatch.setattr(
        Locator, "heatmaps", lambda _, films: maps.to(films.device).expand(len(films), -1, -1, -1)
    )


@pytest.fixture(scope="module")
def straightener() -> Straightener:
    torch.manual_seed(0)
    return Straightener(Locator(), SPEC)


def films(count: int = 8) -> Films:
    """Half of the films have a bright block at L1."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 120, (count, 1, SIZE, SIZE)).astype(np.uint8)
    targets = np.zeros((count, 1, len(FINDINGS)), np.float32)
    boxes = np.full((count, 1, 1, 4), np.nan, np.float32)
    x, y = centres(shift=0.0, lean=0.0)[LEVELS.index("L1")]
    for i in range(0, count, 2):
        box = np.array([x - 0.06, y - 0.04, x + 0.06, y + 0.04])
        left, top, right, bottom = (box * SIZE).astype(int)
        pixels[i, 0, top:bottom, left:right] = 240
        boxes[i, 0, 0] = box
        targets[i, 0, [0, 2]] = 1
    targets[:2, 0, 1] = targets[:2, 0, 3] = [0, 1]
    return Films(FilmArrays(pixels, targets, boxes), np.arange(count))


def run(straightener: Straightener, state: Path | None = None, stop_after: int = 99) -> Trained:
    torch.manual_seed(1)
    asked = iter(range(1, 1000))
    return train(
        build("resnext50_32x4d", FINDINGS),
        films(),
        Preprocessing(input_size_px=SIZE),
        PLAN,
        CPU,
        validation=films(4),
        state=state,
        straightener=straightener,
        stop=lambda: next(asked) >= stop_after,
    )


def test_marks_lie_in_the_column_where_their_level_does(straightener: Straightener) -> None:
    spec = Preprocessing(input_size_px=SIZE)
    plan = replace(PLAN, augmentation="none")
    batch = Batches(films(), spec, plan, CPU, straightener=straightener).prepare(
        np.arange(4), 1, 0, 0
    )
    assert batch.films.shape == (4, 1, SPEC.height_px, SPEC.width_px)
    assert batch.where is not None and batch.windows is not None and batch.marked is not None
    assert batch.where.shape == (4, 1, SPEC.height_px // 4, SPEC.width_px // 4)
    rows = batch.where[0, 0].sum(1).numpy()
    middle = (rows * (np.arange(len(rows)) + 0.5)).sum() / rows.sum() / len(rows)
    _, top, _, bottom = batch.windows[0, LEVELS.index("L1")].tolist()
    assert middle == pytest.approx((top + bottom) / 2, abs=0.02)
    assert batch.marked.all()
    assert (batch.where[1] == 0).all()
    # The bright block is there, too.
    bright = batch.films[0, 0].amax(1).argmax() / SPEC.height_px
    assert top < bright < bottom


def test_columns_vary_in_training_and_their_levels_with_them(straightener: Straightener) -> None:
    spec = Preprocessing(input_size_px=SIZE)
    batches = Batches(films(), spec, PLAN, CPU, straightener=straightener)
    first, other, again = (batches.prepare(np.arange(4), 1, 0, i) for i in (0, 1, 0))
    assert first.windows is not None and other.windows is not None and again.windows is not None
    level = LEVELS.index("L1")
    assert (first.windows[:, level] - other.windows[:, level]).abs().min() > 1e-4
    assert torch.equal(first.films, again.films)
    assert torch.equal(first.windows[:, level], again.windows[:, level])


def test_a_training_on_columns_learns_levels_and_goes_on_where_it_was_stopped(
    straightener: Straightener, tmp_path: Path
) -> None:
    whole = run(straightener)
    logits = whole.validation_logits
    assert logits is not None and logits.shape == (4, len(FINDINGS))
    assert np.isnan(logits[:, 1]).all()  # T10 is on no film
    assert np.isfinite(logits[:, [0, 2, 3]]).all()
    assert np.isnan(whole.history[-1].aucs[1])
    assert np.isfinite(whole.history[-1].aucs[2])
    torch.manual_seed(1)
    before = build("resnext50_32x4d", FINDINGS).output
    moved = (whole.model.output.bias - before.bias).abs()
    # Bias by bias: each level has its own, and T10 is never judged.
    assert moved[[0, 2, 3]].min() > 10 * moved[1]
    stopped = run(straightener, tmp_path / "state", stop_after=3)
    assert stopped.stopped == "asked"
    resumed = run(straightener, tmp_path / "state")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    other = Straightener(straightener.locator, ColumnSpec(128, 32))
    with pytest.raises(TrainingError, match="another training"):
        run(other, tmp_path / "state")
