"""The packed network answers as the folded one does, or is not used."""

import logging

import numpy as np
import pytest
import torch

from vfscreen.model import inference
from vfscreen.model.checkpoint import load_weights, read_info
from vfscreen.model.inference import Predictor
from vfscreen.model.packed import PackedNetwork, pack

DTYPES = {"float32": (torch.float32, 1e-4), "bfloat16": (torch.bfloat16, 0.02)}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights():
    return load_weights(read_info("demo")).members[0]


def noise(count, size, dtype):
    films = torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(3))
    return films.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(("count", "size"), [(4, 224), (1, 320), (3, 97)])
def test_the_packed_network_is_the_folded_one(weights, precision, count, size):
    dtype, bound = DTYPES[precision]
    folded = inference.fold(weights, torch.device("cpu"), dtype)
    films = noise(count, size, dtype)
    packed = pack(folded, films)
    assert isinstance(packed, PackedNetwork)
    with torch.inference_mode():
        for other in (films, noise(2, size, dtype), noise(1, size + 32, dtype)):
            assert (packed(other) - folded(other)).abs().max() < bound


def test_a_network_on_a_cpu_is_packed():
    predictor = Predictor(read_info("demo"), device="cpu", precision="float32")
    assert predictor.packed


def test_a_network_that_overflows_is_not_packed(weights):
    """Its answers must stay what is no number: oneDNN would hide it behind a ReLU."""
    folded = inference.fold(weights, torch.device("cpu"), torch.float32)
    folded.backbone.conv1.weight.mul_(1e38)
    assert pack(folded, noise(1, 224, torch.float32)) is None


def test_operators_that_are_missing_are_done_without(monkeypatch, caplog):
    class Missing:
        def __getattr__(self, name):
            raise AttributeError(name)

    info = read_info("demo")
    films = noise(2, 224, torch.float32)
    expected = Predictor(info, device="cpu", precision="float32").logits(films)
    monkeypatch.setattr(torch.ops, "mkldnn", Missing())
    with caplog.at_level(logging.WARNING, "vfscreen"):
        plain = Predictor(info, device="cpu", precision="float32")
    assert not plain.packed
    assert "not to be had" in caplog.text
    assert np.abs(plain.logits(films) - expected).max() < 1e-4


def test_operators_that_answer_otherwise_are_done_without(monkeypatch, caplog, weights):
    """As where a new version reads the weights in another order."""
    true = torch.ops.mkldnn._reorder_convolution_weight

    def other_order(weight, *geometry):
        return true(weight.flip(0).contiguous(), *geometry)

    folded = inference.fold(weights, torch.device("cpu"), torch.float32)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", other_order)
    with caplog.at_level(logging.WARNING, "vfscreen"):
        assert pack(folded, noise(1, 224, torch.float32)) is None
    assert "do not agree" in caplog.text
