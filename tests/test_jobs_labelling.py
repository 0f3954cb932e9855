"""Which findings are read from reports, in which languages, and when they are read again."""

from dataclasses import replace
from pathlib import Path

import pytest

from vfscreen.config import Config, ReportsConfig
from vfscreen.errors import ReportsError
from vfscreen.jobs.labelling import lexicons
from vfscreen.jobs.reports import read_reports_into, run_import
from vfscreen.jobs.run import open_run
from vfscreen.results.calibrations import Calibration
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import register_checkpoint
from vfscreen.results.folder import existing_results
from vfscreen.results.rows import CheckpointHead, checkpoints_table
from vfscreen.results.sql import fetch

_REPORTS = """accession_number,text
A1,Old femoral neck fracture. No vertebral fracture.
A2,Aplastamiento de L1. Sin obstrucción.
A3,第一腰椎壓迫性骨折。
"""


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.csv"
    path.write_text(_REPORTS, encoding="utf-8")
    return path


def _labels(results: Path) -> list[tuple[str, str, str]]:
    with connect(existing_results(results)) as catalogue:
        rows = fetch(
            catalogue,
            "select accession_number, finding, report_status from report_labels order by all",
        )
    return [tuple(row.values()) for row in rows.to_pylist()]  # type: ignore[misc]


def _predict(results: Path, *findings: str) -> None:
    """Note a checkpoint of these findings, and read what its reports say of them."""
    heads = [CheckpointHead(name, Calibration(), {"default": 0.5}) for name in findings]
    rows = checkpoints_table(
        heads,
        checkpoint_sha256="c",
        model_sha256="m",
        name="two heads",
        path="two.safetensors",
        demonstration=True,
    )
    with open_run(results, "flag", Config()) as run:
        assert register_checkpoint(run.results, rows)
        publish(run.results)
        read_reports_into(run, None, Config())


_VERTEBRAL = [
    ("A1", "vertebral_fracture", "denied"),
    ("A2", "vertebral_fracture", "ambiguous"),
    ("A3", "vertebral_fracture", "reported"),
]


def test_each_finding_that_a_checkpoint_predicts_has_a_label_a_report(
    tmp_path: Path, reports: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = tmp_path / "results"
    run_import(reports, results, Config())
    assert _labels(results) == _VERTEBRAL
    _predict(results, "vertebral_fracture", "hip_fracture", "rib_fracture")
    assert _labels(results) == [
        ("A1", "hip_fracture", "reported"),
        ("A1", "vertebral_fracture", "denied"),
        ("A2", "hip_fracture", "not_mentioned"),
        ("A2", "vertebral_fracture", "ambiguous"),
        ("A3", "hip_fracture", "not_mentioned"),
        ("A3", "vertebral_fracture", "reported"),
    ]
    assert "No lexicon reads reports for rib_fracture" in caplog.text


def test_other_languages_label_anew(tmp_path: Path, reports: Path) -> None:
    results = tmp_path / "results"
    config = Config()
    run_import(reports, results, config)
    assert run_import(reports, results, config).reports.get("labelled", 0) == 0
    english = replace(config, reports=ReportsConfig(languages=("en",)))
    assert run_import(reports, results, english).reports["labelled"] == 3
    assert [status for *_, status in _labels(results)] == [
        "denied",
        "not_mentioned",
        "not_mentioned",
    ]


def test_a_sites_lexicon_replaces_the_shipped_one_of_its_finding(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[lexicon]\nfinding = "hip_fracture"\nlanguage = "en"\nextends = "hip_fracture"\n', "utf-8"
    )
    config = Config(reports=ReportsConfig(lexicons=(str(path),)))
    first, second = lexicons(config, ["hip_fracture"])
    assert (first.finding, second.finding) == ("hip_fracture", "vertebral_fracture")
    assert first.sha256 != lexicons(Config(), ["hip_fracture"])[0].sha256


def test_a_language_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ReportsError, match="not fr"):
        lexicons(Config(reports=ReportsConfig(languages=("en", "fr"))), [])
