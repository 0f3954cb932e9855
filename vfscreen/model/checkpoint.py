"""A checkpoint: one safetensors file with everything that inference needs.

Its metadata are JSON texts: `format_version`, `name`, `demonstration`, `architecture`,
`findings`, `preprocessing`, `calibration`, `operating_points`, `provenance`, `model_card`, and
those that `checkpoint_format` explains; how its tensors are named and stored says
`checkpoint_tensors`; docs/checkpoint.md has both for other programs.

Nothing here imports torch until weights are loaded: `vfscreen checkpoint info` and a nightly run
with nothing to do need none.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.errors import CheckpointError
from vfscreen.model import container
from vfscreen.model.checkpoint_format import (
    FORMAT_VERSION,
    CheckpointInfo,
    OperatingPoints,
    TrainingPatients,
    info_of,
    sha256,
    to_text,
    upgraded,
)
from vfscreen.model.checkpoint_tensors import dense, encoded, joined, parted
from vfscreen.model.column import from_json as column_from_json
from vfscreen.model.container import Tensors
from vfscreen.preprocessing import Preprocessing, to_json
from vfscreen.results.calibrations import Calibration

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vfscreen.model.network import Ensemble, FilmClassifier
    from vfscreen.model.straightening import Straightener

__all__ = [
    "DEMO",
    "CheckpointInfo",
    "OperatingPoints",
    "StoredTensors",
    "TrainingPatients",
    "load_weights",
    "read_info",
    "read_tensors",
    "save",
    "with_calibration",
]

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class StoredTensors:
    """The tensors of a checkpoint, float32 on the CPU, by the names that their owner gives them.

    Attributes
    ----------
    members : tuple of dict
        Each member's, by torchvision's names.
    locator : dict
        The locator's; empty without one.
    """

    members: "tuple[dict[str, Tensor], ...]"
    locator: "dict[str, Tensor]"


def read_info(path: Path | str) -> CheckpointInfo:
    """Read what a checkpoint says about itself, and hash it.

    Parameters
    ----------
    path : Path or str
        A file, or `demo` for the demonstration checkpoint of the package.

    Raises
    ------
    CheckpointError
        The file is no checkpoint that this version can use; the text says why.
    """
    return info_of(_located(path), container.read(_located(path)))


def read_tensors(info: CheckpointInfo) -> StoredTensors:
    """Read the tensors of a checkpoint, whatever network they are for.

    Raises
    ------
    CheckpointError
        The file changed since `info` was read, is damaged, or a weight is not finite.
    """
    import torch

    content = container.read(info.path)
    if sha256(content.data) != info.checkpoint_sha256:
        raise CheckpointError(f"The checkpoint {info.path} changed while it was being used.")
    owned = [
        {name: torch.from_numpy(array) for name, array in tensors.items()}
        for tensors in parted(
            dense(info.path, content), info.members, locator=info.locator is not None
        )
    ]
    return StoredTensors(
        tuple(owned[: info.members]), {} if info.locator is None else owned[info.members]
    )


def load_weights(info: CheckpointInfo) -> "Ensemble":
    """Load the networks, in float32 on the CPU, ready for inference.

    Returns
    -------
    Ensemble
        Films to the checkpoint's logits, plainly: what every faster way is held against.

    Raises
    ------
    CheckpointError
        The file changed since `info` was read, its tensors do not fit the architecture, or a
        weight is not finite.
    """
    from vfscreen.model.network import Ensemble, build

    stored = read_tensors(info)
    blank = build(info.architecture, info.findings)
    what = f"a {info.architecture} with {len(info.findings)} finding(s)"
    members = []
    for tensors in stored.members:
        # Random weights take longer to draw than to copy. One after the other: a file may claim
        # a hundred members and hold next to nothing of them.
        model = copy.deepcopy(blank)
        _fill(model.backbone, tensors, info.path, what)
        members.append(model)
    straightener = None if info.locator is None else _straightener(info, stored.locator)
    return Ensemble(members, flip=info.flip, straightener=straightener).eval()


def save(
    path: Path,
    members: "Sequence[FilmClassifier]",
    *,
    name: str,
    demonstration: bool,
    findings: tuple[str, ...],
    preprocessing: Preprocessing,
    calibration: Mapping[str, Calibration],
    operating_points: OperatingPoints,
    provenance: Mapping[str, Any],
    model_card: str,
    flip: bool = False,
    locator: "nn.Module | None" = None,
    locator_spec: Mapping[str, Any] | None = None,
    training_patients: TrainingPatients | None = None,
    reference: Mapping[str, Any] | None = None,
) -> CheckpointInfo:
    """Write a checkpoint and read it back.

    Large weights are rounded to float16, and stored by bitmask where many are zero.

    Parameters
    ----------
    members : sequence of FilmClassifier
        Networks of one architecture, such as one a fold; their logits are averaged.
    flip : bool
        Whether inference averages each film's mirror image in.
    locator : nn.Module, optional
        The network that finds the spine for the members, with its spec, a JSON object.

    Raises
    ------
    StorageError
        The file cannot be written.
    CheckpointError
        A weight is not finite.
    """
    architectures = {member.architecture for member in members}
    if len(architectures) != 1 or (locator is None) != (locator_spec is None):
        raise ValueError("members are of one architecture, and a locator has a spec")
    owners = [_arrays(member.backbone) for member in members]
    if locator is not None:
        owners.append(_arrays(locator))
    tensors, sparse = encoded(joined(owners, locator=locator is not None))
    fields = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "demonstration": demonstration,
        "architecture": architectures.pop(),
        "findings": list(findings),
        "preprocessing": to_json(preprocessing),
        "calibration": {f: asdict(c) for f, c in calibration.items()},
        "operating_points": {f: dict(points) for f, points in operating_points.items()},
        "provenance": dict(provenance),
        "model_card": model_card,
        "sparse": sparse,
        "members": len(members),
        "flip": flip,
        "locator": None if locator_spec is None else dict(locator_spec),
        "training_patients": None if training_patients is None else asdict(training_patients),
        "reference": None if reference is None else dict(reference),
    }
    container.write(path, tensors, {key: to_text(value) for key, value in fields.items()})
    return read_info(path)


def with_calibration(
    info: CheckpointInfo,
    path: Path,
    *,
    calibration: Mapping[str, Calibration],
    operating_points: OperatingPoints,
    reference: Mapping[str, Any] | None = None,
    model_card: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> CheckpointInfo:
    """Write a new checkpoint with another calibration; `model_sha256` stays, nothing is decoded
    anew.

    Parameters
    ----------
    reference, model_card, provenance : optional
        None: as in the old checkpoint.

    Raises
    ------
    CheckpointError, StorageError
        The old file cannot be read, or the new one written.
    """
    content = container.read(info.path)
    if sha256(content.data) != info.checkpoint_sha256:
        raise CheckpointError(f"The checkpoint {info.path} changed while it was being used.")
    changed: dict[str, Any] = {
        "calibration": {f: asdict(c) for f, c in calibration.items()},
        "operating_points": {f: dict(points) for f, points in operating_points.items()},
    }
    for key, value in (("reference", reference), ("provenance", provenance)):
        if value is not None:
            changed[key] = dict(value)
    if model_card is not None:
        changed["model_card"] = model_card
    texts = {key: to_text(value) for key, value in changed.items()}
    container.write(path, content.tensors, upgraded(content.metadata) | texts)
    return read_info(path)


def _straightener(info: CheckpointInfo, tensors: "dict[str, Tensor]") -> "Straightener":
    from vfscreen.model.locating import Locator
    from vfscreen.model.straightening import Straightener

    locator = Locator()
    _fill(locator, tensors, info.path, "the locator of this version of vfscreen")
    return Straightener(locator, column_from_json(info.locator))


def _fill(module: "nn.Module", tensors: "dict[str, Tensor]", path: Path, what: str) -> None:
    expected = {name: tensor.shape for name, tensor in _stored_of(module).items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise CheckpointError(f"The tensors of the checkpoint {path} do not fit {what}.")
    module.load_state_dict(tensors, strict=False)


def _located(path: Path | str) -> Path:
    if str(path) != DEMO:
        return Path(path)
    return Path(str(files("vfscreen.model") / "demo.safetensors"))


def _stored_of(module: "nn.Module") -> "dict[str, Tensor]":
    """What of a module is stored: all but the counts that only training reads."""
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _arrays(module: "nn.Module") -> Tensors:
    return {name: t.detach().cpu().numpy() for name, t in _stored_of(module).items()}
