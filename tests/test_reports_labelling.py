"""The labeller against a table that a radiologist can read, and against hostile text."""

import random
import textwrap
import time

import pytest
from report_tables import answer, rows_of

from vfscreen.reports.labelling import label
from vfscreen.reports.lexicon import load

LEXICON = load()


ROWS = [row[1:] for row in rows_of("reports_spec.md")]


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 120


@pytest.mark.parametrize(("text", "status", "levels", "also"), ROWS, ids=[r[0][:60] for r in ROWS])
def test_row(text: str, status: str, levels: tuple[str, ...], also: frozenset[str]) -> None:
    labelled = label(text, LEXICON)
    assert labelled.report_status == status, labelled.evidence
    assert labelled.levels == levels
    assert labelled.history == ("history" in also)
    assert labelled.recommendation == ("recommended" in also)
    for value in also & {"acute", "old"}:
        assert labelled.acuity == value
    for value in also & {"mild", "moderate", "severe"}:
        assert labelled.severity == value


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        lambda text: text.replace(" ", "\n"),
        lambda text: text.replace(" ", "\r\n  "),
        lambda text: "\n".join(
            textwrap.wrap(text, 12, break_long_words=False, break_on_hyphens=False)
        ),
        lambda text: " ".join(text.split()),
    ],
    ids=["upper", "lower", "word a line", "windows line ends", "narrow", "one line"],
)
def test_case_and_line_breaks_change_nothing(change: object) -> None:
    assert callable(change)
    for text, *_ in ROWS:
        assert answer(label(change(text), LEXICON)) == answer(label(text, LEXICON)), text


def test_any_line_breaks_blanks_and_case_change_nothing() -> None:
    rng = random.Random(11)
    blanks = ("\n", "\r\n", "\t", "  ", " \n ", "\u00a0")
    for text, *_ in ROWS:
        changed = "".join(
            rng.choice(blanks) if c == " " and rng.random() < 0.5 else c for c in text
        )
        changed = "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in changed)
        assert answer(label(changed, LEXICON)) == answer(label(text, LEXICON)), changed


def test_offsets_point_at_the_mention_in_the_original_text() -> None:
    text = "FINDINGS:  İstanbul ward.\r\n\r\nOld  compression\r\n   FRACTURE of L1."
    (mention,) = label(text, LEXICON).evidence
    assert text[mention.start : mention.end] == "compression\r\n   FRACTURE"
    assert mention.section == "findings"
    assert mention.sentence.startswith("Old")


def test_a_withdrawn_report_says_nothing_and_an_addendum_without_heading_is_one() -> None:
    text = "Compression fracture of L1."
    assert label(text, LEXICON, "cancelled").report_status == "not_mentioned"
    assert label(text, LEXICON, "addendum").report_status == "reported"


def test_excluded_mentions_stay_as_evidence() -> None:
    (mention,) = label("Fracture of the L3 transverse process.", LEXICON).evidence
    assert mention.assertion == "elsewhere"
    assert mention.rule_id == "fracture+other.posterior_elements"


_BRICKS = (
    "no ", "fracture ", "L1 ", "L1-", "T12/", "of ", "loss ", "height ", ", ", "and ", "( ", "not ",
    "seen ", "possible ", "? ", "#", "rib ", "the ", "disc ", ":", "findings ", "'s ", "é", "骨折",
    " ", "\n", "\0", "<b>", "'; DROP TABLE reports; --", "\u202e", "\ud800", "1", ".", "-", "/",
)  # fmt: skip


@pytest.mark.parametrize(
    "brick",
    [
        *_BRICKS,
        "no fracture of L1, rib and ",
        "L1 to ",
        "loss of ",
        "it is ",
        "one at L1 ",
        "fracture. it is new. ",
        "the former is fractured ",
        "L1, which is wedged, ",
        "no vertebra that is ",
        "should read L1 ",
        "1/3 of 20 to 30 % of its height ",
        "comparison: L1 fracture. ",
        "addendum: L1 not L2 ",
        "T7 (mild) and ",
        "T7 grade 1, ",
        "at L1 there is ",
        "dens fracture extending into ",
        "old lung and ",
        "82f. ? ",
        "fracture. on review this ",
        "likely old ",
        "L1, 2, 3 ",
        "fracture of and the ",
    ],
)
def test_time_is_linear_in_hostile_text(brick: str) -> None:
    text = brick * (200_000 // len(brick))
    started = time.process_time()  # a busy machine must not fail this
    label(text, LEXICON)
    assert time.process_time() - started < 2.0  # below 1 s usually; a quadratic walk takes minutes


def test_random_text_is_data() -> None:
    rng = random.Random(7)
    for _ in range(300):
        text = "".join(rng.choices(_BRICKS, k=80))
        labelled = label(text, LEXICON)
        for mention in labelled.evidence:
            assert 0 <= mention.start < mention.end <= len(text)
            mention.sentence.encode("utf-8")


def test_markup_and_invisible_marks_do_not_hide_a_fracture() -> None:
    text = "<b>Compression\u200b fracture</b> of \u202aL1\u202c; '; DROP TABLE reports; --"
    assert label(text, LEXICON).report_status == "reported"
