"""A site's training: what it writes, what it refuses, and where it goes on."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from training_films import CONFIG, site_archive

from vfscreen import config_file
from vfscreen.config import Config
from vfscreen.errors import (
    ConfigError,
    InterruptedRunError,
    LabelsError,
    TrainingError,
    UsageError,
)
from vfscreen.jobs import train_fold
from vfscreen.jobs.estimate import checkpoint_accuracy
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train import TrainOutcome, TrainRequest, run_train
from vfscreen.model.checkpoint import load_weights, read_info

Settings = Callable[..., Config]


@pytest.fixture(autouse=True, scope="module")
def one_thread(tmp_path_factory):
    """Small networks are slower on two threads; and no test writes the user's key."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return site_archive(tmp_path_factory.mktemp("site") / "films")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    def make(more: str = "", protocol: str | None = None) -> Config:
        path = tmp_path / "vfscreen.toml"
        # A key that is given again replaces the first: TOML knows each only once.
        names = {line.partition(" =")[0] for line in more.splitlines()}
        kept = [line for line in CONFIG.splitlines() if line.partition(" =")[0] not in names]
        path.write_text("\n".join([*kept, more]))
        return config_file.load(path, {"protocol": protocol} if protocol else None)

    return make


def request(archive: Path, tmp_path: Path, **changes: object) -> TrainRequest:
    asked = TrainRequest(archive / "archive", archive / "labels.csv", tmp_path / "site.safetensors")
    return replace(asked, **changes)


def trained(archive: Path, tmp_path: Path, config: Config, **changes: object) -> TrainOutcome:
    return run_train(request(archive, tmp_path, **changes), config, StopRequest())


@pytest.fixture(scope="module")
def usual(archive: Path, tmp_path_factory) -> TrainOutcome:
    """A training of two folds that nothing interrupted."""
    folder = tmp_path_factory.mktemp("usual")
    (folder / "vfscreen.toml").write_text(CONFIG)
    return trained(archive, folder, config_file.load(folder / "vfscreen.toml"))


def test_the_checkpoint_is_one_network_a_fold_and_ranks_the_films(usual):
    info = usual.info
    assert info.members == 2 and not info.demonstration
    assert info.findings == ("square",) and info.preprocessing.input_size_px == 32
    (finding,) = usual.figures.findings
    assert finding.films == 22 and finding.auc.value > 0.9
    assert [fold.validated for fold in usual.figures.folds] in ([11, 11], [10, 12], [12, 10])
    assert usual.error is None


def test_the_checkpoint_says_how_it_came_to_be(usual):
    said = read_info(usual.info.path).provenance
    assert said["configuration"]["train"]["epochs"] == 2
    assert said["configuration"]["train"]["learning_rate"] == 1e-3
    assert said["data"]["films"] == 22 and said["data"]["patients"] == 16
    assert said["data"]["labels"] == {"square": {"positive": 11, "negative": 11, "unknown": 0}}
    assert sum(said["data"]["manufacturers"].values()) == 22
    assert said["init"] == {"from": "none", "sha256": None} and said["seed"] == 1
    assert {"vfscreen", "torch", "torchvision", "python"} <= set(said["versions"])
    assert len(said["folds"]) == 2 and len(said["data"]["sha256"]) == 64
    points = checkpoint_accuracy(usual.info, "square")
    assert points[0].operating_point == "default" and points[0].sensitivity.value > 0.8


def test_the_card_leaves_to_the_site_what_only_it_can_say(usual):
    card = usual.info.model_card
    assert "2 x resnext50_32x4d, 32 px" in card
    assert "`square` 11 with, 11 without" in card
    assert "| first weights | random |" in card
    assert "What only the site can say" in card


def test_the_patients_are_known_by_their_hashes(usual):
    known = usual.info.training_patients
    assert known is not None and len(known.hashes) == 16
    assert set(known.hashes) == set(usual.data.patients.tolist())


def test_the_log_has_a_row_an_epoch_and_curves(usual):
    rows = list(csv.DictReader((usual.log / "epochs.csv").read_text().splitlines()))
    assert [(r["fold"], r["epoch"]) for r in rows] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]
    assert all(float(r["validation_loss"]) > 0 and 0 <= float(r["auc"]) <= 1 for r in rows)
    assert (usual.log / "curves.png").stat().st_size > 10_000
    assert "validation" in (usual.log / "curves.svg").read_text()


def test_nothing_of_it_names_a_patient(usual, archive):
    texts = [p.read_bytes() for p in usual.log.iterdir()]
    texts.append(json.dumps(usual.info.provenance).encode() + usual.info.model_card.encode())
    for text in texts:
        assert b"TAINT" not in text and b"1.2.826.99" not in text
        assert str(archive).encode() not in text


def test_the_work_folder_is_gone(usual):
    assert not request(Path(), usual.info.path.parent).work_folder.exists()


def test_same_seed_same_weights(usual, archive, tmp_path, settings, monkeypatch):
    """Also on a machine whose key makes other hashes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    again = trained(archive, tmp_path, settings())
    assert again.info.model_sha256 == usual.info.model_sha256
    assert again.info.calibration == usual.info.calibration
    assert set(again.info.training_patients.hashes) != set(usual.info.training_patients.hashes)


def test_a_stopped_training_goes_on_and_ends_the_same(usual, archive, tmp_path, settings):
    told: list[str] = []
    stop = StopRequest()

    def tell(line: str) -> None:
        told.append(line)
        stop.ask("signal SIGTERM")

    asked = request(archive, tmp_path)
    with pytest.raises(InterruptedRunError, match="goes on from there"):
        run_train(asked, settings(), stop, tell)
    assert told[0].startswith("fold 1 of 2, epoch   1 of 2:")
    assert not asked.out.exists()
    assert asked.work_folder.stat().st_mode & 0o077 == 0
    again = run_train(asked, settings(), StopRequest(), told.append)
    assert again.info.model_sha256 == usual.info.model_sha256
    # No epoch was run twice: one that is told again took the same seconds.
    assert len({line for line in told if line.startswith("fold 1")}) == 2


def test_another_training_does_not_go_on_from_a_work_folder(archive, tmp_path, settings):
    stop = StopRequest()
    with pytest.raises(InterruptedRunError):
        run_train(request(archive, tmp_path), settings(), stop, lambda _: stop.ask("signal SIGINT"))
    with pytest.raises(UsageError, match=r"other train\.seed \(1, now 5\).*--fresh"):
        trained(archive, tmp_path, settings("seed = 5"))
    other = tmp_path / "other.csv"
    other.write_text((archive / "labels.csv").read_text().replace("99.0.0,0", "99.0.0,1"))
    with pytest.raises(UsageError, match="begun with other films and labels"):
        trained(archive, tmp_path, settings(), labels=other)
    # What changes nothing of the weights may change.
    assert trained(archive, tmp_path, settings("flip = true")).info.flip


def test_a_checkpoint_is_not_overwritten_unasked(archive, tmp_path, settings):
    (tmp_path / "site.safetensors").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"there already.*--fresh"):
        trained(archive, tmp_path, settings())
    assert (tmp_path / "site.safetensors").read_bytes() == b"precious"


def test_a_folder_of_something_else_is_no_work_folder(archive, tmp_path, settings):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="something else than a training"):
        trained(archive, tmp_path, settings(), work=tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_films_that_cannot_be_decoded_are_counted_and_listed(tmp_path, settings):
    site = site_archive(tmp_path / "films")
    for name in ("3-0", "4-0"):
        damaged = site / "archive" / f"{name}.dcm"
        film = pydicom.dcmread(damaged)
        film.PixelData = bytes(len(film.PixelData))
        film.save_as(damaged)
    truncated = site / "archive" / "5-0.dcm"
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    outcome = trained(site, tmp_path, settings("folds = 0\nepochs = 1"))
    assert outcome.data.failed() == {"constant_frame": 2}
    said = outcome.info.provenance["data"]
    assert said["films"] == 19
    assert said["failures"] == {"constant_frame": 2}
    # What the header alone gives away is a problem of the label's row.
    assert said["label_problems"] == {"not_eligible: truncated": 1}
    header, *rows = (outcome.log / "films_left_out.csv").read_text().splitlines()
    assert header == "film_hash,reason" and len(rows) == 2
    assert all(row.endswith(",constant_frame") for row in rows)
    assert "9,not_eligible: truncated" in (outcome.log / "label_rows_not_used.csv").read_text()


def test_labels_without_a_positive_are_refused(archive, tmp_path, settings):
    labels = tmp_path / "labels.csv"
    labels.write_text((archive / "labels.csv").read_text().replace(",1\n", ",0\n"))
    with pytest.raises(LabelsError, match="none is positive"):
        trained(archive, tmp_path, settings(), labels=labels)
    assert not request(archive, tmp_path).work_folder.exists()


def test_a_fold_of_one_class_is_refused_before_anything_is_decoded(
    archive, tmp_path, settings, monkeypatch
):
    labels = tmp_path / "labels.csv"
    lines = (archive / "labels.csv").read_text().splitlines()
    labels.write_text("\n".join([lines[0], *(x[:-1] + str(int("99.1.0" in x)) for x in lines[1:])]))
    monkeypatch.setattr("vfscreen.jobs.train.cache_films", None)
    with pytest.raises(TrainingError, match="1 patients with square, fewer than the 2 parts"):
        trained(archive, tmp_path, settings(), labels=labels)
    assert not request(archive, tmp_path).work_folder.exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("balance = 'fair'", "`train.balance` is one of none, sampling, weights, not 'fair'"),
        ("frozen = ['layer1']", "`train.frozen` is one of stem, stage1"),
        ("folds = 1", "`train.folds` is 0"),
        ("[calibrate]\noperating_points = ['default=films_per_week<=40']", "before the archive"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(archive, tmp_path, settings, more, says):
    with pytest.raises(ConfigError, match=says):
        trained(archive, tmp_path, settings(more))
    assert not request(archive, tmp_path).work_folder.exists()


def test_the_papers_protocol(archive, tmp_path, settings, monkeypatch):
    """Its own normalisation, the first stage as it began, patients set aside, the last epoch."""
    first: list[dict[str, torch.Tensor]] = []
    begin = train_fold.first_weights

    def remembered(*arguments):
        model, source = begin(*arguments)
        first.append({k: v.clone() for k, v in model.state_dict().items()})
        return model, source

    monkeypatch.setattr(train_fold, "first_weights", remembered)
    config = settings("ema_steps = 2", protocol="chen2021")
    assert config.train.keep == "last" and config.train.frozen == ("stem",)
    outcome = trained(archive, tmp_path, config, keep_work=True)
    data, info = outcome.data, outcome.info
    (finding,) = outcome.figures.findings
    assert finding.test_auc is not None and 4 <= finding.test_films <= 8
    seen = set(info.training_patients.hashes)
    aside = set(data.patients.tolist()) - seen
    assert len(aside) == 4  # two of eight of each class
    pixels = data.pixels[data.rows[[p in seen for p in data.patients]]] / 255
    assert info.preprocessing.mean == pytest.approx(pixels.mean(), abs=1e-4)
    assert info.preprocessing.std == pytest.approx(pixels.std(), abs=1e-4)
    member = load_weights(info).members[0].state_dict()
    for name in ("backbone.conv1.weight", "backbone.bn1.running_mean", "backbone.bn1.weight"):
        assert torch.allclose(member[name], first[0][name], atol=1e-3), name
    assert not torch.allclose(
        member["backbone.layer1.0.conv1.weight"],
        first[0]["backbone.layer1.0.conv1.weight"], atol=1e-4,
    )  # fmt: skip
    assert all(fold.best_epoch is None for fold in outcome.figures.folds)
    assert request(archive, tmp_path).work_folder.is_dir()


def test_one_network_where_there_are_no_folds(archive, tmp_path, settings):
    outcome = trained(archive, tmp_path, settings("folds = 0\nvalidation_share = 0.25"))
    assert outcome.info.members == 1
    assert outcome.figures.folds[0].trained_on + outcome.figures.folds[0].validated == 22
    assert np.isfinite(outcome.figures.findings[0].auc.value)
