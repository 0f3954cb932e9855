"""The first bytes of a file, growing as the parser asks for more, within limits."""

import os
import zlib
from typing import Protocol

from vfscreen.errors import FailureReason

MAX_HEADER_BYTES = 64 << 20
"""Beyond this no film's header is honest; the largest seen in public sets are a few MiB."""
FIRST_READ_BYTES = 16 << 10
"""Holds the header of nearly every radiograph (4-12 KiB) in one read."""


class HeaderProblemError(Exception):
    """The bytes are not a whole header; never leaves the archive room."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ShortError(Exception):
    """The parser needs the first `needed` bytes; caught where there are more to be had."""

    def __init__(self, needed: int) -> None:
        super().__init__()
        self.needed = needed


def truncated() -> HeaderProblemError:
    return HeaderProblemError(FailureReason.TRUNCATED, "the header ends inside a data element")


def bad(message: str) -> HeaderProblemError:
    return HeaderProblemError(FailureReason.BAD_HEADER, message)


class Head(Protocol):
    """The first bytes of a file or of an inflated data set, growing as the parser asks."""

    data: bytes
    complete: bool  # `data` is all there is
    total: int | None  # what there is in all, where that is known

    def grow(self, needed: int) -> None:
        """Hold at least `needed` bytes, or raise HeaderProblemError."""


class FileHead:
    """The head of an open file."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.descriptor = descriptor
        self.total: int | None = size_bytes
        self.data = b""
        self.complete = False
        self._read(FIRST_READ_BYTES)

    def grow(self, needed: int) -> None:
        """Read on, at least doubling, so that a long header is parsed few times."""
        if self.complete:
            raise truncated()
        if needed > MAX_HEADER_BYTES:
            raise bad(f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB")
        self._read(max(needed, 2 * len(self.data)))

    def _read(self, wanted: int) -> None:
        parts = [self.data]
        have = len(self.data)
        while have < wanted:
            part = os.pread(self.descriptor, wanted - have, have)
            if not part:
                self.complete = True
                break
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)
        self.complete = self.complete or have == self.total


class InflatedHead:
    """The head of a deflated data set (PS3.5 A.5); inflates no more than is asked for."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self.total: int | None = None
        self.data = b""
        self.complete = False
        self._descriptor = descriptor
        self._offset = offset
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def grow(self, needed: int) -> None:
        """Inflate on; a stream that ends early is a truncated header."""
        if self.complete:
            raise truncated()
        if needed > MAX_HEADER_BYTES:
            raise bad(f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB")
        wanted = max(needed, 2 * len(self.data), FIRST_READ_BYTES)
        parts = [self.data]
        have = len(self.data)
        while have < wanted and not self.complete:
            deflated = self._stream.unconsumed_tail
            if not deflated:
                deflated = os.pread(self._descriptor, FIRST_READ_BYTES, self._offset)
                self._offset += len(deflated)
            try:
                part = self._stream.decompress(deflated, wanted - have)
            except zlib.error:
                raise bad("the deflated data set cannot be inflated") from None
            parts.append(part)
            have += len(part)
            self.complete = self._stream.eof or not deflated
        self.data = b"".join(parts)
