"""The file of a checkpoint: safetensors, read and written without torch and without pickle.

A safetensors file is 8 bytes little-endian header length, a JSON header (names, types, shapes,
offsets, and a map of strings as metadata), and the tensors' bytes. Everything in it is untrusted:
lengths and offsets are checked before anything is allocated.
"""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import CheckpointError, StorageError

_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
    "I64": np.dtype("<i8"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
# A ResNeXt-50's header is 40 kB; ten folds of the largest backbone stay far below this.
_MAX_HEADER_BYTES = 16 << 20
_MAX_FILE_BYTES = 4 << 30

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Container:
    """What lies in a file: its bytes, its metadata and its tensors (views on the bytes)."""

    data: bytes
    metadata: dict[str, str]
    tensors: Tensors


def read(path: Path) -> Container:
    """Read a safetensors file.

    Raises
    ------
    CheckpointError
        The file is missing, of another kind, truncated, or its header does not fit its data.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise CheckpointError(f"{path} is too large for a checkpoint ({size} bytes).")
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint file {path}.") from None
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read: {error.strerror or 'input error'}."
        ) from None
    header_bytes = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= header_bytes <= _MAX_HEADER_BYTES or data[8:9] != b"{":
        # Only now: the length of a header may begin with the bytes of a pickle.
        _refuse_pickle(path, data)
        raise CheckpointError(f"{path} is not a safetensors file.")
    if header_bytes > len(data) - 8:
        raise CheckpointError(f"The checkpoint {path} is truncated.")
    try:
        header = json.loads(data[8 : 8 + header_bytes])
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not a safetensors file: its header is no JSON.") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is not a safetensors file: its header is no object.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path} is not a safetensors file: its metadata is no text.")
    body = memoryview(data)[8 + header_bytes :]
    tensors = {name: _tensor(path, name, entry, body) for name, entry in header.items()}
    return Container(data, metadata, tensors)


def write(
    path: Path,
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
    *,
    what: str = "checkpoint",
) -> None:
    """Write a safetensors file whole or not at all; the same input gives the same bytes.

    (The safetensors library writes metadata in random order, hence by hand.)

    Raises
    ------
    StorageError
        The file cannot be written, or its header would be too large to be read again.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    # Wide types first keeps every tensor aligned, as the library's own writer does.
    order = sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n))
    for name in order:
        array = tensors[name]
        end = offset + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<") if array.itemsize > 1 else array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER_BYTES:
        raise StorageError(
            f"The checkpoint {path} cannot be written: what it says about itself takes "
            f"{len(text)} bytes, more than the {_MAX_HEADER_BYTES} that are read again."
        )
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            try:
                file.write(len(text).to_bytes(8, "little") + text)
                for name in order:
                    file.write(np.ascontiguousarray(tensors[name]).tobytes())
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StorageError(
            f"The {what} {path} cannot be written: {error.strerror or 'output error'}."
        ) from None


def _refuse_pickle(path: Path, data: bytes) -> None:
    # zip (torch.save since 1.6), pickle protocols 2 to 5, the legacy tar.
    if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05"):
        raise CheckpointError(
            f"{path} is a pickle (a .pt or .pth file): reading it could run code. "
            "vfscreen reads .safetensors checkpoints only."
        )


def _tensor(path: Path, name: str, entry: Any, body: memoryview) -> NDArray[Any]:
    damaged = CheckpointError(f"The checkpoint {path} is damaged: tensor {name!r} does not fit.")
    try:
        dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
        start, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise damaged from None
    if not isinstance(shape, list) or not all(type(v) is int for v in [*shape, start, end]):
        raise damaged
    if not all(0 <= v < 1 << 40 for v in shape) or not 0 <= start <= end:
        raise damaged
    if end > len(body):
        raise CheckpointError(f"The checkpoint {path} is truncated.")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise damaged
    return np.frombuffer(body[start:end], dtype).reshape(shape)
