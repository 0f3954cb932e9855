"""One run: the lock, the ledger, the key of the hashes in logs; and how it ends."""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config, InferenceConfig
from vfscreen.errors import (
    FidelityError,
    InterruptedRunError,
    TooManyFailuresError,
    VfscreenError,
)
from vfscreen.privacy import load_key, pseudonym
from vfscreen.results.catalogue import publish
from vfscreen.results.folder import Results, lock, open_results
from vfscreen.results.ledger import (
    CanaryFigures,
    Ledger,
    StageFigures,
    new_ledger,
    write_ledger,
)

if TYPE_CHECKING:
    from vfscreen.model.checkpoint import CheckpointInfo
    from vfscreen.model.inference import Predictor

log = logging.getLogger("vfscreen")


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation of a job on a results folder, whose lock it holds."""

    results: Results
    ledger: Ledger
    key: bytes
    predictors: "dict[str, Predictor]" = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Sortable by time."""
        return self.ledger.run_id

    def predictor(self, info: "CheckpointInfo", config: InferenceConfig) -> "Predictor":
        """The network of a checkpoint, loaded once a run."""
        from vfscreen.model.inference import Predictor

        if info.checkpoint_sha256 not in self.predictors:
            loaded = Predictor(info, device=config.device, precision=config.precision)
            packed = ", packed" if loaded.packed else ""
            self.ledger.host["inference"] = f"{loaded.device}, {loaded.precision}{packed}"
            self.predictors[info.checkpoint_sha256] = loaded
        return self.predictors[info.checkpoint_sha256]

    def hash(self, text: str) -> str:
        """What logs show instead of an identifier."""
        return pseudonym(self.key, text)

    @contextmanager
    def timed(self, stage: str) -> Iterator[StageFigures]:
        """Add the time of the body to a stage of the ledger."""
        figures = self.ledger.stage(stage)
        began, cpu_began = time.monotonic(), time.thread_time()
        try:
            yield figures
        finally:
            figures.seconds += time.monotonic() - began
            figures.cpu_seconds += time.thread_time() - cpu_began


@contextmanager
def open_run(results_path: Path, command: str, config: Config) -> Iterator[Run]:
    """Open or make a results folder, take its lock, and keep a ledger until the body is done.

    Whatever a killed run left behind is tidied first; the ledger is written in every case, also
    when the body raises.

    Raises
    ------
    LockedError
        Another run is at work on this folder.
    StorageError
        The folder or the key file cannot be written.
    """
    key = load_key(config.run.pseudonym_key)
    results = open_results(results_path, config.run.group)
    with lock(results):
        publish(results)
        ledger = new_ledger(command)
        ledger.config_sha256 = hashlib.sha256(repr(config).encode()).hexdigest()
        write_ledger(results, ledger)
        run = Run(results, ledger, key)
        log.info("run %s: %s begins", run.run_id, command)
        try:
            yield run
        except BaseException as error:
            if ledger.exit_code is None:
                ledger.end(*_ending(error))
            raise
        finally:
            if ledger.exit_code is None:
                ledger.end("done", 0)
            write_ledger(results, ledger)
            log.info("run %s: %s, exit code %s", run.run_id, ledger.outcome, ledger.exit_code)


def _ending(error: BaseException) -> tuple[str, int]:
    """Outcome and exit code of a run that an error ends."""
    if isinstance(error, KeyboardInterrupt | InterruptedRunError):
        return "interrupted", InterruptedRunError.exit_code
    if isinstance(error, VfscreenError):
        return type(error).__name__, error.exit_code
    return "bug", 1


def end(run: Run, error: VfscreenError | None) -> None:
    """Note in the ledger how the run ends."""
    outcome, code = ("done", 0) if error is None else _ending(error)
    run.ledger.end(outcome, code)


def verdict(run: Run, config: Config, stopped: str | None) -> VfscreenError | None:
    """How a screening run ends: the error whose exit code it has, or None where all went well."""
    ledger = run.ledger
    failed = sum(ledger.failed.values())
    tried = ledger.screened + failed
    unbalanced = ledger.balance()
    if unbalanced is not None:
        return VfscreenError(unbalanced)
    if stopped is not None:
        return InterruptedRunError(
            f"Stopped early ({stopped}): {ledger.not_reached:,} films are left for the next run; "
            "what is done is saved."
        )
    if (unfaithful := fidelity(ledger.canary)) is not None:
        return unfaithful
    if failed >= config.run.min_failures and failed > config.run.max_failure_rate * tried:
        return TooManyFailuresError(
            f"{failed:,} of {tried:,} films failed, more than run.max_failure_rate allows "
            f"({config.run.max_failure_rate:.0%}); `vfscreen status` shows why."
        )
    return None


def reports_verdict(run: Run, config: Config) -> TooManyFailuresError | None:
    """The error of a run that has read a source in which too many records are no reports.

    A feed that has changed its format must not look like a night without news; records that were
    bad in the same place before are no news.
    """
    counts = run.ledger.reports
    bad = counts.get("bad_records", 0)
    read = bad + counts.get("imported", 0) + counts.get("already_there", 0)
    if bad < max(1, config.run.min_failures) or bad <= config.run.max_failure_rate * read:
        return None
    return TooManyFailuresError(
        f"{bad:,} of {read:,} report records are bad, more than run.max_failure_rate allows "
        f"({config.run.max_failure_rate:.0%}); the others are imported. The log says what is wrong "
        "and where first, `failures` of stage `reports` all of it."
    )


def fidelity(figures: CanaryFigures) -> FidelityError | None:
    """The error of a run whose decode path disagrees with the reference."""
    if not figures.beyond_bound:
        return None
    return FidelityError(
        f"{figures.beyond_bound:,} of {figures.compared:,} films compared with the plain "
        "reference were not decoded as it decodes them (up to "
        f"{figures.worst_pixel_difference:.1%} of the range at a pixel). Do not rely on this "
        "run's probabilities: set decode.reduced = false, run `vfscreen doctor`, and report it; "
        "the log names the routes."
    )
