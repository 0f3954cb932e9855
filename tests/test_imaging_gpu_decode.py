"""Films for a GPU's decoders, on nvImageCodec's CPU backend: hand-over, parity, and refusal."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom_films as films
import numpy as np
import pytest
import torch
from dicom_films import anatomy, film, write
from numpy.typing import NDArray

from vfscreen.config_file import load as load_config
from vfscreen.imaging.codestreams import GPU_SYNTAXES, ROUTE
from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.gpu_decode import CodestreamDecoder, show
from vfscreen.imaging.tasks import CodedFilm, DecodedFilm, DecodeFailure, DecodeMode, DecodeTask
from vfscreen.imaging.workers import DecodePool
from vfscreen.jobs.gpu_route import Paces, measure
from vfscreen.jobs.lanes import Lanes
from vfscreen.jobs.screen import ScreenRequest, run_screen
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import read_info
from vfscreen.model.inference import Predictor
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing()
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000}
JPEG_2000_FAMILY = (films.JPEG_2000_LOSSLESS, films.JPEG_2000, films.HTJ2K_LOSSLESS, films.HTJ2K)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def decoder() -> CodestreamDecoder:
    return CodestreamDecoder("cpu")


def handed_over(pool: DecodePool, *paths: str, **task: Any) -> list[Any]:
    """What the pool answers in the mode that leaves decoding to the GPU, in the paths' order."""
    found = list(
        pool.decode(
            DecodeTask(i, path, SPEC, mode=DecodeMode.CODESTREAM, **task)
            for i, path in enumerate(paths)
        )
    )
    return sorted(found, key=lambda item: item.index)


def windowed(bits: int) -> dict[str, Any]:
    return {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits * 0.7}


def values(shown: Any) -> NDArray[np.uint16]:
    assert shown is not None and shown.dtype == torch.uint16
    return shown.numpy()


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("syntax", JPEG_2000_FAMILY)
def test_as_the_full_decode(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, syntax: str, bits: int
) -> None:
    """To the last value, lossy ones too: OpenJPEG is below both routes."""
    dataset = film(anatomy(123, 91, bits=bits), syntax, bits_stored=bits, **windowed(bits))
    path = write(dataset, tmp_path / "film")
    (item,) = handed_over(pool, path)
    assert isinstance(item, CodedFilm) and item.route == ROUTE
    (shown,) = decoder.decode([item])
    expected = decode_film(path, SPEC)
    assert np.array_equal(values(shown), expected.display)
    assert item.voi_rule == expected.voi_rule == "window"
    assert item.read_bytes == Path(path).stat().st_size
    pool.release(item)


@pytest.mark.parametrize("shape", [(128, 96), (121, 90), (300, 7), (7, 300)])
def test_jpeg_as_the_full_decode(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, shape: tuple[int, int]
) -> None:
    dataset = film(anatomy(*shape, bits=8), films.JPEG_8, bits_stored=8, **windowed(8))
    path = write(dataset, tmp_path / "film")
    (item,) = handed_over(pool, path)
    assert isinstance(item, CodedFilm)
    (shown,) = decoder.decode([item])
    assert np.array_equal(values(shown), decode_film(path, SPEC).display)
    pool.release(item)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 900, "WindowWidth": 40},
        {"WindowCenter": 900, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": films.lut_item(300, np.arange(1000, dtype=np.uint16), 10)},
        WINDOW | {"PhotometricInterpretation": "MONOCHROME1"},
        WINDOW | {"PixelPaddingValue": 1500, "PixelPaddingRangeLimit": 2000},
        WINDOW | {"RescaleSlope": -2, "RescaleIntercept": 6000},
    ],
    ids=["narrow", "sigmoid", "lut", "inverted", "padding", "rescale"],
)
def test_the_table_is_the_films_own(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, attributes: dict[str, Any]
) -> None:
    path = write(film(anatomy(), films.JPEG_2000_LOSSLESS, **attributes), tmp_path / "film")
    (item,) = handed_over(pool, path)
    (shown,) = decoder.decode([item])
    assert np.array_equal(values(shown), decode_film(path, SPEC).display)
    pool.release(item)


def test_what_is_not_for_the_gpu_comes_decoded(pool: DecodePool, tmp_path: Path) -> None:
    """No VOI, a signed codestream, and every syntax that the GPU never has: JPEG lossless first."""
    twelve = anatomy()
    others = [
        film(twelve, syntax, **WINDOW)
        for syntax in (*films.LOSSLESS, *films.LOSSY)
        if syntax not in GPU_SYNTAXES
    ]
    assert {films.JPEG_LOSSLESS, films.JPEG_LOSSLESS_SV1, films.JPEG_12} <= {
        dataset.file_meta.TransferSyntaxUID for dataset in others
    }
    others.append(film(twelve, films.JPEG_2000_LOSSLESS))
    signed = (anatomy(bits=12).astype(np.int16) - 2000) * 8
    others.append(film(signed, films.JPEG_2000_LOSSLESS, bits_stored=16, **WINDOW))
    paths = [write(dataset, tmp_path / f"{i}") for i, dataset in enumerate(others)]
    for path, item in zip(paths, handed_over(pool, *paths), strict=True):
        assert isinstance(item, DecodedFilm)
        assert np.array_equal(item.display, decode_film(path, SPEC, reduced=True).display)
        pool.release(item)


def test_what_fails_on_the_cpu_fails_before_the_gpu(pool: DecodePool, tmp_path: Path) -> None:
    whole = films.encode(anatomy(), films.JPEG_2000_LOSSLESS)
    cut = film(anatomy(), films.JPEG_2000_LOSSLESS, codestream=whole[:5000], **WINDOW)
    smaller = film(anatomy(), films.JPEG_2000_LOSSLESS, **WINDOW)
    smaller.Rows = 60
    paths = [write(cut, tmp_path / "cut"), write(smaller, tmp_path / "smaller")]
    first, second = handed_over(pool, *paths, str(tmp_path / "gone"))[:2]
    assert isinstance(first, DecodeFailure) and first.reason.value == "truncated"
    assert isinstance(second, DecodeFailure) and second.reason.value == "dimensions_disagree"


def test_a_codestream_larger_than_was_reserved(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    path = write(film(anatomy(), films.HTJ2K_LOSSLESS, **WINDOW), tmp_path / "film")
    (item,) = handed_over(pool, path, pixels=10)
    (shown,) = decoder.decode([item])
    assert np.array_equal(values(shown), decode_film(path, SPEC).display)
    pool.release(item)


def test_a_batch_keeps_its_order_around_what_it_refuses(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    syntaxes = (films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS, films.JPEG_2000_LOSSLESS)
    paths = [
        write(film(anatomy(100 + i, 80, seed=i), syntax, **WINDOW), tmp_path / f"{i}")
        for i, syntax in enumerate(syntaxes)
    ]
    items = handed_over(pool, *paths)
    unknown = replace(items[1], codestream=np.zeros(500, np.uint8))
    cut = replace(items[1], codestream=items[1].codestream[:200])
    for bad in (unknown, cut):
        shown = decoder.decode([items[0], bad, items[2]])
        assert shown[1] is None
        for place in (0, 2):
            assert np.array_equal(values(shown[place]), decode_film(paths[place], SPEC).display)
    assert decoder.decode([unknown]) == [None]
    assert decoder.decode([]) == []


def test_another_size_or_type_than_the_headers_is_refused(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    path = write(film(anatomy(), films.JPEG_2000_LOSSLESS, **WINDOW), tmp_path / "film")
    (item,) = handed_over(pool, path)
    for field, value in (("columns", 91), ("coded_rows", 119), ("precision_bits", 8)):
        assert decoder.decode([replace(item, **{field: value})]) == [None]
    pool.release(item)


def test_a_constant_frame_is_refused(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    constant = np.full((64, 64), 7, np.uint16)
    paths = [
        write(film(constant, films.JPEG_2000_LOSSLESS, **WINDOW), tmp_path / "j2k"),
        write(film(constant, films.HTJ2K_LOSSLESS, **WINDOW), tmp_path / "ht"),
    ]
    assert decoder.decode(handed_over(pool, *paths)) == [None, None]


@pytest.mark.parametrize("damage", ["short", "long"])
def test_a_jpeg_with_less_or_more_data_than_its_size_needs(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, damage: str
) -> None:
    stored = anatomy(bits=8)
    data = films.encode(stored, films.JPEG_8)
    data = data[:4000] + (data[4600:] if damage == "short" else data[3000:])
    dataset = film(stored, films.JPEG_8, bits_stored=8, codestream=data, **windowed(8))
    (item,) = handed_over(pool, write(dataset, tmp_path / "film"))
    assert isinstance(item, CodedFilm)
    assert decoder.decode([item]) == [None]
    pool.release(item)


@pytest.mark.parametrize("bits", [9, 12, 14, 15])
def test_values_stretched_over_16_bits_are_refused(bits: int) -> None:
    """As DALI's decoders on a GPU have them: 65535 / (2 ** bits - 1) times the stored value."""
    table = torch.arange(2**bits, dtype=torch.int16)
    stored = anatomy(bits=bits)
    stretched = np.rint(stored * (65535 / (2**bits - 1))).astype(np.uint16)
    assert show(torch.from_numpy(stored), table, 120, bits) is not None
    assert show(torch.from_numpy(stretched), table, 120, bits) is None


def test_all_of_16_bits() -> None:
    """Display values and stored ones above 32767 are not taken for negative."""
    stored = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    table = torch.from_numpy(stored.ravel()[::-1].copy().view(np.int16))
    shown = show(torch.from_numpy(stored), table, 256, 16)
    assert np.array_equal(values(shown), 65535 - stored)


def test_a_lane_takes_coded_and_decoded_films_and_gives_back_what_it_must(
    pool: DecodePool, tmp_path: Path
) -> None:
    """The network sees of a codestream what it sees of its full decode."""
    constant = film(np.full((64, 64), 7, np.uint16), films.JPEG_2000_LOSSLESS, **WINDOW)
    mixed = [
        film(anatomy(500, 400, seed=1), films.JPEG_2000_LOSSLESS, **WINDOW),
        film(anatomy(500, 400, seed=2), films.EXPLICIT, **WINDOW),
        constant,
        film(anatomy(300, 600, seed=3), films.HTJ2K_LOSSLESS, **WINDOW),
    ]
    paths = [write(dataset, tmp_path / f"{i}") for i, dataset in enumerate(mixed)]
    info = read_info("demo")
    predictor = Predictor(info, device="cpu", precision="float32")
    released: list[int] = []

    def release(item: Any) -> None:
        released.append(item.index)
        pool.release(item)

    with Lanes(predictor, 4, release, range(4), codestreams=True) as lanes:
        batches = [handed_over(pool, *paths), handed_over(pool, paths[2])]
        scored = [done for batch in batches for done in lanes.submit(batch)]
        scored += lanes.finish()
    first, second = scored
    assert first.indexes == [1, 0, 3] and first.given_back == [2]
    assert first.routes == ["numpy", ROUTE, ROUTE]
    assert second.indexes == [] and second.given_back == [0] and second.logits.shape[0] == 0
    assert sorted(released) == [0, 0, 1, 2, 3]
    preparer = Preparer(info.preprocessing, 1)
    for index in (0, 1, 3):
        whole = decode_film(paths[index], info.preprocessing).display
        expected = np.from_dlpack(preparer.prepare([whole]))
        assert np.array_equal(first.kept[index], expected[0])


def test_films_are_measured_both_ways_and_released(
    decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    path = write(film(anatomy(), films.JPEG_2000_LOSSLESS, **WINDOW), tmp_path / "film")
    none = write(film(anatomy(), films.JPEG_2000_LOSSLESS), tmp_path / "percentile")
    with DecodePool(workers=1) as pool:
        paces = measure([DecodeTask(i, path, SPEC) for i in range(5)], pool, decoder, 2)
        assert paces is not None and paces.cpu_ms > 0 and paces.gpu_ms > 0
        assert measure([DecodeTask(0, none, SPEC)], pool, decoder, 2) is None
        assert handed_over(pool) == [] and pool._arena.in_use_bytes == 0


def test_the_faster_way_wins() -> None:
    assert Paces(cpu_ms=2.0, gpu_ms=1.9).gpu_wins
    assert not Paces(cpu_ms=2.0, gpu_ms=2.0).gpu_wins


def test_a_run_ends_with_every_film_in_one_state(
    phantom: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole night with films handed over, of which the decoder does not answer every third."""
    asked = []
    decode = CodestreamDecoder.decode

    def forgetful(self: CodestreamDecoder, batch: Any) -> Any:
        asked.extend(batch)
        answers = decode(self, batch)
        return [
            None if item.index % 3 == 0 else shown
            for item, shown in zip(batch, answers, strict=True)
        ]

    monkeypatch.setattr(CodestreamDecoder, "decode", forgetful)
    monkeypatch.setattr("vfscreen.jobs.films.gpu_syntaxes", lambda *_: GPU_SYNTAXES)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site / "config"))
    request = ScreenRequest(phantom / "archive", site / "results", "demo")
    ledger = run_screen(request, load_config(site / "vfscreen.toml"), StopRequest()).ledger
    assert ledger.balance() is None and ledger.not_reached == 0 and ledger.screened > 20
    assert ledger.canary.compared and not ledger.canary.beyond_bound
    assert any(item.index % 3 == 0 for item in asked)
    assert ledger.decode_routes[ROUTE] == len(asked)
