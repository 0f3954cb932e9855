"""When a run is asked to end."""

import os
import signal
import time
from datetime import datetime

import pytest

from vfscreen.errors import UsageError
from vfscreen.jobs.stopping import StopRequest, parse_stop_at, stop_on_signals

NOON = datetime(2026, 3, 1, 12, 0)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("13:30", datetime(2026, 3, 1, 13, 30)),
        ("06:30", datetime(2026, 3, 2, 6, 30)),
        ("12:00", datetime(2026, 3, 2, 12, 0)),
        ("2026-03-05T06:30", datetime(2026, 3, 5, 6, 30)),
    ],
)
def test_a_time_of_day_is_the_next_one(text, moment):
    assert parse_stop_at(text, NOON) == moment.timestamp()


@pytest.mark.parametrize("text", ["soon", "25:00", "2026-02-01T06:30"])
def test_other_times_are_refused(text):
    with pytest.raises(UsageError):
        parse_stop_at(text, NOON)


def test_the_time_given_ends_the_run():
    stop = StopRequest(stop_at=time.time() + 0.05)
    assert not stop()
    time.sleep(0.06)
    assert stop()
    assert not stop.out_of_grace()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request(number):
    stop = StopRequest()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop()
    assert stop.reason == f"signal {number.name}"


def test_a_second_interrupt_ends_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_signals(StopRequest()):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
