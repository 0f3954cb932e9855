"""The GPU decode route against the plain reference; skipped where there is no CUDA device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dicom_films as films
import numpy as np
import pytest
import torch
from dicom_films import anatomy, film, write
from numpy.typing import NDArray
from pydicom import dcmread

from vfscreen.imaging.codestreams import GPU_SYNTAXES, ROUTE
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.gpu_decode import CodestreamDecoder
from vfscreen.imaging.pinned import pinned
from vfscreen.imaging.reference import reference_display, reference_prepare
from vfscreen.imaging.tasks import CodedFilm, DecodedFilm, DecodeMode, DecodeTask
from vfscreen.imaging.workers import DecodePool
from vfscreen.jobs.gpu_route import measure
from vfscreen.jobs.lanes import Lanes, Scored
from vfscreen.model.checkpoint import read_info
from vfscreen.model.inference import Predictor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SPEC = read_info("demo").preprocessing
EVERY_SYNTAX = (*films.LOSSLESS, *films.LOSSY)
LOSSLESS_ON_GPU = (films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS, films.HTJ2K_RPCL)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(workers=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def decoder() -> CodestreamDecoder:
    return CodestreamDecoder("cuda")


def sample(syntax: str, bits: int = 12, seed: int = 0, **attributes: Any) -> Any:
    bits = 8 if syntax == films.JPEG_8 else bits
    window = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits * 0.7}
    stored = anatomy(1300, 1100, bits=bits, seed=seed)
    return film(stored, syntax, bits_stored=bits, **(window | attributes))


def handed_over(pool: DecodePool, *paths: str) -> list[Any]:
    tasks = (DecodeTask(i, p, SPEC, mode=DecodeMode.CODESTREAM) for i, p in enumerate(paths))
    return sorted(pool.decode(tasks), key=lambda item: item.index)


def through_the_lane(pool: DecodePool, predictor: Predictor, paths: list[str]) -> Scored:
    with Lanes(predictor, len(paths), pool.release, range(len(paths)), codestreams=True) as lanes:
        scored = [*lanes.submit(handed_over(pool, *paths)), *lanes.finish()]
    (only,) = scored
    return only


def reference(path: str) -> NDArray[np.float32]:
    shown = np.rint(reference_display(dcmread(path), SPEC) * 65535).astype(np.uint16)
    return reference_prepare(shown, SPEC)


def test_every_transfer_syntax_through_the_lane(pool: DecodePool, tmp_path: Path) -> None:
    """As the NumPy reference has it, whether the GPU or a worker decoded it, in one batch."""
    paths = [
        write(sample(syntax, seed=i), tmp_path / f"{i}") for i, syntax in enumerate(EVERY_SYNTAX)
    ]
    scored = through_the_lane(pool, Predictor(read_info("demo"), device="cuda"), paths)
    assert sorted(scored.indexes + scored.given_back) == list(range(len(paths)))
    assert not [i for i in scored.given_back if EVERY_SYNTAX[i] in LOSSLESS_ON_GPU]
    for index, route in zip(scored.indexes, scored.routes, strict=True):
        assert (route == ROUTE) == (EVERY_SYNTAX[index] in GPU_SYNTAXES)
        difference = np.abs(scored.kept[index] - reference(paths[index]))[0] * SPEC.std
        halved = "/" in route
        lossy = EVERY_SYNTAX[index] in films.LOSSY
        bound = 0.02 if halved or lossy else 1e-3
        assert difference[2:-2, 2:-2].max() < bound, EVERY_SYNTAX[index]


@pytest.mark.parametrize("bits", [8, 9, 12, 14, 16])
@pytest.mark.parametrize("syntax", LOSSLESS_ON_GPU)
def test_lossless_is_the_full_decode_to_the_last_value(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, syntax: str, bits: int
) -> None:
    """Not multiplied by 65535 / (2 ** bits - 1), as DALI's own decoders have it on a GPU."""
    path = write(sample(syntax, bits), tmp_path / "film")
    (item,) = handed_over(pool, path)
    assert isinstance(item, CodedFilm)
    (shown,) = decoder.decode([item])
    assert shown is not None and shown.is_cuda
    assert np.array_equal(shown.cpu().numpy(), decode_film(path, SPEC).display)
    pool.release(item)


@pytest.mark.parametrize("syntax", [films.JPEG_8, films.JPEG_2000, films.HTJ2K])
def test_lossy_is_near_the_full_decode_or_given_back(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path, syntax: str
) -> None:
    """Two stored values at most: rounding differs. A wrap from white to black would be thousands.

    The film is black and white in parts, where lossy coding overshoots.
    """
    bits = 8 if syntax == films.JPEG_8 else 12
    stored = anatomy(700, 600, bits=bits)
    stored[100:200, 100:200], stored[200:300, 100:200] = 0, 2**bits - 1
    window = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    path = write(film(stored, syntax, bits_stored=bits, **window), tmp_path / "film")
    (item,) = handed_over(pool, path)
    (shown,) = decoder.decode([item])
    pool.release(item)
    if shown is None:
        pytest.skip(f"{syntax} is given back to the CPU on this GPU")
    expected = decode_film(path, SPEC).display.astype(np.int64)
    assert np.abs(shown.cpu().numpy() - expected).max() <= 2 * 65535 / (2**bits - 1) + 1


@pytest.mark.parametrize("syntax", [films.JPEG_LOSSLESS, films.JPEG_LOSSLESS_SV1])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_jpeg_lossless_never_goes_to_the_gpu(
    pool: DecodePool, tmp_path: Path, syntax: str, bits: int
) -> None:
    """nvJPEG of CUDA 12 answers it with zeros and no error."""
    path = write(sample(syntax, bits), tmp_path / "film")
    (item,) = handed_over(pool, path)
    assert isinstance(item, DecodedFilm)
    assert np.array_equal(item.display, decode_film(path, SPEC).display)
    pool.release(item)


def test_a_constant_or_broken_frame_is_for_the_cpu(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    """One of each in a batch, and their neighbours come through."""
    window = {"WindowCenter": 2000, "WindowWidth": 3000}
    good = write(sample(films.JPEG_2000_LOSSLESS), tmp_path / "good")
    constant = write(
        film(np.full((512, 512), 7, np.uint16), films.JPEG_2000_LOSSLESS, **window),
        tmp_path / "constant",
    )
    stored = anatomy(512, 512, bits=8)
    data = films.encode(stored, films.JPEG_8)
    short = film(
        stored, films.JPEG_8, bits_stored=8, codestream=data[:9000] + data[11000:], **window
    )
    items = handed_over(pool, good, constant, write(short, tmp_path / "short"), good)
    first, *bad, last = decoder.decode(items)
    assert bad == [None, None]
    expected = decode_film(good, SPEC).display
    for shown in (first, last):
        assert shown is not None and np.array_equal(shown.cpu().numpy(), expected)
    for item in items:
        pool.release(item)


def test_damage_inside_htj2k_is_for_the_cpu(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    """Whose decoder finds it. Where this fails, HTJ2K is to leave `GPU_SYNTAXES`."""
    stored = anatomy(512, 512)
    data = films.encode(stored, films.HTJ2K_LOSSLESS)
    junk = np.random.default_rng(0).integers(0, 250, 1000, np.uint8).tobytes()
    damaged = film(
        stored,
        films.HTJ2K_LOSSLESS,
        codestream=data[:9000] + junk + data[10000:],
        WindowCenter=2000,
        WindowWidth=3000,
    )
    (item,) = handed_over(pool, write(damaged, tmp_path / "film"))
    assert decoder.decode([item]) == [None]
    pool.release(item)


def test_float16_against_float32(pool: DecodePool, tmp_path: Path) -> None:
    """On the demonstration checkpoint; `lanes` and all."""
    info = read_info("demo")
    paths = [
        write(sample(films.JPEG_2000_LOSSLESS, seed=seed), tmp_path / f"{seed}")
        for seed in range(8)
    ]
    logits = {}
    for precision in ("float16", "float32"):
        predictor = Predictor(info, device="cuda", precision=precision)
        scored = through_the_lane(pool, predictor, paths)
        assert scored.logits.dtype == np.float32 and np.isfinite(scored.logits).all()
        logits[precision] = scored.logits
    probabilities = {name: 1 / (1 + np.exp(-values)) for name, values in logits.items()}
    assert np.abs(logits["float16"] - logits["float32"]).max() < 0.05
    assert np.abs(probabilities["float16"] - probabilities["float32"]).max() < 0.01


def test_both_ways_are_measured(
    pool: DecodePool, decoder: CodestreamDecoder, tmp_path: Path
) -> None:
    for syntax in (films.JPEG_8, films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS):
        path = write(sample(syntax), tmp_path / syntax)
        paces = measure([DecodeTask(i, path, SPEC) for i in range(16)], pool, decoder, 16)
        assert paces is not None
        print(syntax, paces)


def test_the_pools_memory_is_pinned_for_the_time_of_a_run(pool: DecodePool) -> None:
    memory = torch.from_numpy(pool.memory.view(np.int16))
    with pinned(pool.memory) as done:
        assert done
        assert memory.is_pinned()
    assert not memory.is_pinned()
