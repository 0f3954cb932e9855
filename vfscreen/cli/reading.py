"""How `reports explain` shows a text that somebody else wrote: marked, aligned, and harmless."""

import json
import os
import re
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vfscreen.reports.explaining import Explanation, Mark
    from vfscreen.reports.labelling import Evidence

# Kind -> the letter under its words, and its colour. The letters say it without colours.
_SHOWN = {
    "mention": ("M", "bright_red"),
    "site": ("S", "bright_green"),
    "other site": ("O", "green"),
    "negation": ("N", "bright_blue"),
    "doubt": ("D", "bright_magenta"),
    "context": ("C", "magenta"),
    "time": ("T", "bright_cyan"),
    "severity": ("V", "cyan"),
    "action": ("A", "bright_yellow"),
    "heading": ("H", "bright_black"),
}
# What moves a terminal's cursor, colours, or turns its writing direction: shown as one mark.
_CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_PLACEHOLDER = "·"
_SAID = {
    "historical": "what was known, not what is seen",
    "hypothetical": "asked or feared, or of somebody else",
    "elsewhere": "of another site or cause, or of none that is named",
}
_LANGUAGES = {"en": "English", "zh-Hant": "English and Chinese", "es": "Spanish"}


def print_explanation(text: str, explanation: "Explanation", format: str) -> None:
    """Print a text with what was read of it, then the label and why; or all of it as JSON."""
    if format == "json":
        shown = json.dumps(asdict(explanation), indent=1, ensure_ascii=False)
        typer.echo(_CONTROL.sub(lambda m: f"\\u{ord(m.group()):04x}", shown))
        return
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in _marked(text, explanation.marks, colours=colours):
        typer.echo(line.rstrip(), color=colours)
    typer.echo("")
    for line in _label(explanation):
        typer.echo(line)
    by_rule: dict[str, list[Mark]] = {}
    for mark in explanation.marks:
        by_rule.setdefault(mark.rule, []).append(mark)
    for number, evidence in enumerate(explanation.label.evidence, start=1):
        typer.echo("")
        for line in _mention(number, evidence, text, by_rule):
            typer.echo(line)


def _marked(text: str, marks: "tuple[Mark, ...]", *, colours: bool) -> Iterator[str]:
    """The text in lines of the terminal's width, letters under the words that were read."""
    import shutil

    width = max(20, shutil.get_terminal_size((88, 24)).columns)
    kinds: list[str | None] = [None] * len(text)
    for mark in marks:
        kinds[mark.start : mark.end] = [mark.kind] * (mark.end - mark.start)
    for start, end in _lines(text, width):
        upper, lower = "", ""
        for kind, run in groupby(range(start, end), key=kinds.__getitem__):
            letter, colour = _SHOWN[kind] if kind else (" ", "")
            shown = _CONTROL.sub(_PLACEHOLDER, "".join(text[k] for k in run))
            upper += typer.style(shown, fg=colour) if colours and colour else shown
            lower += letter * sum(map(_cells, shown))
        yield upper
        if lower.strip():
            yield lower
    used = {mark.kind for mark in marks}
    if used:
        yield ""
        line = ""
        for kind in (kind for kind in _SHOWN if kind in used):
            said = f"{_SHOWN[kind][0]} {kind}"
            if line and len(line) + len(said) + 3 > width:
                yield line
                line = ""
            line += f"   {said}" if line else said
        yield line


def _lines(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where each line of the text begins and ends, broken at blanks to fit, or anywhere."""
    start = blank = cells = 0
    for k, character in enumerate(text):
        if character == "\n":
            yield start, k
            start, blank, cells = k + 1, 0, 0
            continue
        size = _cells(_CONTROL.sub(_PLACEHOLDER, character))
        if cells + size > width and k > start:
            cut = blank if blank > start else k
            yield start, cut
            start = cut
            cells = sum(_cells(c) for c in text[start:k])
        cells += size
        if character == " ":
            blank = k + 1
    if start < len(text):
        yield start, len(text)


def _cells(character: str) -> int:
    """Columns of a terminal: two for a Chinese character, none for an accent."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _label(explanation: "Explanation") -> Iterator[str]:
    found = explanation.label
    rows = (
        ("finding", found.finding),
        ("status", found.report_status),
        ("levels", ", ".join(found.levels) or "none"),
        ("acuity", found.acuity),
        ("severity", found.severity or "not said"),
        ("action recommended", "yes" if found.recommendation else "no"),
        ("in the history", "yes" if found.history else "no"),
        ("read as", _LANGUAGES.get(explanation.language, explanation.language)),
    )
    for name, value in rows:
        yield f"{name:<20}{value}"
    if not found.evidence:
        yield f"{'mentions':<20}none"


def _mention(
    number: int, evidence: "Evidence", text: str, by_rule: "dict[str, list[Mark]]"
) -> Iterator[str]:
    """What one mention says, and the rules that decided it with the nearest words they read."""
    from vfscreen.reports.sections import COUNTING

    words = _quoted(text[evidence.start : evidence.end])
    place = "" if evidence.section == "body" else f" in {evidence.section}"
    said = _SAID.get(evidence.assertion, "")
    if evidence.section not in COUNTING and not said:
        said = "this section says what was known or asked"
    yield f"{number}. {words}{place}: {evidence.assertion}{f' ({said})' if said else ''}"
    for rule in evidence.rule_id.split("+"):
        marks = by_rule.get(rule, [])
        k = bisect_left(marks, evidence.start, key=lambda m: m.start)
        near = min(
            marks[max(0, k - 1) : k + 1], key=lambda m: abs(m.start - evidence.start), default=None
        )
        because = f" {_quoted(text[near.start : near.end])}" if near is not None else ""
        yield f"   {rule}{because}"


def _quoted(text: str) -> str:
    return f'"{" ".join(_CONTROL.sub(_PLACEHOLDER, text).split())}"'
