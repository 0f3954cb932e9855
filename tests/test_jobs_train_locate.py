"""A site's training that finds the spine first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_straightening import centres, heatmaps_of
from training_films import CONFIG, SIDE_PX, site_archive

from vfscreen import config_file
from vfscreen.config import Config
from vfscreen.errors import TrainingError, UsageError
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train import TrainRequest, run_train
from vfscreen.jobs.train_data import TrainingData
from vfscreen.jobs.train_locate import locate
from vfscreen.model.checkpoint import load_weights, read_info
from vfscreen.model.column import LEVELS, ColumnSpec, to_json
from vfscreen.model.inference import Predictor, answered
from vfscreen.model.locating import Locator
from vfscreen.preprocessing import Preprocessing

SPEC = ColumnSpec(64, 32)


@pytest.fixture(autouse=True, scope="module")
def one_thread(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setattr("vfscreen.model.column.column_spec", lambda _: SPEC)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The archive, with the vertebrae of all films marked, and L1 or L2 as ill where there is one.

    Of every film's spine T10 is not on it.
    """
    folder = site_archive(tmp_path_factory.mktemp("site") / "films")
    lines = ["sop_instance_uid,finding,level,x,y"]
    for label in (folder / "labels.csv").read_text().splitlines()[1:]:
        uid, ill = label.split(",")
        patient = int(uid.split(".")[4])
        for level, (x, y) in zip(LEVELS[1:], centres()[1:], strict=True):
            lines.append(f"{uid},vertebra,{level},{x * SIDE_PX:.2f},{y * SIDE_PX:.2f}")
        if ill == "1":
            level = "L1" if patient % 4 == 1 else "L2"
            lines.append(f"{uid},square,{level},24,20")
    (folder / "marks.csv").write_text("\n".join(lines) + "\n")
    return folder


def settings(folder: Path) -> Config:
    path = folder / "vfscreen.toml"
    path.write_text(
        f"{CONFIG}locate = true\nlocator_steps = 2\n".replace("epochs = 2", "epochs = 3")
    )
    return config_file.load(path)


def asked(archive: Path, folder: Path) -> TrainRequest:
    return TrainRequest(
        archive / "archive",
        archive / "labels.csv",
        folder / "site.safetensors",
        marks=archive / "marks.csv",
    )


def test_a_training_with_marks_finds_the_spine_and_adds_levels(archive, tmp_path, monkeypatch):
    # Two steps find no spine: a locator that finds the same one on every film, without T10.
    maps = heatmaps_of(centres(), absent=(0,))
    monkeypatch.setattr(Locator, "heatmaps", lambda _, x: maps.expand(len(x), -1, -1, -1))
    told: list[str] = []
    outcome = run_train(asked(archive, tmp_path), settings(tmp_path), StopRequest(), told.append)
    info = read_info(outcome.info.path)
    assert info.findings == ("square", "square_L1", "square_L2")
    assert info.locator == to_json(SPEC) and info.members == 2
    assert "within half a body's height" in told[0]
    assert info.provenance["locator"]["marked_films"] == 22
    assert info.provenance["locator"]["held_out"]["within_half"] == pytest.approx(1.0)
    assert info.provenance["data"]["labels"]["square_L1"]["positive"] == 5
    # Levels share a calibration.
    assert info.calibration["square_L1"] == info.calibration["square_L2"]
    assert "straightened column" in info.model_card
    assert load_weights(info).straightener is not None
    films = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = Predictor(info, device="cpu", precision="float32").logits(films)
    assert np.isfinite(logits).all() and answered(logits, info).all()


def test_a_spine_that_is_not_found_on_any_film_is_told(archive, tmp_path):
    config = settings(tmp_path)
    once = replace(config, train=replace(config.train, epochs=1, folds=0))
    with pytest.raises(TrainingError, match="finds too few levels"):
        run_train(asked(archive, tmp_path), once, StopRequest())


def test_without_marks_there_is_nothing_to_find_the_spine_by(archive, tmp_path):
    with pytest.raises(UsageError, match="--marks"):
        run_train(replace(asked(archive, tmp_path), marks=None), settings(tmp_path), StopRequest())


def test_a_training_that_goes_on_takes_its_locator(archive, tmp_path, monkeypatch):
    import pyarrow as pa

    names = [f"f{i}" for i in range(4)]
    films = pa.table({"content_fingerprint": names, "patient_key": names})
    points = np.tile(centres().astype(np.float32), (4, 1, 1))
    data = TrainingData(
        ("square",), films, np.zeros((4, 32, 32), np.uint8), np.arange(4),
        np.zeros((4, 1), np.float32), None, {}, points,
    )  # fmt: skip

    def found():
        return locate(
            tmp_path / "locator.safetensors", data, np.arange(4), Preprocessing(input_size_px=32),
            settings(tmp_path).train, torch.device("cpu"), StopRequest(), lambda line: None,
        )  # fmt: skip

    first = found()
    monkeypatch.setattr("vfscreen.model.locator_training.train_locator", None)
    second = found()
    for name, tensor in first.straightener.state_dict().items():
        assert torch.equal(tensor, second.straightener.state_dict()[name])
    points[0] += 0.01
    with pytest.raises(TrainingError, match="another training"):
        found()
    points[:] = np.nan
    with pytest.raises(TrainingError, match="No vertebra of the training films"):
        found()
