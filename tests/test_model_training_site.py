"""The training loop at a site: epochs, validation, several findings, and going on after a stop."""

import itertools
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_straightening import centres, heatmaps_of

from vfscreen.errors import StorageError, TrainingError
from vfscreen.model.batches import Batches, FilmArrays, Films, epoch_order, sampling_weights
from vfscreen.model.column import ColumnSpec
from vfscreen.model.locating import Locator
from vfscreen.model.losses import film_loss, losses_of
from vfscreen.model.network import build
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener
from vfscreen.model.training import Trained, TrainingState, train
from vfscreen.model.validating import logits_of
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing(input_size_px=32)
CPU = torch.device("cpu")
FINDINGS = ("vertebral_fracture", "hip_fracture")
PLAN = TrainingPlan(epochs=3, batch_size=8, learning_rate=1e-3, statistics_passes=3, seed=2)


pytestmark = pytest.mark.usefixtures("one_thread")


def films(count: int = 32) -> FilmArrays:
    """Films with a bright square where the first finding is; half know nothing of the second."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 140, (count, 1, 32, 32)).astype(np.uint8)
    first = (np.arange(count) % 3 == 0).astype(np.float32)
    pixels[first == 1, :, 8:20, 8:20] = 250
    second = np.where(np.arange(count) % 2 == 0, 1 - first, np.nan)
    return FilmArrays(pixels, np.stack([first, second], -1)[:, None].astype(np.float32))


def run(plan: TrainingPlan = PLAN, *, arrays: FilmArrays | None = None, **options) -> Trained:
    arrays = arrays or films()
    torch.manual_seed(0)
    return train(
        build("resnext50_32x4d", FINDINGS),
        Films(arrays, np.arange(20)),
        SPEC,
        plan,
        CPU,
        validation=Films(arrays, np.arange(20, len(arrays.films))),
        **options,
    )


def same_weights(a: Trained, b: Trained) -> bool:
    first, second = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return run()


def test_validation_rises_and_the_best_network_is_returned(trained: Trained) -> None:
    aucs = [row.auc for row in trained.history]
    assert [row.epoch for row in trained.history] == [1, 2, 3]
    assert max(aucs) > 0.9 and trained.stopped == "done"
    assert aucs[trained.best_epoch - 1] == max(aucs)
    validation = Films(films(), np.arange(20, 32))
    again = logits_of(trained.model, validation, SPEC, CPU, PLAN.batch_size)
    assert np.array_equal(again, trained.validation_logits)


SHORT = replace(PLAN, epochs=2, batch_size=10)


def test_stopped_again_and_again_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, state = run(SHORT), tmp_path / "state.safetensors"
    # Batches and validations alike: the loop asks before or after each of their batches.
    for patience in itertools.count(1):
        calls = itertools.count(1)
        resumed = run(
            SHORT, state=state, stop=lambda calls=calls, last=patience: next(calls) == last
        )
        if resumed.stopped != "asked":
            break
    assert patience > 4
    assert same_weights(resumed, whole)
    assert np.array_equal(resumed.validation_logits, whole.validation_logits)
    timeless = [[replace(row, seconds=0) for row in t.history] for t in (resumed, whole)]
    assert timeless[0] == timeless[1]
    # What is done is not done again.
    assert same_weights(run(SHORT, state=state, stop=lambda: pytest.fail("trains on")), whole)


@pytest.mark.drill
@pytest.mark.timeout(900)  # two busy cores
def test_killed_again_and_again_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    script = Path(__file__).parent / "training_to_kill.py"

    def start(state: Path, out: Path) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, script, state, out])

    assert start(tmp_path / "whole.state", tmp_path / "whole").wait() == 0
    state, out = tmp_path / "killed.state", tmp_path / "killed"
    rng, kills = np.random.default_rng(1), 0
    while not out.exists():
        before = state.stat().st_mtime_ns if state.exists() else None
        training = start(state, out)
        # Once it has written a state, at any moment of a batch or of the next write.
        while training.poll() is None:
            if state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, 2.0))
                kills += training.poll() is None
                training.kill()
            time.sleep(0.01)
        training.wait()
    assert kills >= 3
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_full_disk_leaves_the_last_state(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    run(SHORT, state=state, stop=lambda: True)
    before = state.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"training state .* cannot be written"):
            run(SHORT, state=state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
    assert state.read_bytes() == before
    assert run(SHORT, state=state).stopped == "done"


def test_a_loss_that_is_not_finite_goes_back_once_at_half_the_rate() -> None:
    arrays = films()
    right = arrays.targets.copy()

    def poison(state: TrainingState) -> None:
        """The labels of the first batch of the second epoch."""
        if len(state.history) == 1:
            arrays.targets[:] = np.inf

    def heal() -> bool:
        arrays.targets[:] = right
        return False

    # Only what the loop draws is poisoned: validation has arrays of its own.
    torch.manual_seed(0)
    trained = train(
        build("resnext50_32x4d", FINDINGS), Films(arrays, np.arange(20)), SPEC,
        replace(SHORT, final_rate=1.0, warm_up=0.0), CPU,
        validation=Films(films(), np.arange(20, 32)), report=poison, stop=heal,
        report_every_s=1e9,
    )  # fmt: skip
    assert [row.recoveries for row in trained.history] == [0, 1]
    assert [row.learning_rate for row in trained.history] == [1e-3, 5e-4]
    assert trained.history[-1].step == 4
    assert np.isfinite(trained.validation_logits).all()


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    run(state=state, stop=lambda: True)
    with pytest.raises(TrainingError, match="belongs to another training"):
        run(replace(PLAN, learning_rate=2e-3), state=state)
    other = films()
    other.targets[0, 0, 0] = 1 - other.targets[0, 0, 0]
    with pytest.raises(TrainingError, match="belongs to another training"):
        run(state=state, arrays=other)
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(TrainingError, match="damaged"):
        run(state=state)


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_a_finding_with_one_class_is_refused_by_name(value: float) -> None:
    arrays = films()
    arrays.targets[:20, 0, 1] = np.where(np.isnan(arrays.targets[:20, 0, 1]), np.nan, value)
    with pytest.raises(TrainingError, match="labels of hip_fracture: both classes"):
        run(arrays=arrays)


def test_a_validation_of_one_class_is_refused() -> None:
    arrays = films()
    arrays.targets[20:] = 0
    with pytest.raises(TrainingError, match="cannot be judged"):
        run(arrays=arrays)


def test_patience_ends_a_training_that_no_longer_gets_better() -> None:
    # With a rate of nothing the first epoch stays the best.
    still = replace(PLAN, epochs=9, learning_rate=0.0, patience=2, ema_steps=0, statistics_passes=0)
    ended = run(replace(still, frozen=("stem", "stage1", "stage2", "stage3", "stage4")))
    assert ended.stopped == "patience"
    assert (ended.best_epoch, len(ended.history)) == (1, 3)


def test_an_epoch_shows_every_film_once() -> None:
    batches = Batches(Films(films(), np.arange(20)), SPEC, PLAN, CPU)
    first, second = batches.rows_of(0), batches.rows_of(1)
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(20))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert {len(rows) for rows in first} == {6, 7}


def test_sampling_shows_both_classes_alike() -> None:
    targets = np.zeros((100, 1), np.float32)
    targets[:10] = 1
    order = epoch_order(np.arange(100), sampling_weights(targets), seed=1, epoch=0)
    assert (targets[order, 0] == 1).sum() == 50
    assert np.bincount(order, minlength=100)[:10].tolist() == [5] * 10


def test_a_thread_prepares_the_same_batches() -> None:
    batches = Batches(Films(films(), np.arange(20)), SPEC, PLAN, CPU)
    rows = batches.rows_of(0)
    ahead, plain = (list(batches.stream(0, rows, 1, ahead=a)) for a in (True, False))
    assert len(ahead) == len(plain) == 2
    assert all(torch.equal(a.films, b.films) for a, b in zip(ahead, plain, strict=True))


def test_films_may_lie_in_a_file_that_is_read_only(tmp_path: Path) -> None:
    arrays = films()
    np.save(tmp_path / "films.npy", arrays.films)
    mapped = replace(arrays, films=np.load(tmp_path / "films.npy", mmap_mode="r"))
    one, other = (
        next(batches.stream(0, batches.rows_of(0)))
        for a in (arrays, mapped)
        for batches in [Batches(Films(a, np.arange(20)), SPEC, PLAN, CPU)]
    )
    assert torch.equal(one.films, other.films)


def test_a_positive_film_without_a_mark_says_nothing_about_places() -> None:
    arrays = films(6)
    arrays.targets[:, 0, 0] = [1, 1, 0, 0, np.nan, np.nan]
    boxes = np.full((6, 1, 1, 4), np.nan, np.float32)
    boxes[0] = boxes[4] = 0.5  # a point
    batches = Batches(Films(replace(arrays, boxes=boxes), np.arange(6)), SPEC, PLAN, CPU)
    batch = batches.prepare(np.arange(6), 1, 0, 0)
    assert batch.marked.tolist() == [True, False, True, True, True, False]
    assert (batch.where.amax((1, 2, 3)) > 0).tolist() == [True, False, False, False, True, False]
    dense = [torch.zeros(6, 1, 2, 2, requires_grad=True), torch.zeros(6, 1, 1, 1)]
    losses = losses_of(
        torch.zeros(6, 2), batch.targets, dense, batch.where, batch.marked, 1, torch.ones(2), PLAN
    )
    losses["dense16"].backward()
    assert (dense[0].grad.abs().amax((1, 2, 3)) > 0).tolist() == batch.marked.tolist()


def test_what_is_not_known_counts_for_nothing() -> None:
    logits, weights = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([1.0, 4.0])
    known = film_loss(logits, torch.tensor([[1.0, 0.0], [0.0, torch.nan]]), weights, 0.0)
    terms = [np.log1p(np.exp(-1.0)), np.log1p(np.exp(-2.0)), np.log1p(np.exp(0.5))]
    assert float(known) == pytest.approx(np.mean(terms))


def test_columns_are_learnt_from_with_the_levels_that_they_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A locator that finds the same spine on every film, without T10.
    maps = heatmaps_of(centres(), absent=(0,))
    monkeypatch.setattr(Locator, "heatmaps", lambda _, x: maps.expand(len(x), -1, -1, -1))
    arrays = films()
    targets = np.concatenate([arrays.targets[..., :1]] * 3, -1)
    targets[::5, 0, 1:] = np.nan
    boxes = np.full((32, 1, 1, 4), np.nan, np.float32)
    boxes[::3] = [0.3, 0.3, 0.6, 0.6]
    arrays = FilmArrays(arrays.films, targets, boxes)
    findings = ("fracture", "fracture_L1", "fracture_T10")
    torch.manual_seed(0)
    trained = train(
        build("resnext50_32x4d", findings), Films(arrays, np.arange(20)), SPEC, SHORT, CPU,
        validation=Films(arrays, np.arange(20, 32)),
        straightener=Straightener(Locator(), ColumnSpec(96, 32)),
    )  # fmt: skip
    assert np.isnan(trained.validation_logits).tolist() == [[False, False, True]] * 12
    assert all(np.isfinite([row.loss, row.auc]).all() for row in trained.history)
    assert np.isnan(trained.history[-1].aucs).tolist() == [False, False, True]
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())
