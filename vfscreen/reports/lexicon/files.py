"""The files of lexicons: reading one over the one that it extends, with errors that name lines."""

import math
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vfscreen.errors import ReportsError
from vfscreen.reports.lexicon.entries import TIES, Entry, Role

SHIPPED = {
    "vertebral_fracture": {"zh-Hant": "zh-Hant.toml", "en": "en.toml", "es": "es.toml"},
    "hip_fracture": {"en": "hip_fracture.toml"},
}
"""Finding -> language -> file. The first that is wanted reads what is in no other's language."""
LANGUAGES = ("en", "zh-Hant", "es")


@dataclass(slots=True)
class Source:
    """What a file and those that it extends say."""

    head: dict[str, Any]
    levels: dict[str, Any]
    grammar: dict[str, Any]
    entries: dict[str, tuple[Entry, list[str], str]]  # id -> entry, its terms, its place
    raw: list[bytes]


def read_shipped(name: str) -> bytes:
    return resources.files("vfscreen.reports.lexicon").joinpath(name).read_bytes()


# Alternatives multiply; a slip of the keyboard must not fill the memory.
_MOST = 20_000
_HEAD = {
    "finding", "language", "extends", "without", "abbreviations", "variants"
}  # fmt: skip


def read_source(label: str, raw: bytes) -> Source:
    """Read a file over the one that it extends; `label` names it in errors."""
    try:
        text = raw.decode("utf-8")
        content = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReportsError(f"{label} is not TOML in UTF-8: {error}.") from None
    head = content.get("lexicon")
    if not isinstance(head, dict) or not all(
        isinstance(head.get(key), str) for key in ("finding", "language")
    ):
        raise ReportsError(f"{label}: its [lexicon] must name `finding` and `language`.")
    unknown = {f"[{key}]" for key in set(content) - {"lexicon", "levels", "grammar", "entry"}} | (
        set(head) - _HEAD
    )
    if unknown:
        raise ReportsError(f"{label}: unknown {', '.join(sorted(unknown))}.")

    def strings(key: str) -> list[str]:
        value = head.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ReportsError(f"{label}: `{key}` is a list of strings.")
        return value

    base = _extended(head.get("extends"), label)
    _leave_out(base.entries, strings("without"), label)
    lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[[entry]]"]
    own: dict[str, tuple[Entry, list[str], str]] = {}
    for number, item in enumerate(content.get("entry", [])):
        line = lines[number] if number < len(lines) else 0
        where = f"{label}, line {line}: entry {item.get('id', 'without id')}"
        entry, terms = _entry(item, where)
        if entry.id in own:
            raise ReportsError(f"{where}: there are two of this id.")
        own[entry.id] = (entry, terms, where)
    variants = head.get("variants", {})
    if not isinstance(variants, dict) or not all(
        len(ours) == 1 and isinstance(theirs, str) for ours, theirs in variants.items()
    ):
        raise ReportsError(f"{label}: `variants` has a character = its other forms a line.")
    for name in ("levels", "grammar"):
        if not isinstance(content.get(name, {}), dict):
            raise ReportsError(f"{label}: [{name}] is a table.")
    return Source(
        head={
            "finding": head["finding"],
            "language": head["language"],
            "abbreviations": [*base.head["abbreviations"], *strings("abbreviations")],
            "variants": base.head["variants"] | variants,
        },
        levels=_over(base.levels, content.get("levels", {})),
        grammar=_over(base.grammar, content.get("grammar", {})),
        entries=base.entries | own,
        raw=[*base.raw, raw],
    )


def _extended(name: Any, label: str) -> Source:
    if name is None:
        return Source({"abbreviations": [], "variants": {}}, {}, {}, {}, [])
    shipped = {file.removesuffix(".toml"): file for by in SHIPPED.values() for file in by.values()}
    if name not in shipped:
        raise ReportsError(f"{label}: `extends` is one of {', '.join(sorted(shipped))}.")
    return read_source(f"The lexicon {shipped[name]}", read_shipped(shipped[name]))


def _leave_out(entries: dict[str, Any], names: list[str], label: str) -> None:
    for name in names:
        prefix = name.removesuffix("*")
        gone = [i for i in entries if i == name or (name.endswith(".*") and i.startswith(prefix))]
        if not gone:
            raise ReportsError(f"{label}: `without` names `{name}`, which it does not extend.")
        for one in gone:
            del entries[one]


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A table over the one that it extends: lists and tables grow, the rest replaces."""
    merged = dict(base)
    for key, value in own.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = known | value
        elif isinstance(known, list) and isinstance(value, list):
            merged[key] = [*known, *value]
        else:
            merged[key] = value
    return merged


def _entry(item: dict[str, Any], where: str) -> tuple[Entry, list[str]]:
    unknown = set(item) - {"id", "role", "terms", "source", "value", "tie"}
    missing = {"id", "role", "terms", "source"} - set(item)
    if unknown or missing:
        said = [f"unknown {', '.join(sorted(unknown))}"] if unknown else []
        said += [f"without {', '.join(sorted(missing))}"] if missing else []
        raise ReportsError(f"{where}: {'; '.join(said)}.")
    try:
        role = Role(item["role"])
    except ValueError:
        raise ReportsError(f"{where}: there is no role `{item['role']}`.") from None
    tie = item.get("tie", "clause")
    if tie not in TIES:
        raise ReportsError(f"{where}: `tie` is one of {', '.join(TIES)}.")
    if not isinstance(item["id"], str) or not isinstance(item.get("value", ""), str):
        raise ReportsError(f"{where}: `id` and `value` are strings.")
    terms = item["terms"]
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise ReportsError(f"{where}: `terms` is a list of strings.")
    for term in terms:
        if set("{}") & set(re.sub(r"\{[^{}]*\}", "", term)):
            raise ReportsError(f"{where}: the braces of `{term}` do not match, or are nested.")
        if math.prod(part.count("|") + 1 for part in re.findall(r"\{[^{}]*\}", term)) > _MOST:
            raise ReportsError(f"{where}: `{term}` stands for more than {_MOST:,} terms.")
    return Entry(id=item["id"], role=role, value=item.get("value", ""), tie=tie), terms
