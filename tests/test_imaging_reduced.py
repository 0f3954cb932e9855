"""A film decoded no finer than the network sees, against the whole film and the reference."""

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import dicom_films as films
import imagecodecs
import numpy as np
import pydicom
import pytest
import torch
from dicom_films import anatomy, film, lut_item, write
from numpy.typing import NDArray
from PIL import Image
from test_imaging_codecs import DAMAGED

from vfscreen.errors import FailureReason
from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.decode import Film, decode_film, least_multiple
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits, read_film
from vfscreen.imaging.reference import reference_display, reference_prepare
from vfscreen.model.calibration import probability
from vfscreen.model.checkpoint import read_info
from vfscreen.model.inference import Predictor
from vfscreen.phantom.archive import write_phantom
from vfscreen.preprocessing import Preprocessing

# Films of 150, 300 and 520 px are halved once, twice and three times for it.
SPEC = Preprocessing(input_size_px=32)
# For it, films are halved as often as their codec can.
SMALLEST = Preprocessing(input_size_px=4)
REDUCIBLE = (
    films.JPEG_2000_LOSSLESS, films.JPEG_2000, films.HTJ2K_LOSSLESS, films.HTJ2K_RPCL, films.HTJ2K,
)  # fmt: skip
PRECISIONS = (8, 10, 12, 14, 15, 16)
# Every reducible transfer syntax at every precision at which it is halved.
ALL = [(syntax, bits) for syntax in (films.JPEG_2000, films.HTJ2K) for bits in PRECISIONS]
ALL += [
    (syntax, bits)
    for syntax in (films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS)
    for bits in PRECISIONS[1:]
]


def codestream_of(stored: NDArray[Any], syntax: str, bits: int) -> bytes:
    """A codestream of the film's own precision, with five decompositions where it has any."""
    number = syntax.rpartition(".")[2]
    if number in ("90", "91"):
        return bytes(
            imagecodecs.jpeg2k_encode(
                stored, level=0 if number == "90" else 80, codecformat="j2k", bitspersample=bits,
                reversible=number == "90", resolutions=6, numthreads=1,
            )
        )  # fmt: skip
    # OpenJPH writes 8 and 16 bits only; the precision in SIZ is put right afterwards. Reversible
    # samples are level-shifted by the difference (ITU-T T.800, G.1), the steps of the irreversible
    # quantisation are shares of the range (E.1), so that those samples are scaled up to it.
    width = 8 * stored.dtype.itemsize
    if number == "203":
        wide = stored << stored.dtype.type(width - bits)
    else:
        wide = stored + stored.dtype.type((1 << (width - 1)) - (1 << (bits - 1)))
    stream = bytearray(imagecodecs.htj2k_encode(wide, reversible=number != "203", resolutions=5))
    stream[42] = bits - 1
    return bytes(stream)


def written(
    folder: Path,
    stored: NDArray[Any],
    syntax: str,
    bits: int = 12,
    codestream: bytes | None = None,
    **attributes: Any,
) -> str:
    """A film whose window is its whole range, unless `attributes` show it otherwise."""
    if not {"WindowWidth", "VOILUTSequence"} & attributes.keys():
        attributes |= {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    dataset = film(
        stored, syntax, bits_stored=bits,
        codestream=codestream or codestream_of(stored, syntax, bits), **attributes,
    )  # fmt: skip
    return write(dataset, folder / "film")


def spec_of(path: str) -> Preprocessing:
    """As `SPEC` for 5-3 wavelets, and for others as small that they halve films as often."""
    multiple = least_multiple(read_film(path, DecodeLimits()))
    return replace(SPEC, input_size_px=2 * SPEC.input_size_px // multiple)


def halved(path: str, times: int) -> Film:
    """The film as the nightly job decodes it, halved as often as is expected."""
    decoded = decode_film(path, spec_of(path), reduced=True)
    assert decoded.route.endswith(f"/{1 << times}")
    return decoded


def coarse_htj2k(stored: NDArray[Any], bits: int) -> bytes:
    """Lossy HTJ2K whose errors at an edge are some 2 % of the range."""
    wide = stored << stored.dtype.type(8 * stored.dtype.itemsize - bits)
    stream = bytearray(imagecodecs.htj2k_encode(wide, reversible=False, level=0.02))
    stream[42] = bits - 1
    return bytes(stream)


@pytest.fixture(scope="module")
def preparer() -> Preparer:
    return Preparer(SPEC, batch_size=1, threads=1)


def network_input(preparer: Preparer, decoded: Film, region: Any = None) -> NDArray[np.float64]:
    """What the network sees, 0 black to 1 white, but for the border."""
    tensor = preparer.prepare([decoded.display], [region or decoded.region])
    seen = np.array(np.from_dlpack(tensor), np.float64)[0, 0]
    return (seen * SPEC.std + SPEC.mean)[2:-2, 2:-2]


def reference_input(path: str) -> NDArray[np.float64]:
    """The same by the plain reference."""
    shown = np.rint(reference_display(pydicom.dcmread(path), SPEC) * 65535).astype(np.uint16)
    seen = reference_prepare(shown, SPEC)[0].astype(np.float64)
    return (seen * SPEC.std + SPEC.mean)[2:-2, 2:-2]


# ------------------------------------------------------------------------------- the same film


@pytest.mark.parametrize(("syntax", "bits"), ALL)
def test_a_halved_film_is_the_film(
    tmp_path: Path, preparer: Preparer, syntax: str, bits: int
) -> None:
    """Halved once and three times, in odd sizes."""
    for times, rows, columns in ((1, 151, 173), (3, 525, 603)):
        path = written(tmp_path, anatomy(rows, columns, bits, seed=times), syntax, bits)
        seen = network_input(preparer, halved(path, times))
        whole = network_input(preparer, decode_film(path, SPEC))
        for other in (whole, reference_input(path)):
            difference = np.abs(seen - other)
            assert difference.mean() < 0.002
            assert difference.max() < 0.005


@pytest.mark.parametrize("syntax", [films.JPEG_2000, films.HTJ2K_LOSSLESS])
def test_every_size_modulo_8(tmp_path: Path, preparer: Preparer, syntax: str) -> None:
    for remainder in range(8):
        stored = anatomy(512 + remainder, 560 + (3 * remainder + 5) % 8, seed=remainder)
        path = written(tmp_path, stored, syntax)
        difference = np.abs(network_input(preparer, halved(path, 3)) - reference_input(path))
        assert difference.mean() < 0.001
        assert difference.max() < 0.005


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("syntax", REDUCIBLE)
def test_a_film_is_shifted_by_half_a_pixel_a_halving(
    tmp_path: Path, preparer: Preparer, syntax: str, times: int
) -> None:
    """Unshifted it is further from the film by a clear factor."""
    rows, columns = 75 << times, 83 << times
    y, x = np.mgrid[0:rows, 0:columns]
    smooth = 0.5 + 0.4 * np.sin(11 * x / columns) * np.cos(12 * y / rows)
    path = written(tmp_path, (smooth * 4095).astype(np.uint16), syntax)
    decoded = halved(path, times)
    whole = network_input(preparer, decode_film(path, SPEC))
    wrong = (0.0, 0.0, 75.0, 83.0)
    right, other = (
        np.abs(network_input(preparer, decoded, region) - whole).mean()
        for region in (decoded.region, wrong)
    )
    assert 8 * right < other


# ---------------------------------------------------------------------- black and white edges


_LOW_PASS = {
    True: np.array([-1, 2, 6, 2, -1]) / 8,
    False: np.array(
        [0.02674875741, -0.01686411844, -0.07822326653, 0.26686411844, 0.60294901824,
         0.26686411844, -0.07822326653, -0.01686411844, 0.02674875741]
    ),
}  # fmt: skip
"""Analysis filters of the 5-3 and the 9-7 wavelet (ITU-T T.800, annex F), for gain 1."""


def low_pass(values: NDArray[np.float64], times: int, *, reversible: bool) -> NDArray[np.float64]:
    """What is left of a film after so many decompositions, in floating point."""
    taps = _LOW_PASS[reversible]
    reach = len(taps) // 2
    for _ in range(times):
        for axis in (0, 1):
            padded = np.pad(
                values, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "reflect"
            )
            windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis)
            values = (windows @ taps)[(slice(None),) * axis + (slice(None, None, 2),)]
    return values


def lettering(rows: int, columns: int, bits: int) -> NDArray[Any]:
    """White letters on black, black ones on white, and strokes of one pixel and more."""
    random = np.random.default_rng(bits)
    white = np.kron(random.integers(0, 2, (rows // 12 + 1, columns // 12 + 1)), np.ones((12, 12)))
    white = white[:rows, :columns].astype(bool)
    white[:, columns // 2 :: 7] ^= True
    white[rows // 2 :: 11] ^= True
    white[: rows // 6] = True
    white[-rows // 6 :] = False
    return np.where(white, 2**bits - 1, 0).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize(("syntax", "bits"), ALL)
def test_an_overshoot_at_an_edge_is_clipped(tmp_path: Path, syntax: str, bits: int) -> None:
    """White beside black rises above white in a low-pass band: it must not come out black."""
    reversible = syntax not in (films.JPEG_2000, films.HTJ2K)
    for times, rows, columns in ((1, 151, 173), (2, 299, 335), (3, 525, 603)):
        stored = lettering(rows, columns, bits)
        path = written(tmp_path, stored, syntax, bits)
        expected = low_pass(stored / (2**bits - 1), times, reversible=reversible)
        assert expected.max() > 1.05 and expected.min() < -0.05
        difference = np.abs(halved(path, times).display / 65535 - expected.clip(0, 1))
        assert difference.max() < 4 / 2**bits + 0.0003


@pytest.mark.parametrize("bits", PRECISIONS)
def test_an_overshoot_in_a_whole_lossy_htj2k_film_is_clipped(tmp_path: Path, bits: int) -> None:
    stored = lettering(151, 173, bits)
    path = written(tmp_path, stored, films.HTJ2K, bits, coarse_htj2k(stored, bits))
    difference = np.abs(decode_film(path, SPEC).display / 65535 - stored / (2**bits - 1))
    assert difference.max() < 0.05


def test_the_fastest_htj2k_decoder_would_have_turned_white_into_black() -> None:
    """Why lossy HTJ2K films go another way; where this fails, they no longer have to."""
    stored = lettering(151, 173, 16)
    fastest = imagecodecs.htj2k_decode(coarse_htj2k(stored, 16)).astype(int)
    assert np.abs(fastest - stored).max() > 60000


# ------------------------------------------------------------------------- where it stays whole


def pillow_jpeg2000(stored: NDArray[Any], **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(stored).save(out, "JPEG2000", no_jp2=True, irreversible=False, **options)
    return out.getvalue()


def with_coc(codestream: bytes) -> bytes:
    """The coding style of the only component said once more, in a COC segment."""
    at = codestream.index(b"\xff\x52")
    after = at + 2 + struct.unpack_from(">H", codestream, at + 2)[0]
    # Component 0, Scoc 0, then what follows SGcod in COD.
    coc = b"\xff\x53" + struct.pack(">HBB", 9, 0, 0) + codestream[at + 9 : at + 14]
    return codestream[:after] + coc + codestream[after:]


def with_cod_in_the_tile(codestream: bytes) -> bytes:
    """The coding style said once more in the header of the tile."""
    at = codestream.index(b"\xff\x52")
    cod = codestream[at : at + 2 + struct.unpack_from(">H", codestream, at + 2)[0]]
    start = codestream.index(b"\xff\x90")
    (length,) = struct.unpack_from(">I", codestream, start + 6)
    tile = codestream[start : start + 6] + struct.pack(">I", length + len(cod) if length else 0)
    return codestream[:start] + tile + codestream[start + 10 : start + 12] + cod + codestream[
        start + 12 :
    ]  # fmt: skip


def test_rare_codestreams_are_decoded_whole(tmp_path: Path) -> None:
    """Tiles, an origin elsewhere, no resolution to leave out, coding said twice."""
    stored = anatomy(299, 335, 16)
    plain = pillow_jpeg2000(stored, num_resolutions=6)
    streams = {
        "tiles": pillow_jpeg2000(stored, num_resolutions=4, tile_size=(128, 128)),
        "offset": pillow_jpeg2000(stored, num_resolutions=6, offset=(5, 3), tile_size=(400, 400)),
        "tile offset": pillow_jpeg2000(
            stored, num_resolutions=6, offset=(5, 3), tile_offset=(4, 2), tile_size=(400, 400)
        ),
        "one resolution": pillow_jpeg2000(stored, num_resolutions=1),
        "coc": with_coc(plain),
        "cod in the tile": with_cod_in_the_tile(plain),
    }
    for name, stream in streams.items():
        path = written(tmp_path, stored, films.JPEG_2000_LOSSLESS, 16, stream)
        decoded = decode_film(path, SMALLEST, reduced=True)
        assert "/" not in decoded.route, name
        assert decoded.region == (0.0, 0.0, 299.0, 335.0), name
        assert np.array_equal(decoded.display, decode_film(path, SPEC).display), name
        if name != "tiles":  # Pillow writes 16-bit tiles wrongly: every decoder agrees on that
            assert np.abs(decoded.display.astype(int) - stored).max() <= 1, name


def test_no_more_resolutions_are_left_out_than_there_are(tmp_path: Path) -> None:
    stored = anatomy(525, 603, 16)
    for resolutions, times in ((2, 1), (3, 2), (4, 3)):
        stream = pillow_jpeg2000(stored, num_resolutions=resolutions)
        path = written(tmp_path, stored, films.JPEG_2000_LOSSLESS, 16, stream)
        assert halved(path, times).display.shape == (-(-525 >> times), -(-603 >> times))


@pytest.mark.parametrize("syntax", REDUCIBLE)
def test_a_film_that_is_small_already_is_decoded_whole(tmp_path: Path, syntax: str) -> None:
    path = written(tmp_path, anatomy(127, 300), syntax)
    decoded = decode_film(path, SPEC, reduced=True)
    assert np.array_equal(decoded.display, decode_film(path, SPEC).display)
    assert decoded.display.shape == (127, 300)


@pytest.mark.parametrize("syntax", REDUCIBLE)
def test_values_that_are_no_brightness_are_decoded_whole(tmp_path: Path, syntax: str) -> None:
    """Padding, an overlay in the bits above the stored ones, no window at all."""
    stored = anatomy(299, 335)
    stored[:40] = 0
    for keyword in ("padding", "overlay", "no window"):
        path = written(tmp_path, stored, syntax)
        dataset = pydicom.dcmread(path)
        if keyword == "padding":
            dataset.add_new("PixelPaddingValue", "US", 0)
        elif keyword == "overlay":
            dataset.add_new(0x60000102, "US", 12)
        else:
            del dataset.WindowCenter, dataset.WindowWidth
        dataset.save_as(path)
        decoded = decode_film(path, SMALLEST, reduced=True)
        assert "/" not in decoded.route
        assert np.array_equal(decoded.display, decode_film(path, SPEC).display)


@pytest.mark.parametrize("syntax", [s for s in films.LOSSLESS if s not in REDUCIBLE])
def test_other_transfer_syntaxes_are_decoded_whole(tmp_path: Path, syntax: str) -> None:
    stored = anatomy(299, 335)
    path = write(film(stored, syntax), tmp_path / "film")
    decoded = decode_film(path, SPEC, reduced=True)
    assert "/" not in decoded.route
    assert np.array_equal(decoded.display, decode_film(path, SPEC).display)


@pytest.mark.parametrize("syntax", [films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS])
def test_signed_and_shallow_films_are_decoded_whole(tmp_path: Path, syntax: str) -> None:
    """The 5-3 wavelet rounds noise up by half a stored value a halving: too much of 8 bits."""
    signed = anatomy(299, 335).astype(np.int16) - 2048
    shallow = anatomy(299, 335, bits=6)
    eight = anatomy(299, 335, bits=8)
    paths = [
        write(film(signed, syntax, WindowCenter=0, WindowWidth=4096), tmp_path / "signed"),
        write(film(eight, syntax, bits_stored=8), tmp_path / "eight"),
    ]
    if syntax == films.JPEG_2000_LOSSLESS:
        paths.append(write(film(shallow, syntax, bits_stored=6), tmp_path / "shallow"))
    for path in paths:
        decoded = decode_film(path, SMALLEST, reduced=True)
        assert "/" not in decoded.route
        assert np.array_equal(decoded.display, decode_film(path, SPEC).display)


# ------------------------------------------------------------------------------ how it is shown


CURVE = (np.linspace(0, 1, 2500) ** 2 * 65535).astype(np.uint16)
MODALITY = (np.linspace(1, 0, 4000) ** 2 * 65535).astype(np.uint16)
SHOWN: dict[str, tuple[dict[str, Any], float, float]] = {
    "narrow window": ({"WindowCenter": 2000, "WindowWidth": 820}, 0.003, 0.02),
    "sigmoid": (
        {"WindowCenter": 2000, "WindowWidth": 820, "VOILUTFunction": "SIGMOID"}, 0.003, 0.02
    ),
    "exact": (
        {"WindowCenter": 2000, "WindowWidth": 820, "VOILUTFunction": "LINEAR_EXACT"}, 0.003, 0.02
    ),
    "voi lut": ({"VOILUTSequence": lut_item(700, CURVE, 16)}, 0.003, 0.02),
    "modality lut": (
        {
            "ModalityLUTSequence": lut_item(40, MODALITY, 16), "WindowCenter": 20000,
            "WindowWidth": 30000,
        }, 0.003, 0.02,
    ),
    "monochrome1": (
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000},
        0.0015, 0.006,
    ),
    "rescale": (
        {
            "RescaleSlope": "-0.5", "RescaleIntercept": "100", "WindowCenter": -900,
            "WindowWidth": 1500,
        }, 0.0015, 0.006,
    ),
}  # fmt: skip
"""Attributes, and the largest mean and single difference at the network's input."""


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("syntax", [films.JPEG_2000_LOSSLESS, films.HTJ2K])
def test_values_are_shown_as_in_the_whole_film(
    tmp_path: Path, preparer: Preparer, syntax: str, shown: str
) -> None:
    attributes, mean, largest = SHOWN[shown]
    for times, rows, columns in ((1, 151, 173), (2, 299, 335), (3, 525, 603)):
        path = written(tmp_path, anatomy(rows, columns), syntax, **attributes)
        reference = reference_input(path)
        difference = np.abs(network_input(preparer, halved(path, times)) - reference)
        assert difference.mean() < mean
        assert difference.max() < largest
        assert reference.std() > 0.1


# --------------------------------------------------------------------------------------- damage


def outcome(path: str, *, reduced: bool) -> FailureReason | None:
    """Why the film failed; None where it was decoded."""
    try:
        decode_film(path, SMALLEST, reduced=reduced)
    except FilmError as error:
        assert "Taint" not in error.message
        return error.reason
    return None


@pytest.mark.parametrize("syntax", REDUCIBLE)
def test_damage_is_found_as_in_the_whole_film(tmp_path: Path, syntax: str) -> None:
    stored = anatomy(400, 300)
    stream = codestream_of(stored, syntax, 12)
    middle = len(stream) // 2
    damaged = [stream[: int(len(stream) * kept)] for kept in (0.1, 0.5, 0.9)]
    damaged += [stream[: len(stream) * 7 // 10] + b"\xff\xd9"]
    damaged += [stream[:middle] + stream[middle + len(stream) // 5 :]]
    damaged += [stream[:200] + np.random.default_rng(3).bytes(5000)]
    damaged += [stream[:middle] + bytes(4096) + stream[middle + 4096 :]]
    for number, codestream in enumerate(damaged):
        path = written(tmp_path, stored, syntax, 12, codestream + b"\0" * (len(codestream) % 2))
        assert outcome(path, reduced=False) in DAMAGED, number
        assert outcome(path, reduced=True) in DAMAGED, number


@pytest.mark.parametrize("syntax", REDUCIBLE)
def test_a_hostile_codestream_is_a_failure_and_nothing_else(tmp_path: Path, syntax: str) -> None:
    """Bytes of the headers changed at will: decoded or failed, and never another exception."""
    stored = anatomy(131, 140)
    stream = codestream_of(stored, syntax, 12)
    random = np.random.default_rng(7)
    for _ in range(100):
        hostile = bytearray(stream)
        for at in random.integers(2, 130, random.integers(1, 4)):
            hostile[at] = random.integers(0, 256)
        path = written(tmp_path, stored, syntax, 12, bytes(hostile))
        assert outcome(path, reduced=True) in (None, *FailureReason)


# ------------------------------------------------------------------------------------ the plan


@pytest.mark.parametrize(
    ("syntax", "multiple"), [(films.JPEG_2000_LOSSLESS, 2), (films.JPEG_2000, 4)]
)
def test_the_short_side_stays_a_multiple_of_the_input(
    tmp_path: Path, syntax: str, multiple: int
) -> None:
    spec = replace(SPEC, input_size_px=64 // multiple)
    for rows, size in ((127, 127), (128, 64), (255, 128), (256, 64), (511, 128), (512, 64)):
        path = written(tmp_path, anatomy(rows, 600), syntax)
        assert decode_film(path, spec, reduced=True).display.shape[0] == size
        assert read_film(path, DecodeLimits()).rows == rows


# ------------------------------------------------------------------------- what it is all about


def probabilities_move_little(folder: Path, studies: int, at_least: int) -> None:
    """Phantom films of full size by the demonstration checkpoint, halved and whole."""
    info = read_info("demo")
    spec, finding = info.preprocessing, info.findings[0]
    predictor = Predictor(info, device="cpu", precision="float32")
    full_size = Preparer(spec, batch_size=1, threads=1)
    write_phantom(folder / "phantom", studies=studies, seed=5, workers=2, reports=False)

    def logit(decoded: Film) -> float:
        prepared = full_size.prepare([decoded.display], [decoded.region])
        return float(predictor.logits(torch.from_dlpack(prepared))[0, 0])

    moved = []
    for path in sorted((folder / "phantom" / "archive").rglob("*")):
        try:
            reduced = decode_film(str(path), spec, reduced=True)
            whole = decode_film(str(path), spec) if "/" in reduced.route else None
        except FilmError:  # clutter
            continue
        if whole is not None:
            logits = np.array([logit(reduced), logit(whole)])
            first, second = probability(logits, info.calibration[finding])
            moved.append(abs(first - second))
    assert len(moved) >= at_least
    assert max(moved) <= 0.02
    assert np.mean(moved) < 0.003


def test_no_probability_moves_by_more_than_2_percent(tmp_path: Path) -> None:
    probabilities_move_little(tmp_path, studies=5, at_least=1)


@pytest.mark.drill
@pytest.mark.timeout(1200)
def test_no_probability_of_many_moves_by_more_than_2_percent(tmp_path: Path) -> None:
    probabilities_move_little(tmp_path, studies=200, at_least=40)
