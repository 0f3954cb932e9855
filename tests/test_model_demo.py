"""The shipped demonstration checkpoint: what it is, and that it looks at vertebrae."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image

from vfscreen.model.checkpoint import read_info
from vfscreen.model.heatmap import heatmaps, peak
from vfscreen.model.inference import Predictor
from vfscreen.phantom.anatomy import Variant, sample_patient
from vfscreen.phantom.films import render_variants

PATIENTS = [sample_patient(31_000_000 + i) for i in range(6)]


@pytest.fixture(scope="module")
def info():
    return read_info("demo")


def prepared(film, spec):
    """As inference sees a film, from the renderer's pixels."""
    size = (spec.input_size_px, spec.input_size_px)
    small = Image.fromarray(film.pixels).resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy((np.asarray(small) - spec.mean) / spec.std)[None, None].float()


def test_nobody_takes_it_for_a_clinical_model(info):
    assert info.demonstration
    assert info.name.startswith("phantom-demonstration")
    assert "no clinical model" in info.model_card
    assert info.provenance["trained_on"].startswith("synthetic films")


def test_it_is_small_and_whole(info):
    assert info.path.stat().st_size <= 12e6
    assert info.architecture == "resnext50_32x4d"


def test_its_card_is_the_one_in_the_package(info):
    card = (files("vfscreen.model") / "model_card.md").read_text("utf-8")
    assert info.model_card == card
    assert info.model_sha256 in card


def test_a_fracture_raises_the_probability_and_the_heatmap_finds_it(info):
    predictor = Predictor(info, device="cpu")
    raised = found = 0
    for patient in PATIENTS:
        films = render_variants(patient, long_side_px=448)
        batch = torch.cat([prepared(films[v], info.preprocessing) for v in Variant])
        logits = dict(zip(Variant, predictor.logits(batch)[:, 0], strict=True))
        raised += logits[Variant.FRACTURE] > max(logits[Variant.PLAIN], logits[Variant.MIMIC])
        film = films[Variant.FRACTURE]
        height, width = film.pixels.shape
        heat = heatmaps(predictor, batch[:1], "vertebral_fracture")[0]
        x, y = (at * side for at, side in zip(peak(heat), (width, height), strict=True))
        boxes = [film.boxes[f.level] for f in film.fractures]
        margin = film.vertebra_height_px
        found += any(
            x0 - margin <= x <= x1 + margin and y0 - margin <= y <= y1 + margin
            for x0, y0, x1, y1 in boxes
        )
    assert raised >= 5
    assert found >= 5
