"""`reports explain` and `check-lexicon`: what a person sees of a text that somebody else wrote."""

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vfscreen.cli.main import app
from vfscreen.cli.reading import print_explanation
from vfscreen.reports.explaining import KINDS, explain
from vfscreen.reports.lexicon import load


def _explain(text: str | bytes, *options: str, columns: int = 88) -> Result:
    return CliRunner().invoke(
        app, ["reports", "explain", *options], input=text, env={"COLUMNS": str(columns)}
    )


def test_letters_stand_under_the_words_and_the_label_says_why() -> None:
    shown = _explain("No old fracture of L1. Possible wedging of T12.").stdout.splitlines()
    assert shown[0] == "No old fracture of L1. Possible wedging of T12."
    assert shown[1] == "NN TTT MMMMMMMM    SS  DDDDDDDD MMMMMMM    SSS"
    page = "\n".join(shown)
    assert "status              uncertain" in page
    assert "levels              T12" in page
    assert '1. "fracture": negated' in page
    assert '   negation.no "No"' in page
    assert '   uncertain.before "Possible"' in page
    assert "read as             English and Chinese" in page


def test_wide_characters_are_two_columns() -> None:
    first, second = _explain("疑似 L1 壓迫性骨折").stdout.splitlines()[:2]
    assert first == "疑似 L1 壓迫性骨折"
    assert second == "DDDD SS MMMMMMMMMM"


def test_lines_fit_the_terminal_and_lose_nothing() -> None:
    text = "Findings: old compression fracture of L1 " + "第一腰椎壓迫性骨折" * 9
    lines = _explain(text, columns=30).stdout.splitlines()
    body = lines[: lines.index("")]
    assert "".join(line for line in body if not set(line) <= set(" MSTDNVHOAC")).replace(
        " ", ""
    ) == text.replace(" ", "")


def test_what_would_move_the_terminal_is_shown_as_a_mark() -> None:
    hostile = "Fracture of \x1b[31mL1\x1b]0;title\x07.\r\x9b2J \u202eL2\u2066 \u200bfracture"
    for form in ("text", "json"):
        page = _explain(hostile, "--format", form).stdout
        assert not {c for c in page if ord(c) < 32 and c != "\n"}
        assert not set(page) & set("\x7f\x9b\u202e\u2066\u200b")
    assert json.loads(page)["label"]["report_status"] == "reported"


def test_colours_are_for_a_terminal_that_wants_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Fracture of L1."
    found = explain(text, load())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_explanation(text, found, "text")
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_explanation(text, found, "text")
    assert "\x1b[" not in capsys.readouterr().out


def test_the_finding_the_language_and_a_lexicon_can_be_named(tmp_path: Path) -> None:
    assert (
        "status              denied"
        in _explain("No hip fracture.", "--finding", "hip_fracture").stdout
    )
    assert "read as             Spanish" in _explain("Sin fracturas.").stdout
    assert (
        "status              not_mentioned" in _explain("Sin fracturas.", "--language", "en").stdout
    )
    own = tmp_path / "own.toml"
    own.write_text(
        '[lexicon]\nfinding = "rib_fracture"\nlanguage = "en"\nextends = "en"\n', "utf-8"
    )
    assert "rib_fracture" in _explain("x", "--lexicon", str(own)).stdout
    checked = CliRunner().invoke(app, ["reports", "check-lexicon", str(own)])
    assert "reads rib_fracture in en" in checked.stdout


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (b"", (), "no text on standard input"),
        (b" \n", (), "no text on standard input"),
        (b"\xa4\xa4", (), "not UTF-8 (byte 1)"),
        (b"x", ("--finding", "hip_fracture", "--language", "es"), "No lexicon is shipped"),
        (b"x", ("--finding", "nose"), "there is vertebral_fracture in"),
        (b"x", ("--lexicon", "missing.toml"), "cannot be read"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(
    text: bytes, options: tuple[str, ...], said: str
) -> None:
    answer = _explain(text, *options)
    assert answer.exit_code != 0
    assert said in str(answer.exception)


def test_marks_are_in_order_and_apart() -> None:
    text = "INDICATION: fall. FINDINGS: No loss of height of L1, old T12 fracture. DXA."
    marks = explain(text, load()).marks
    assert all(a.end <= b.start for a, b in pairwise(marks))
    assert {m.kind for m in marks} <= set(KINDS)
    assert [text[m.start : m.end] for m in marks if m.kind == "heading"] == [
        "INDICATION",
        "FINDINGS",
    ]


def test_time_is_linear(capsys: pytest.CaptureFixture[str]) -> None:
    text = "no fracture of L1, rib and " * 4000
    started = time.process_time()
    print_explanation(text, explain(text, load()), "text")
    assert time.process_time() - started < 5.0
    assert capsys.readouterr().out
