"""The configuration: frozen dataclasses read from one TOML file, validated once.

Every key carries its meaning in `help`; the reference page in docs/ is generated from here.
"""

import difflib
import tomllib
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from vfscreen.errors import ConfigError

T = TypeVar("T")


def _key(help: str, default: Any, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with its meaning and bounds."""
    metadata = {"help": help, "low": low, "high": high}
    if isinstance(default, list | dict):
        raise TypeError("defaults are immutable: use a tuple")
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class ArchiveConfig:
    """Finding and reading headers."""

    scan_threads: int = _key("threads that read headers", 8, low=1, high=256)
    follow_links: bool = _key(
        "follow symbolic links to folders; a loop is noticed and walked once", True
    )


@dataclass(frozen=True, slots=True)
class EligibilityConfig:
    """Which instances are screened, decided from the header alone. Matching ignores case."""

    modalities: tuple[str, ...] = _key("accepted Modality values", ("CR", "DX"))
    body_parts: tuple[str, ...] = _key(
        "BodyPartExamined or AnatomicRegion values, and words in descriptions, that mean abdomen",
        (
            "ABDOMEN", "ABDO", "ABD", "ABDOMENPELVIS", "KUB", "ABDOMEN AP", "PLAIN ABDOMEN",
            "BLADDER", "T-D4000", "818981001", "113345001", "腹部",
        ),
    )  # fmt: skip
    excluded_views: tuple[str, ...] = _key(
        "ViewPosition values, and words in descriptions, that mean lateral or decubitus",
        (
            "LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LEFT LATERAL", "RIGHT LATERAL", "DECUB",
            "DECUBITUS", "CROSS TABLE", "側位",
        ),
    )  # fmt: skip
    frontal_views: tuple[str, ...] = _key(
        "words in descriptions that name a frontal view",
        ("AP", "PA", "FRONTAL", "SUPINE", "ERECT", "UPRIGHT", "STANDING", "PRONE", "正面"),
    )
    missing_values: tuple[str, ...] = _key(
        "values of BodyPartExamined and ViewPosition that count as none given",
        ("UNKNOWN", "UNK", "OTHER", "NONE", "UNSPECIFIED", "UNDEFINED", "NOT SPECIFIED", "N/A"),
    )
    min_age_years: int = _key("youngest patient screened", 50, low=0, high=130)
    min_short_side_px: int = _key("smallest short side", 512, low=1, high=100_000)
    allow_unknown_age: bool = _key("screen films whose patient's age is unknown", True)
    allow_unknown_view: bool = _key("screen films without a view position", True)
    allow_unknown_body_part: bool = _key(
        "screen films without a body part even if no description says abdomen", False
    )


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """Decoding in worker processes."""

    workers: int = _key("decode worker processes; 0 means one a core", 0, low=0, high=1024)
    timeout_s: float = _key("seconds one film may take", 60.0, low=0.1, high=3600)
    max_pixels: int = _key("largest rows x columns that is decoded", 100_000_000, low=1)
    worker_memory_bytes: int = _key(
        "address space one decode worker may use for films", 4 << 30, low=256 << 20
    )
    buffer_bytes: int = _key("memory for decoded films in flight", 1 << 30, low=16 << 20)
    reduced: bool = _key(
        "decode JPEG 2000 and HTJ2K only at the resolution that the network needs, by the codec "
        "itself; false: every pixel of every film",
        True,
    )
    gpu: str = _key(
        "8-bit JPEG, JPEG 2000 and HTJ2K on the GPU that also runs the network: `auto` where that "
        "is measured to be faster, `on` or `off`; only with decode.reduced",
        "auto",
    )


@dataclass(frozen=True, slots=True)
class CanaryConfig:
    """The films of each run that are decoded again by the plain reference and compared."""

    share: float = _key("share of a run's films", 0.001, low=0.0, high=1.0)
    min_films: int = _key("films at least", 8, low=0)


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """The network."""

    device: str = _key("`auto`, `cpu` or `cuda`", "auto")
    batch_size: int = _key("films a batch; 0 chooses by device", 0, low=0, high=4096)
    precision: str = _key("`auto`, `float32`, `bfloat16` or `float16`", "auto")


@dataclass(frozen=True, slots=True)
class ListConfig:
    """The list that the nurse works off."""

    finding: str = _key("the finding that is listed", "vertebral_fracture")
    operating_point: str = _key("name of the checkpoint's operating point", "default")
    threshold: float | None = _key(
        "probability from which a study is flagged; unset: the operating point's", None,
        low=0.0, high=1.0,
    )  # fmt: skip
    capacity: int = _key("patients on the list at a time", 40, low=1, high=100_000)
    lookback_before_days: int = _key("earlier reports that count as known elsewhere", 1826, low=0)
    lookback_after_days: int = _key("later reports that count as known elsewhere", 365, low=0)


@dataclass(frozen=True, slots=True)
class ReportsConfig:
    """Reading and labelling reports."""

    format: str = _key(
        "what `--reports` holds: `auto` tells it from content and suffix; else `csv`, `parquet`, "
        "`jsonl`, `hl7`, `fhir`, `sr` or `text`, for every file",
        "auto",
    )
    encoding: str = _key("text encoding, where the format does not name its own", "utf-8-sig")
    delimiter: str = _key(
        "field delimiter of CSV files; empty: a tab in .tsv and .tab, else a comma", ""
    )
    columns: tuple[str, ...] = _key(
        "renamed columns of CSV, Parquet and JSON Lines, each `our_name=their_name` (as in "
        "`text=report_body`; `text=report.body` for nested ones)",
        (),
    )
    statuses: tuple[str, ...] = _key(
        "the site's own status words, each `their_word=ours` (as in `dictated=preliminary`)", ()
    )
    issuers: tuple[str, ...] = _key(
        "issuers of accession numbers and patient ids as the films spell them, each "
        "`in_reports=in_films` (as in `RIS=HOSPITAL`; `RIS=` for none)",
        (),
    )
    from_archive: bool = _key("`screen` also reads the DICOM SR reports of the archive", True)
    hl7_accession: tuple[str, ...] = _key(
        "HL7 fields that hold the accession number, the first that is filled counts",
        ("OBR-3", "OBR-2", "OBR-18"),
    )
    fhir_accession_system: str = _key(
        "system of FHIR identifiers that are accession numbers, beside those of type ACSN", ""
    )
    text_addendum: str = _key(
        "end of a text file's name, before the suffix, that makes it an addendum (a regular "
        "expression; what comes before it is the accession number)",
        "[ _-](add|addendum)[ _-]?[0-9]*",
    )
    languages: tuple[str, ...] = _key(
        "languages reports are in, of `en`, `zh-Hant` (with English in it) and `es`",
        ("en", "zh-Hant", "es"),
    )
    lexicons: tuple[str, ...] = _key(
        "lexicon files of the site's own; each replaces the shipped ones of its finding", ()
    )
    match_by_patient_and_date: bool = _key(
        "match a report that names no study by patient, day and modality, where exactly one study "
        "of the archive fits",
        False,
    )
    max_text_characters: int = _key("longest report text that is read", 200_000, low=1000)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One invocation of a job."""

    shard_films: int = _key("films between two saves", 256, low=1, high=100_000)
    max_failure_rate: float = _key(
        "share of films, or of report records, that may fail before the run exits with 4",
        0.05,
        low=0.0,
        high=1.0,
    )
    min_failures: int = _key("failures below which the rate does not matter", 20, low=0)
    transient_nights: int = _key("runs on which a transient failure is tried", 3, low=1, high=100)
    group: str = _key("group that may read the results folder; empty: nobody but the owner", "")
    pseudonym_key: str = _key(
        "file with the key of the hashes in logs; empty: vfscreen/pseudonym.key in the user's "
        "configuration folder",
        "",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All of vfscreen.toml, a section each."""

    archive: ArchiveConfig = field(default_factory=ArchiveConfig)
    eligibility: EligibilityConfig = field(default_factory=EligibilityConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    canary: CanaryConfig = field(default_factory=CanaryConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    list: ListConfig = field(default_factory=ListConfig)
    reports: ReportsConfig = field(default_factory=ReportsConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load(path: Path | None) -> Config:
    """Read and validate a configuration file; without one, the defaults.

    Raises
    ------
    ConfigError
        The file is missing, not TOML, or holds an unknown key or a value of the wrong kind or
        size. The message names the key, and the nearest known one.
    """
    if path is None:
        return Config()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}.") from None
    return _build(Config, raw, where="", path=path)


def _build(kind: type[T], raw: dict[str, Any], *, where: str, path: Path) -> T:
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
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
        lines += [f"## [{section.name}]", "", (kind.__doc__ or "").strip(), ""]
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
