"""The report labellers' benchmark: its arithmetic, its baselines, and the committed results."""

import hashlib
import json
import re

import pytest

from benchmarks import label_report, labelling, openi, report_sets
from benchmarks.label_baselines import chexpert, regular_expression
from benchmarks.label_judging import (
    judged_openi,
    judged_phantom,
    judged_rows,
    targets,
)
from benchmarks.label_systems import SYSTEMS, VFSCREEN, measure, vfscreen_answer
from benchmarks.label_texts import phantom_items, usual_mix

SAID = {
    "report_status": "reported", "history": False, "levels": ["L1"], "acuity": "old",
    "severity": None, "recommendation": False, "evidence": [],
}  # fmt: skip


def said(status="reported", **more):
    return SAID | {"report_status": status} | more


def row(number, status="reported", **more):
    return {
        "id": f"x-{number}", "difficulty": "time", "language": "en",
        "finding": "vertebral_fracture", "text": "", "report_status": status, "history": "",
        "levels": "", "acuity": "", "severity": "", "recommendation": "",
    } | more  # fmt: skip


# ---- The baselines: what a person expects of each ----------------------------------------------

#   report | CheXpert-style | with spine words | regular expression
BASELINES = """
Compression fracture of L1.                          | reported      | reported      | reported
Old rib fractures.                                   | reported      | not_mentioned | not_mentioned
No acute fracture.                                   | denied        | denied        | denied
Possible compression fracture of T12.                | uncertain     | uncertain     | uncertain
Mild wedging of T11.                                 | not_mentioned | ambiguous     | ambiguous
Vertebral body heights are maintained.               | not_mentioned | denied        | denied
Disc height loss at L4-5.                            | not_mentioned | not_mentioned | ambiguous
INDICATION: Old L1 fracture. FINDINGS: Bowel normal. | reported      | not_mentioned | not_mentioned
A fracture of T12 cannot be excluded.                | uncertain     | uncertain     | uncertain
Bowel gas pattern is normal.                         | not_mentioned | not_mentioned | not_mentioned
"""


@pytest.mark.parametrize("line", BASELINES.strip().splitlines(), ids=lambda line: line[:40].strip())
def test_a_baseline_says(line):
    text, *wanted = (cell.strip() for cell in line.split("|"))
    labels = (chexpert.load(), chexpert.load_spine(), regular_expression.load())
    assert [label(text) for label in labels] == wanted


# ---- Judging -----------------------------------------------------------------------------------


def test_a_row_is_right_when_all_its_filled_columns_are():
    rows = [row(1), row(2, levels="L1", acuity="old"), row(3, levels="T12"), row(4, "denied")]
    found = judged_rows(rows, [said() for _ in rows], whole=True)
    counts = found["groups"]["vertebral_fracture, en"]
    assert counts == {"rows": 4, "right": 2, "status_right": 3, "positive_right": 3}
    assert found["wrong"] == {"x-3": ["levels"], "x-4": ["report_status"]}
    assert found["families"]["time"]["rows"] == 4


def test_a_baseline_is_judged_on_what_it_can_say():
    answers = [{"report_status": status} for status in ("reported", "uncertain", "not_mentioned")]
    rows = [row(1, "ambiguous"), row(2, "denied"), row(3, "denied")]
    counts = judged_rows(rows, answers, whole=False)["groups"]["vertebral_fracture, en"]
    assert (counts["status_right"], counts["positive_right"]) == (0, 2)


def report(uid, text="Wedging of the spine.", fractured=False, says_so=True):
    return openi.Report(uid=uid, text=text, fractured=fractured, says_so=says_so)


def test_false_alarms_are_listed_with_their_rules_and_without_their_text(monkeypatch):
    monkeypatch.setattr(openi, "read", lambda: {"CXR2": ("names_one", "not coded")})
    alarm = {"rule_id": "deformity+site", "assertion": "affirmed", "sentence": "Wedging of T9."}
    reports = [report("CXR1"), report("CXR2"), report("CXR3")]
    answers = [said("ambiguous", evidence=[alarm]), said("uncertain"), said("denied")]
    found = judged_openi(reports, answers)
    assert (found["negatives"], found["false_alarms"], found["truly_named"]) == (3, 2, 1)
    assert found["alarms"]["CXR1"]["rules"] == ["deformity+site"]
    assert "Wedging" not in json.dumps(found)


def test_recall_is_asked_of_positives_that_still_say_so(monkeypatch):
    monkeypatch.setattr(openi, "read", lambda: {"CXR3": ("says_none", "of the ribs")})
    reports = [
        report("CXR1", fractured=True),
        report("CXR2", fractured=True, says_so=False),
        report("CXR3", fractured=True),
        report("CXR4", fractured=True),
    ]
    found = judged_openi(reports, [said(), said(), said(), said("denied")])
    assert found["counted"] == ["CXR1", "CXR4"]
    assert found["not_counted"] == ["CXR2", "CXR3"]
    assert found["missed"] == ["CXR4"]


XML = """<?xml version="1.0"?><eCitation><uId id="CXR7"/><Abstract>
<AbstractText Label="INDICATION">Wedging of the spine?</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText></Abstract>
<MeSH><major>{code}</major></MeSH></eCitation>"""


@pytest.mark.parametrize(
    ("code", "findings", "fractured", "says_so"),
    [
        ("Fractures, Bone/thoracic vertebrae", "There is a fracture of T9.", True, True),
        ("Deformity/lumbar vertebrae/mild", "XXXX loss of L1.", True, False),
        ("Fractures, Bone/ribs/right", "Rib fractures. Normal spine.", False, False),
        ("Spine/degenerative", "Wedging of a vertebra.", False, True),
        ("normal", "Normal.", False, False),
    ],
)
def test_codes_and_text_of_an_openi_report(code, findings, fractured, says_so):
    found = openi.parsed(XML.format(code=code, findings=findings).encode())
    assert (found.uid, found.fractured, found.says_so) == ("CXR7", fractured, says_so)
    assert found.text.startswith("INDICATION: Wedging")


def test_without_openi_there_are_no_reports(tmp_path):
    assert openi.reports(tmp_path / "openi_dev.tar.gz") == []


def test_a_study_says_the_strongest_of_its_reports():
    items = [
        {"study": 1, "truth": "reported", "known": False},
        {"study": 1, "truth": "reported", "known": False},
        {"study": 2, "truth": "denied", "known": True},
    ]
    found = judged_phantom(items, [said("not_mentioned"), said(), said("uncertain")])
    assert (found["studies"], found["status_right"], found["positive_right"]) == (2, 1, 1)
    assert found["history_right"] == 1
    assert found["by_status"]["denied"] == {"studies": 1, "right": 0}


def test_phantom_reports_are_the_same_each_time_and_a_corrected_one_stands_alone():
    items = phantom_items(120)
    assert items == phantom_items(120)
    for item in items:
        if item["kind"] == "corrected":
            assert [i["study"] for i in items].count(item["study"]) == 1
    assert {"final", "addendum", "corrected"} == {item["kind"] for item in items}


def test_the_usual_mix_takes_from_all_of_a_source():
    items = [{"text": str(n)} for n in range(3000)]
    mix = usual_mix(items, items[:10], [])
    assert len(mix) == 760
    assert int(mix[749]["text"]) > 2900


# ---- Promises ----------------------------------------------------------------------------------


def figures(right=99, reports_s=3000.0, growth=1.1, alarms=5, missed=0):
    ours = {
        "adversarial": {"groups": {"a": {"rows": 100, "right": right}}},
        "speed": [{"reports": reports_s, "cpu_s": 1.0, "startup_s": 0.1}],
        "openi": {
            "false_alarms": alarms, "negatives": 1000,
            "missed": ["CXR1"] * missed, "counted": ["CXR1"] * 20,
        },
    }  # fmt: skip
    return {"systems": {VFSCREEN: ours}, "linearity": [{"growth": growth}]}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"right": 97}, ["adversarial rows right in all columns"]),
        ({"reports_s": 1999.0}, ["reports/s on one core"]),
        ({"growth": 4.0}, ["growth of time a character on hostile text"]),
        ({"alarms": 6}, ["OpenI false alarms"]),
        ({"missed": 2}, ["OpenI recall"]),
    ],
)
def test_a_target_that_is_missed_is_named(change, missed):
    assert [t["target"] for t in targets(figures(**change)) if not t["kept"]] == missed


def test_without_openi_its_targets_are_not_asked():
    without = figures()
    del without["systems"][VFSCREEN]["openi"]
    assert all("OpenI" not in target["target"] for target in targets(without))


@pytest.mark.parametrize(("kept", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_a_target_is_missed(kept, code, monkeypatch, tmp_path, capsys):
    found = json.loads(label_report.newest().read_text())
    found["targets"] = [{"target": "speed", "found": 1.0, "wanted": ">= 2", "kept": kept}]
    monkeypatch.setattr(labelling, "measure", lambda options: (found, {"openi": []}))
    monkeypatch.setattr(labelling, "tell", lambda *_: None)
    assert labelling.main(["--openi", str(tmp_path / "none")]) == code
    assert ("MISSED: speed" in capsys.readouterr().out) == (not kept)


def test_a_system_is_measured_on_what_it_is_given(monkeypatch):
    monkeypatch.setattr("benchmarks.label_systems.TIMED_S", 0.01)
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    item = {"text": "Wedge fracture of L1.", "finding": "vertebral_fracture"}
    found = measure(VFSCREEN, {"items": [item], "timed": [item]})
    assert found["answers"][0]["report_status"] == "reported"
    assert found["reports"] > 0


# ---- The committed results ---------------------------------------------------------------------


def test_vfscreen_is_no_worse_on_the_adversarial_rows_than_the_committed_result():
    committed = json.loads(label_report.newest().read_text())
    rows = report_sets.rows("adversarial")
    now = judged_rows(rows, [vfscreen_answer(row) for row in rows], whole=True)
    for group, counts in committed["systems"][VFSCREEN]["adversarial"]["groups"].items():
        assert now["groups"][group]["right"] >= counts["right"], (group, now["wrong"])


def test_the_committed_result_is_of_these_rows():
    committed = json.loads(label_report.newest().read_text())
    raw = (report_sets.FOLDER / "adversarial.csv").read_bytes()
    assert committed["sets_sha256"]["adversarial"] == hashlib.sha256(raw).hexdigest()


def test_the_pages_hold_the_committed_result():
    assert label_report.out_of_step() == []


def test_committed_results_hold_no_text_of_a_report_and_no_row_of_the_other_set():
    for path in label_report.RESULTS.glob("reports-*.json"):
        text = path.read_text()
        assert not re.search(r'"(?:sentence|text|evidence)"', text)
        for system in json.loads(text)["systems"].values():
            assert set(system.get("held_out", {})) <= {"groups"}


def test_every_system_is_in_the_committed_result():
    committed = json.loads(label_report.newest().read_text())
    assert set(committed["systems"]) == set(SYSTEMS)
