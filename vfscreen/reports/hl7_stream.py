"""HL7 v2 files: messages out of single files, batches (FHS, BHS) and plain concatenations."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vfscreen.errors import ReportsError
from vfscreen.reports.records import BadRecord

MAX_MESSAGE_CHARACTERS = 32 << 20
"""A longer message (a document with pictures in it) is not held in memory."""

_ENVELOPE = ("FHS", "BHS", "BTS", "FTS")
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
# MLLP frames a message by VT and FS CR; a byte order mark, as Latin-1 shows it.
_FRAMING = "\x0b\x1c\n"
_MARK = "\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it lies in the file.

    `segments` hold one character a byte (Latin-1), for MSH-18 is not read yet; of a UTF-16 file,
    which `decoded` marks, true characters. `number` and `line` count from 1.
    """

    segments: list[str]
    number: int
    line: int
    decoded: bool

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"message {self.number} (line {self.line})"


def read_messages(path: Path, label: str) -> Iterator[Message | BadRecord]:
    r"""Stream the messages of a file whose segments end with \\r, \\n or \\r\\n.

    MLLP framing characters are dropped. A line that begins no segment goes on with the one before
    it: some senders break lines within a report's text. Lines outside any message, and messages
    that are too long, come as a `BadRecord`.

    Raises
    ------
    ReportsError
        The file cannot be read.
    """
    try:
        with path.open("rb") as raw:
            wide = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
            raw.seek(0)
            # Universal newlines; Latin-1 keeps the bytes, and no encoding of HL7 but UTF-16 has a
            # CR or LF within a character.
            text = io.TextIOWrapper(raw, encoding="utf-16" if wide else "latin-1")
            yield from _messages(text, wide)
    except UnicodeError:
        raise ReportsError(f"{label} begins as UTF-16 does, but is not.") from None
    except OSError as error:
        raise ReportsError(f"{label} cannot be read: {error.strerror}.") from None


def _messages(stream: io.TextIOWrapper, decoded: bool) -> Iterator[Message | BadRecord]:
    number = line_number = began = size = 0
    segments: list[str] = []
    separator = ""
    stray = False  # within lines that belong to no message
    whole = True  # the last line read was read to its end
    while line := stream.readline(MAX_MESSAGE_CHARACTERS):
        if whole:
            line_number += 1
        first, whole = whole, line.endswith("\n")
        line = line.strip(_FRAMING).removeprefix(_MARK) if first else line.strip("\n")
        if first and line.startswith("MSH"):
            if segments:
                yield _complete(segments, number, began, decoded, size)
            number, began, size, stray = number + 1, line_number, len(line), False
            segments, separator = [line], line[3:4]
            continue
        if first and line[:3] in _ENVELOPE and not line[3:4].isalnum():
            if segments:
                yield _complete(segments, number, began, decoded, size)
            segments, stray = [], False
            continue
        if not segments:
            if line and not stray:
                stray = True
                yield BadRecord(f"line {line_number}", "outside any HL7 message")
            continue
        size += len(line) + 1
        if size > MAX_MESSAGE_CHARACTERS:
            del segments[1:]
        elif first and line[3:4] == separator and _SEGMENT.match(line):
            segments.append(line)
        elif line or not first:
            segments[-1] += ("\n" if first else "") + line
    if segments:
        yield _complete(segments, number, began, decoded, size)


def _complete(
    segments: list[str], number: int, line: int, decoded: bool, size: int
) -> Message | BadRecord:
    message = Message(segments, number, line, decoded)
    return (
        BadRecord(message.place, "message too long") if size > MAX_MESSAGE_CHARACTERS else message
    )
