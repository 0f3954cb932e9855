"""The ledger accounts for every instance, and a killed run is visible in it."""

import json
import sys
from pathlib import Path

import pytest

from vfscreen.results.folder import Results, open_results
from vfscreen.results.ledger import StageFigures, new_ledger, read_ledgers, write_ledger


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return open_results(tmp_path / "results")


def test_a_ledger_balances_when_every_instance_is_accounted_for() -> None:
    ledger = new_ledger("screen")
    ledger.found, ledger.screened, ledger.already_done, ledger.not_reached = 10, 3, 2, 1
    ledger.add("excluded", "view", 2)
    ledger.add("failed", "truncated")
    ledger.add("failed", "truncated")
    assert ledger.balance() is None
    ledger.screened -= 1
    assert "10 found, but 9 accounted for" in str(ledger.balance())


def test_what_is_written_is_read_again_newest_first(results: Results) -> None:
    for number in range(3):
        ledger = new_ledger("screen")
        ledger.run_id = f"2024060{number}T000000Z-00000000"
        figures = ledger.stage("decode")
        figures.seconds, figures.films = 1.5, 10
        write_ledger(results, ledger)
    read = read_ledgers(results, 2)
    assert [ledger.run_id[:8] for ledger in read] == ["20240602", "20240601"]
    assert read[0].stages == {"decode": StageFigures(seconds=1.5, films=10)}


def test_a_run_that_was_killed_still_says_running(results: Results) -> None:
    ledger = new_ledger("screen")
    write_ledger(results, ledger)
    assert read_ledgers(results)[0].outcome == "running"
    ledger.end("done", 0)
    write_ledger(results, ledger)
    assert [(r.outcome, r.exit_code) for r in read_ledgers(results)] == [("done", 0)]


def test_a_ledger_of_a_later_version_or_a_damaged_one_stops_nobody(results: Results) -> None:
    ledger = new_ledger("screen")
    later = ledger.to_json() | {"something_new": 1}
    (results.runs / "2.json").write_text(json.dumps(later))
    (results.runs / "1.json").write_text("{")
    assert [r.run_id for r in read_ledgers(results)] == [ledger.run_id]


def test_versions_are_told_without_importing_what_is_heavy() -> None:
    assert "torch" in new_ledger("screen").versions
    code = (
        "import sys; from vfscreen.results.ledger import new_ledger; new_ledger('scan');"
        "sys.exit('torch' in sys.modules or 'nvidia.dali' in sys.modules)"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)
