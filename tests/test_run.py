"""How a run ends: the ledger must balance, and too many failures are somebody's business."""

import json

import pytest

from vfscreen.config import Config
from vfscreen.errors import InterruptedRunError, LockedError, TooManyFailuresError
from vfscreen.jobs.run import open_run, verdict
from vfscreen.results.ledger import read_ledgers


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with open_run(tmp_path / "results", "screen", Config()) as run:
        yield run


def fill(run, *, screened, failed, found=None, not_reached=0):
    run.ledger.screened = screened
    run.ledger.not_reached = not_reached
    run.ledger.add("failed", "truncated", failed)
    run.ledger.found = screened + failed + not_reached if found is None else found


def test_all_is_well(run):
    fill(run, screened=100, failed=3)
    assert verdict(run, Config(), None) is None


@pytest.mark.parametrize(
    ("screened", "failed", "code"),
    [(1000, 19, 0), (100, 19, 0), (380, 20, 0), (379, 20, 4), (0, 20, 4), (100, 100, 4)],
)
def test_more_than_5_percent_and_at_least_20_failures_end_with_4(run, screened, failed, code):
    fill(run, screened=screened, failed=failed)
    error = verdict(run, Config(), None)
    assert (0 if error is None else error.exit_code) == code
    assert error is None or isinstance(error, TooManyFailuresError)


def test_a_ledger_that_does_not_balance_ends_with_1(run):
    fill(run, screened=10, failed=0, found=11)
    error = verdict(run, Config(), None)
    assert error.exit_code == 1
    assert "11 found" in str(error)


def test_stopped_early_says_what_is_left(run):
    fill(run, screened=10, failed=0, not_reached=7)
    error = verdict(run, Config(), "signal SIGTERM")
    assert isinstance(error, InterruptedRunError)
    assert "7 films are left" in str(error)


def test_a_second_run_is_refused_while_the_first_is_at_work(run):
    with pytest.raises(LockedError), open_run(run.results.path, "flag", Config()):
        pass


def test_a_run_that_raises_leaves_a_ledger_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "r", "screen", Config()) as run:
        raise ZeroDivisionError
    (ledger,) = read_ledgers(run.results)
    assert (ledger.outcome, ledger.exit_code) == ("bug", 1)
    assert json.loads((run.results.runs / f"{run.run_id}.json").read_text())["ended_at"]
