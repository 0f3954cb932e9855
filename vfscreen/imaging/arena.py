"""Shared memory for decoded films: one memfd, cut into extents, bounded by a budget of bytes.

A memfd and not /dev/shm: in a container that is often 64 MB, five films, and ends in SIGBUS; and a
memfd is gone with its last process, however that ends.
"""

import ctypes
import errno
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Arena:
    """Extents of a memfd, each known by a ticket that is never used twice.

    A ticket that was freed already is ignored, so releasing a film twice cannot free another's
    memory. Not thread-safe: one thread owns it.

    Attributes
    ----------
    descriptor : int
        The memfd.
    memory : uint16 array
        All of the budget, as this process sees it.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.descriptor = os.memfd_create("vfscreen-films", os.MFD_CLOEXEC)
        self._budget_bytes = budget_bytes
        self._size_bytes = -(-budget_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(self.descriptor, self._size_bytes)
        # Once and not film by film, which took the consumer's interpreter 1 ms each. A page costs
        # memory when a film is first written to it.
        self.memory = np.frombuffer(mmap.mmap(self.descriptor, self._size_bytes), np.uint16)
        self._extents: dict[int, tuple[int, int]] = {}
        self._next_ticket = 0

    @property
    def in_use_bytes(self) -> int:
        """Bytes handed out."""
        return sum(length for _, length in self._extents.values())

    def reserve(self, length_bytes: int, *, beyond_budget: bool = False) -> int | None:
        """Take an extent; None where the budget does not allow it now."""
        length = -(-length_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if not beyond_budget and self.in_use_bytes + length > self._budget_bytes:
            return None
        offset = 0
        for start, taken in sorted(self._extents.values()):
            if start - offset >= length:
                break
            offset = start + taken
        if offset + length > self._size_bytes:
            self._size_bytes = offset + length
            os.ftruncate(self.descriptor, self._size_bytes)
        self._next_ticket += 1
        self._extents[self._next_ticket] = (offset, length)
        return self._next_ticket

    def offset(self, ticket: int) -> int:
        """Where the extent of a ticket begins in the file."""
        return self._extents[ticket][0]

    def shrink(self, ticket: int, length_bytes: int) -> None:
        """Give back the end of an extent that turned out too long."""
        offset, taken = self._extents[ticket]
        length = -(-length_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._extents[ticket] = (offset, min(taken, length))
        self._punch(offset + length, offset + taken)

    def free(self, ticket: int) -> None:
        """Give an extent back."""
        extent = self._extents.pop(ticket, None)
        if extent is not None:
            self._punch(extent[0], extent[0] + extent[1])

    def _punch(self, start: int, end: int) -> None:
        """Return pages to the system that lie beyond the budget; those within it are used again."""
        start = max(start, self._budget_bytes // mmap.PAGESIZE * mmap.PAGESIZE)
        if start < end:
            _libc.fallocate(self.descriptor, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)

    def view(self, ticket: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
        """A read-only array over an extent. It outlives the ticket, but then its values do not."""
        offset, words = self._extents[ticket][0], shape[0] * shape[1]
        if offset + 2 * words > self.memory.nbytes:
            return map_film(self.descriptor, offset, shape, writable=False)
        film = self.memory[offset // 2 : offset // 2 + words].reshape(shape)
        film.flags.writeable = False
        return film

    def close(self) -> None:
        """Close the memfd; arrays over it stay valid until they are dropped."""
        os.close(self.descriptor)


def map_film(
    descriptor: int, offset: int, shape: tuple[int, int], *, writable: bool
) -> NDArray[np.uint16]:
    """Map one film of the shared memory as an array of display values.

    Raises
    ------
    MemoryError
        The address space of this process does not allow it.
    """
    try:
        mapped: Any = mmap.mmap(
            descriptor,
            2 * shape[0] * shape[1],
            flags=mmap.MAP_SHARED | mmap.MAP_POPULATE,
            prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0),
            offset=offset,
        )
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from None
        raise
    return np.frombuffer(mapped, np.uint16).reshape(shape)
