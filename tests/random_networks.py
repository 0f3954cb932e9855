"""Networks with weights and statistics that are not trivial, and their checkpoints."""

import torch

from vfscreen.model.checkpoint import save
from vfscreen.model.network import build
from vfscreen.preprocessing import Preprocessing
from vfscreen.results.calibrations import Calibration

SIZE = 64
FINDINGS = ("vertebral_fracture", "rib_fracture")


def network(architecture, seed=1):
    """Random weights, rounded as a checkpoint rounds them, with statistics of random films."""
    torch.manual_seed(seed)
    model = build(architecture, FINDINGS)
    films = torch.randn(8, 1, SIZE, SIZE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale"):
                parameter.fill_(0.3)  # 1e-6 at the start: blocks would do nothing
            elif name.endswith("bn3.weight"):
                parameter.fill_(0.3)  # what a branch adds stays small, as in a trained network
            elif parameter.dim() == 4:
                parameter.copy_(parameter.half().float())
            elif "bn" in name or "norm" in name:
                parameter.add_(torch.rand_like(parameter) * 0.2)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the films' own statistics
        model.train()(films)
        model.output.weight.mul_(10)
        model.output.weight[1].abs_()  # something always speaks for the second finding
    return model.eval()


def stored(path, members, size_px=SIZE, **more):
    """A checkpoint of these networks, uncalibrated."""
    findings = members[0].findings
    return save(
        path,
        members,
        name="test",
        demonstration=True,
        findings=findings,
        preprocessing=Preprocessing(input_size_px=size_px),
        calibration={f: Calibration() for f in findings},
        operating_points={f: {"default": 0.5} for f in findings},
        provenance={},
        model_card="",
        **more,
    )
