"""An audit as its physicist and its readers go through it."""

import csv
import stat
from pathlib import Path

import pytest
from spec_tables import part

from vfscreen.config import Config
from vfscreen.errors import InputError, UsageError
from vfscreen.jobs.audit import Draw, draw_audit, estimate_audit, import_readings
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import existing_results, open_results
from vfscreen.results.parts import write_part
from vfscreen.results.sql import fetch

MARK = "=Zq7marked"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """40 studies: 8 above the point, of which 4 reported; 32 below, without a word of it."""
    results = open_results(tmp_path / "results")
    archive = str((tmp_path / "archive").resolve())
    (tmp_path / "archive").mkdir()
    numbers = range(40)
    tables = {
        "manifest": ["film | study | accession | patient | date | archive_root"]
        + [
            f"F{n} | {MARK}S{n} | {MARK}A{n} | {MARK}P{n} | 2024-01-01 | {archive}" for n in numbers
        ],
        "predictions": ["film | logit"] + [f"F{n} | {2 if n < 8 else -2}" for n in numbers],
        "checkpoints": ["finding | demonstration", "vertebral_fracture | yes"],
        "reports": ["report | accession"] + [f"R{n} | {MARK}A{n}" for n in numbers],
        "report_labels": ["report | status"]
        + [f"R{n} | {'reported' if n < 4 else 'not_mentioned'}" for n in numbers],
    }
    for folder, lines in tables.items():
        write_part(results, folder, part(folder, "\n".join(lines)))
    publish(results)
    return results.path


def draw(results, out, **wanted):
    return draw_audit(results, Config(), Draw(**({"per_stratum": 4, "seed": 5} | wanted)), out)


def lines_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows, delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0], delimiter=delimiter)
        out.writeheader()
        out.writerows(rows)


def fractured(row):
    """The truth: studies 0 to 5 show a fracture."""
    return "yes" if int(row["study_instance_uid"].rpartition("S")[2]) < 6 else "no"


def filled(path, **columns):
    """The list with its truth, as a reader would fill it in."""
    rows = [row | {"vertebral_fracture": fractured(row), "reader": "a"} for row in lines_of(path)]
    return [row | columns for row in rows]


def test_the_reading_list_is_blinded_and_its_owner_s_alone(results, tmp_path):
    out = tmp_path / "list.csv"
    drawn = draw(results, out)
    assert [(s.above, s.report_status, s.studies, s.sampled) for s in drawn.strata] == [
        (True, "not_mentioned", 4, 4),
        (True, "reported", 4, 4),
        (False, "not_mentioned", 32, 4),
    ]
    rows = lines_of(out)
    assert list(rows[0]) == [
        "number", "accession_number", "study_instance_uid", "study_date", "vertebral_fracture",
        "levels", "grade", "reader", "note", "audit",
    ]  # fmt: skip
    assert len(rows) == 12
    text = out.read_text("utf-8-sig")
    assert not any(word in text for word in ("mentioned", "reported", "0.88", "True"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    # A spreadsheet must not run what a header holds.
    assert all(row["accession_number"].startswith("'=") for row in rows)


def test_the_same_seed_draws_the_same_studies_again(results, tmp_path):
    first, second = draw(results, tmp_path / "1.csv"), draw(results, tmp_path / "2.csv")
    assert first.audit_id != second.audit_id

    def named(name):
        return [row["study_instance_uid"] for row in lines_of(tmp_path / name)]

    assert named("1.csv") == named("2.csv")


def test_an_audit_keeps_how_it_was_drawn(results, tmp_path):
    draw(results, tmp_path / "1.csv", per_stratum=2)
    draw(results, tmp_path / "2.csv", per_stratum=None, total=20, allocation="equal")
    with connect(existing_results(results)) as catalogue:
        kept = fetch(catalogue, "select distinct allocation from parts.audits order by all")
    assert kept["allocation"].to_pylist() == ["equal", "per_stratum"]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("archive/list.csv", "into the archive"),
        ("archive/../archive/list.csv", "into the archive"),
        ("nowhere/list.csv", "no folder"),
        ("there.csv", "is there already"),
    ],
)
def test_a_list_goes_only_where_it_may(results, tmp_path, where, says):
    (tmp_path / "there.csv").write_text("filled in by somebody")
    with pytest.raises(UsageError, match=says):
        draw(results, tmp_path / where)
    assert (tmp_path / "there.csv").read_text() == "filled in by somebody"
    assert not list((tmp_path / "archive").iterdir())
    with pytest.raises(UsageError, match="No audit"):
        estimate_audit(results, None)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"per_stratum": None}, "either"),
        ({"total": 10}, "either"),
        ({"per_stratum": None, "total": 4}, "too few for 3 strata"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(results, tmp_path, wanted, says):
    with pytest.raises(UsageError, match=says):
        draw(results, tmp_path / "list.csv", **wanted)
    assert not (tmp_path / "list.csv").exists()


def test_an_audit_weighs_each_stratum_by_its_size(results, tmp_path):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    write(back, filled(out), delimiter=";")
    done = import_readings(results, back, "")
    assert (done.imported, done.changed, done.already_there, done.left_empty) == (12, 0, 0, 0)
    found = {m.measure: m for m in estimate_audit(results, None).measures}
    # 6 of 12 films that were read show a fracture, but 6 of 40 in the archive.
    assert found["prevalence"].value == pytest.approx(6 / 40)
    assert found["prevalence"].low <= 6 / 40 < found["prevalence"].high
    assert found["reporting_rate"].value == pytest.approx(4 / 6)
    assert found["sensitivity"].value == pytest.approx(1.0)
    assert found["sensitivity"].low < 0.9  # 28 studies below the point were not read
    assert found["specificity"].value == pytest.approx(32 / 34)
    assert found["ppv"].value == found["ppv"].low == found["ppv"].high == pytest.approx(6 / 8)
    assert found["ppv_unreported_list"].value == pytest.approx(2 / 4)
    assert found["unreported"].value == pytest.approx(2)
    assert found["prevalence"].lowest == found["prevalence"].low


def test_what_is_open_is_counted_and_bounds_the_estimate(results, tmp_path):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    rows = filled(out)
    below = [row for row in rows if int(row["study_instance_uid"].rpartition("S")[2]) >= 8]
    below[0]["vertebral_fracture"], below[1]["vertebral_fracture"] = "", "Unclear"
    write(back, rows)
    assert import_readings(results, back, "").left_empty == 1
    estimated = estimate_audit(results, None)
    assert [estimated.progress[k] for k in ("clear", "unclear", "unread")] == [10, 1, 1]
    prevalence = estimated.measures[0]
    assert prevalence.value == pytest.approx(6 / 40)
    assert prevalence.highest > (6 + 0.5 * 32) / 40
    assert prevalence.highest > prevalence.high


def test_a_list_may_come_twice_and_a_reader_may_change_his_mind(results, tmp_path):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    rows = filled(out, reader="Dr A")
    write(back, rows)
    import_readings(results, back, "")
    again = import_readings(results, back, "")
    assert (again.imported, again.changed, again.already_there) == (0, 0, 12)
    rows[0]["vertebral_fracture"] = "unclear"
    rows[0]["reader"] = "DR a"
    write(back, rows)
    changed = import_readings(results, back, "")
    assert (changed.imported, changed.changed, changed.already_there) == (0, 1, 11)
    assert estimate_audit(results, None).progress["unclear"] == 1


def test_two_readers_who_differ_are_both_kept_until_a_consensus(results, tmp_path):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    rows = filled(out)
    other = dict(rows[0], reader="b", vertebral_fracture="unclear")
    write(back, [*rows, other])
    import_readings(results, back, "")
    progress = estimate_audit(results, None).progress
    assert [progress[k] for k in ("read_twice", "disagreeing", "unclear")] == [1, 1, 1]
    write(back, [dict(rows[0], reader="Consensus")])
    import_readings(results, back, "")
    progress = estimate_audit(results, None).progress
    assert [progress[k] for k in ("read_twice", "disagreeing", "unclear")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vertebral_fracture": f"maybe {MARK}"}, "neither yes, no nor unclear"),
        ({"study_instance_uid": f"1.2.{MARK}"}, "not drawn for its audit"),
        ({"audit": MARK}, "belongs to no audit"),
        ({"vertebral_fracture": "yes", "levels": MARK}, "levels are not as in"),
        ({"vertebral_fracture": "yes", "levels": "T13"}, "levels are not as in"),
        ({"vertebral_fracture": "yes", "grade": "4"}, "grade is not"),
        ({"vertebral_fracture": "no", "grade": "2"}, "yet a level or a grade"),
        ({"vertebral_fracture": "", "levels": "L1"}, "vertebral_fracture is empty"),
        ({"reader": ""}, "names no reader"),
        ({"note": MARK * 2000}, "more than 10,000 characters"),
    ],
)
def test_a_line_that_is_not_understood_keeps_the_whole_file_out(results, tmp_path, change, says):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    rows = filled(out)
    rows[4] |= change
    write(back, rows)
    with pytest.raises(
        InputError, match=f"1 line is not understood.*\n  line 6 .*{says}"
    ) as refused:
        import_readings(results, back, "")
    assert MARK not in str(refused.value)
    with pytest.raises(UsageError, match="Nothing of"):
        estimate_audit(results, None)


def test_a_reader_who_says_two_things_in_one_file_is_asked(results, tmp_path):
    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    rows = filled(out)
    write(back, [*rows, rows[0], dict(rows[1], vertebral_fracture="unclear")])
    with pytest.raises(InputError, match="line 15 says otherwise than line 3 by the same reader"):
        import_readings(results, back, "")
    write(back, [*rows, rows[0]])
    assert import_readings(results, back, "").imported == 12


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "lacks the column vertebral_fracture"),
        (b"a,b\n1,2\n", "lacks the column vertebral_fracture"),
        ("vertebral_fracture,note\nja,schön\n".encode("latin-1"), "not in UTF-8"),
    ],
)
def test_another_file_is_no_reading_list(results, tmp_path, content, says):
    draw(results, tmp_path / "list.csv")
    (tmp_path / "back.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        import_readings(results, tmp_path / "back.csv", "")


def test_levels_and_grade_are_kept_as_vertebrae_are_called(results, tmp_path):
    from vfscreen.results.catalogue import connect
    from vfscreen.results.folder import existing_results
    from vfscreen.results.sql import fetch

    out, back = tmp_path / "list.csv", tmp_path / "back.csv"
    draw(results, out)
    write(back, filled(out, vertebral_fracture="Y", levels="d12; Th11 L1", grade="2.0"))
    import_readings(results, back, "")
    with connect(existing_results(results)) as catalogue:
        rows = fetch(catalogue, "select distinct levels, grade from audit_readings_current")
    assert rows.to_pylist() == [{"levels": ["T12", "T11", "L1"], "grade": 2}]


def test_a_results_folder_of_an_earlier_version_is_completed_with_its_own_modes(results, tmp_path):
    for name in ("audits", "audit_readings"):
        for part_file in (results / name).iterdir():
            part_file.unlink()
        (results / name).rmdir()
    results.chmod(0o750)
    with pytest.raises(UsageError, match="No audit"):
        estimate_audit(results, None)
    draw(results, tmp_path / "list.csv")
    modes = {stat.S_IMODE((results / name).stat().st_mode) for name in (".", "audits")}
    assert modes == {0o750}


def test_an_audit_that_is_not_there_is_said_with_those_that_are(results, tmp_path):
    audit_id = draw(results, tmp_path / "list.csv").audit_id
    with pytest.raises(UsageError, match=audit_id):
        estimate_audit(results, "audit-x")
