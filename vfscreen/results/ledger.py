"""The ledger of a run: what was found and what became of all of it, with what and how fast.

One JSON file a run, for people and monitoring. It holds counts, codes, hashes and versions; never
an identifier, a report's text, or a path below the archive.
"""

import json
import os
import platform
import secrets
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vfscreen.results.folder import Results
from vfscreen.results.parts import write_aside

PACKAGES = (
    "torch", "nvidia-dali-cuda120", "pydicom", "imagecodecs", "numpy", "pyarrow", "duckdb",
)  # fmt: skip


@dataclass(slots=True)
class StageFigures:
    """What one stage of the run took.

    `seconds` are those that passed, added up over the workers or lanes that shared the stage;
    `cpu_seconds` those that processors were busy with it. Where the first are many more, the
    stage waited: for storage, for a GPU, or for a core.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes: int = 0
    films: int = 0


@dataclass(slots=True)
class CanaryFigures:
    """How films compare with the plain reference; differences as shares of the range."""

    compared: int = 0
    not_comparable: int = 0
    beyond_bound: int = 0
    worst_mean_difference: float = 0.0
    worst_pixel_difference: float = 0.0


@dataclass(slots=True)
class Ledger:
    """Filled by a job as it goes; `write` it when the run begins, and when it ends.

    `outcome` is `running` until the run has ended: a ledger that still says so, without a process
    that holds the lock, is that of a run that was killed.
    """

    run_id: str
    command: str
    started_at: str
    ended_at: str | None = None
    outcome: str = "running"
    exit_code: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    config_sha256: str | None = None
    checkpoint_sha256: str | None = None
    model_sha256: str | None = None
    checkpoint_name: str | None = None
    demonstration: bool | None = None
    # Instances of the archive; the ledger balances over these.
    found: int = 0
    screened: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    already_done: int = 0
    not_reached: int = 0
    # What went on besides.
    headers_read: int = 0
    unreadable_folders: int = 0
    stages: dict[str, StageFigures] = field(default_factory=dict)
    transfer_syntaxes: dict[str, StageFigures] = field(default_factory=dict)
    decode_routes: dict[str, int] = field(default_factory=dict)
    canary: CanaryFigures = field(default_factory=CanaryFigures)
    reports: dict[str, int] = field(default_factory=dict)
    unmatched_reports: dict[str, int] = field(default_factory=dict)  # of all that were imported
    flags: dict[str, int] = field(default_factory=dict)
    heatmaps_rendered: int = 0

    def stage(self, name: str) -> StageFigures:
        """The figures of a stage, to add to."""
        return self.stages.setdefault(name, StageFigures())

    def add(self, counts: str, key: str, number: int = 1) -> None:
        """Add to one of the counts by reason: `excluded`, `failed`, `reports`, `flags` ..."""
        by_reason: dict[str, int] = getattr(self, counts)
        by_reason[key] = by_reason.get(key, 0) + number

    def balance(self) -> str | None:
        """None if every instance found is accounted for, else a sentence that says what is not."""
        excluded, failed = sum(self.excluded.values()), sum(self.failed.values())
        accounted = self.screened + excluded + failed + self.already_done + self.not_reached
        if accounted == self.found:
            return None
        return (
            f"The ledger does not balance: {self.found} found, but {accounted} accounted for "
            f"({self.screened} screened, {excluded} excluded, {failed} failed, "
            f"{self.already_done} already done, {self.not_reached} not reached)."
        )

    def end(self, outcome: str, exit_code: int) -> None:
        """Note how the run ended: `done`, `interrupted`, or the kind of error."""
        self.ended_at = _now()
        self.outcome = outcome
        self.exit_code = exit_code

    def to_json(self) -> dict[str, Any]:
        """The ledger as plain objects."""
        return asdict(self)


def new_ledger(command: str) -> Ledger:
    """A ledger of a run that begins now, with the versions and machine that it runs on."""
    now = datetime.now(UTC)
    return Ledger(
        # Sorts by time; two runs of one second differ.
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        command=command,
        started_at=_now(),
        versions=_versions(),
        host={
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "machine": platform.machine(),
            "kernel": platform.release(),
        },
    )


def write_ledger(results: Results, ledger: Ledger) -> None:
    """Write `runs/<run_id>.json`, whole or not at all, over an earlier state of it.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    text = json.dumps(ledger.to_json(), indent=1, sort_keys=False) + "\n"
    write_aside(results, results.runs / f"{ledger.run_id}.json", text.encode())


def read_ledgers(results: Results, last: int | None = None) -> list[Ledger]:
    """The last ledgers, newest first; one that cannot be read is left out."""
    names = sorted((p for p in results.runs.glob("*.json")), reverse=True)
    ledgers: list[Ledger] = []
    for path in names:
        if last is not None and len(ledgers) >= last:
            break
        try:
            raw = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        known = {f.name for f in fields(Ledger)}
        # A later version's ledger may say more; what this one knows is still worth showing.
        ledger = Ledger(**{k: v for k, v in raw.items() if k in known})
        for table in (ledger.stages, ledger.transfer_syntaxes):
            for name, figures in list(table.items()):
                table[name] = StageFigures(**figures)  # type: ignore[arg-type]
        ledger.canary = CanaryFigures(**raw.get("canary", {}))
        ledgers.append(ledger)
    return ledgers


def _versions() -> dict[str, str]:
    """Versions of what computes, read from metadata: importing torch for it would take seconds."""
    found = {"python": platform.python_version()}
    for package in ("vfscreen", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
