"""Labelled films through the nightly path, in a folder of their own or in one that is there."""

import stat
from dataclasses import replace

import numpy as np
import pytest
from dicom_films import anatomy, film, write
from spec_tables import catalogue, expect

from vfscreen.config import CanaryConfig, Config, DecodeConfig, EligibilityConfig
from vfscreen.errors import InterruptedRunError, LabelsError, TooManyFailuresError, UsageError
from vfscreen.jobs.scoring import (
    open_scoring,
    scan_and_label,
    score_films,
    scoring_folder,
    scoring_verdict,
)
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import read_info
from vfscreen.results.folder import open_results

UIDS = [f"1.2.{n}" for n in range(1, 6)]
BROKEN = UIDS[2]


class StopAfter(StopRequest):
    """Asks to stop once so many films are saved."""

    def __init__(self, run, films):
        super().__init__()
        self._run, self._films = run, films

    def __call__(self):
        if self._run.ledger.screened >= self._films:
            self.ask("test")
        return super().__call__()


@pytest.fixture(scope="module")
def info():
    return read_info("demo")


@pytest.fixture
def config(tmp_path):
    config = Config(
        eligibility=EligibilityConfig(min_short_side_px=32),
        decode=DecodeConfig(workers=1),
        canary=CanaryConfig(min_films=0),
    )
    run = replace(config.run, pseudonym_key=str(tmp_path / "key"), shard_films=1)
    inference = replace(config.inference, batch_size=1)
    return replace(config, run=run, inference=inference)


@pytest.fixture
def archive(tmp_path):
    """Five films of a study each, the third with a broken value range."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, uid in enumerate(UIDS):
        stored = anatomy(64, 64, seed=number)
        written = film(
            np.full_like(stored, 7) if uid == BROKEN else stored,
            SOPInstanceUID=uid, StudyInstanceUID=f"9{uid}", Modality="DX", PatientAge="070Y",
            BodyPartExamined="ABDOMEN", ViewPosition="AP", PatientID=f"P{number}",
            StudyDate=f"2024010{number + 1}",
        )  # fmt: skip
        write(written, folder / f"{number}.dcm")
    # The last film is not labelled.
    rows = "".join(f"{uid},{n % 2}\n" for n, uid in enumerate(UIDS[:4]))
    (tmp_path / "labels.csv").write_text(f"sop_instance_uid,vertebral_fracture\n{rows}")
    return folder


def score(archive, config, info, stop_after=99, results=None):
    """The ledger and the table of one command."""
    home = archive.parent
    with open_scoring("evaluate", archive, home / "report", results, config) as run:
        stop = StopAfter(run, stop_after)
        labelled = scan_and_label(run, archive, home / "labels.csv", config, stop)
        scored = score_films(run, labelled, archive, info, config, stop)
        return run.ledger, scored, scoring_verdict(run, scored, config)


def logits(scored):
    rows = scored.select(["sop_instance_uid", "logit:vertebral_fracture"]).to_pydict()
    return dict(zip(*rows.values(), strict=True))


def test_every_labelled_film_has_logits_or_one_reason_and_the_ledger_balances(
    archive, config, info
):
    ledger, scored, error = score(archive, config, info)
    assert error is None
    assert set(logits(scored)) == set(UIDS[:4])
    for row in scored.to_pylist():
        assert (row["logit:vertebral_fracture"] is None) == (row["failure_reason"] is not None)
    reasons = dict(
        zip(*scored.select(["sop_instance_uid", "failure_reason"]).to_pydict().values(),
            strict=True)
    )  # fmt: skip
    assert reasons[BROKEN] == "constant_frame"
    assert ledger.balance() is None
    assert (ledger.screened, ledger.excluded, ledger.failed) == (
        3, {"not_labelled": 1}, {"constant_frame": 1},
    )  # fmt: skip
    assert not (archive.parent / ".report.scoring").exists()


def test_two_checkpoints_are_scored_in_one_run_and_the_ledger_balances(archive, config, info):
    other = replace(info, model_sha256="0" * 64)
    home = archive.parent
    with open_scoring("evaluate", archive, home / "report", None, config) as run:
        labelled = scan_and_label(run, archive, home / "labels.csv", config, StopRequest())
        first, second = (
            score_films(run, labelled, archive, one, config, StopRequest()) for one in (info, other)
        )
        assert scoring_verdict(run, second, config) is None
        assert (run.ledger.screened, run.ledger.failed) == (6, {"constant_frame": 2})
    assert first.equals(second)


def test_an_interrupted_command_goes_on_where_it_was(archive, config, info):
    with pytest.raises(InterruptedRunError, match="the same command goes on"):
        score(archive, config, info, stop_after=1)
    folder = archive.parent / ".report.scoring"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ledger, scored, _ = score(archive, config, info)
    assert ledger.already_done >= 1
    assert ledger.screened + ledger.already_done + sum(ledger.failed.values()) == 4
    whole = score(archive, config, info)[1]
    assert logits(scored) == logits(whole)
    assert not folder.exists()


def test_a_results_folder_that_has_the_films_decodes_none(archive, config, info):
    results = open_results(archive.parent / "results").path
    first, before, _ = score(archive, config, info, results=results)
    again, after, _ = score(archive, config, info, results=results)
    assert (first.screened, again.screened, again.already_done) == (3, 0, 4)
    assert before.equals(after)
    assert results.is_dir()
    with pytest.raises(UsageError, match="no results folder"):
        score(archive, config, info, results=archive.parent / "nowhere")


def test_too_many_failures_are_the_verdict(archive, config, info):
    strict = replace(config, run=replace(config.run, min_failures=1, max_failure_rate=0.1))
    results = open_results(archive.parent / "results").path
    assert isinstance(score(archive, strict, info, results=results)[2], TooManyFailuresError)
    # The film that failed in an earlier run counts as well.
    assert isinstance(score(archive, strict, info, results=results)[2], TooManyFailuresError)


def test_headers_that_fail_elsewhere_in_the_archive_are_no_verdict(archive, config, info):
    strict = replace(config, run=replace(config.run, min_failures=1, max_failure_rate=0.3))
    for number in range(5):
        whole = (archive / "0.dcm").read_bytes()
        (archive / f"cut-{number}.dcm").write_bytes(whole[:300])
    ledger, _, error = score(archive, strict, info)
    assert sum(ledger.failed.values()) >= 5
    assert error is None


def test_what_the_scan_found_is_told_whole_also_where_it_was_known(archive, config):
    (archive / "cut.dcm").write_bytes((archive / "0.dcm").read_bytes()[:300])
    results = open_results(archive.parent / "results").path
    for _ in range(2):
        with open_scoring("evaluate", archive, archive, results, config) as run:
            labels = archive.parent / "labels.csv"
            labelled = scan_and_label(run, archive, labels, config, StopRequest())
        assert labelled.archive_files == {"eligible": 5, "truncated": 1}


def test_a_folder_of_a_command_that_failed_is_kept(tmp_path, caplog):
    with pytest.raises(LabelsError), scoring_folder(tmp_path / "report") as folder:
        folder.mkdir()
        raise LabelsError("wrong")
    assert folder == tmp_path / ".report.scoring"
    assert folder.is_dir()
    with scoring_folder(tmp_path / "report"):
        pass
    assert not folder.exists()


def test_the_last_prediction_of_the_films_own_content_counts():
    asked = catalogue(
        manifest="""
            film | study | content
            F1   | S1    | v2
            F2   | S2    | v1
            F3   | S3    | v1
            F4   | S4    | v1
        """,
        predictions="""
            film | content | logit | model | screened_at
            F1   | v1      | 1     | model | 2024-06-03
            F1   | v2      | 2     | model | 2024-06-01
            F1   | v2      | 3     | model | 2024-06-02
            F2   | v1      | 4     | other | 2024-06-02
            F3   | v1      | 5     | model | 2024-06-02
        """,
        failures="""
            film | content | reason         | stage   | failed_at
            F2   | v1      | lost_worker    | decode  | 2024-06-01
            F2   | v1      | truncated      | decode  | 2024-06-02
            F3   | v1      | decode_timeout | decode  | 2024-06-01
            F4   | v1      | truncated      | explain | 2024-06-01
        """,
    )
    expect(
        asked, "film_outcomes",
        """
            film | logit | failure_reason
            F1   | 3     |
            F2   |       | truncated
            F3   | 5     |
        """,
        model_sha256="model", archive_roots=["/archive"],
    )  # fmt: skip
