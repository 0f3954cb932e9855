"""What version 2 of the checkpoint format added: members, flip, locator, patients, reference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vfscreen.errors import CheckpointError, StorageError
from vfscreen.model import container
from vfscreen.model.calibration import Calibration
from vfscreen.model.checkpoint import (
    CheckpointInfo,
    TrainingPatients,
    load_weights,
    read_info,
    read_tensors,
    save,
    with_calibration,
)
from vfscreen.model.network import ARCHITECTURES, FilmClassifier, build
from vfscreen.preprocessing import Preprocessing, to_json

FINDING = "vertebral_fracture"
PATIENTS = TrainingPatients("5e1f00d5", ("0123456789abcdef", "fedcba9876543210"))
SPEC = {"input_px": 224, "levels": ["T12", "L1"]}


def network(seed: int) -> FilmClassifier:
    torch.manual_seed(seed)
    model = build("resnext50_32x4d", (FINDING,)).eval()
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.dim() == 4):
            weight[torch.rand_like(weight) < 0.9] = 0
            weight.copy_(weight.half().float())
    return model


@pytest.fixture(scope="module")
def networks() -> list[FilmClassifier]:
    return [network(1), network(2)]


@pytest.fixture(scope="module")
def locator() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 12, 1)).half().float()


def write(path: Path, members: list[FilmClassifier], **more: Any) -> CheckpointInfo:
    return save(
        path,
        members,
        name="test",
        demonstration=True,
        findings=(FINDING,),
        preprocessing=Preprocessing(input_size_px=64),
        calibration={FINDING: Calibration(0.7, -0.5)},
        operating_points={FINDING: {"default": 0.3}},
        provenance={},
        model_card="",
        **more,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="module")
def whole(folder: Path, networks: list[FilmClassifier], locator: nn.Module) -> CheckpointInfo:
    """Everything that the format knows."""
    return write(
        folder / "whole",
        networks,
        flip=True,
        locator=locator,
        locator_spec=SPEC,
        training_patients=PATIENTS,
        reference={"films": 3, "logits": [0.5, 1.5]},
    )


@pytest.fixture(scope="module")
def pair(folder: Path, networks: list[FilmClassifier]) -> CheckpointInfo:
    return write(folder / "pair", networks)


def edited(
    source: CheckpointInfo, target: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None]
) -> Path:
    """A copy of a checkpoint with other metadata (as values, not as JSON) or tensors."""
    content = container.read(source.path)
    metadata = {key: json.loads(text) for key, text in content.metadata.items()}
    tensors = dict(content.tensors)
    edit(metadata, tensors)
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    container.write(target, tensors, texts)
    return target


def test_what_is_read_is_what_was_written(whole: CheckpointInfo) -> None:
    assert (whole.format_version, whole.members, whole.flip) == (2, 2, True)
    assert whole.locator == SPEC
    assert whole.training_patients == PATIENTS
    assert whole.reference == {"films": 3, "logits": [0.5, 1.5]}


def test_the_page_about_the_file_names_all_that_is_in_it(whole: CheckpointInfo) -> None:
    page = (Path(__file__).parent.parent / "docs" / "checkpoint.md").read_text("utf-8")
    named = [*container.read(whole.path).metadata, *to_json(whole.preprocessing), *ARCHITECTURES]
    assert [name for name in named if f"`{name}`" not in page] == []


def test_a_file_that_says_nothing_of_patients_and_reference_has_none(pair: CheckpointInfo) -> None:
    assert (pair.flip, pair.locator, pair.training_patients, pair.reference) == (False,) + (
        None,
    ) * 3


def test_each_owner_gets_its_own_tensors(
    whole: CheckpointInfo, networks: list[FilmClassifier], locator: nn.Module
) -> None:
    stored = read_tensors(whole)
    owned = [*zip(stored.members, (n.backbone for n in networks), strict=True)]
    for tensors, module in [*owned, (stored.locator, locator)]:
        expected = {
            name: tensor
            for name, tensor in module.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_an_ensemble_is_the_mean_of_its_members(
    pair: CheckpointInfo, networks: list[FilmClassifier]
) -> None:
    films = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = sum(network(films) for network in networks) / 2
        assert torch.allclose(load_weights(pair)(films), expected, atol=1e-6)


def test_version_1_is_read_and_becomes_version_2_with_the_same_model(folder: Path) -> None:
    demo = read_info("demo")
    assert demo.format_version == 1
    assert (demo.members, demo.flip, demo.locator) == (1, False, None)
    new = with_calibration(
        demo,
        folder / "recalibrated",
        calibration={FINDING: Calibration(1.1, 0.2)},
        operating_points={FINDING: {"default": 0.5}},
        reference={"films": 1306},
    )
    assert (new.format_version, new.reference) == (2, {"films": 1306})
    assert new.model_sha256 == demo.model_sha256
    again = with_calibration(
        new, folder / "again", calibration=new.calibration, operating_points=new.operating_points
    )
    assert again.reference == new.reference


@pytest.mark.parametrize(
    "change",
    [{"flip": True}, {"locator": SPEC | {"input_px": 256}}, {"members": 1}],
    ids=lambda change: next(iter(change)),
)
def test_how_networks_are_put_together_is_part_of_the_model(
    whole: CheckpointInfo, pair: CheckpointInfo, folder: Path, change: dict[str, Any]
) -> None:
    source = whole if "locator" in change else pair
    other = edited(source, folder / "other", lambda metadata, _: metadata.update(change))
    assert read_info(other).model_sha256 != source.model_sha256


def test_whose_films_were_seen_is_no_part_of_the_model(whole: CheckpointInfo, folder: Path) -> None:
    changed = {"training_patients": None, "reference": None}
    other = read_info(edited(whole, folder / "other", lambda metadata, _: metadata.update(changed)))
    assert other.model_sha256 == whole.model_sha256
    assert other.checkpoint_sha256 != whole.checkpoint_sha256


def test_members_of_two_architectures_are_not_written(
    networks: list[FilmClassifier], folder: Path
) -> None:
    with pytest.raises(ValueError, match="one architecture"):
        write(folder / "none", [networks[0], build("convnext_tiny", (FINDING,))])
    assert not (folder / "none").exists()


def test_weights_that_overflow_float16_are_not_written(folder: Path) -> None:
    model = network(4)
    with torch.no_grad():
        model.backbone.conv1.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"conv1\.weight .* too large"):
        write(folder / "none", [model])
    assert not (folder / "none").exists()


def test_more_patients_than_can_be_read_again_are_not_written(
    networks: list[FilmClassifier], folder: Path
) -> None:
    patients = TrainingPatients("a", ("0" * 64,) * 300_000)
    with pytest.raises(StorageError, match="more than"):
        write(folder / "none", networks[:1], training_patients=patients)
    assert not (folder / "none").exists()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_weights(read_info(path))
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("members", 0),
        ("members", True),
        ("members", 1.0),
        ("members", "2"),
        ("members", 10**9),
        ("flip", 1),
        ("flip", None),
        ("locator", [1]),
        ("locator", {"x": float("nan")}),
        ("sparse", []),
        ("training_patients", []),
        ("training_patients", {"key_id": "k"}),
        ("training_patients", {"key_id": "", "hashes": []}),
        ("training_patients", {"key_id": "k", "hashes": "0123456789abcdef"}),
        ("training_patients", {"key_id": "k", "hashes": ["Doe^Jane"]}),
        ("training_patients", {"key_id": "k", "hashes": [7]}),
        ("reference", "films"),
        ("reference", {"x": float("inf")}),
        ("calibration", {FINDING: {"slope": 10**400, "intercept": 0}}),
        ("operating_points", {FINDING: ["default"]}),
        ("operating_points", [FINDING]),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_used_are_refused(
    pair: CheckpointInfo, folder: Path, key: str, value: Any
) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        metadata[key] = value

    assert "incomplete or damaged" in refused(edited(pair, folder / "bad", edit))


@pytest.mark.parametrize(
    "change",
    [
        {"input_size_px": "64"},
        {"input_size_px": 64.5},
        {"input_size_px": 8},
        {"mean": None},
        {"mean": float("nan")},
        {"std": True},
        {"std": 0},
        {"std": 10**40},
        {"low_percentile": 99.5, "high_percentile": 0.5},
    ],
    ids=str,
)
def test_preprocessing_that_cannot_be_done_is_refused(
    pair: CheckpointInfo, folder: Path, change: dict[str, Any]
) -> None:
    path = edited(
        pair, folder / "bad", lambda metadata, _: metadata["preprocessing"].update(change)
    )
    text = refused(path)
    assert "impossible size or scale" in text or "damaged: preprocessing" in text


@pytest.mark.parametrize("key", ["members", "flip", "locator", "training_patients", "reference"])
def test_version_2_says_all_that_it_knows(pair: CheckpointInfo, folder: Path, key: str) -> None:
    path = edited(pair, folder / "bad", lambda metadata, _: metadata.pop(key))
    assert f"incomplete or damaged: {key}" in refused(path)


def test_a_member_without_tensors_is_refused(pair: CheckpointInfo, folder: Path) -> None:
    path = edited(pair, folder / "bad", lambda metadata, _: metadata.update(members=3))
    assert "lacks the tensors of its member 2" in refused(path)


def test_tensors_of_more_members_than_there_are_are_refused(
    pair: CheckpointInfo, folder: Path
) -> None:
    path = edited(pair, folder / "bad", lambda metadata, _: metadata.update(members=1))
    assert "do not fit a resnext50_32x4d" in refused(path)


def test_a_member_of_another_shape_is_refused(pair: CheckpointInfo, folder: Path) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["member1.fc.weight"] = np.zeros((2, 2048), "<f4")

    assert "do not fit a resnext50_32x4d" in refused(edited(pair, folder / "bad", edit))


def test_a_member_that_lacks_one_tensor_is_refused(pair: CheckpointInfo, folder: Path) -> None:
    path = edited(pair, folder / "bad", lambda _, tensors: tensors.pop("member1.bn1.running_var"))
    assert "do not fit a resnext50_32x4d" in refused(path)


def test_a_locator_without_its_spec_is_refused(whole: CheckpointInfo, folder: Path) -> None:
    path = edited(whole, folder / "bad", lambda metadata, _: metadata.update(locator=None))
    assert "has a locator, but not what it looks for" in refused(path)


def test_a_spec_without_its_locator_is_refused(pair: CheckpointInfo, folder: Path) -> None:
    path = edited(pair, folder / "bad", lambda metadata, _: metadata.update(locator=SPEC))
    assert "lacks the tensors of its locator" in refused(path)


def test_checkpoint_info_says_what_is_inside(whole: CheckpointInfo) -> None:
    from typer.testing import CliRunner

    from vfscreen.cli.main import app

    shown = CliRunner().invoke(app, ["checkpoint", "info", str(whole.path)])
    assert shown.exit_code == 0, shown.output
    rows = [line.strip().partition("  ") for line in shown.output.splitlines()]
    said = {name: value.strip() for name, _, value in rows}
    assert said["networks"] == "2, their logits averaged"
    assert said["mirrored film"] == "averaged in"
    assert said["locator"] == "finds the spine first"
    assert said["training patients"] == "2, by hashes of key 5e1f00d5"
    assert said["reference for drift"] == "films, logits"
    assert PATIENTS.hashes[0] not in shown.output
