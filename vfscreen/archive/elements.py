"""Read the data elements of a DICOM header that are asked for, from the fewest bytes.

A parser of our own, because it must do three things that pydicom does not: tell a header that
ends inside an element from one that is whole, bound what hostile bytes can cost (memory, nesting,
inflation), and read several times faster. tests/test_archive_header.py holds it against pydicom.

DICOM PS3.5 section 7 (data elements, sequences), PS3.10 section 7.1 (file meta information).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeVar

from vfscreen.archive.heads import (
    FileHead,
    Head,
    HeaderProblemError,
    InflatedHead,
    ShortError,
    bad,
    truncated,
)

T = TypeVar("T")

MAX_DEPTH = 64
"""Nested sequences; radiographs stay below 10."""
UNDEFINED = 0xFFFFFFFF

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


@dataclass(slots=True)
class Elements:
    """What was found in a header.

    Attributes
    ----------
    values
        Tag -> raw bytes of the wanted elements of the data set, and of group 0002.
    items
        Tag of a wanted sequence -> the raw elements of its first item.
    transfer_syntax_uid
        As the file says; of a file without meta information the syntax that its bytes show, None
        where its pixels are encapsulated in an unknown one.
    big_endian
        Byte order of numbers in `values` and `items`.
    header_end
        Bytes of the file before the value of the pixel data; None where the data set is deflated
        or holds no pixel data.
    pixel_bytes
        Length of the pixel data as declared; None where undefined (encapsulated) or absent.
    has_pixels, has_preamble, deflated
        What the names say.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    items: dict[int, dict[int, bytes]] = field(default_factory=dict)
    transfer_syntax_uid: str | None = None
    big_endian: bool = False
    header_end: int | None = None
    pixel_bytes: int | None = None
    has_pixels: bool = False
    has_preamble: bool = True
    deflated: bool = False


def read_elements(
    head: FileHead, wanted: frozenset[int], sequences: frozenset[int]
) -> Elements | None:
    """Parse a header up to the value of its pixel data.

    Parameters
    ----------
    head
        The file.
    wanted
        Tags of the data set whose raw values are returned; in items every tag is.
    sequences
        Tags of sequences whose first item is returned.

    Returns
    -------
    Elements or None
        None where the file is not DICOM.

    Raises
    ------
    HeaderProblemError
        The header is cut short, damaged, or beyond the limits above.
    """
    data = head.data
    if data[128:132] == b"DICM":
        elements, start = _grown(head, lambda: _file_meta(head))
        syntax = elements.values.get(0x00020010, b"").strip(b" \0").decode("latin-1")
        elements.transfer_syntax_uid = syntax or None
    elif (big := _plausible_start(data, head.total or 0)) is not None:
        elements, start = Elements(has_preamble=False, big_endian=big), 0
        if data[:2] == b"\x02\x00":
            elements, start = _grown(head, lambda: _file_meta(head, 0))
            elements.has_preamble = False
            syntax = elements.values.get(0x00020010, b"").strip(b" \0").decode("latin-1")
            elements.transfer_syntax_uid = syntax or None
    else:
        return None

    body: Head = head
    if elements.transfer_syntax_uid == DEFLATED:
        body, start = InflatedHead(head.descriptor, start), 0
        elements.deflated = True
    elif elements.transfer_syntax_uid == EXPLICIT_BIG:
        elements.big_endian = True
    _grown(body, lambda: _data_set(body, start, elements, wanted, sequences))
    return elements


def _grown(head: Head, parse: Callable[[], T]) -> T:
    """Parse again with more bytes until there are enough."""
    while True:
        try:
            return parse()
        except ShortError as short:
            head.grow(short.needed)


def _plausible_start(data: bytes, size: int) -> bool | None:
    """Whether data without preamble start big endian; None where they are not DICOM at all."""
    if len(data) < 8:
        return None
    explicit = data[4:6] in _SHORT_VRS or data[4:6] in _LONG_VRS
    if data[:2] in (b"\x02\x00", b"\x08\x00"):
        length = int.from_bytes(data[4:8], "little")
        return False if explicit or (data[3] == 0 and length <= min(size, 4096)) else None
    return True if data[:2] == b"\x00\x08" and explicit else None


def _file_meta(head: Head, start: int = 132) -> tuple[Elements, int]:
    """Group 0002, explicit little endian, and where the data set starts.

    The group ends where the group number changes: its length element is often wrong.
    """
    elements, data, position = Elements(), head.data, start
    while True:
        if position + 8 > len(data):
            if head.complete and position == len(data):
                return elements, position
            raise ShortError(position + 8)
        if data[position : position + 2] != b"\x02\x00":
            return elements, position
        tag, _, length, begin = _element(data, position, True, _LITTLE)
        if length == UNDEFINED:
            raise bad("an element of the file meta information has no length")
        position = begin + length
        if position > len(data):
            raise ShortError(position)
        elements.values[tag] = data[begin:position]


class _Order:
    """The struct readers of one byte order."""

    __slots__ = ("explicit", "implicit", "long")

    def __init__(self, order: str) -> None:
        self.explicit = Struct(f"{order}HH2sH").unpack_from
        self.implicit = Struct(f"{order}HHL").unpack_from
        self.long = Struct(f"{order}L").unpack_from


_LITTLE, _BIG = _Order("<"), _Order(">")


def _element(
    data: bytes, position: int, explicit: bool, order: _Order
) -> tuple[int, bytes, int, int]:
    """Tag, VR (empty where implicit), length and start of the value of the element here."""
    if explicit:
        group, number, vr, length = order.explicit(data, position)
        if vr in _SHORT_VRS:
            return group << 16 | number, vr, length, position + 8
        if vr in _LONG_VRS:
            if position + 12 > len(data):
                raise ShortError(position + 12)
            return group << 16 | number, vr, order.long(data, position + 8)[0], position + 12
        if (
            b"AA" <= vr <= b"ZZ" and vr.isalpha() and vr.isupper()
        ):  # a VR of the future, length in 2 bytes
            return group << 16 | number, vr, length, position + 8
        # Some writers switch to implicit inside an explicit data set (pydicom issues 1035, 1067).
    group, number, length = order.implicit(data, position)
    return group << 16 | number, b"", length, position + 8


def _data_set(
    head: Head, start: int, elements: Elements, wanted: frozenset[int], sequences: frozenset[int]
) -> None:
    """Walk the data set's own elements up to the pixel data, filling `elements`."""
    data, position, end = head.data, start, len(head.data)
    order = _BIG if elements.big_endian else _LITTLE
    if position + 8 > end and not head.complete:
        raise ShortError(position + 8)
    # What the bytes show counts, whatever the transfer syntax says, as in pydicom.
    explicit = all(0x40 < byte < 0x5B for byte in data[position + 4 : position + 6])
    values, items = elements.values, elements.items
    while position + 8 <= end:
        tag, vr, length, begin = _element(data, position, explicit, order)
        if tag in _PIXELS:
            elements.has_pixels = True
            elements.pixel_bytes = None if length == UNDEFINED else length
            elements.header_end = None if elements.deflated else begin
            break
        if tag >> 16 == 0xFFFE:
            raise bad("an item stands outside a sequence")
        if length == UNDEFINED:
            position = _after_items(data, begin, explicit and vr not in (b"", b"UN"), order)
        else:
            position = begin + length
        if position > end:
            if explicit and not vr and head.total is not None and position > head.total:
                raise bad("an element has neither a known VR nor a possible length")
            raise ShortError(position)
        if tag in wanted:
            values[tag] = data[begin:position]
        elif tag in sequences:
            implicit_inside = not vr or vr == b"UN"
            items[tag] = _first_item(data, begin, position, not implicit_inside, order)
    else:
        if not head.complete:
            raise ShortError(position + 8)
        if any(data[position:]):
            raise truncated()
    if elements.transfer_syntax_uid is None and not (
        elements.has_pixels and elements.pixel_bytes is None
    ):
        explicit_syntax = EXPLICIT_BIG if elements.big_endian else EXPLICIT_LITTLE
        elements.transfer_syntax_uid = explicit_syntax if explicit else IMPLICIT_LITTLE


def _after_items(data: bytes, position: int, explicit: bool, order: _Order) -> int:
    """Where the value of undefined length that starts here ends: past its delimiter.

    A stack instead of recursion, so that nesting is bounded by `MAX_DEPTH` and not by Python's.
    """
    stack = [(True, explicit)]  # (among items, explicit): among items, or inside an item
    while stack:
        if position + 8 > len(data):
            raise ShortError(position + 8)
        among_items, explicit = stack[-1]
        if among_items:
            group, number, length = order.implicit(data, position)
            tag = group << 16 | number
            position += 8
            if tag == _SEQUENCE_END:
                stack.pop()
            elif tag != _ITEM:
                raise bad("a sequence holds something other than items")
            elif length == UNDEFINED:
                stack.append((False, explicit))
            else:
                position += length
            continue
        tag, vr, length, begin = _element(data, position, explicit, order)
        if tag == _ITEM_END:
            stack.pop()
            position += 8
        elif tag >> 16 == 0xFFFE:
            raise bad("an item is not closed")
        elif length == UNDEFINED:
            stack.append((True, explicit and vr not in (b"", b"UN")))
            position = begin
        else:
            position = begin + length
        if len(stack) > 2 * MAX_DEPTH:
            raise bad(f"sequences are nested more than {MAX_DEPTH} deep")
    return position


def _first_item(
    data: bytes, begin: int, end: int, explicit: bool, order: _Order
) -> dict[int, bytes]:
    """The elements of a sequence's first item; `data[begin:end]` is the sequence's value.

    A damaged item gives what stands before the damage: codes only add to what is known.
    """
    found: dict[int, bytes] = {}
    if begin + 8 > end:
        return found
    group, number, length = order.implicit(data, begin)
    if group << 16 | number != _ITEM:
        return found
    position = begin + 8
    stop = end if length == UNDEFINED else min(end, position + length)
    try:
        while position + 8 <= stop:
            tag, vr, length, begin = _element(data, position, explicit, order)
            if tag == _ITEM_END:
                break
            if length == UNDEFINED:
                position = _after_items(data, begin, explicit and vr not in (b"", b"UN"), order)
                continue
            position = begin + length
            if position > stop:
                break
            found[tag] = data[begin:position]
    except (ShortError, HeaderProblemError):
        return found
    return found
