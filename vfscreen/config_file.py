"""vfscreen.toml: read into the dataclasses of `vfscreen.config`, validated once, documented."""

import difflib
import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from vfscreen.config import PROTOCOLS, Config, TrainConfig
from vfscreen.errors import ConfigError

T = TypeVar("T")


def load(path: Path | None, train: Mapping[str, Any] | None = None) -> Config:
    """Read and validate a configuration file; without one, the defaults.

    Parameters
    ----------
    path : Path, optional
    train : mapping, optional
        Keys of [train] from the command line: they win over the file's.

    Raises
    ------
    ConfigError
        The file is missing, not TOML, or holds an unknown key or a value of the wrong kind or
        size. The message names the key, and the nearest known one.
    """
    if path is None:
        return _build(Config, {"train": train or {}}, where="", path=Path("the command line"))
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}.") from None
    if train and isinstance(section := raw.get("train", {}), dict):
        raw["train"] = {**section, **train}
    return _build(Config, raw, where="", path=path)


def _build(kind: type[T], raw: dict[str, Any], *, where: str, path: Path) -> T:
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    if kind is TrainConfig:
        raw = _with_protocol(raw, path)
    for name, value in raw.items():
        key = f"{where}{name}"
        if name not in known:
            raise ConfigError(f"{path}: unknown key `{key}`.{_nearest(name, where, list(known))}")
        hint = hints[name]
        if is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f"{path}: `{key}` is a section: write it as [{key}].")
            values[name] = _build(hint, value, where=f"{key}.", path=path)  # type: ignore[arg-type]
        else:
            values[name] = _value(hint, value, key=key, path=path, meta=known[name].metadata)
    return kind(**values)


def _with_protocol(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """The keys of [train] over those of its protocol."""
    name = raw.get("protocol", "default")
    if name not in PROTOCOLS:
        raise ConfigError(
            f"{path}: `train.protocol` is one of {', '.join(PROTOCOLS)}, not {name!r}."
        )
    return {**PROTOCOLS[name], **raw}


def _nearest(name: str, where: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f" Did you mean `{where}{match[0]}`?" if match else ""


def _value(hint: Any, value: Any, *, key: str, path: Path, meta: Any) -> Any:
    optional = get_origin(hint) is UnionType and NoneType in get_args(hint)
    if optional:
        hint = next(a for a in get_args(hint) if a is not NoneType)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{path}: `{key}` is a list of strings.")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        kind = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise ConfigError(f"{path}: `{key}` is {kind[hint]}, not {value!r}.")
    low, high = meta["low"], meta["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ConfigError(f"{path}: `{key}` is {bounds}, not {value!r}.")
    return value


def reference() -> str:
    """The configuration reference as Markdown, one table a section."""
    lines: list[str] = []
    for section in fields(Config):
        kind = get_type_hints(Config)[section.name]
        lines += [f"## [{section.name}]", "", inspect.getdoc(kind) or "", ""]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for key in fields(kind):
            assert key.default is not MISSING
            lines.append(f"| `{key.name}` | `{_toml(key.default)}` | {key.metadata['help']} |")
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{v}"' for v in value) + "]"
    return str(value)
