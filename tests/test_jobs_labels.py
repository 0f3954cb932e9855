"""Labels of a file joined with the films of an archive; one situation a test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_films import written

from vfscreen.config import Config, EligibilityConfig, ReportsConfig
from vfscreen.errors import LabelsError
from vfscreen.jobs.label_tables import label_findings
from vfscreen.jobs.labels import FILM_COLUMNS, label_films, write_problems
from vfscreen.jobs.run import open_run
from vfscreen.jobs.scan import scan_archive
from vfscreen.jobs.stopping import StopRequest
from vfscreen.privacy import patient_key

SMALL = EligibilityConfig(min_short_side_px=8)


class Site:
    """An archive of small films and a folder of labels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archive = folder, folder / "archive"
        self.config = Config(eligibility=SMALL)
        self.config = replace(
            self.config, run=replace(self.config.run, pseudonym_key=str(folder / "key"))
        )

    def film(self, uid, study="1.9", **changes):
        changes = {"PatientID": f"P{study}", "AccessionNumber": f"A{study}", **changes}
        written(self.archive / f"{uid}.dcm", SOPInstanceUID=uid, StudyInstanceUID=study, **changes)

    def label(self, text, findings=None, problems_path=None, **reports):
        path = self.folder / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        config = replace(self.config, reports=ReportsConfig(**reports))
        with open_run(self.folder / "results", "test", config) as run:
            scan_archive(run, self.archive, config, StopRequest())
            return label_films(
                run, self.archive, path, config, findings=findings, problems_path=problems_path
            )


@pytest.fixture
def site(tmp_path):
    """Four films of three studies: 1.1 and 1.2 are one study."""
    site = Site(tmp_path)
    site.film("1.1", "9.1")
    site.film("1.2", "9.1")
    site.film("1.3", "9.3", StudyDate="20240101")
    site.film("1.4", "9.4")
    return site


def labels(labelled, finding="vf"):
    films = labelled.films
    return dict(zip(films["sop_instance_uid"].to_pylist(), films[finding].to_pylist(), strict=True))


def problems(labelled):
    return {row["line"]: row["reason"] for row in labelled.problems.rows.to_pylist()}


def test_films_are_labelled_by_instance(site):
    labelled = site.label("sop_instance_uid,vf\n1.1,1\n1.2,0\n1.3,YES\n1.4,False\n")
    assert labels(labelled) == {"1.1": 1, "1.2": 0, "1.3": 1, "1.4": 0}
    assert labelled.films.column_names == [*FILM_COLUMNS, "vf"]
    assert labelled.films["sop_instance_uid"][0].as_py() == "1.3"  # the newest study first
    assert labelled.problems.total == labelled.problems.used == 4
    assert labelled.problems.counts == {}


def test_a_studys_label_is_that_of_all_its_films(site):
    assert labels(site.label("study_instance_uid,vf\n9.1,1\n9.3,0\n")) == {
        "1.1": 1, "1.2": 1, "1.3": 0,
    }  # fmt: skip


def test_films_are_labelled_by_accession_number(site):
    assert labels(site.label("accession_number,vf\nA9.1,1\nA9.3,0\n")) == {
        "1.1": 1, "1.2": 1, "1.3": 0,
    }  # fmt: skip


def test_an_accession_number_of_two_studies_is_no_guess(site):
    site.film("1.5", "9.5", AccessionNumber="A9.3")
    labelled = site.label("accession_number,vf\nA9.1,1\nA9.3,0\nA9.4,0\n")
    assert labels(labelled) == {"1.1": 1, "1.2": 1, "1.4": 0}
    assert problems(labelled) == {3: "ambiguous"}


def test_several_findings_are_several_columns_and_an_empty_cell_is_unknown(site):
    labelled = site.label("sop_instance_uid,vf,hip\n1.1,1,0\n1.2,0,\n1.3,,1\n")
    assert labelled.findings == ("vf", "hip")
    assert labels(labelled, "vf") == {"1.1": 1, "1.2": 0, "1.3": None}
    assert labels(labelled, "hip") == {"1.1": 0, "1.2": None, "1.3": 1}
    by_film = dict(
        zip(labelled.films["sop_instance_uid"].to_pylist(), labelled.targets(), strict=True)
    )
    assert np.array_equal(by_film["1.2"], [0, np.nan], equal_nan=True)
    assert labelled.targets().dtype == np.float32
    assert labelled.planned()[0].sop_instance_uid == "1.3"


def test_only_the_findings_asked_for_count(site):
    text = "sop_instance_uid,vf,comment\n1.1,1,clear\n1.2,0,wedged\n"
    assert site.label(text, findings=("vf",)).findings == ("vf",)
    assert label_findings(site.folder / "labels.csv") == ("vf", "comment")
    with pytest.raises(LabelsError, match=r"line 2, column `comment`.*1 more cells"):
        site.label(text)
    with pytest.raises(LabelsError, match="no column `vff`; the nearest is `vf`"):
        site.label(text, findings=("vff",))


def test_every_row_is_used_or_has_one_reason(site):
    site.film("1.6", "9.6", PatientAge="030Y", PatientBirthDate=None)
    site.film("1.7", "9.7", ViewPosition="LL")
    site.film("1.8", "9.7", PatientAge="030Y", PatientBirthDate=None)
    labelled = site.label(
        "study_instance_uid,vf,hip\n9.1,1,1\n9.3,0,0\n9.9,1,\n9.6,1,\n9.7,1,\n,1,\n9.4,,\n"
        "9.1,1,\n9.4,1,\n9.4,0,1\n"
    )
    assert problems(labelled) == {
        4: "unmatched",
        5: "not_eligible: under_age",
        6: "not_eligible: under_age, view",
        7: "no_key",
        8: "empty",
        9: "repeated",
        10: "contradictory",
        11: "contradictory",
    }
    page = (Path(__file__).parents[1] / "docs" / "labels.md").read_text("utf-8")
    for reason in (*labelled.problems.counts, "ambiguous"):
        assert f"`{reason.partition(':')[0]}" in page
    # What is contradicted is unknown; what the same row says besides is not.
    assert labels(labelled, "vf") == {"1.1": 1, "1.2": 1, "1.3": 0, "1.4": None}
    assert labels(labelled, "hip") == {"1.1": 1, "1.2": 1, "1.3": 0, "1.4": 1}
    assert labelled.problems.total == 10
    assert labelled.problems.used + sum(labelled.problems.counts.values()) == 10


def test_two_rows_of_one_film_that_speak_of_different_findings_are_both_used(site):
    labelled = site.label("sop_instance_uid,vf,hip\n1.1,1,\n1.1,,0\n1.2,0,1\n")
    assert labels(labelled, "vf") == {"1.1": 1, "1.2": 0}
    assert labels(labelled, "hip") == {"1.1": 0, "1.2": 1}
    assert problems(labelled) == {}


def test_the_most_specific_of_several_keys_counts(site):
    labelled = site.label("accession_number,sop_instance_uid,vf\nA9.1,1.1,1\nA9.1,1.2,0\n")
    assert labelled.key == "sop_instance_uid"
    assert labels(labelled) == {"1.1": 1, "1.2": 0}


def test_issuers_are_spelt_as_those_of_reports(site):
    text = "accession_number,issuer,vf\nA9.1,RIS,1\nA9.3,OTHER,0\nA9.4,,0\n"
    for study in ("9.1", "9.3", "9.4"):
        path = site.archive / f"1.{study[-1]}.dcm"
        path.unlink()
    (site.archive / "1.2.dcm").unlink()
    from archive_films import Sequence
    from pydicom import Dataset

    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "HOSPITAL"
    for number in (1, 3, 4):
        site.film(f"1.{number}", f"9.{number}", IssuerOfAccessionNumberSequence=Sequence([issuer]))
    labelled = site.label(text, issuers=("RIS=HOSPITAL",))
    assert labels(labelled) == {"1.1": 1, "1.4": 0}
    assert problems(labelled) == {3: "unmatched"}


def test_patients_are_hashes_and_a_film_without_one_is_of_its_study(site):
    site.film("1.5", "9.5", PatientID=None, IssuerOfPatientID=None)
    site.film("1.6", "9.6", PatientID=" p9.1", StudyDate="20100101")
    text = "sop_instance_uid,vf\n1.1,1\n1.2,0\n1.5,0\n1.6,1\n"
    films = site.label(text).films
    hashes = dict(zip(*(films[n].to_pylist() for n in ("sop_instance_uid", "patient_key")),
                      strict=True))  # fmt: skip
    key = (site.folder / "key").read_bytes()
    assert hashes["1.1"] == hashes["1.2"] == hashes["1.6"] == patient_key(key, "", "P9.1", "")
    assert hashes["1.5"] == patient_key(key, None, None, "9.5") != hashes["1.1"]
    assert "patient_id" not in films.column_names


def test_problems_are_written_without_identifiers(site, tmp_path):
    labelled = site.label("sop_instance_uid,vf\n1.1,1\n1.2,0\n7.7,0\n")
    write_problems(labelled.problems, tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_text() == "line,reason\n4,unmatched\n"


def test_problems_are_written_also_where_no_row_can_be_used(site, tmp_path):
    with pytest.raises(LabelsError, match="None of the 1 rows"):
        site.label("sop_instance_uid,vf\n7.7,0\n", problems_path=tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_text() == "line,reason\n2,unmatched\n"


def test_blank_lines_and_quoted_line_breaks_do_not_shift_line_numbers(site):
    labelled = site.label(
        'sop_instance_uid,vf,comment\n1.1,1,"a\nb"\n\n   \n1.2,0,\n7.7,1,\n', findings=("vf",)
    )
    # The empty line is a row that says nothing; one of nothing but spaces is none.
    assert problems(labelled) == {4: "empty", 7: "unmatched"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_told_from_the_first_line(site, delimiter):
    text = "\ufeffSOP_Instance_UID,vf\r\n1.1,1\r\n1.2, no \r\n".replace(",", delimiter)
    assert labels(site.label(text)) == {"1.1": 1, "1.2": 0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("1.1,1\n1.2,0\n", "no column that names the films"),
        ("sop_instance_uid\n1.1\n", "has no finding"),
        ("sop_instance_uid,vf,VF\n1.1,1,1\n", "columns 2 and 3 have the same name"),
        ("sop_instance_uid,,vf\n1.1,1,1\n", "column 2 has no name"),
        ("sop_instance_uid,vf\n1.1,1\n1.2\n1.3,0,1\n", r"line 3 has 1 field instead of 2"),
        ("sop_instance_uid,vf\n1.1,1\n1.2,2\n", r"line 3, column `vf`: neither"),
        ("sop_instance_uid,rows\n1.1,1\n1.2,0\n", "cannot be called `rows`"),
        (b"sop_instance_uid,vf\n1.1,1\n1.2,\xe9\n", "line 3 is not UTF-8"),
        ("sop_instance_uid,vf\n1.1,1\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("sop_instance_uid,vf\n1.1,1\n".encode("utf-16-le"), "UTF-16"),
        ("sop_instance_uid,vf\n1.1,0\n1.2,0\n", "of 2 films labelled for `vf` none is positive"),
        ("sop_instance_uid,vf\n1.1,1\n1.2,1\n", "none is negative"),
        ("sop_instance_uid,vf\n7.1,1\n7.2,0\n", r"None of the 2 rows .*2 unmatched.*right archive"),
        ("sop_instance_uid,vf\n", "None of the 0 rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(site, text, says):
    with pytest.raises(LabelsError, match=says) as refused:
        site.label(text)
    assert "1.1" not in str(refused.value).replace(str(site.folder), "")


def test_a_quote_that_is_never_closed_swallows_no_rows(site):
    text = 'sop_instance_uid,vf,comment\n1.1,1,"open\n1.2,0,\n1.3,0,\n'
    with pytest.raises(LabelsError, match="a quote is opened and never closed"):
        site.label(text, findings=("vf",))


def test_a_file_that_is_not_there_is_said(site):
    with pytest.raises(LabelsError, match="No such file"):
        label_findings(site.folder / "nowhere.csv")


MARK = "Tq7Zmarked"


@pytest.mark.parametrize(
    "text",
    [
        f"{MARK},{MARK}\n1.1,1\n",
        f"sop_instance_uid,vf\n1.1,{MARK}\n",
        f"sop_instance_uid,vf\n1.1,1,{MARK}\n",
        f'sop_instance_uid,vf\n1.1,1\n"{MARK},1\n',
        f"sop_instance_uid,vf\n1.1,1\n{MARK},0\n",
        f"accession_number,issuer,vf\nA9.1,{MARK},1\n{MARK},,0\n",
        f"sop_instance_uid,vf\n1.1,1\n1.2,0\n{MARK},0\n",
    ],
)
def test_nothing_of_the_file_gets_into_logs_ledgers_or_messages(site, caplog, text):
    caplog.set_level("DEBUG")
    said = ""
    try:
        write_problems(site.label(text).problems, site.folder / "problems.csv")
        said = (site.folder / "problems.csv").read_text()
    except LabelsError as refused:
        said = str(refused)
    ledgers = (site.folder / "results" / "runs").glob("*.json")
    said += caplog.text + "".join(path.read_text() for path in ledgers)
    assert "labels" in said
    assert MARK not in said
