"""How a checkpoint stores tensors: rounded, sparse ones by bitmask, each under its owner's prefix.

The first member's tensors have torchvision's own names; those of further members begin with
`member1.`, `member2.` and so on, those of a locator with `locator.`. A tensor that is mostly zeros
is stored as `<name>.bitmask` (one bit an element, most significant first) and `<name>.values`
(float16), its shape in the metadata `sparse`.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import CheckpointError
from vfscreen.model.container import Container, Tensors

# Below this share of zeros, bitmask and values are larger than float16 values alone.
_SPARSE_FROM = 0.25
LOCATOR = "locator."

Dense = dict[str, NDArray[np.float32]]


def prefixes(members: int, *, locator: bool) -> tuple[str, ...]:
    """What the names of each member's tensors begin with, then those of the locator."""
    return ("", *(f"member{i}." for i in range(1, members)), *([LOCATOR] if locator else []))


def joined(owners: Sequence[Tensors], *, locator: bool) -> Tensors:
    """The members' tensors (and last the locator's) under their prefixes."""
    starts = prefixes(len(owners) - locator, locator=locator)
    return {
        start + name: array
        for start, tensors in zip(starts, owners, strict=True)
        for name, array in tensors.items()
    }


def parted(tensors: Dense, members: int, *, locator: bool) -> list[Dense]:
    """The inverse of `joined`; a name with no other owner's prefix is the first member's."""
    starts = prefixes(members, locator=locator)
    owned: dict[str, Dense] = {start: {} for start in starts}
    for name, array in tensors.items():
        start = name[: name.find(".") + 1]
        start = start if start in owned else ""
        owned[start][name.removeprefix(start)] = array
    return list(owned.values())


def encoded(tensors: Tensors) -> tuple[Tensors, dict[str, list[int]]]:
    """Round, and split mostly-zero tensors into bitmask and values.

    Returns
    -------
    tuple
        What is stored, and the shapes of those tensors that are split.

    Raises
    ------
    CheckpointError
        A weight is not finite, or is not as float16.
    """
    stored: Tensors = {}
    shapes: dict[str, list[int]] = {}
    for name, array in tensors.items():
        # Biases and statistics are few; rounding them would cost accuracy and save nothing.
        if array.ndim < 4:
            rounded = array.astype("<f4")
        else:
            with np.errstate(over="ignore"):  # said below
                rounded = array.astype("<f2")
        if not np.isfinite(rounded).all():
            raise CheckpointError(
                f"The weights of {name} are not finite, or too large to be stored: nothing was "
                "written."
            )
        used = rounded != 0
        if array.ndim < 4 or used.mean() > 1 - _SPARSE_FROM:
            stored[name] = rounded
            continue
        stored[f"{name}.bitmask"] = np.packbits(used.reshape(-1))
        stored[f"{name}.values"] = rounded[used]
        shapes[name] = list(array.shape)
    return stored, shapes


def dense(path: Path, content: Container) -> Dense:
    """All tensors as float32, sparse ones filled with their zeros.

    Raises
    ------
    CheckpointError
        A sparse tensor does not fit its bitmask, or a weight is not finite.
    """
    damaged = CheckpointError(f"The checkpoint {path} is damaged: a sparse tensor does not fit.")
    shapes = json.loads(content.metadata["sparse"])
    if not isinstance(shapes, dict):
        raise damaged
    filled: Dense = {}
    parts = {f"{name}.{part}" for name in shapes for part in ("bitmask", "values")}
    if not parts <= content.tensors.keys():
        raise damaged
    for name, array in content.tensors.items():
        if name not in parts:
            filled[name] = array.astype(np.float32)
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
        flat = np.zeros(count, np.float32)
        flat[used[:count].view(bool)] = values
        filled[name] = flat.reshape(shape)
    if not all(np.isfinite(array).all() for array in filled.values()):
        raise CheckpointError(f"The checkpoint {path} holds weights that are not finite.")
    return filled
