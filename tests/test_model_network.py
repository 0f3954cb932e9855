"""Six architectures behind one face: films in, two maps and one logit a finding out."""

import pytest
import torch
import torchvision
from torch import nn

from vfscreen.errors import CheckpointError, UsageError
from vfscreen.model.network import (
    ARCHITECTURES,
    STAGES,
    FilmClassifier,
    build,
    channels_of,
    freeze,
    frozen_modules,
)

FINDINGS = ("vertebral_fracture", "rib_fracture")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request) -> FilmClassifier:
    torch.manual_seed(3)
    return build(request.param, FINDINGS).eval()


def films(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_the_maps_have_the_strides_and_channels_that_are_promised(model):
    third, last = model.feature_maps(films())
    at_16, at_32 = channels_of(model.architecture)
    assert third.shape == (2, at_16, 4, 4)
    assert last.shape == (2, at_32, 2, 2)


@torch.no_grad()
def test_the_logits_are_those_of_torchvision_itself(model):
    """The same weights in torchvision's own network and forward pass give the same logits."""
    plain = getattr(torchvision.models, model.architecture)(weights=None, num_classes=len(FINDINGS))
    plain.load_state_dict(model.backbone.state_dict())  # every name, every shape
    x = films()
    logits = model(x)
    assert logits.shape == (2, 2) and logits.dtype == torch.float32
    assert torch.allclose(logits, plain.eval()(x.expand(-1, 3, -1, -1)), atol=1e-4)


@torch.no_grad()
def test_logits_are_float32_under_autocast(model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(films()).dtype == torch.float32


@torch.no_grad()
def test_cells_say_what_the_head_makes_of_each_cell(model):
    last = model.feature_maps(films())[1]
    cells = model.cells(last)
    assert cells.shape == (2, 2, 2, 2)
    assert torch.allclose(cells[1, :, 0, 1], model.classify(last[1, :, 0, 1]), atol=1e-5)
    if model.architecture != "convnext_tiny":
        assert torch.allclose(cells.mean((2, 3)), model(films()), atol=1e-4)


def test_every_weight_is_in_one_stage(model):
    stages = model.stages()
    assert tuple(stages) == STAGES
    named = [p for modules in stages.values() for module in modules for p in module.parameters()]
    assert sorted(map(id, named)) == sorted(map(id, model.parameters()))
    assert list(map(id, stages["head"][-1].parameters()))[-2:] == list(
        map(id, model.output.parameters())
    )


def test_frozen_stages_keep_weights_and_statistics_in_training(model):
    freeze(model, ("stage1", "stem"))
    assert model.frozen == ("stem", "stage1")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    torch.manual_seed(0)
    nn.functional.softplus(model(films(4))).sum().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    kept = {
        id(tensor)
        for module in frozen_modules(model)
        for tensor in module.state_dict(keep_vars=True).values()
    }
    changed = unchanged = 0
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in kept:
            assert torch.equal(tensor, before[name]), name
            unchanged += 1
        else:
            changed += not torch.equal(tensor, before[name])
    assert unchanged and changed
    freeze(model, ())
    model.train()
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())
    model.load_state_dict(before)
    model.zero_grad(set_to_none=True)
    model.eval()


def test_a_stage_that_does_not_exist_is_not_frozen():
    model = build("resnext50_32x4d", FINDINGS)
    with pytest.raises(UsageError, match=r"'layer4'.*stem, stage1"):
        freeze(model, ("layer4",))
    with pytest.raises(UsageError, match="nothing left to train"):
        freeze(model, STAGES)


def test_an_unknown_architecture_is_refused_with_those_that_are_known():
    with pytest.raises(CheckpointError, match=r"'vgg16'.*efficientnet_b5"):
        build("vgg16", FINDINGS)
