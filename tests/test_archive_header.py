"""Headers: every encoding, hostile and broken ones, and our parser held against pydicom."""

import random
import struct
import warnings
import zlib
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from archive_films import code, encoded, film, long_header, written
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from vfscreen.archive.header import Header, HeaderFailure, NotDicom, read_header
from vfscreen.archive.heads import MAX_HEADER_BYTES
from vfscreen.errors import FailureReason

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
]


def header(path: Path) -> Header:
    outcome = read_header(path)
    assert isinstance(outcome, tuple), outcome
    return outcome[0]


def reason(path: Path) -> FailureReason:
    outcome = read_header(path)
    assert isinstance(outcome, HeaderFailure), outcome
    return outcome.reason


def rich_film() -> Dataset:
    """A film with sequences of both kinds of length, nested, and another character set."""
    ds = film(
        SpecificCharacterSet="GB18030",
        StudyDescription="腹部正位片",
        AnatomicRegionSequence=code("T-D4000", "Abdomen"),
        ViewCodeSequence=code("R-10206", "antero-posterior"),
        NumberOfFrames=1,
        SeriesDescription="<b>AP</b>",
    )
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "HOSPITAL"
    ds.IssuerOfAccessionNumberSequence = Sequence([issuer])
    deep = Dataset()
    deep.RequestedProcedureCodeSequence = code("X", "nested")
    deep.RequestedProcedureCodeSequence.is_undefined_length = True
    ds.RequestAttributesSequence = Sequence([deep, deep])
    ds.AnatomicRegionSequence.is_undefined_length = True
    ds.AnatomicRegionSequence[0].is_undefined_length_sequence_item = True
    ds.RequestAttributesSequence.is_undefined_length = True
    for item in ds.RequestAttributesSequence:
        item.is_undefined_length_sequence_item = True
    return ds


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_syntax_reads_as_pydicom_reads_it(tmp_path: Path, syntax: str) -> None:
    path = written(tmp_path / "film", encoded(rich_film(), syntax))
    expected = dcmread(path, stop_before_pixels=True)

    found = header(path)

    for name, keyword in [
        ("sop_instance_uid", "SOPInstanceUID"),
        ("sop_class_uid", "SOPClassUID"),
        ("study_instance_uid", "StudyInstanceUID"),
        ("series_instance_uid", "SeriesInstanceUID"),
        ("patient_id", "PatientID"),
        ("accession_number", "AccessionNumber"),
        ("study_time", "StudyTime"),
        ("patient_sex", "PatientSex"),
        ("modality", "Modality"),
        ("body_part_examined", "BodyPartExamined"),
        ("view_position", "ViewPosition"),
        ("study_description", "StudyDescription"),
        ("series_description", "SeriesDescription"),
        ("presentation_intent_type", "PresentationIntentType"),
        ("photometric_interpretation", "PhotometricInterpretation"),
        ("rows", "Rows"),
        ("columns", "Columns"),
        ("number_of_frames", "NumberOfFrames"),
        ("bits_allocated", "BitsAllocated"),
        ("bits_stored", "BitsStored"),
    ]:
        assert getattr(found, name) == expected[keyword].value, name
    assert found.transfer_syntax_uid == syntax
    assert found.image_type == ("DERIVED", "PRIMARY")
    assert found.study_date == date(2020, 6, 15)
    assert found.anatomic_region == "T-D4000 Abdomen"
    assert found.view_code == "R-10206 antero-posterior"
    assert found.issuer_of_accession_number == "HOSPITAL"


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_a_film_without_preamble_reads_the_same(tmp_path: Path, syntax: str) -> None:
    bare = header(written(tmp_path / "bare", encoded(film(), syntax, preamble=False)))

    assert bare == header(written(tmp_path / "whole", encoded(film(), syntax)))


def test_a_syntax_that_is_not_the_one_declared_is_read_as_it_is(tmp_path: Path) -> None:
    bare = encoded(film(), ImplicitVRLittleEndian, preamble=False)
    whole = encoded(film(), ExplicitVRLittleEndian)
    meta = whole[: whole.index(b"\x08\x00\x08\x00")]

    assert header(written(tmp_path / "film", meta + bare)).rows == 16


@pytest.mark.parametrize(
    ("character_set", "raw", "expected"),
    [
        (None, b"ABDOMEN", "ABDOMEN"),
        (None, "Abdömen".encode("latin-1"), "Abdömen"),
        ("ISO_IR 100", "Abdömen".encode("latin-1"), "Abdömen"),
        ("ISO_IR 192", "腹部".encode(), "腹部"),
        ("ISO_IR 144", "Живот".encode("iso8859_5"), "Живот"),
        ("GB18030", "腹部".encode("gb18030"), "腹部"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ".encode("shift_jis"), "ﾔﾏﾀﾞ"),
        ("\\ISO 2022 IR 87", b'\x1b$BJ"It\x1b(B', "腹部"),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xba\xb9\xba\xce", "복부"),
        ("ISO_IR 192", b"bad \xff\xfe", "bad ��"),
        ("NO SUCH SET", b"caf\xe9", "café"),
    ],
)
def test_text_is_decoded(
    tmp_path: Path, character_set: str | None, raw: bytes, expected: str
) -> None:
    marker = "X" * (len(raw) + len(raw) % 2)
    ds = film(SpecificCharacterSet="ISO_IR 6", StudyDescription=marker)
    given = (character_set or "").encode()
    data = encoded(ds).replace(marker.encode(), raw.ljust(len(marker)))
    declared = struct.pack("<HH2sH", 8, 5, b"CS", len(given) + len(given) % 2)
    old = data.index(b"\x08\x00\x05\x00CS")
    data = data[:old] + declared + given.ljust(len(given) + len(given) % 2) + data[old + 16 :]

    assert header(written(tmp_path / "film", data)).study_description == expected


@pytest.mark.parametrize(
    ("age", "study_date", "birth_date", "years"),
    [
        ("050Y", None, None, 50),
        ("50Y", None, None, 50),
        ("600M", None, None, 50),
        ("599M", None, None, 49),
        ("010D", None, None, 0),
        ("100W", None, None, 1),
        ("000Y", None, None, None),
        ("50", None, None, None),
        ("ABCY", None, None, None),
        ("999Y", None, None, None),
        ("-05Y", None, None, None),
        ("ABCY", "20200615", "19700616", 49),
        (None, "20200615", "19700615", 50),
        (None, "20200615", "20200616", None),
        (None, "20200615", "18500101", None),
        (None, "20200615", "19991301", None),
        (None, "20200615", "1960.01.01", 60),
        (None, None, "19600101", None),
        ("", "20200615", "garbage", None),
    ],
)
def test_age_is_the_stated_one_else_by_dates_else_unknown(
    tmp_path: Path, age: str | None, study_date: str | None, birth_date: str | None, years: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says what is wrong with these values
        ds = film(PatientAge=age, StudyDate=study_date, PatientBirthDate=birth_date)
        path = written(tmp_path / "film", encoded(ds))

    assert header(path).patient_age_years == years


def test_padding_and_excess_are_cut(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = film(StudyDescription=" padded \0", SeriesDescription="x" * 5000, PatientID="  ")
        found = header(written(tmp_path / "film", encoded(ds)))

    assert found.study_description == "padded"
    assert found.series_description == "x" * 1024
    assert found.patient_id is None


def test_of_several_values_the_first_that_says_something_is_taken(tmp_path: Path) -> None:
    ds = film()
    ds.add_new("AccessionNumber", "SH", ["", "A7", "A8"])

    assert header(written(tmp_path / "film", encoded(ds))).accession_number == "A7"


def test_a_header_never_warns_or_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """pydicom's warnings quote values, which may be identifiers."""
    marker = "SECRET"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = film(PatientID=marker, StudyDate=marker, PatientAge=marker, AccessionNumber=marker)
        ds.SpecificCharacterSet = ["ISO 2022 IR 87", marker]
        data = encoded(ds).replace(b"XR ABDOMEN", b"\x1b$B\xff\xff\xff\xffxx")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_header(written(tmp_path / "film", data))

    assert not caught
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"Dear archive, this is a text file.\n" * 20,
        b"\x08\x00",
        b"\x08\x00\x05\x00" + bytes(60),
        bytes(4096),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
    ],
    ids=["empty", "one byte", "text", "two bytes", "nothing in it", "zeros", "PNG"],
)
def test_other_files_are_not_dicom(tmp_path: Path, data: bytes) -> None:
    assert read_header(written(tmp_path / "file", data)) == NotDicom()


def test_a_folder_or_pipe_in_a_files_place_is_not_dicom(tmp_path: Path) -> None:
    assert read_header(tmp_path) == NotDicom()


def test_a_file_that_cannot_be_opened_is_a_transient_failure(tmp_path: Path) -> None:
    found = reason(tmp_path / "gone")

    assert found == FailureReason.UNREADABLE_FILE
    assert found.transient


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_film_cut_anywhere_is_truncated(tmp_path: Path, syntax: str) -> None:
    data = encoded(film(), syntax)
    cuts = range(140, len(data) - 20, 37)

    # Cut inside a deflated data set only the header's end can be told without inflating it all.
    if syntax == DeflatedExplicitVRLittleEndian:
        cuts = range(400, 460, 7)

    found = {cut: reason(written(tmp_path / "film", data[:cut])) for cut in cuts}

    assert set(found.values()) == {FailureReason.TRUNCATED}, found


def test_what_a_truncated_film_is_stays_known(tmp_path: Path) -> None:
    outcome = read_header(written(tmp_path / "film", encoded(film())[:-10]))

    assert isinstance(outcome, HeaderFailure)
    assert outcome.header is not None
    assert outcome.header.sop_instance_uid == "1.2.3.4"


def test_a_film_without_pixel_data_is_truncated(tmp_path: Path) -> None:
    assert reason(written(tmp_path / "f", encoded(film(), pixels=False))) == FailureReason.TRUNCATED


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID"])
def test_a_film_that_nothing_can_be_joined_to_is_a_bad_header(tmp_path: Path, keyword: str) -> None:
    data = encoded(film(**{keyword: ""}), preamble=False)

    assert reason(written(tmp_path / "film", data)) == FailureReason.BAD_HEADER


def preceded(element: bytes) -> bytes:
    """A film with a hostile element among its first."""
    data = encoded(film())
    start = data.index(b"\x08\x00\x16\x00UI")
    return data[:start] + element + data[start:]


SQ_OPEN = b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff"
ITEM_OPEN = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (preceded((SQ_OPEN + ITEM_OPEN) * 5000), FailureReason.BAD_HEADER),
        (preceded(b"\x08\x00\x06\x00??\xff\x7f"), FailureReason.BAD_HEADER),
        (preceded(b"\xfe\xff\x00\xe0UN\x00\x00"), FailureReason.BAD_HEADER),
        (preceded(SQ_OPEN + b"garbage in a sequence"), FailureReason.BAD_HEADER),
        (preceded(b"\x08\x00\x06\x00UT\0\0\xfe\xff\xff\xff"), FailureReason.TRUNCATED),
        (preceded(b"\x08\x00\x06\x00LO\xff\xff"), FailureReason.TRUNCATED),
    ],
    ids=["deep", "no VR", "stray item", "no items", "4 GiB long", "64 KiB long"],
)
def test_hostile_headers_are_failures(tmp_path: Path, data: bytes, expected: FailureReason) -> None:
    assert reason(written(tmp_path / "film", data)) == expected


def test_a_header_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = written(
        tmp_path / "film",
        preceded(b"\x08\x00\x06\x00UT\0\0" + struct.pack("<L", MAX_HEADER_BYTES + 2)),
    )
    with path.open("r+b") as file:
        file.truncate(MAX_HEADER_BYTES + (1 << 20))  # a sparse file

    assert reason(path) == FailureReason.BAD_HEADER


def test_a_deflated_bomb_is_not_inflated_whole(tmp_path: Path) -> None:
    whole = encoded(film(), DeflatedExplicitVRLittleEndian)
    meta = whole[: 132 + 12 + struct.unpack_from("<L", whole, 140)[0]]
    element = b"\x08\x00\x06\x00UT\0\0" + struct.pack("<L", 1 << 30)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(element + bytes(200 << 20)) + deflater.flush()

    assert reason(written(tmp_path / "film", meta + bomb)) == FailureReason.BAD_HEADER


def test_a_long_header_is_read_whole(tmp_path: Path) -> None:
    ds = film()
    ds.private_block(0x0009, "TEST", create=True).add_new(1, "OB", bytes(500_000))

    assert header(written(tmp_path / "film", encoded(ds))).rows == 16


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    """A thousand films with a few bytes changed or lost: an answer each, never an exception."""
    seeded = random.Random(1)
    originals = [encoded(rich_film(), syntax) for syntax in SYNTAXES]
    path = tmp_path / "film"
    for _ in range(1000):
        data = bytearray(seeded.choice(originals))
        for _ in range(seeded.randint(1, 8)):
            data[seeded.randrange(len(data))] = seeded.randrange(256)
        path.write_bytes(data[: seeded.choice([len(data), seeded.randrange(len(data))])])
        outcome = read_header(path)
        assert isinstance(outcome, (tuple, HeaderFailure, NotDicom))
        if isinstance(outcome, tuple):
            for column in fields(Header):
                str(getattr(outcome[0], column.name)).encode("utf-8")


def fingerprint(path: Path) -> Any:
    outcome = read_header(path)
    assert isinstance(outcome, tuple)
    return outcome[1]


def test_the_fingerprint_is_the_contents_and_not_the_paths(tmp_path: Path) -> None:
    one = written(tmp_path / "one", film())

    assert fingerprint(one) == fingerprint(written(tmp_path / "deep/two", film()))


@pytest.mark.parametrize("changed", ["header", "last byte", "size"])
def test_the_fingerprint_changes_with_the_content(tmp_path: Path, changed: str) -> None:
    data = encoded(film())
    other = {
        "header": encoded(film(PatientID="P2")),
        "last byte": data[:-1] + b"\x01",
        "size": data + b"\0\0",
    }[changed]

    assert fingerprint(written(tmp_path / "one", data)) != fingerprint(
        written(tmp_path / "two", other)
    )


def test_a_header_of_a_hundred_elements_reads_as_pydicom_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path / "film", long_header(7))

    assert len(dcmread(path)) > 100
    assert header(path).study_instance_uid == "1.2.4.7"
