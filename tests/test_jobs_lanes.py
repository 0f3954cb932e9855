"""Lanes: batches side by side, and no lane left waiting when one cannot open."""

import time

import dicom_films as films
import numpy as np
import pytest

from vfscreen.imaging.tasks import DecodedFilm, DecodeMode
from vfscreen.jobs.lanes import Lanes
from vfscreen.model.checkpoint import read_info
from vfscreen.model.inference import Predictor


@pytest.fixture(scope="module")
def predictor():
    return Predictor(read_info("demo"), device="cpu")


def decoded(index):
    display = films.anatomy(300 + index, 260, bits=16, seed=index)
    region = (0.0, 0.0, *map(float, display.shape))
    return DecodedFilm(
        index, DecodeMode.FULL, display, index, region, "numpy", "", 0, 0.0, 0.0, 0.0, "window"
    )


def test_batches_come_back_in_order_with_their_films_released(predictor):
    released = []
    with Lanes(predictor, 4, released.append, keep={1, 9}) as lanes:
        batches = [[decoded(4 * b + i) for i in range(4)] for b in range(5)]
        done = [scored for batch in batches for scored in lanes.submit(batch)]
        done += lanes.finish()
    assert [s.indexes for s in done] == [[f.index for f in batch] for batch in batches]
    assert sorted(film.index for film in released) == list(range(20))
    kept = {index: pixels for s in done for index, pixels in s.kept.items()}
    assert kept.keys() == {1, 9} and kept[1].shape == (1, 224, 224)
    # As alone: neither lane nor neighbours matter.
    with Lanes(predictor, 4, released.append) as lanes:
        alone = [*lanes.submit([decoded(9)]), *lanes.finish()]
    assert np.array_equal(alone[0].logits[0], done[2].logits[1])


def test_batches_wait_for_each_other_where_memory_is_short(predictor):
    """With room for one batch, the next is taken only once the first is done."""
    batches = [[decoded(4 * b + i) for i in range(4)] for b in range(4)]
    one = sum(film.memory_bytes for film in batches[0])
    slowly = Lanes(predictor, 4, lambda film: time.sleep(0.05), most_bytes=one - 1)
    with slowly as lanes:
        for batch in batches:
            assert [scored.indexes for scored in lanes.submit(batch)] == [
                [film.index for film in batch]
            ]
        assert list(lanes.finish()) == []


def test_a_lane_that_cannot_open_says_why_at_once(predictor, monkeypatch):
    opened = iter([None])

    def second_fails():
        if next(opened, "second") == "second":
            raise MemoryError("no memory for a pipeline")

    monkeypatch.setattr(predictor, "warm_up", second_fails)
    monkeypatch.setattr(predictor, "lanes", 2)
    with pytest.raises(MemoryError, match="no memory for a pipeline"):
        Lanes(predictor, 4, lambda film: None)
