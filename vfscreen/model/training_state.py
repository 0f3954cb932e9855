"""The state of a training on disk: one safetensors file, written aside and renamed, never pickle.

It holds everything that the next batch depends on, and whose state it is: a fingerprint of plan,
films and first weights. A state of another training is refused; `discard` begins anew.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vfscreen.errors import CheckpointError, TrainingError
from vfscreen.model import container
from vfscreen.model.batches import FilmSource
from vfscreen.model.network import FilmClassifier
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener
from vfscreen.preprocessing import Preprocessing

_FORMAT = 1
# Films of which every byte enters the fingerprint: hashing a cache of 100 GB would take minutes.
_SAMPLED = 64


def write_state(
    path: Path, tensors: Mapping[str, Tensor], counters: Mapping[str, Any], fingerprint: str
) -> None:
    """Replace the state; a failed write leaves the last one.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    arrays = {name: _stored(name, value) for name, value in tensors.items()}
    metadata = {
        "training_state": str(_FORMAT),
        "fingerprint": fingerprint,
        "counters": json.dumps(counters),
    }
    container.write(path, arrays, metadata, what="training state")


def read_state(path: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and counters of a state, or None where there is none.

    Raises
    ------
    TrainingError
        It belongs to another training, or is damaged.
    """
    if not path.exists():
        return None
    try:
        content = container.read(path)
        if content.metadata.get("training_state") != str(_FORMAT):
            raise CheckpointError("another format")
        counters = json.loads(content.metadata["counters"])
    except (CheckpointError, KeyError, ValueError):
        raise TrainingError(
            f"The training state {path} is damaged or of another version: remove it to begin anew."
        ) from None
    if content.metadata.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"The training state {path} belongs to another training (other settings, films, labels "
            "or first weights): remove it to begin anew, or go on with what it was begun with."
        )
    return {n: torch.from_numpy(a.copy()) for n, a in content.tensors.items()}, counters


def fingerprint_of(
    model: FilmClassifier,
    spec: Preprocessing,
    plan: TrainingPlan,
    sources: list[FilmSource],
    straightener: Straightener | None = None,
) -> str:
    """What a training depends on: plan, first weights, and films with their labels and marks."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([asdict(plan), asdict(spec)]).encode())
    weights = model.state_dict()
    if straightener is not None:
        digest.update(json.dumps(asdict(straightener.spec)).encode())
        weights |= {f"straightener.{k}": v for k, v in straightener.state_dict().items()}
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for source in sources:
        arrays, rows = source.arrays(), source.ready()
        digest.update(repr(arrays.films.shape).encode())
        digest.update(rows.astype(np.int64).tobytes())
        digest.update(np.ascontiguousarray(arrays.targets[rows]).tobytes())
        if arrays.boxes is not None:
            digest.update(np.ascontiguousarray(arrays.boxes[rows]).tobytes())
        for row in rows[:: max(1, len(rows) // _SAMPLED)]:
            digest.update(np.ascontiguousarray(arrays.films[row]).tobytes())
    return digest.hexdigest()


def _stored(name: str, value: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as it is written: masks are zeros and ones, and take a byte each."""
    value = value.detach().cpu().contiguous()
    return np.asarray((value.to(torch.uint8) if name.startswith("mask.") else value).numpy())
