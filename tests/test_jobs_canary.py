"""The canary of a run: it must be silent over right pixels and loud over wrong ones."""

import json
import logging
import os
from pathlib import Path

import dicom_films as films
import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest import SMALL, screen
from dicom_films import anatomy, film, write

from vfscreen.config import CanaryConfig, Config
from vfscreen.errors import FidelityError
from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits
from vfscreen.imaging.reference import decode_reference
from vfscreen.imaging.tasks import DecodedFilm, DecodeMode
from vfscreen.jobs.canary import Canary, draw
from vfscreen.jobs.run import open_run, verdict
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing()
UID = "1.2.826.0.1.3680043.8.498.1"


# ----------------------------------------------------------------------------------- the sample


def test_a_share_of_a_large_run_and_at_least_some_of_a_small_one():
    config = CanaryConfig(share=0.001, min_films=8)
    assert len(draw(100_000, config, "run")) == 100
    assert len(draw(500, config, "run")) == 8
    assert draw(8, config, "run") == frozenset(range(8))
    assert draw(5, config, "run") == frozenset(range(5))
    assert draw(0, config, "run") == frozenset()
    assert draw(100, CanaryConfig(share=0.0, min_films=0), "run") == frozenset()
    assert draw(100, CanaryConfig(share=1.0), "run") == frozenset(range(100))


def test_the_sample_is_the_runs_own():
    config = CanaryConfig(share=0.01)
    assert draw(5000, config, "a") == draw(5000, config, "a")
    assert draw(5000, config, "a") != draw(5000, config, "b")
    assert all(0 <= index < 5000 for index in draw(5000, config, "a"))


# -------------------------------------------------------------------------------- what is wrong


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with open_run(tmp_path / "results", "screen", Config()) as run:
        yield run


@pytest.fixture(scope="module")
def preparer():
    return Preparer(SPEC, batch_size=1, threads=1)


def reference(path, index=0):
    """A film as the reference decodes it in a worker."""
    shown = decode_reference(
        path, SPEC, DecodeLimits(), expected_size_bytes=None,
        allocate=lambda shape: np.empty(shape, np.uint16),
    )  # fmt: skip
    return DecodedFilm(
        index=index, mode=DecodeMode.REFERENCE, display=shown.display, region=shown.region,
        route=shown.route, transfer_syntax_uid="", read_bytes=0, read_s=0, decode_s=0, cpu_s=0.5,
        voi_rule="", ticket=0,
    )  # fmt: skip


def network_input(preparer, path):
    decoded = decode_film(path, SPEC)
    return np.array(np.from_dlpack(preparer.prepare([decoded.display], [decoded.region])))[0]


def spoilt(pixels, how):
    if how == "inverted":
        return (2 * (0.5 - SPEC.mean) / SPEC.std - pixels).astype(np.float32)
    if how == "shifted":
        return np.roll(pixels, 5, axis=2)
    if how == "not a number":
        return np.full_like(pixels, np.nan)
    if how == "one pixel not a number":
        spoilt = pixels.copy()
        spoilt[0, 100, 100] = np.nan
        return spoilt
    return pixels


@pytest.mark.parametrize("route", ["numpy", "imagecodecs.jpeg2k/4"])
@pytest.mark.parametrize("how", ["inverted", "shifted", "another film", "not a number",
                                 "one pixel not a number"])  # fmt: skip
def test_wrong_pixels_end_the_run_with_4(run, preparer, tmp_path, caplog, how, route):
    path = write(film(anatomy(600, 500)), tmp_path / "film")
    other = write(film(anatomy(600, 500)[::-1].copy()), tmp_path / "other")
    seen = network_input(preparer, other if how == "another film" else path)
    canary = Canary(run, SPEC)
    with caplog.at_level(logging.ERROR, "vfscreen"):
        canary.network_saw(0, UID, route, spoilt(seen, how))
        canary.reference(reference(path), UID)
    figures = run.ledger.canary
    assert (figures.compared, figures.beyond_bound) == (1, 1)
    assert figures.worst_pixel_difference > 0.02
    assert UID not in caplog.text and route in caplog.text
    error = verdict(run, Config(), None)
    assert isinstance(error, FidelityError) and error.exit_code == 4
    assert str(error).startswith("1 of 1 films compared with the plain reference")
    assert UID not in str(error) and str(tmp_path) not in str(error)


def test_right_pixels_are_within_the_bound_whichever_comes_first(run, preparer, tmp_path):
    canary = Canary(run, SPEC)
    for index in (0, 1):
        path = write(film(anatomy(600, 500, seed=index)), tmp_path / f"film{index}")
        steps = [
            lambda path=path, index=index: canary.network_saw(
                index, UID, "numpy", network_input(preparer, path)
            ),
            lambda path=path, index=index: canary.reference(reference(path, index), UID),
        ]
        for step in steps if index else steps[::-1]:
            step()
    figures = run.ledger.canary
    assert (figures.compared, figures.beyond_bound) == (2, 0)
    assert figures.worst_mean_difference < 1e-4
    assert run.ledger.stage("canary").films == 2
    assert verdict(run, Config(), None) is None


def signed_jpeg_ls():
    """Two's complement of 12 bits, which the codestream knows as unsigned."""
    stored = anatomy(600, 500).astype(np.int16) - 2048
    coded = bytes(imagecodecs.jpegls_encode(stored.view(np.uint16) & 0xFFF))
    return film(
        stored, films.JPEG_LS, bits_stored=12, codestream=coded, WindowCenter=0, WindowWidth=4096
    )


@pytest.mark.parametrize(
    "oddity", ["nearly one value", "empty window", "empty lut", "signed JPEG-LS"]
)
def test_odd_films_are_no_false_alarm(run, preparer, tmp_path, oddity):
    """What the fast path shows by a rule of its own, the reference shows by the same one."""
    stored = anatomy(600, 500)
    if oddity == "nearly one value":
        stored = np.full((600, 500), 7, np.uint16)
        stored[100:110, 100:110] = 3000
    dataset = signed_jpeg_ls() if oddity == "signed JPEG-LS" else film(stored)
    if oddity == "empty window":
        dataset.WindowCenter = dataset.WindowWidth = None
    if oddity == "empty lut":
        dataset.VOILUTSequence = pydicom.Sequence([])
    path = write(dataset, tmp_path / "film")
    canary = Canary(run, SPEC)
    canary.network_saw(0, UID, "numpy", network_input(preparer, path))
    canary.reference(reference(path), UID)
    assert (run.ledger.canary.compared, run.ledger.canary.beyond_bound) == (1, 0)


def test_values_above_the_lowest_bits_are_not_comparable(tmp_path):
    """pydicom does not shift them down; comparing would be a false alarm."""
    path = write(film(anatomy(600, 500) << 4, HighBit=15), tmp_path / "film")
    assert decode_film(path, SPEC).display.max() > 60000
    with pytest.raises(FilmError):
        reference(path)


def test_a_film_that_the_reference_cannot_decode_is_counted_and_no_more(run):
    Canary(run, SPEC).not_comparable(0)
    assert run.ledger.canary.not_comparable == 1
    assert verdict(run, Config(), None) is None


# --------------------------------------------------------------------------------- a whole run


def last_ledger(folder: Path):
    ledgers = sorted((folder / "results" / "runs").glob("*.json"))
    return json.loads(ledgers[-1].read_text())


def test_every_run_compares_some_films(workplace):
    first = sorted((workplace / "results" / "runs").glob("*.json"))[0]
    canary = json.loads(first.read_text())["canary"]
    assert canary["compared"] + canary["not_comparable"] == 8
    assert canary["compared"] >= 3  # the phantom's five damaged films may be in the sample
    assert canary["beyond_bound"] == 0


def test_the_reference_agrees_in_every_transfer_syntax(phantom, site):
    (site / "vfscreen.toml").write_text(SMALL + "[canary]\nmin_films = 100000\n")
    screen(site, phantom)
    ledger = last_ledger(site)
    canary = ledger["canary"]
    # The reference decodes the phantom's damaged films as little as the fast path does.
    assert canary["compared"] == ledger["screened"]
    assert canary["beyond_bound"] == 0
    assert len(ledger["transfer_syntaxes"]) >= 8
    assert ledger["exit_code"] == 0


BROKEN = """\
import sys
if "vfscreen.imaging.worker" in " ".join(sys.orig_argv):
    import vfscreen.imaging.decode as decode
    right = decode.display_table
    decode.display_table = lambda *a, **k: right(*a, **k)[::-1].copy()
"""
"""A `sitecustomize` for decode workers: every film is shown with its stored values turned round."""


def test_a_wrong_decoder_ends_the_run_with_4(phantom, site, tmp_path):
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(BROKEN)
    path = os.pathsep.join(filter(None, [str(tmp_path / "patch"), os.environ.get("PYTHONPATH")]))
    # All films, since some of the phantom's are damaged and a draw of 8 may hold several.
    (site / "vfscreen.toml").write_text(SMALL + "[canary]\nmin_films = 100000\n")
    answer = screen(site, phantom, check=False, PYTHONPATH=path)
    assert answer.returncode == 4, answer.stderr
    ledger = last_ledger(site)
    assert (ledger["outcome"], ledger["exit_code"]) == ("FidelityError", 4)
    canary = ledger["canary"]
    assert canary["beyond_bound"] == canary["compared"] == ledger["screened"] > 0
    (sentence,) = [line for line in answer.stderr.splitlines() if "plain reference" in line]
    assert "Do not rely on this run's probabilities" in sentence
    assert "Traceback" not in answer.stderr and str(phantom) not in answer.stderr
