"""Shared memory that a GPU copies from directly: pinned, so that no copy waits for another."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

log = logging.getLogger("vfscreen")


@contextmanager
def pinned(memory: NDArray[np.uint16]) -> Iterator[bool]:
    """Pin memory for the time of the body; yields whether it is.

    Pinned pages are in use whether a film lies there or not. Where the system does not allow it,
    copies work all the same, more slowly.
    """
    cuda: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    failed = int(cuda.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0))
    if failed:
        log.warning("decode.buffer_bytes cannot be pinned (CUDA error %d)", failed)
    try:
        yield not failed
    finally:
        if not failed:
            cuda.cudaHostUnregister(memory.ctypes.data)
