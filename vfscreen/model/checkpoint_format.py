"""The metadata of a checkpoint: JSON texts, all of them untrusted, and the hash of the model.

Version 2 knows besides what version 1 did: `members` (how many networks whose logits are
averaged), `flip` (whether the mirrored film is averaged in), `locator` (the spec of a network that
finds the spine first, or null), `training_patients` (keyed hashes, or null) and `reference` (what
films looked like when the checkpoint was calibrated, or null). Version 1 is one network without
any of these, and is read as such.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vfscreen.errors import CheckpointError
from vfscreen.model.checkpoint_tensors import LOCATOR, parted
from vfscreen.model.container import Container, Tensors
from vfscreen.preprocessing import Preprocessing, from_json
from vfscreen.results.calibrations import Calibration
from vfscreen.results.calibrations import from_json as calibration_from_json

FORMAT_VERSION = 2
# What a file of version 1 would say in version 2.
_OF_VERSION_1: dict[str, Any] = {
    "members": 1,
    "flip": False,
    "locator": None,
    "training_patients": None,
    "reference": None,
}
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
    *_OF_VERSION_1,
)
# Ten folds are many; the number decides how many networks are built.
_MOST_MEMBERS = 100
_HASH = re.compile(r"[0-9a-f]{8,128}")

OperatingPoints = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class TrainingPatients:
    """Whose films a network was trained on, so that nobody evaluates it on them unawares.

    Attributes
    ----------
    key_id : str
        Which key made the hashes (`privacy.key_id`): another key's cannot be compared.
    hashes : tuple of str
        Keyed hashes of the patients, lower-case hex.
    """

    key_id: str
    hashes: tuple[str, ...]


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
        Over whatever changes a logit: weights, architecture, findings, preprocessing, how many
        members, flip and locator.
    checkpoint_sha256 : str
        Over the whole file.
    members : int
        How many networks there are; their logits are averaged.
    flip : bool
        Whether each film's mirror image is averaged in.
    locator : dict or None
        The spec of the network that finds the spine first, as `model.column` reads it.
    training_patients : TrainingPatients or None
        None: the file does not say.
    reference : dict or None
        What films looked like when the checkpoint was calibrated, as `vfscreen status` reads it.
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
    members: int
    flip: bool
    locator: dict[str, Any] | None
    training_patients: TrainingPatients | None
    reference: dict[str, Any] | None


def info_of(path: Path, content: Container) -> CheckpointInfo:
    """Check the metadata, one key after the other.

    Raises
    ------
    CheckpointError
        They are not those of a checkpoint that this version can use.
    """
    raw = _read(path, content.metadata)
    wrong = CheckpointError(f"The metadata of the checkpoint {path} are incomplete or damaged.")
    if not all(isinstance(raw[k], str) for k in ("name", "architecture", "model_card")):
        raise wrong
    findings = raw["findings"]
    if not isinstance(findings, list) or not all(isinstance(f, str) and f for f in findings):
        raise wrong
    if not findings or len(set(findings)) != len(findings):
        raise wrong
    if not all(isinstance(raw[k], bool) for k in ("demonstration", "flip")):
        raise wrong
    if not all(isinstance(raw[k], dict) for k in ("provenance", "sparse")):
        raise wrong
    if not all(isinstance(raw[k], dict | None) for k in ("locator", "reference")):
        raise wrong
    if type(raw["members"]) is not int or not 1 <= raw["members"] <= _MOST_MEMBERS:
        raise wrong
    _check_owners(path, raw, content.tensors)
    try:
        calibration = {f: calibration_from_json(raw["calibration"][f]) for f in findings}
        points = {f: _points(raw["operating_points"][f]) for f in findings}
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
            model_card=raw["model_card"],
            model_sha256=_model_sha256(raw, content.tensors),
            checkpoint_sha256=sha256(content.data),
            format_version=raw["format_version"],
            members=raw["members"],
            flip=raw["flip"],
            locator=raw["locator"],
            training_patients=_patients(raw["training_patients"]),
            reference=raw["reference"],
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise wrong from None


def upgraded(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a file that `info_of` accepts, in the present version."""
    added = {key: to_text(value) for key, value in _OF_VERSION_1.items()}
    return added | dict(metadata) | {"format_version": to_text(FORMAT_VERSION)}


def to_text(value: Any) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def sha256(data: bytes) -> str:
    """The hash as hex digits."""
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Parse the JSON texts; those that version 1 lacks get the values it stands for."""
    if "format_version" not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of vfscreen: it lacks the "
            "metadata that inference needs (findings, preprocessing, calibration)."
        )
    raw: dict[str, Any] = {}
    damaged = []
    for key in _KEYS:
        try:
            raw[key] = json.loads(metadata[key], parse_constant=_refuse)
        except (KeyError, ValueError, RecursionError):
            # A later format may lack keys of this one: its version is the better explanation.
            raw[key] = None
            damaged.append(key)
    version = raw["format_version"]
    if version == 1 and type(version) is int:
        raw |= _OF_VERSION_1
        damaged = [key for key in damaged if key not in _OF_VERSION_1]
    elif version != FORMAT_VERSION or type(version) is not int:
        raise CheckpointError(
            f"The checkpoint {path} has format version {version!r}; this version of vfscreen "
            f"reads versions 1 and {FORMAT_VERSION}."
        )
    if damaged:
        raise CheckpointError(
            f"The metadata of the checkpoint {path} are incomplete or damaged: {damaged[0]}."
        )
    return raw


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _check_owners(path: Path, raw: dict[str, Any], tensors: Tensors) -> None:
    """Each member has tensors, and those of a locator come with its spec; shapes are for later."""
    located = raw["locator"] is not None
    owned = parted(tensors, raw["members"], locator=located)
    for number, own in enumerate(owned):
        if not own:
            owner = "locator" if located and number == raw["members"] else f"member {number}"
            raise CheckpointError(f"The checkpoint {path} lacks the tensors of its {owner}.")
    if not located and any(name.startswith(LOCATOR) for name in owned[0]):
        raise CheckpointError(f"The checkpoint {path} has a locator, but not what it looks for.")


def _points(raw: dict[str, Any]) -> dict[str, float]:
    points = {str(name): float(threshold) for name, threshold in raw.items()}
    if "default" not in points or not all(0 <= t <= 1 for t in points.values()):
        raise ValueError
    return points


def _patients(raw: Any) -> TrainingPatients | None:
    if raw is None:
        return None
    key_id, hashes = raw["key_id"], raw["hashes"]
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= 128 or not isinstance(hashes, list):
        raise ValueError
    if not all(isinstance(h, str) and _HASH.fullmatch(h) for h in hashes):
        raise ValueError
    return TrainingPatients(key_id, tuple(hashes))


def _model_sha256(raw: dict[str, Any], tensors: Tensors) -> str:
    """Hash whatever changes a logit, as it is stored.

    A single network without flip and locator has the same hash in both versions.
    """
    digest = hashlib.sha256()
    identity = [raw[k] for k in ("architecture", "findings", "preprocessing", "sparse")]
    more = {k: raw[k] for k in ("members", "flip", "locator")}
    if any(value != _OF_VERSION_1[k] for k, value in more.items()):
        identity.append(more)
    digest.update(to_text(identity).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(to_text([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
