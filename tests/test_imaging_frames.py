"""What is refused before anything is decoded, and what is read although it is unusual."""

import os
import zlib
from pathlib import Path
from typing import Any

import dicom_films as films
import numpy as np
import pytest
from dicom_films import anatomy, film, write
from pydicom.dataset import Dataset

from vfscreen.errors import FailureReason
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def failure(path: Path | str, **options: Any) -> FilmError:
    with pytest.raises(FilmError) as caught:
        decode_film(str(path), **options)
    assert "Taint" not in caught.value.message and str(path) not in caught.value.message
    return caught.value


def failure_of(dataset: Dataset, folder: Path) -> FailureReason:
    return failure(write(dataset, folder / "film")).reason


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": 2}, FailureReason.UNSUPPORTED_PIXELS),
        ({"SamplesPerPixel": 3}, FailureReason.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "RGB"}, FailureReason.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, FailureReason.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": None}, FailureReason.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 32}, FailureReason.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 12}, FailureReason.UNSUPPORTED_PIXELS),
        ({"BitsStored": 17}, FailureReason.BAD_HEADER),
        ({"BitsStored": 0}, FailureReason.BAD_HEADER),
        ({"HighBit": 16}, FailureReason.BAD_HEADER),
        ({"HighBit": 3}, FailureReason.BAD_HEADER),
        ({"PixelRepresentation": 2}, FailureReason.BAD_HEADER),
        ({"Rows": None}, FailureReason.BAD_HEADER),
        ({"Columns": 0}, FailureReason.BAD_HEADER),
        ({"Rows": 60000, "Columns": 60000}, FailureReason.TOO_MANY_PIXELS),
        ({"Rows": 121}, FailureReason.TRUNCATED),
        ({"Rows": 119}, FailureReason.DIMENSIONS_DISAGREE),
    ],
)
def test_a_header_that_cannot_be(
    tmp_path: Path, attributes: dict[str, Any], reason: FailureReason
) -> None:
    assert failure_of(film(anatomy(), **attributes), tmp_path) is reason


def test_one_frame_said_explicitly(tmp_path: Path) -> None:
    path = write(film(anatomy(), NumberOfFrames=1), tmp_path / "film")
    assert decode_film(path).display.shape == (120, 90)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, kept: float) -> None:
    for syntax in (films.EXPLICIT, films.BIG_ENDIAN, films.DEFLATED, films.JPEG_LS):
        path = Path(write(film(anatomy(), syntax), tmp_path / "film"))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        error = failure(path)
        assert error.reason is FailureReason.TRUNCATED, syntax
        assert error.transfer_syntax_uid in (syntax, None)


def test_a_constant_frame(tmp_path: Path) -> None:
    for value in (0, 2048, 4095):
        stored = np.full((64, 64), value, np.uint16)
        for syntax in (films.EXPLICIT, films.JPEG_LOSSLESS, films.JPEG_LS):
            assert failure_of(film(stored, syntax, **WINDOW), tmp_path) in (
                FailureReason.CONSTANT_FRAME,
                FailureReason.CORRUPT_CODESTREAM,
            )
    overlaid = np.where(np.indices((64, 64)).sum(0) % 2, 0x8005, 0x0005).astype(np.uint16)
    assert failure_of(film(overlaid, **WINDOW), tmp_path) is FailureReason.CONSTANT_FRAME


def test_an_unknown_transfer_syntax(tmp_path: Path) -> None:
    dataset = film(anatomy(), films.JPEG_LS)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    error = failure(write(dataset, tmp_path / "film"))
    assert error.reason is FailureReason.UNSUPPORTED_TRANSFER_SYNTAX
    assert error.transfer_syntax_uid == "1.2.840.10008.1.2.4.100"


def test_an_offset_table_of_several_frames(tmp_path: Path) -> None:
    dataset = film(anatomy(), films.JPEG_LS)
    dataset.PixelData = b"\xfe\xff\x00\xe0\x08\x00\x00\x00" + bytes(8) + dataset.PixelData[8 + 4 :]
    assert failure_of(dataset, tmp_path) is FailureReason.UNSUPPORTED_PIXELS


def test_floating_point_pixels(tmp_path: Path) -> None:
    dataset = film(anatomy())
    del dataset.PixelData
    dataset.FloatPixelData = np.zeros((120, 90), np.float32).tobytes()
    assert failure_of(dataset, tmp_path) is FailureReason.UNSUPPORTED_PIXELS


def test_no_pixels_at_all(tmp_path: Path) -> None:
    dataset = film(anatomy())
    del dataset.PixelData
    assert failure_of(dataset, tmp_path) is FailureReason.BAD_HEADER


def test_a_deflate_bomb_is_bounded(tmp_path: Path) -> None:
    path = Path(write(film(anatomy(), films.DEFLATED), tmp_path / "film"))
    content = path.read_bytes()
    meta_end = content.index(films.DEFLATED.encode())
    meta_end += len(films.DEFLATED) + len(films.DEFLATED) % 2
    rest = Path(write(film(anatomy()), tmp_path / "plain")).read_bytes()[-30000:]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(400_000_000)) + deflater.compress(rest) + deflater.flush()
    path.write_bytes(content[:meta_end] + bomb)
    limits = DecodeLimits(max_pixels=1_000_000)
    assert failure(path, limits=limits).reason is FailureReason.TOO_MANY_PIXELS


def test_without_preamble_and_file_meta(tmp_path: Path) -> None:
    """As older archives hold them: the dataset alone, implicit or explicit."""
    for syntax in (films.IMPLICIT, films.EXPLICIT):
        dataset = film(anatomy(), syntax, **WINDOW)
        expected = decode_film(write(dataset, tmp_path / "whole")).display
        dataset.save_as(
            tmp_path / "bare", implicit_vr=syntax == films.IMPLICIT, little_endian=True,
            enforce_file_format=False,
        )  # fmt: skip
        content = (tmp_path / "bare").read_bytes()
        start = content.index(b"\x08\x00\x16\x00")
        (tmp_path / "bare").write_bytes(content[start:])
        found = decode_film(str(tmp_path / "bare"))
        assert np.array_equal(found.display, expected)
        assert found.transfer_syntax_uid == syntax


def test_a_dataset_written_otherwise_than_it_claims(tmp_path: Path) -> None:
    path = Path(write(film(anatomy(), films.EXPLICIT, **WINDOW), tmp_path / "film"))
    expected = decode_film(str(path)).display
    lie = (films.IMPLICIT.encode() + b"\0").ljust(len(films.EXPLICIT) + 1, b"\0")
    path.write_bytes(path.read_bytes().replace(films.EXPLICIT.encode() + b"\0", lie, 1))
    assert np.array_equal(decode_film(str(path)).display, expected)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_to_a_header_is_a_film_error_or_the_film(tmp_path: Path, seed: int) -> None:
    """Nothing else ever comes out, and never a warning."""
    random = np.random.default_rng(seed)
    syntax = films.LOSSLESS[seed % len(films.LOSSLESS)]
    dataset = film(anatomy(40, 30), syntax, **WINDOW)
    dataset.VOILUTSequence = films.lut_item(0, np.arange(64, dtype=np.uint16), 16)
    path = Path(write(dataset, tmp_path / "film"))
    content = bytearray(path.read_bytes())
    for _ in range(12):
        content[int(random.integers(128, min(900, len(content))))] = int(random.integers(256))
    path.write_bytes(bytes(content))
    try:
        decode_film(str(path))
    except FilmError as error:
        assert "Taint" not in error.message


# ------------------------------------------------------------------------------- files


def test_a_file_that_has_vanished(tmp_path: Path) -> None:
    error = failure(tmp_path / "gone")
    assert error.reason is FailureReason.UNREADABLE_FILE and error.reason.transient


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe").reason is FailureReason.UNREADABLE_FILE


def test_a_folder_in_place_of_a_film(tmp_path: Path) -> None:
    assert failure(tmp_path).reason is FailureReason.UNREADABLE_FILE


def test_a_file_of_another_size_than_in_the_manifest(tmp_path: Path) -> None:
    path = write(film(anatomy()), tmp_path / "film")
    size = Path(path).stat().st_size
    decode_film(path, expected_size_bytes=size)
    error = failure(path, expected_size_bytes=size - 1)
    assert error.reason is FailureReason.CHANGED_WHILE_READING and error.reason.transient


@pytest.mark.parametrize("content", [b"", b"DICM", b"\0" * 128 + b"DICM", b"hello" * 1000])
def test_files_that_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert failure(tmp_path / "file").reason in (
        FailureReason.BAD_HEADER,
        FailureReason.TRUNCATED,
    )
