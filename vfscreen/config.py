"""The configuration: frozen dataclasses, a section of vfscreen.toml each.

Every key carries its meaning in `help`; the reference page in docs/ is generated from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


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
class TrainConfig:
    """Training a network on the site's own films. The defaults are protocol `default`.

    Protocol `chen2021` has others (docs/training.md); a key that the file names wins over both.
    """

    protocol: str = _key("`default`, or `chen2021` to do as the paper did", "default")
    architecture: str = _key(
        "`resnext50_32x4d`, `resnext101_32x8d`, `densenet161`, `densenet169`, `efficientnet_b5` or "
        "`convnext_tiny`",
        "resnext50_32x4d",
    )
    init: str = _key(
        "weights to begin with: `imagenet`, `none`, or a file of weights or a checkpoint",
        "imagenet",
    )
    input_size_px: int = _key("side of the square that the network reads", 512, low=32, high=2048)
    epochs: int = _key("times that every film is seen, at most", 40, low=1, high=10_000)
    batch_size: int = _key("films a step", 32, low=1, high=4096)
    learning_rate: float = _key("largest step size of AdamW", 3e-4, low=1e-8, high=1.0)
    weight_decay: float = _key("of AdamW", 0.02, low=0.0, high=1.0)
    warm_up: float = _key("share of the training over which the rate rises", 0.06, low=0, high=0.9)
    final_rate: float = _key(
        "share of the rate that half a cosine ends with; 1 keeps the rate", 0.01, low=0.0, high=1.0
    )
    label_smoothing: float = _key("how far labels are drawn towards 0.5", 0.02, low=0.0, high=0.5)
    balance: str = _key(
        "what is done about rare findings: `weights` in the loss, `sampling` of as many films of "
        "both classes, or `none`",
        "weights",
    )
    frozen: tuple[str, ...] = _key(
        "stages that keep the weights they begin with, of `stem`, `stage1` to `stage4`, `head`", ()
    )
    augmentation: str = _key(
        "`default`, `chen2021` (brightness and contrast only), or `none`", "default"
    )
    augment: str = _key(
        "what varies the films: `dali`, `torch` (the plain reference), or `auto`", "auto"
    )
    normalisation: str = _key(
        "`fixed`, or `data_set`: mean and standard deviation of the training films", "fixed"
    )
    ema_steps: float = _key("steps over which weights are averaged; 0: none", 300.0, low=0.0)
    patience: int = _key(
        "epochs without a better validation AUC after which a fold ends; 0: never", 8, low=0
    )
    keep: str = _key(
        "the network that is kept of a fold: of its `best` epoch, or its `last`", "best"
    )
    folds: int = _key(
        "cross-validation: a network a fold, together the checkpoint; 0: one network, validated "
        "on `validation_share`",
        5, low=0, high=50,
    )  # fmt: skip
    validation_share: float = _key(
        "patients held out for validation where there are no folds", 0.2, low=0.01, high=0.9
    )
    test_share: float = _key(
        "patients set aside beforehand, whom neither training nor calibration sees", 0.0,
        low=0.0, high=0.9,
    )  # fmt: skip
    marks_weight: float = _key(
        "weight of the loss that compares where the network looks with --marks", 1.0, low=0.0
    )
    locate: bool = _key("find the spine first and classify its straightened column", False)
    locator_steps: int = _key(
        "steps, of 16 films each, in which `locate` learns to find the spine", 800, low=1
    )
    flip: bool = _key("screen each film also mirrored, at twice the cost", False)
    seed: int = _key("same seed, same machine, same weights", 1, low=0, high=2**31 - 1)
    device: str = _key("`auto`, `cpu` or `cuda`", "auto")


PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        # Chen et al. (2021), PLoS ONE 16(1):e0245992; docs/training.md says which of these the
        # paper names and which are our reading.
        "chen2021": {
            "architecture": "resnext50_32x4d",
            "init": "imagenet",
            "input_size_px": 224,
            "epochs": 50,
            "batch_size": 32,
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "warm_up": 0.0,
            "final_rate": 1.0,
            "label_smoothing": 0.0,
            "balance": "sampling",
            "frozen": ["stem"],
            "augmentation": "chen2021",
            "normalisation": "data_set",
            "ema_steps": 0.0,
            "patience": 0,
            "keep": "last",
            "folds": 5,
            "test_share": 0.2,
            "marks_weight": 0.0,
        },
    }
)
"""What a protocol sets in place of the defaults of `TrainConfig`."""


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """Calibration and operating points, of `vfscreen train` as well (docs/calibration.md)."""

    method: str = _key(
        "`temperature`, `platt` or `isotonic`; `auto`: by cross-validated log loss", "auto"
    )
    operating_points: tuple[str, ...] = _key(
        "each `name=rule`, of `youden`, `sensitivity>=0.9`, `specificity>=0.9`, `ppv>=0.3` and "
        "`films_per_week<=40`; one is called `default`",
        (
            "default=youden", "high_sensitivity=sensitivity>=0.95",
            "high_specificity=specificity>=0.95",
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Evaluation (docs/evaluation.md)."""

    draws: int = _key("draws of patients for bootstrap intervals", 2000, low=100, high=100_000)
    seed: int = _key("of these draws; the same seed, the same intervals", 2021, low=0)
    subgroup_min_films: int = _key(
        "films with the finding, and without it, that a subgroup needs to have figures", 10, low=2
    )
    smallest_count: int = _key(
        "counts of films in subgroups from 1 to below this are not shown", 5, low=1, high=100
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
    train: TrainConfig = field(default_factory=TrainConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
