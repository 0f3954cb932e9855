"""Train a network on a site's own films: from labels to a checkpoint for the nightly job."""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vfscreen.config import Config, TrainConfig
from vfscreen.errors import (
    ConfigError,
    StorageError,
    TooManyFailuresError,
    UsageError,
    VfscreenError,
)
from vfscreen.jobs.film_cache import cache_films
from vfscreen.jobs.labels import Labelled, LabelProblems, write_problems
from vfscreen.jobs.marks import Marks, read_marks
from vfscreen.jobs.run import Run
from vfscreen.jobs.scoring import scan_and_label
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train_data import (
    TrainingData,
    named_by_films,
    preprocessing,
    training_data,
)
from vfscreen.jobs.train_locate import described, locate, stored, with_levels
from vfscreen.jobs.train_log import TrainingLog
from vfscreen.jobs.train_work import Work, discard, open_work
from vfscreen.model.operating_points import Rule, parse_rules
from vfscreen.model.splits import Split, split_films
from vfscreen.preprocessing import Preprocessing
from vfscreen.privacy import key_id

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from vfscreen.jobs.train_fold import FoldResult, FoldRunner
    from vfscreen.jobs.train_report import Figures
    from vfscreen.model.checkpoint import CheckpointInfo
    from vfscreen.model.initialisation import Initialised

# What changes nothing of what is learnt; the rest of [train] makes another training.
_FREE_TO_CHANGE = ("flip", "device")


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train on, and where to put it.

    `work` is where a killed training goes on from, by default `OUT.work`; it is removed at the
    end unless `keep_work`. `fresh` begins anew where another training was begun or is done.
    """

    archive: Path
    labels: Path
    out: Path
    marks: Path | None = None
    work: Path | None = None
    keep_work: bool = False
    fresh: bool = False

    @property
    def work_folder(self) -> Path:
        """Where the films and the states of the folds lie meanwhile."""
        return self.work or self.out.with_name(f"{self.out.name}.work")

    @property
    def log_folder(self) -> Path:
        """Where the curves are, and what was left out."""
        return self.out.with_name(f"{self.out.name}.training")


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """What came of it; `error` is what the command ends with, None where all went well."""

    info: "CheckpointInfo"
    figures: "Figures"
    data: TrainingData
    problems: LabelProblems
    mark_problems: LabelProblems | None
    log: Path
    error: VfscreenError | None


def run_train(
    request: TrainRequest,
    config: Config,
    stop: StopRequest,
    tell: Callable[[str], None] = lambda line: None,
) -> TrainOutcome:
    """Scan, label, decode into a cache, train each fold, calibrate, write the checkpoint.

    Killed or stopped, the same request goes on where it was, to the batch.

    Parameters
    ----------
    tell
        Given a line an epoch.

    Raises
    ------
    UsageError
        The checkpoint is there already, or the work folder is another training's.
    ConfigError, LabelsError, ArchiveError, CheckpointError, TrainingError
        The settings, labels, films, or first weights cannot be trained with.
    StorageError
        A disk is full or cannot be written; what is done is kept.
    InterruptedRunError
        `stop` asked to; what is done is kept.
    """
    rules = _checked(request, config)
    with open_work(request.work_folder, request.archive, config, fresh=request.fresh) as work:
        labelled = scan_and_label(work.run, request.archive, request.labels, config, stop)
        marks = None if request.marks is None else read_marks(request.marks, labelled)
        # Labels that cannot be divided, or weights that cannot be had, are told before decoding.
        _split(labelled.targets(), labelled.films, labelled.findings, config.train)
        first = _first_weights(labelled.findings, config.train)
        data = _decoded(work, labelled, marks, request.archive, config, stop)
        split = _split(data.targets, data.films, data.findings, config.train)
        if config.train.locate and marks is not None:
            data = with_levels(data, labelled, marks, split)
        work.agree(_plan(data, config))
        _note_left_out(request.log_folder, work.run, labelled, data, marks)
        results, runner = _train_folds(work, data, split, request, config, stop, tell)
        figures = _judged(data, split, results, runner, rules, config)
        info = _written(
            work.run,
            request.out,
            data,
            split,
            results,
            runner,
            figures,
            first,
            labelled.problems,
            config,
        )
    if not request.keep_work:
        discard(request.work_folder)
    return TrainOutcome(
        info=info,
        figures=figures,
        data=data,
        problems=labelled.problems,
        mark_problems=None if marks is None else marks.problems,
        log=request.log_folder,
        error=_too_many_failures(data, config),
    )


def _checked(request: TrainRequest, config: Config) -> dict[str, Rule]:
    """Refuse now what would be refused after hours; returns the rules of operating points."""
    from vfscreen.model.augmentation import VARIATIONS
    from vfscreen.model.network import STAGES, channels_of
    from vfscreen.model.plan import BALANCES, KEEPS

    s = config.train
    channels_of(s.architecture)
    for name, value, known in (
        ("balance", s.balance, BALANCES),
        ("keep", s.keep, KEEPS),
        ("augmentation", s.augmentation, tuple(VARIATIONS)),
        ("normalisation", s.normalisation, ("fixed", "data_set")),
        ("device", s.device, ("auto", "cpu", "cuda")),
        *(("frozen", stage, STAGES) for stage in s.frozen),
    ):
        if value not in known:
            raise ConfigError(f"`train.{name}` is one of {', '.join(known)}, not {value!r}.")
    if s.folds == 1:
        raise ConfigError("`train.folds` is 0 (one network), or 2 and more.")
    if s.locate and request.marks is None:
        raise UsageError("`train.locate` needs marked vertebrae: name their file with --marks.")
    rules = parse_rules(config.calibrate.operating_points)
    if rules["default"].kind == "films_per_week":
        raise ConfigError(
            "The default operating point cannot be so many films a week before the archive was "
            "screened: train with another rule, then use `vfscreen calibrate`."
        )
    if request.out.is_dir():
        raise UsageError(f"{request.out} is a folder: name a file for the checkpoint.")
    if request.out.exists() and not (request.fresh or request.work_folder.exists()):
        raise UsageError(
            f"{request.out} is there already: name another file, or add --fresh to train it again."
        )
    if not request.out.absolute().parent.is_dir():
        raise UsageError(f"The folder of {request.out} does not exist.")
    return rules


def _first_weights(findings: tuple[str, ...], settings: TrainConfig) -> "Initialised":
    """Where the first weights are from, having made sure that they can be had."""
    from vfscreen.jobs.train_fold import first_weights

    return first_weights(settings, findings, 1)[1]


def _split(
    targets: "NDArray[np.float32]",
    films: pa.Table,
    findings: tuple[str, ...],
    settings: TrainConfig,
) -> Split:
    return split_films(
        targets,
        named_by_films(films),
        findings,
        folds=settings.folds,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
        seed=settings.seed,
    )


def _decoded(
    work: Work,
    labelled: Labelled,
    marks: Marks | None,
    archive: Path,
    config: Config,
    stop: StopRequest,
) -> TrainingData:
    """The labelled films at the network's input size, each decoded once."""
    spec = Preprocessing(input_size_px=config.train.input_size_px)
    with work.run.timed("cache"):
        cached = cache_films(work.cache, labelled.planned(), archive, spec, config, stop)
    # The loop compares where the network looks with where the first finding is.
    boxes = None if marks is None else marks.boxes.get(labelled.findings[0])
    return training_data(labelled, cached, boxes)


def _plan(data: TrainingData, config: Config) -> dict[str, Any]:
    """What makes a training this one."""
    settings = asdict(config.train) | {"frozen": list(config.train.frozen)}
    marks = None
    if data.boxes is not None:
        marks = hashlib.sha256(np.ascontiguousarray(data.boxes).tobytes()).hexdigest()
    return {
        **{f"train.{k}": v for k, v in settings.items() if k not in _FREE_TO_CHANGE},
        "decode.reduced": config.decode.reduced,
        "films_and_labels_sha256": data.sha256(),
        "marks_sha256": marks,
    }


def _train_folds(
    work: Work,
    data: TrainingData,
    split: Split,
    request: TrainRequest,
    config: Config,
    stop: StopRequest,
    tell: Callable[[str], None],
) -> "tuple[list[FoldResult], FoldRunner]":
    """A network a fold, one after the other."""
    from vfscreen.jobs.train_fold import FoldRunner

    seen = np.setdiff1d(np.arange(len(data.rows)), split.test)
    blank = Preprocessing(input_size_px=config.train.input_size_px)
    spec = preprocessing(data, seen, blank, config.train.normalisation)
    log = TrainingLog(request.log_folder, data.findings)
    title = f"{config.train.architecture}, {config.train.input_size_px} px, {len(seen):,} films"
    device, located = _device(config.train.device), None
    if config.train.locate:
        state = work.state_of(0).with_name("locator.safetensors")
        located = locate(state, data, seen, spec, config.train, device, stop, tell)
    runner = FoldRunner(
        work=work,
        data=data,
        spec=spec,
        settings=config.train,
        device=device,
        log=log,
        stop=stop,
        tell=tell,
        folds=len(split.folds),
        histories={},
        located=located,
    )
    results = []
    with work.run.timed("train"):
        for number, fold in enumerate(split.folds, 1):
            results.append(runner.run(number, fold))
            log.draw(runner.histories, title)
    return results, runner


def _device(wanted: str) -> "torch.device":
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no usable CUDA device here; `vfscreen doctor` says why.")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _judged(
    data: TrainingData,
    split: Split,
    results: "list[FoldResult]",
    runner: "FoldRunner",
    rules: dict[str, Rule],
    config: Config,
) -> "Figures":
    """Calibration and figures; those of the films set aside are of all networks together."""
    from vfscreen.jobs.train_report import figures_of
    from vfscreen.model.validating import logits_of

    test_logits = np.empty((0, len(data.findings)), np.float32)
    if len(split.test):
        ensemble, films = runner.ensemble([r.model for r in results]), data.source(split.test)
        size = config.train.batch_size
        test_logits = logits_of(ensemble, films, runner.spec, runner.device, size)
    return figures_of(data, results, rules, config.calibrate.method, split.test, test_logits)


def _written(
    run: Run,
    out: Path,
    data: TrainingData,
    split: Split,
    results: "list[FoldResult]",
    runner: "FoldRunner",
    figures: "Figures",
    first: "Initialised",
    problems: LabelProblems,
    config: Config,
) -> "CheckpointInfo":
    """The checkpoint, with how it came to be and whose films it has seen."""
    from vfscreen.jobs.seen_patients import training_patients
    from vfscreen.jobs.train_report import model_card, provenance
    from vfscreen.model.checkpoint import save

    seen = data.patients[np.setdiff1d(np.arange(len(data.rows)), split.test)].tolist()
    init: dict[str, Any] = {"from": first.source, "sha256": first.sha256}
    if first.training_patients is not None:
        # What the first weights were trained on, these have learnt from as well; hashes of
        # another key cannot be told apart from these.
        init["patients_of_it_known"] = first.training_patients.key_id == key_id(run.key)
        if init["patients_of_it_known"]:
            seen += first.training_patients.hashes
    said = provenance(config, data, runner.spec, figures, init=init, problems=problems.counts)
    if runner.located is not None:
        said["locator"] = described(runner.located)
    return save(
        out,
        [result.model.cpu() for result in results],
        name=out.stem,
        demonstration=False,
        findings=data.findings,
        preprocessing=runner.spec,
        calibration={f.finding: f.calibration for f in figures.findings},
        operating_points={f.finding: f.points.thresholds() for f in figures.findings},
        provenance=said,
        model_card=model_card(out.stem, config, first.source, data, figures),
        flip=config.train.flip,
        **stored(runner.located),
        training_patients=training_patients(seen, run.key),
    )


def _note_left_out(
    folder: Path, run: Run, labelled: Labelled, data: TrainingData, marks: Marks | None
) -> None:
    """Write what is not used, and why: rows by their line, films by a keyed hash."""
    uids = labelled.films["sop_instance_uid"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "films_left_out.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["film_hash", "reason"])
            for place, reason in data.failures.items():
                writer.writerow([run.hash(uids[place].as_py()), reason.value])
    except OSError as error:
        raise StorageError(f"The log {folder} cannot be written: {error.strerror}.") from None
    write_problems(labelled.problems, folder / "label_rows_not_used.csv")
    if marks is not None:
        write_problems(marks.problems, folder / "mark_rows_not_used.csv")


def _too_many_failures(data: TrainingData, config: Config) -> TooManyFailuresError | None:
    failed, tried = len(data.failures), len(data.failures) + len(data.rows)
    if failed < config.run.min_failures or failed <= config.run.max_failure_rate * tried:
        return None
    return TooManyFailuresError(
        f"The checkpoint is written, but {failed:,} of {tried:,} labelled films could not be "
        f"decoded, more than run.max_failure_rate allows ({config.run.max_failure_rate:.0%})."
    )
