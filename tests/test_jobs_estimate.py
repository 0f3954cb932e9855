"""What to expect of a list before there is one."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.errors import UsageError
from vfscreen.jobs.estimate import (
    Accuracy,
    Setting,
    accuracy,
    checkpoint_accuracy,
    expect_list,
)
from vfscreen.jobs.estimate_plot import draw_estimate
from vfscreen.model.checkpoint import read_info
from vfscreen.model.statistics import Estimate, share

VF = "vertebral_fracture"


def exactly(value):
    return Estimate(value, value, value)


def point(sensitivity, specificity, name="default"):
    return Accuracy(name, None, exactly(sensitivity), exactly(specificity))


# Chen et al. (2021), PLoS ONE 16(1):e0245992; the arithmetic that the README and limits.md quote.
PAPER = point(0.738, 0.730)


def test_the_paper_s_checkpoint_lists_39_true_and_243_false_of_a_thousand():
    (row,) = expect_list([PAPER], Setting(prevalence=0.10, unreported_share=0.53), None)
    assert row.unreported.value == pytest.approx(53)
    assert row.found.value == pytest.approx(39.114)
    assert row.no_fracture.value == pytest.approx(243)
    assert row.already_reported.value == 0
    assert row.listed.value == pytest.approx(282.114)
    assert row.ppv.value == pytest.approx(0.1386, abs=5e-5)
    assert row.missed_by_checkpoint.value == pytest.approx(53 - 39.114)


def test_a_labeller_that_errs_hides_patients_and_wastes_time():
    right = Setting(prevalence=0.10, unreported_share=0.53)
    (row,) = expect_list([PAPER], replace(right, false_reported=0.02, missed=0.10), None)
    assert row.found.value == pytest.approx(39.114 * 0.98)
    assert row.hidden_by_labeller.value == pytest.approx(39.114 * 0.02)
    assert row.no_fracture.value == pytest.approx(243 * 0.98)
    assert row.already_reported.value == pytest.approx(47 * 0.738 * 0.10)
    parts = row.found.value + row.no_fracture.value + row.already_reported.value
    assert row.listed.value == pytest.approx(parts)
    assert row.ppv.value == pytest.approx(row.found.value / parts)
    # Nobody is lost from the books.
    lost = row.missed_by_checkpoint.value + row.hidden_by_labeller.value
    assert row.found.value + lost == pytest.approx(row.unreported.value)


def test_subtler_fractures_are_found_less_often_and_the_others_more():
    setting = Setting(prevalence=0.10, unreported_share=0.53, missed=1.0)
    (row,) = expect_list([PAPER], setting, 0.60)
    assert row.sensitivity_unreported.value == pytest.approx(0.60)
    assert row.found.value == pytest.approx(53 * 0.60)
    # All that is found is what it was: 73.8 of 100.
    assert row.found.value + row.already_reported.value == pytest.approx(73.8)


def test_at_another_operating_point_the_odds_ratio_is_kept():
    points = [PAPER, point(0.90, 0.50, "sensitive"), point(0.99, 0.10, "nearly all")]
    rows = expect_list(points, Setting(prevalence=0.10, unreported_share=0.53), 0.60)
    ratio = (0.60 / 0.40) / (0.738 / 0.262)
    odds = ratio * 0.90 / 0.10
    assert rows[1].sensitivity_unreported.value == pytest.approx(odds / (1 + odds))
    # Where the others are all found, what is left decides.
    assert rows[2].sensitivity_unreported.value >= (0.99 - 0.47) / 0.53


@pytest.mark.parametrize(("unreported", "least"), [(0.50, "0.506"), (1.0, "1.000")])
def test_shares_that_contradict_each_other_are_refused(unreported, least):
    sensitivity = 0.738 if unreported < 1 else 0.30
    with pytest.raises(UsageError, match=least if unreported < 1 else "between 0.000 and 0.566"):
        expect_list([point(sensitivity, 0.73)], Setting(0.10, 0.53), unreported)


def test_a_list_cut_at_the_capacity_begins_with_that_of_a_stricter_point():
    points = [PAPER, point(0.40, 0.98, "specific")]
    setting = Setting(prevalence=0.10, unreported_share=0.53, capacity=40)
    loose, strict = expect_list(points, setting, None)
    # The strict list is short enough to be looked at whole: 21 true, 18 false.
    assert strict.listed_cut.value == strict.listed.value == pytest.approx(39.2)
    assert strict.found_cut.value == pytest.approx(21.2)
    # The loose list begins with it, so that cutting it loses nothing against the strict one.
    assert loose.listed_cut.value == 40
    assert strict.found_cut.value < loose.found_cut.value < 21.2 + 0.8
    (alone,) = expect_list([PAPER], setting, None)
    assert alone.found_cut.value == pytest.approx(40 * alone.ppv.value)


def test_intervals_come_from_the_films_behind_the_accuracy():
    points, _ = accuracy(None, VF, 0.738, 0.730, 84, 126)
    setting = Setting(prevalence=0.10, unreported_share=0.53)
    (row,) = expect_list(points, setting, None)
    assert row.found.low == pytest.approx(53 * share(62, 84).low)
    assert row.found.high == pytest.approx(53 * share(62, 84).high)
    assert row.no_fracture.high == pytest.approx(900 * (1 - share(92, 126).low))
    assert row.ppv.low < row.ppv.value < row.ppv.high
    (sure,) = expect_list(accuracy(None, VF, 0.738, 0.730, None, None)[0], setting, None)
    assert sure.ppv.low == sure.ppv.high == sure.ppv.value == pytest.approx(row.ppv.value)


def test_no_fracture_at_all_gives_a_list_of_nothing_else():
    (row,) = expect_list([PAPER], Setting(prevalence=0.0), None)
    assert (row.found.value, row.ppv.value) == (0.0, 0.0)
    (row,) = expect_list([point(0.0, 1.0)], Setting(prevalence=0.1), None)
    assert row.listed.value == 0.0
    assert row.ppv.value != row.ppv.value


def test_a_checkpoint_that_does_not_say_is_asked_for_the_figures():
    with pytest.raises(UsageError, match="give --sensitivity and --specificity"):
        accuracy("demo", VF, None, None, None, None)
    with pytest.raises(UsageError, match="not both"):
        accuracy("demo", VF, 0.7, None, None, None)
    with pytest.raises(UsageError, match="Give --sensitivity"):
        accuracy(None, VF, 0.7, None, None, None)
    with pytest.raises(UsageError, match="not hip_fracture"):
        accuracy("demo", "hip_fracture", None, None, None, None)


def test_a_checkpoint_that_says_gives_all_its_operating_points_the_default_first():
    info = read_info("demo")
    counts = {"true_positives": 62, "positives": 84, "true_negatives": 92, "negatives": 126}
    names = info.operating_points[VF]
    said = {"operating_point_counts": {VF: dict.fromkeys(names, counts)}}
    points = checkpoint_accuracy(replace(info, provenance=said), VF)
    assert points[0].operating_point == "default"
    assert {p.operating_point for p in points} == set(names)
    assert points[0].sensitivity == share(62, 84)
    assert points[0].specificity == share(92, 126)
    wrong = {"operating_point_counts": {VF: dict.fromkeys(names, counts | {"positives": 5})}}
    with pytest.raises(UsageError, match="does not say"):
        checkpoint_accuracy(replace(info, provenance=wrong), VF)


ASKED = [
    "estimate", "--prevalence", "0.1", "--sensitivity", "0.738", "--specificity", "0.73",
]  # fmt: skip


def test_the_table_says_what_an_fls_lead_asks():
    answer = CliRunner().invoke(app, [*ASKED, "--films-per-week", "500", "--positives", "84"])
    assert answer.exit_code == 0, answer.output
    lines = {" ".join(line.split()) for line in answer.stdout.splitlines()}
    assert "500 studies a week as given" in lines
    assert "PPV of the uncut list 13.9% (12.2% to 15.2%)" in lines
    assert "list cut at 40 40" in lines
    assert any(line.startswith("unreported fracture: found, at least 5.5") for line in lines)


def test_json_and_csv_hold_the_same_with_limits():
    rows = json.loads(CliRunner().invoke(app, [*ASKED, "--format", "json"]).stdout)
    assert rows[0]["found"] == pytest.approx(39.114)
    assert {"ppv", "ppv_low", "ppv_high"} < set(rows[0])
    text = CliRunner().invoke(app, [*ASKED, "--format", "csv"]).stdout
    (line,) = csv.DictReader(io.StringIO(text))
    assert float(line["found"]) == pytest.approx(39.114)


def test_a_percentage_is_no_share():
    answer = CliRunner().invoke(app, ["estimate", "--prevalence", "10"])
    assert answer.exit_code == 2


@pytest.mark.parametrize("name", ["list.png", "list.svg"])
def test_the_plot_is_drawn(tmp_path: Path, name: str):
    points = [Accuracy("default", 0.2, share(62, 84), share(92, 126)), point(0.4, 0.97, "strict")]
    setting = Setting(prevalence=0.1, studies=500, capacity=40, missed=0.1)
    draw_estimate(points, setting, 0.6, tmp_path / name, weekly=True)
    assert (tmp_path / name).stat().st_size > 10_000


def test_a_plot_of_another_kind_or_nowhere_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="png"):
        draw_estimate([PAPER], Setting(0.1), None, tmp_path / "list.xlsx", weekly=False)
    with pytest.raises(UsageError, match="cannot be written"):
        draw_estimate([PAPER], Setting(0.1), None, tmp_path / "nowhere" / "list.png", weekly=False)
