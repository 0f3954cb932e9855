"""A checkpoint: one safetensors file with everything that inference needs.

Its metadata are JSON texts: `format_version`, `name`, `demonstration`, `architecture`,
`findings`, `preprocessing`, `calibration`, `operating_points`, `provenance`, `model_card`. A tensor
that is mostly zeros is stored as `<name>.bitmask` (one bit an element, most significant first)
and `<name>.values` (float16), its shape in the metadata `sparse`; all others as they are.

Nothing here imports torch until weights are loaded: `vfscreen checkpoint info` and a nightly run
with nothing to do need none.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import CheckpointError
from vfscreen.model import container
from vfscreen.model.container import Container, Tensors
from vfscreen.preprocessing import Preprocessing, from_json, to_json
from vfscreen.results.calibrations import Calibration
from vfscreen.results.calibrations import from_json as calibration_from_json

if TYPE_CHECKING:
    from vfscreen.model.network import FilmClassifier

FORMAT_VERSION = 1
DEMO = "demo"
# Below this share of zeros, bitmask and values are larger than float16 values alone.
_SPARSE_FROM = 0.25
_KEYS = (
    "format_version",
    "name",
    "demonstration",
    "architecture",
    "findings",
    "preprocessing",
    "calibration",
    "operating_points",
    "provenance",
    "model_card",
    "sparse",
)

OperatingPoints = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes
    ----------
    findings : tuple of str
        One head each, in the order of the logits.
    calibration : dict
        From logit to probability, a finding each.
    operating_points : dict
        Finding to name to the probability from which a film counts as positive.
    model_sha256 : str
        Over weights, architecture, findings and preprocessing: whatever changes a logit.
    checkpoint_sha256 : str
        Over the whole file.
    """

    path: Path
    name: str
    demonstration: bool
    architecture: str
    findings: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: dict[str, Calibration]
    operating_points: dict[str, dict[str, float]]
    provenance: dict[str, Any]
    model_card: str
    model_sha256: str
    checkpoint_sha256: str
    format_version: int


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
    return _info(_located(path), container.read(_located(path)))


def load_weights(info: CheckpointInfo) -> "FilmClassifier":
    """Load the network, in float32 on the CPU, ready for inference.

    Raises
    ------
    CheckpointError
        The file changed since `info` was read, its tensors do not fit the architecture, or a
        weight is not finite.
    """
    import torch

    from vfscreen.model.network import build

    content = container.read(info.path)
    if _sha256(content.data) != info.checkpoint_sha256:
        raise CheckpointError(f"The checkpoint {info.path} changed while it was being used.")
    tensors = _dense(info.path, content)
    model = build(info.architecture, info.findings)
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in model.backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if {name: array.shape for name, array in tensors.items()} != expected:
        raise CheckpointError(
            f"The tensors of the checkpoint {info.path} do not fit a {info.architecture} with "
            f"{len(info.findings)} finding(s)."
        )
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    model.backbone.load_state_dict(state, strict=False)
    return model.eval()


def save(
    path: Path,
    model: "FilmClassifier",
    *,
    name: str,
    demonstration: bool,
    architecture: str,
    findings: tuple[str, ...],
    preprocessing: Preprocessing,
    calibration: Mapping[str, Calibration],
    operating_points: OperatingPoints,
    provenance: Mapping[str, Any],
    model_card: str,
) -> CheckpointInfo:
    """Write a checkpoint and read it back.

    Large weights are rounded to float16, and stored by bitmask where many are zero.

    Raises
    ------
    StorageError
        The file cannot be written.
    CheckpointError
        A weight is not finite.
    """
    tensors, sparse = _encoded(
        {
            key: tensor.detach().cpu().numpy()
            for key, tensor in model.backbone.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
    )
    fields = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "demonstration": demonstration,
        "architecture": architecture,
        "findings": list(findings),
        "preprocessing": to_json(preprocessing),
        "calibration": {f: asdict(c) for f, c in calibration.items()},
        "operating_points": {f: dict(points) for f, points in operating_points.items()},
        "provenance": dict(provenance),
        "model_card": model_card,
        "sparse": sparse,
    }
    container.write(path, tensors, {key: _json(value) for key, value in fields.items()})
    return read_info(path)


def with_calibration(
    info: CheckpointInfo,
    path: Path,
    *,
    calibration: Mapping[str, Calibration],
    operating_points: OperatingPoints,
    model_card: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> CheckpointInfo:
    """Write a new checkpoint with another calibration; `model_sha256` stays, nothing is decoded
    anew.

    Raises
    ------
    CheckpointError, StorageError
        The old file cannot be read, or the new one written.
    """
    content = container.read(info.path)
    changed: dict[str, Any] = {
        "calibration": {f: asdict(c) for f, c in calibration.items()},
        "operating_points": {f: dict(points) for f, points in operating_points.items()},
    }
    if model_card is not None:
        changed["model_card"] = model_card
    if provenance is not None:
        changed["provenance"] = dict(provenance)
    metadata = content.metadata | {key: _json(value) for key, value in changed.items()}
    container.write(path, content.tensors, metadata)
    return read_info(path)


def _located(path: Path | str) -> Path:
    if str(path) != DEMO:
        return Path(path)
    return Path(str(files("vfscreen.model") / "demo.safetensors"))


def _info(path: Path, content: Container) -> CheckpointInfo:
    """Check the metadata, one key after the other."""
    missing = [key for key in _KEYS if key not in content.metadata]
    if "format_version" in missing:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of vfscreen: it lacks the "
            "metadata that inference needs (findings, preprocessing, calibration)."
        )
    raw: dict[str, Any] = {}
    for key in _KEYS:
        try:
            raw[key] = json.loads(content.metadata.get(key, ""))
        except (ValueError, RecursionError):
            # A later format may lack keys of this one: its version is the better explanation.
            raw[key] = None
    if raw["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"The checkpoint {path} has format version {raw['format_version']!r}; this version of "
            f"vfscreen reads version {FORMAT_VERSION}."
        )
    wrong = CheckpointError(f"The metadata of the checkpoint {path} are incomplete or damaged.")
    findings, card = raw["findings"], raw["model_card"]
    if missing or not all(isinstance(raw[k], str) for k in ("name", "architecture", "model_card")):
        raise wrong
    if (
        not isinstance(findings, list)
        or not findings
        or len(set(map(str, findings))) != len(findings)
    ):
        raise wrong
    if not all(isinstance(f, str) and f for f in findings):
        raise wrong
    if not isinstance(raw["demonstration"], bool) or not isinstance(raw["provenance"], dict):
        raise wrong
    try:
        calibration = {f: calibration_from_json(raw["calibration"][f]) for f in findings}
        points = {f: _points(raw["operating_points"][f]) for f in findings}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise wrong from None
    return CheckpointInfo(
        path=path,
        name=raw["name"],
        demonstration=raw["demonstration"],
        architecture=raw["architecture"],
        findings=tuple(findings),
        preprocessing=from_json(raw["preprocessing"]),
        calibration=calibration,
        operating_points=points,
        provenance=raw["provenance"],
        model_card=card,
        model_sha256=_model_sha256(raw, content.tensors),
        checkpoint_sha256=_sha256(content.data),
        format_version=FORMAT_VERSION,
    )


def _points(raw: dict[str, Any]) -> dict[str, float]:
    points = {str(name): float(threshold) for name, threshold in raw.items()}
    if "default" not in points or not all(0 <= t <= 1 for t in points.values()):
        raise ValueError
    return points


def _model_sha256(raw: dict[str, Any], tensors: Tensors) -> str:
    """Hash whatever changes a logit, as it is stored."""
    digest = hashlib.sha256()
    identity = [raw[k] for k in ("architecture", "findings", "preprocessing", "sparse")]
    digest.update(_json(identity).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _encoded(tensors: Tensors) -> tuple[Tensors, dict[str, list[int]]]:
    """Round, and split mostly-zero tensors into bitmask and values."""
    encoded: Tensors = {}
    shapes: dict[str, list[int]] = {}
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"The weights of {name} are not finite: nothing was written.")
        # Biases and statistics are few; rounding them would cost accuracy and save nothing.
        if array.ndim < 4:
            encoded[name] = array.astype("<f4")
            continue
        half = array.astype("<f2")
        used = half != 0
        if used.mean() > 1 - _SPARSE_FROM:
            encoded[name] = half
            continue
        encoded[f"{name}.bitmask"] = np.packbits(used.reshape(-1))
        encoded[f"{name}.values"] = half[used]
        shapes[name] = list(array.shape)
    return encoded, shapes


def _dense(path: Path, content: Container) -> dict[str, NDArray[np.float32]]:
    """All tensors as float32, sparse ones filled with their zeros."""
    damaged = CheckpointError(f"The checkpoint {path} is damaged: a sparse tensor does not fit.")
    shapes = json.loads(content.metadata["sparse"])
    if not isinstance(shapes, dict):
        raise damaged
    dense: dict[str, NDArray[np.float32]] = {}
    parts = {f"{name}.{part}" for name in shapes for part in ("bitmask", "values")}
    if not parts <= content.tensors.keys():
        raise damaged
    for name, array in content.tensors.items():
        if name not in parts:
            dense[name] = array.astype(np.float32)
    for name, shape in shapes.items():
        mask, values = content.tensors[f"{name}.bitmask"], content.tensors[f"{name}.values"]
        if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
            raise damaged
        count = math.prod(shape)
        # The mask's own length bounds what is allocated.
        if mask.dtype != np.uint8 or mask.ndim != 1 or mask.size != -(-count // 8):
            raise damaged
        used = np.unpackbits(mask)
        if used[count:].any() or values.ndim != 1 or int(used.sum()) != values.size:
            raise damaged
        filled = np.zeros(count, np.float32)
        filled[used[:count].view(bool)] = values
        dense[name] = filled.reshape(shape)
    if not all(np.isfinite(array).all() for array in dense.values()):
        raise CheckpointError(f"The checkpoint {path} holds weights that are not finite.")
    return dense


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
