"""What cannot work is refused with one clear sentence and the right exit code."""

import fcntl
import json

import pytest
from conftest import vfscreen


def refused(folder, *arguments, code, says, **environment):
    answer = vfscreen(*arguments, cwd=folder, check=False, **environment)
    assert answer.returncode == code, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    return answer


def test_a_missing_archive(site):
    refused(
        site, "screen", site / "nowhere", "--checkpoint", "demo", "-r", "results",
        code=3, says="There is no archive folder",
    )  # fmt: skip


def test_results_inside_the_archive(site):
    (site / "archive").mkdir()
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "-r", "archive/results",
        code=2, says="must not lie in one another",
    )  # fmt: skip


def test_no_readable_film_at_all(site):
    (site / "archive").mkdir()
    (site / "archive" / "notes.txt").write_text("nothing to see")
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "-r", "results",
        code=3, says="no film that can be screened",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80\x04\x95pickle", "pickle"),
        (b"PK\x03\x04archive", "pickle"),
        (b"", "not a safetensors file"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "safetensors"),
    ],
    ids=["pickle", "torch-zip", "empty", "lying-length"],
)
def test_a_checkpoint_of_the_wrong_kind(site, content, says):
    (site / "archive").mkdir()
    (site / "c.safetensors").write_bytes(content)
    answer = vfscreen(
        "screen", "archive", "--checkpoint", "c.safetensors", "-r", "results",
        cwd=site, check=False,
    )  # fmt: skip
    assert answer.returncode == 3
    assert says.lower() in answer.stderr.lower()
    assert "Traceback" not in answer.stderr


def test_an_unknown_configuration_key(site):
    (site / "vfscreen.toml").write_text("[list]\ncapcity = 3\n")
    (site / "archive").mkdir()
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "-r", "results",
        code=3, says="Did you mean `list.capacity`?",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"accession_number,body\n1,x\n", "text"),
        (b"text,when\nx,1\n", "accession_number"),
        ("accession_number,text\n1,Größe\n".encode("latin-1"), "utf-8"),
        (b"", "empty"),
    ],
    ids=["no-text", "no-key", "latin-1", "empty"],
)
def test_reports_that_cannot_be_read(site, content, says):
    (site / "archive").mkdir()
    (site / "reports.csv").write_bytes(content)
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "--reports", "reports.csv",
        "-r", "results", code=3, says=says,
    )  # fmt: skip


def test_a_second_run_at_the_same_time(site):
    (site / "archive").mkdir()
    (site / "results").mkdir()
    with (site / "results" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(
            site, "screen", "archive", "--checkpoint", "demo", "-r", "results",
            code=5, says="Another run",
        )  # fmt: skip


def test_a_results_folder_that_is_not_there(site):
    refused(site, "flagged", "-r", "results", code=2, says="results")
    assert not (site / "results").exists()


def test_a_stop_time_that_is_none(site):
    (site / "archive").mkdir()
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "-r", "results", "--stop-at", "soon",
        code=2, says="--stop-at",
    )  # fmt: skip


def test_a_threshold_out_of_range(site):
    assert (
        vfscreen("flag", "-r", "results", "--threshold", 2, cwd=site, check=False).returncode == 2
    )


def test_a_finding_that_the_checkpoint_does_not_predict(site):
    (site / "vfscreen.toml").write_text("[list]\nfinding = 'hip_fracture'\n")
    (site / "archive").mkdir()
    refused(
        site, "screen", "archive", "--checkpoint", "demo", "-r", "results",
        code=3, says="vertebral_fracture",
    )  # fmt: skip


def test_help_and_ledgers_name_no_paths(site):
    (site / "archive").mkdir()
    vfscreen("screen", "archive", "--checkpoint", "demo", "-r", "results", cwd=site, check=False)
    for path in (site / "results" / "runs").glob("*.json"):
        assert str(site) not in path.read_text()
        assert json.loads(path.read_text())["exit_code"] == 3
    assert [p.name for p in (site / "config" / "vfscreen").iterdir()] == ["pseudonym.key"]
