"""The demonstration checkpoint's job: a cache that survives a kill, and a whole small training."""

from pathlib import Path

import numpy as np
import pytest

from vfscreen.errors import UsageError
from vfscreen.jobs.demonstration import NAME, train_demonstration
from vfscreen.jobs.estimate import checkpoint_accuracy
from vfscreen.jobs.phantom_cache import CachePlan, PhantomCache, _render_rows, rendering, wait_for
from vfscreen.model.checkpoint import read_info

PLAN = CachePlan(validation=1, training=3, seed=5)


def test_a_killed_rendering_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole = PhantomCache(tmp_path / "whole", PLAN)
    _render_rows(tmp_path / "whole", PLAN, 0, 1)
    cut = PhantomCache(tmp_path / "cut", PLAN)
    _render_rows(tmp_path / "cut", PLAN, 1, 2)  # every second row, then the worker is gone
    assert cut.ready().tolist() == [1, 3]
    with rendering(tmp_path / "cut", PLAN, workers=1) as cache:
        wait_for(cache, PLAN.training)
    for name, column in whole.columns.items():
        assert np.array_equal(column, cut.columns[name], equal_nan=column.dtype == np.float32)


def test_a_cache_of_another_plan_is_begun_anew(tmp_path: Path) -> None:
    PhantomCache(tmp_path, PLAN).columns["done"][:] = 1
    assert len(PhantomCache(tmp_path, PLAN).ready()) == 4
    other = CachePlan(validation=1, training=3, seed=6)
    assert len(PhantomCache(tmp_path, other).ready()) == 0


def test_boxes_lie_on_what_the_fracture_changed(tmp_path: Path) -> None:
    _render_rows(tmp_path, PLAN, 0, 1)
    columns = PhantomCache(tmp_path, PLAN).columns
    size = columns["films"].shape[-1]
    at = (np.arange(size) + 0.5) / size
    for films, boxes in zip(columns["films"], columns["boxes"], strict=True):
        changed = np.abs(films[0].astype(int) - films[2]) > 40
        assert changed.any()
        inside = np.zeros_like(changed)
        for x0, y0, x1, y1 in boxes[0][~np.isnan(boxes[0, :, 0])]:
            # A collapse also moves what lies above it: near is near enough.
            rows, across = (at > y0 - 0.2) & (at < y1 + 0.1), (at > x0 - 0.1) & (at < x1 + 0.1)
            inside |= rows[:, None] & across[None, :]
        assert changed[inside].sum() > 0.5 * changed.sum()


@pytest.mark.parametrize("limits", [{}, {"minutes": 1.0, "steps": 3}])
def test_either_minutes_or_steps(tmp_path: Path, limits: dict) -> None:
    with pytest.raises(UsageError, match="either"):
        train_demonstration(tmp_path / "c", **limits)


@pytest.mark.drill
@pytest.mark.timeout(900)  # two busy cores
def test_training_further_writes_a_checkpoint_that_says_what_it_is(tmp_path: Path) -> None:
    # From the shipped network: two steps from scratch may rank films the wrong way round, which
    # is refused.
    info = train_demonstration(
        tmp_path / "demo.safetensors",
        phantoms=6,
        validation=4,
        steps=2,
        device="cpu",
        workers=1,
        groups_per_batch=2,
        init=read_info("demo").path,
    )
    assert info == read_info(tmp_path / "demo.safetensors")
    assert info.demonstration and info.name == NAME
    assert info.path.stat().st_size <= 12_000_000
    assert info.provenance["phantom"]["training"] == 6
    assert str(tmp_path) not in str(info.provenance)
    points = checkpoint_accuracy(info, "vertebral_fracture")
    assert [p.operating_point for p in points][:1] == ["default"]
    assert 0 <= points[0].sensitivity.low <= points[0].sensitivity.high <= 1
    assert set(info.operating_points["vertebral_fracture"]) >= {
        "default",
        "high_sensitivity",
        "high_specificity",
    }
