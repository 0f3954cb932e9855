"""First weights from the pretext task: the backbone learns, and only the backbone is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vfscreen.config import Config, EligibilityConfig
from vfscreen.errors import UsageError
from vfscreen.jobs.pretext import PretextRequest, train_pretext
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model import container
from vfscreen.model.column import CELLS, LEVELS, standard_places
from vfscreen.model.initialisation import initialise
from vfscreen.model.locator_training import LocatorPlan, LocatorProgress, fit_places
from vfscreen.model.network import build
from vfscreen.model.pretext import VertebraFinder, save_backbone
from vfscreen.phantom.archive import write_phantom
from vfscreen.preprocessing import Preprocessing

ARCHITECTURE = "resnext50_32x4d"
CONFIG = Config(eligibility=EligibilityConfig(min_short_side_px=64))


pytestmark = pytest.mark.usefixtures("one_thread")


def finder(seed: int) -> VertebraFinder:
    torch.manual_seed(seed)
    return VertebraFinder(build(ARCHITECTURE, ("vertebra",)))


@pytest.mark.parametrize("architecture", [ARCHITECTURE, "densenet169"])
def test_it_answers_as_a_locator_does(architecture: str) -> None:
    network = VertebraFinder(build(architecture, ("vertebra",))).eval()
    with torch.inference_mode():
        places, column = network(torch.zeros(2, 1, 64, 64))
    assert places.shape == (2, len(LEVELS), CELLS * CELLS + 1)
    assert column.shape == (2, CELLS, CELLS)
    assert places.exp().sum(2) == pytest.approx(1.0, abs=1e-4)


def test_the_loss_falls_and_the_backbone_moves() -> None:
    films = np.full((2, 64, 64), 60, np.uint8)
    points = np.zeros((2, len(LEVELS), 2), np.float32)
    for i, x in enumerate((0.4, 0.6)):
        points[i] = [(x, 0.5 + 0.09 * place) for place in standard_places()]
        for px, py in points[i] * 64:
            films[i, int(py) - 1 : int(py) + 2, int(px) - 4 : int(px) + 5] = 200
    network = finder(1).train()
    before = network.classifier.backbone.layer4[0].conv1.weight.detach().clone()
    losses: list[LocatorProgress] = []
    plan = LocatorPlan(steps=8, films_per_batch=2, learning_rate=1e-3, warm_up=0.1)
    fit_places(
        network, films, points, Preprocessing(), plan, torch.device("cpu"),
        report=losses.append, report_every=1,
    )  # fmt: skip
    assert losses[-1].loss < 0.9 * losses[0].loss
    assert not torch.equal(before, network.classifier.backbone.layer4[0].conv1.weight)


def test_what_is_kept_is_a_backbone_without_its_head(tmp_path: Path) -> None:
    path = tmp_path / "first.safetensors"
    classifier = finder(3).classifier
    save_backbone(path, classifier, {"architecture": ARCHITECTURE})
    tensors = container.read(path).tensors
    plain = build(ARCHITECTURE, ("a", "b")).backbone.state_dict()
    wanted = {n for n in plain if not n.startswith("fc.") and not n.endswith("batches_tracked")}
    assert tensors.keys() == wanted
    other = build(ARCHITECTURE, ("vertebral_fracture",))
    said: list[str] = []
    assert initialise(other, str(path), say=said.append).source == "file first.safetensors"
    assert torch.equal(
        other.backbone.layer4[0].bn1.weight, classifier.backbone.layer4[0].bn1.weight
    )
    assert torch.equal(other.backbone.conv1.weight, classifier.backbone.conv1.weight)
    assert len(said) == 1  # the head begins at random


def test_the_job_trains_on_an_archive_and_its_marks(tmp_path: Path) -> None:
    write_phantom(tmp_path, studies=3, seed=2, workers=1, long_side_px=(150, 150))
    out = tmp_path / "first.safetensors"
    request = PretextRequest(
        tmp_path / "archive", tmp_path / "labels.csv", tmp_path / "marks.csv", out,
        steps=2, batch_size=2, device="cpu",
    )  # fmt: skip
    loss = train_pretext(request, CONFIG, StopRequest())
    about = container.read(out).metadata
    assert about["architecture"] == ARCHITECTURE
    assert int(about["films"]) >= 3
    assert float(about["last_loss"]) == pytest.approx(loss, abs=1e-3)
    assert [p.name for p in tmp_path.iterdir() if "scoring" in p.name] == []
    with pytest.raises(UsageError, match="there already"):
        train_pretext(request, CONFIG, StopRequest())
