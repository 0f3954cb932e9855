"""HL7 v2 values: delimiters, character sets, escape sequences, the text of an OBX."""

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from vfscreen.reports.records import RecordProblemError

CHARACTER_SETS = {
    # Table 0211, as MSH-18 spells it, without blanks, dashes and underscores.
    "ascii": "ascii", "8859/1": "latin-1", "8859/15": "iso8859-15",
    **{f"8859/{n}": f"iso8859-{n}" for n in range(2, 11)},
    "unicodeutf8": "utf-8", "utf8": "utf-8", "unicode": "utf-8",
    "unicodeutf16": "utf-16", "utf16": "utf-16", "unicodeutf32": "utf-32",
    "isoir14": "iso2022_jp", "isoir87": "iso2022_jp", "isoir159": "iso2022_jp_2",
    "iso2022jp": "iso2022_jp",
    "gb180302000": "gb18030", "gb18030": "gb18030", "gbk": "gb18030", "gb2312": "gb18030",
    "ksx1001": "euc_kr", "big5": "big5hkscs", "cns116431992": "big5hkscs",
    "iso88591": "latin-1", "iso885915": "iso8859-15",
    **{f"iso8859{n}": f"iso8859-{n}" for n in range(2, 11)},
    "windows1252": "windows-1252", "cp1252": "windows-1252",
}  # fmt: skip
"""Table 0211, and what senders write instead of it."""

_BREAKS = re.compile(r"\r\n?")
_LINES_SKIPPED = 10
_TEXT_KINDS = frozenset({"text", "plain", "txt", "tx", "ft", "st", "html", "textplain", "texthtml"})


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2 of a message, and its character set."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    codec: str

    def components(self, value: str) -> list[str]:
        """The components of a field's first repetition, without escapes."""
        first = value.partition(self.repetition)[0]
        return [self.plain(part).strip() for part in first.split(self.component)]

    def plain(self, value: str) -> str:
        """A value with its escape sequences replaced; what is no escape sequence stays."""
        if self.escape not in value:
            return value
        return _escapes(self.escape).sub(self._replaced, value)

    def _replaced(self, match: re.Match[str]) -> str:
        code = match[1]
        if code in "FSTRE":
            at = "FSTRE".index(code)
            return (self.field, self.component, self.subcomponent, self.repetition, self.escape)[at]
        if code[0] == "X":
            data = bytes.fromhex(code[1:])
            try:
                return data.decode(self.codec)
            except UnicodeError:
                return data.decode("latin-1")
        if code[:3] in (".br", ".ce", ".sp"):
            count = int(code[3:].lstrip("+") or 1) if code[:3] == ".sp" else 1
            return "\n" * max(1, min(count, _LINES_SKIPPED))
        if code[:3] in (".in", ".ti", ".sk"):
            return " "
        return ""  # highlighting, .fi, .nf, character set switches, local sequences


@lru_cache(maxsize=64)
def _escapes(escape: str) -> re.Pattern[str]:
    """Every escape sequence of 2.7 in the standard; the escape character itself ends each one."""
    mark = re.escape(escape)
    return re.compile(
        rf"{mark}([FSTREHN]|X(?:[0-9A-Fa-f]{{2}})+|[CM][0-9A-Fa-f]{{4,6}}|Z[0-9A-Za-z]*"
        rf"|\.(?:br|ce|fi|nf|(?:sp|in|ti|sk)[+-]?[0-9]{{0,3}})){mark}"
    )


def delimiters(header: str, default_codec: str) -> Delimiters:
    r"""Delimiters and character set of a message, from its MSH segment.

    Parameters
    ----------
    header
        The whole segment: ``MSH|^~\&|...``.
    default_codec
        Where MSH-18 says nothing, or ASCII.

    Raises
    ------
    RecordProblemError
        MSH-1 and MSH-2 are not five different characters, or MSH-18 is unknown.
    """
    field = header[3:4]
    fields = header.split(field) if field else []
    named = fields[1] if len(fields) > 1 else ""
    named += "^~\\&"[len(named) :]
    component, repetition, escape, subcomponent = list(named[:4])
    all_five = {field, component, repetition, escape, subcomponent}
    if len(all_five) != 5 or any(not c or c.isalnum() or c.isspace() for c in all_five):
        raise RecordProblemError("MSH-1 and MSH-2 do not name five delimiters")
    given = fields[17].partition(repetition)[0] if len(fields) > 17 else ""
    codec = default_codec
    if given.strip():
        codec = CHARACTER_SETS.get(re.sub(r"[\s_-]", "", given).lower(), "")
        if not codec:
            raise RecordProblemError("MSH-18 names a character set that is not known")
    if codec == "ascii":  # what senders say that never asked themselves
        codec = default_codec
    return Delimiters(field, component, repetition, escape, subcomponent, codec)


def known_codec(name: str) -> bool:
    """Whether Python knows an encoding of text; `rot13` and its like are none."""
    try:
        b"a".decode(name, "replace")  # of nothing Python looks no codec up
    except LookupError:
        return False
    return True


def observation_text(kind: str, value: str, marks: Delimiters) -> str | None:
    """The text of one OBX, or None where it holds none.

    Parameters
    ----------
    kind
        OBX-2. TX, FT and ST are text whose repetitions are lines; a component or subcomponent
        delimiter in it was forgotten to be escaped and stays as it is. Of coded entries the words
        count; of encapsulated data (ED) text, plain or base64.
    value
        OBX-5, with its escape sequences.

    Raises
    ------
    RecordProblemError
        Encapsulated data that is no text, or not what it says it is.
    """
    if kind in ("TX", "FT", "ST", ""):
        return _BREAKS.sub("\n", marks.plain(value.replace(marks.repetition, "\n")))
    if kind in ("CE", "CWE", "CNE", "CF"):
        words = []
        for entry in value.split(marks.repetition):
            parts = [*entry.split(marks.component), "", ""]
            words.append(marks.plain(parts[1] or parts[0]))
        return "\n".join(words)
    if kind == "ED":
        return _BREAKS.sub("\n", _encapsulated(value, marks))
    return None


def _encapsulated(value: str, marks: Delimiters) -> str:
    parts = [*value.split(marks.component, 4), *[""] * 5][:5]
    kinds = {re.sub(r"[^a-z]", "", part.lower()) for part in parts[1:3]}
    if kinds.isdisjoint(_TEXT_KINDS):
        raise RecordProblemError("an attachment that is no text")
    encoding, content = parts[3].lower(), parts[4]
    if encoding not in ("base64", "hex"):
        return marks.plain(content)
    try:
        if encoding == "base64":
            data = base64.b64decode("".join(marks.plain(content).split()), validate=True)
        else:
            data = bytes.fromhex(content)
    except (binascii.Error, ValueError):
        raise RecordProblemError(f"an attachment that is not {encoding}") from None
    try:
        text = data.decode(marks.codec)
    except UnicodeError:
        raise RecordProblemError("an attachment in another character set") from None
    if "html" in kinds or "texthtml" in kinds:
        from vfscreen.reports.html_text import html_text

        text = html_text(text)
    return text
