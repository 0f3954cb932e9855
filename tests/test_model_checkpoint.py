"""A checkpoint round trip, and every file that is refused, each with its sentence."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from vfscreen.errors import CheckpointError
from vfscreen.model import container
from vfscreen.model.calibration import Calibration
from vfscreen.model.checkpoint import load_weights, read_info, save, with_calibration
from vfscreen.model.network import FilmClassifier, build
from vfscreen.preprocessing import Preprocessing

FINDING = "vertebral_fracture"


@pytest.fixture(scope="module")
def network() -> FilmClassifier:
    torch.manual_seed(0)
    model = build("resnext50_32x4d", (FINDING,)).eval()
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.dim() == 4):
            weight[torch.rand_like(weight) < 0.84] = 0
            weight.copy_(weight.half().float())
    return model


def write(path: Path, model: FilmClassifier, **changed: Any) -> None:
    save(
        path,
        [model],
        **{
            "name": "test",
            "demonstration": True,
            "findings": (FINDING,),
            "preprocessing": Preprocessing(input_size_px=64),
            "calibration": {FINDING: Calibration(0.7, -0.5)},
            "operating_points": {FINDING: {"default": 0.3}},
            "provenance": {"trained_on": "nothing"},
            "model_card": "# Card — ä",
        }
        | changed,
    )


@pytest.fixture(scope="module")
def checkpoint(network: FilmClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "test.safetensors"
    write(path, network)
    return path


def edited(
    source: Path, target: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None]
) -> Path:
    """A copy of a checkpoint with other metadata or tensors."""
    content = container.read(source)
    metadata, tensors = dict(content.metadata), dict(content.tensors)
    edit(metadata, tensors)
    container.write(target, tensors, metadata)
    return target


def test_what_is_loaded_is_what_was_saved(checkpoint: Path, network: FilmClassifier) -> None:
    info = read_info(checkpoint)
    assert (info.findings, info.demonstration, info.name) == ((FINDING,), True, "test")
    assert info.calibration == {FINDING: Calibration(0.7, -0.5)}
    assert info.operating_points == {FINDING: {"default": 0.3}}
    assert info.model_card == "# Card — ä"
    loaded = load_weights(info).members[0].state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_a_pruned_network_takes_at_most_12_megabytes(checkpoint: Path) -> None:
    assert checkpoint.stat().st_size <= 12_000_000


def test_the_same_network_gives_the_same_bytes(
    checkpoint: Path, network: FilmClassifier, tmp_path: Path
) -> None:
    write(tmp_path / "again", network)
    assert (tmp_path / "again").read_bytes() == checkpoint.read_bytes()


def test_the_safetensors_library_reads_the_file_too(checkpoint: Path) -> None:
    with safetensors.safe_open(checkpoint, framework="numpy") as file:
        assert json.loads(file.metadata()["findings"]) == [FINDING]
        mine = container.read(checkpoint).tensors
        assert set(file.keys()) == set(mine)
        for name in file.keys():  # noqa: SIM118 - not a dict
            assert np.array_equal(file.get_tensor(name), mine[name])


def test_recalibration_is_a_new_file_of_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    old = read_info(checkpoint)
    new = with_calibration(
        old,
        tmp_path / "new.safetensors",
        calibration={FINDING: Calibration(1.1, 0.2)},
        operating_points={FINDING: {"default": 0.5, "high_sensitivity": 0.2}},
    )
    assert new.model_sha256 == old.model_sha256
    assert new.checkpoint_sha256 != old.checkpoint_sha256
    assert new.calibration[FINDING] == Calibration(1.1, 0.2)
    assert new.operating_points[FINDING]["high_sensitivity"] == 0.2
    assert new.model_card == old.model_card


@pytest.mark.parametrize("change", ["weight", "preprocessing", "findings"])
def test_whatever_changes_a_logit_is_another_model(
    checkpoint: Path, tmp_path: Path, change: str
) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        if change == "weight":
            tensors["fc.weight"] = tensors["fc.weight"] * np.float32(1.0001)
        elif change == "preprocessing":
            spec = json.loads(metadata["preprocessing"]) | {"mean": 0.4}
            metadata["preprocessing"] = json.dumps(spec)
        else:
            for key in ("findings", "calibration", "operating_points"):
                metadata[key] = metadata[key].replace(FINDING, "rib_fracture")

    other = read_info(edited(checkpoint, tmp_path / "other", edit))
    assert other.model_sha256 != read_info(checkpoint).model_sha256


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_weights(read_info(path))
    return str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "There is no checkpoint file" in refused(tmp_path / "none")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path)


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"weights": 1}))
    torch.save({"weights": torch.zeros(3)}, tmp_path / "zip.pt")
    assert "is a pickle" in refused(tmp_path / "plain.pt")
    assert "is a pickle" in refused(tmp_path / "zip.pt")


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    """640 is 80 02 in the first two bytes, as protocol 2 begins."""
    container.write(tmp_path / "short", {}, {"pad": ""})
    short = int.from_bytes((tmp_path / "short").read_bytes()[:8], "little")
    container.write(tmp_path / "c", {}, {"pad": "x" * (640 - short)})
    assert (tmp_path / "c").read_bytes()[:2] == b"\x80\x02"
    assert container.read(tmp_path / "c").metadata["pad"].startswith("x")


@pytest.mark.parametrize("content", [b"", b"abc", b"\x00" * 40, b"\xff" * 40, b"DICM" * 40])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    assert "not a safetensors file" in refused(tmp_path / "other")


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.002])
def test_a_truncated_file_is_refused(checkpoint: Path, tmp_path: Path, keep: float) -> None:
    data = checkpoint.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(len(data) * keep)])
    assert "truncated" in refused(tmp_path / "cut")


def test_safetensors_of_another_kind_are_refused(tmp_path: Path) -> None:
    container.write(tmp_path / "other", {"fc.weight": np.zeros((1, 2048), "<f4")}, {"format": "pt"})
    assert "not a checkpoint of vfscreen" in refused(tmp_path / "other")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("format_version", "3", "format version 3"),
        ("architecture", '"resnext9000"', "not known"),
        ("preprocessing", '{"window_rule": "median"}', "preprocessing is not understood"),
        ("calibration", "{}", "incomplete or damaged"),
        ("calibration", '{"vertebral_fracture": {"slope": -1, "intercept": 0}}', "incomplete"),
        ("operating_points", '{"vertebral_fracture": {}}', "incomplete or damaged"),
        ("operating_points", '{"vertebral_fracture": {"default": 7}}', "incomplete or damaged"),
        ("findings", '"vertebral_fracture"', "incomplete or damaged"),
        ("model_card", "{not json", "incomplete or damaged"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(
    checkpoint: Path, tmp_path: Path, key: str, value: str, sentence: str
) -> None:
    path = edited(checkpoint, tmp_path / "c", lambda metadata, _: metadata.update({key: value}))
    assert sentence in refused(path)


def test_an_unknown_window_rule_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        spec = json.loads(metadata["preprocessing"]) | {"window_rule": "histogram"}
        metadata["preprocessing"] = json.dumps(spec)

    assert "'histogram'" in refused(edited(checkpoint, tmp_path / "c", edit))


def test_tensors_of_another_network_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["fc.weight"] = np.zeros((3, 2048), "<f4")

    assert "do not fit a resnext50_32x4d" in refused(edited(checkpoint, tmp_path / "c", edit))


def test_weights_that_are_not_finite_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["fc.bias"] = np.array([np.nan], "<f4")

    assert "not finite" in refused(edited(checkpoint, tmp_path / "c", edit))


def test_a_bitmask_that_does_not_count_its_values_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        name = "layer4.0.conv1.weight.values"
        tensors[name] = tensors[name][:-1]

    assert "sparse tensor does not fit" in refused(edited(checkpoint, tmp_path / "c", edit))


def test_a_sparse_shape_that_asks_for_memory_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        shapes = json.loads(metadata["sparse"])
        shapes["layer4.0.conv1.weight"] = [1 << 20, 1 << 20, 1, 1]
        metadata["sparse"] = json.dumps(shapes)

    assert "sparse tensor does not fit" in refused(edited(checkpoint, tmp_path / "c", edit))


@pytest.mark.parametrize("offsets", [[0, 4], [-4, 0], [0, 1 << 50], ["0", 8], [8, 0]])
def test_offsets_that_lie_are_refused(tmp_path: Path, offsets: list[Any]) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": offsets}}).encode()
    (tmp_path / "c").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert "damaged" in (text := refused(tmp_path / "c")) or "truncated" in text


def test_a_file_that_changes_in_use_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(checkpoint.read_bytes())
    info = read_info(path)
    edited(checkpoint, path, lambda metadata, _: metadata.update(name='"other"'))
    with pytest.raises(CheckpointError, match="changed while it was being used"):
        load_weights(info)
