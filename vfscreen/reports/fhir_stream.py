"""FHIR resources out of NDJSON files and Bundles, one at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vfscreen.errors import ReportsError
from vfscreen.reports.jsonl_reader import json_object, numbered_lines
from vfscreen.reports.records import BadRecord, RecordProblemError

MAX_RESOURCE_BYTES = 64 << 20
"""A larger resource is not held in memory."""
HEAD_BYTES = 64 << 10

_RESOURCE = re.compile(rb'\s*\{\s*"resourceType"')
_FIRST_TYPE = re.compile(rb'"resourceType"\s*:\s*"(\w+)"')


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, where it lies, the URL by which a Bundle names it, and about how large it is."""

    place: str
    full_url: str | None
    body: dict[str, Any]
    size_bytes: int

    @property
    def kind(self) -> str:
        """The resource's type; empty where it names none."""
        kind = self.body.get("resourceType")
        return kind if isinstance(kind, str) else ""

    def names(self) -> Iterator[str]:
        """What references may call it."""
        if self.full_url:
            yield self.full_url
        if isinstance(self.body.get("id"), str):
            yield f"{self.kind}/{self.body['id']}"


def read_resources(path: Path, label: str) -> Iterator[Resource | BadRecord]:
    """Stream the resources of an NDJSON file, of a Bundle, or of a file with a single resource.

    A Bundle on a line of an NDJSON file gives its entries. Memory is bounded by the largest
    resource. Where JSON breaks off within a Bundle, what came before counts and the place is bad.

    Raises
    ------
    ReportsError
        The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            if not _is_lines(head):
                yield from _bundle(stream)
                return
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None
    for number, line in numbered_lines(path, label):
        if isinstance(line, BadRecord):
            yield line
            continue
        try:
            body = json_object(line)
        except RecordProblemError as problem:
            yield BadRecord(f"line {number}", str(problem))
            continue
        yield from _opened(f"line {number}", body, len(line))


def _is_lines(head: bytes) -> bool:
    """Whether a file holds a resource a line; else it is one object, a Bundle or a resource."""
    first, *rest = head.split(b"\n", 2)
    if rest:
        try:
            json_object(first)
        except RecordProblemError:  # a broken line, or the first of a pretty-printed object
            return _RESOURCE.match(rest[0]) is not None
        return True
    found = _FIRST_TYPE.search(head)
    entry = head.find(b'"entry"')
    of_bundle = found is None or found[1] == b"Bundle" or -1 < entry < found.start()
    return not of_bundle


def _opened(place: str, body: dict[str, Any], size_bytes: int) -> Iterator[Resource | BadRecord]:
    """A resource, or the entries of one that is a Bundle."""
    if body.get("resourceType") != "Bundle":
        yield Resource(place, None, body, size_bytes)
        return
    entries = body.get("entry")
    for number, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
        yield _entry(f"{place}, entry {number}", entry, size_bytes)


def _entry(place: str, entry: Any, size_bytes: int) -> Resource | BadRecord:
    body = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(body, dict):
        return BadRecord(place, "an entry without a resource")
    full_url = entry.get("fullUrl")
    return Resource(place, full_url if isinstance(full_url, str) else None, body, size_bytes)


def _bundle(stream: BinaryIO) -> Iterator[Resource | BadRecord]:
    """The entries of a Bundle; of any other single object, it."""
    import ijson

    limited = _Limited(stream)
    number = 0
    try:
        for entry in ijson.items(limited, "entry.item", use_float=True):
            size, limited.read_since = limited.read_since, 0
            number += 1
            yield _entry(f"entry {number}", entry, size)
    except _TooLargeError:
        yield BadRecord(f"entry {number + 1}", "an entry too large; the rest was not read")
        return
    except (ijson.JSONError, UnicodeError, RecursionError):
        yield BadRecord(f"entry {number + 1}", "not JSON from here on")
        return
    if number == 0:
        stream.seek(0)
        try:
            data = stream.read(MAX_RESOURCE_BYTES)
            body = json_object(data)
        except RecordProblemError as problem:
            yield BadRecord("whole file", str(problem))
            return
        yield from _opened("whole file", body, len(data))


class _TooLargeError(Exception):
    """More was read for one entry than an entry may have."""


class _Limited:
    """A file that counts what is read since the last entry was complete."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.read_since = 0

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.read_since += len(data)
        if self.read_since > MAX_RESOURCE_BYTES:
            raise _TooLargeError
        return data
