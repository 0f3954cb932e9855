"""What a finished training says of itself: figures, calibration, provenance, model card."""

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen import __version__
from vfscreen.config import Config
from vfscreen.errors import CheckpointError, InputError, TrainingError
from vfscreen.jobs.train_data import TrainingData
from vfscreen.jobs.train_fold import FoldResult
from vfscreen.model.calibration import Calibration, choose_method, fit, probability
from vfscreen.model.column import level_of
from vfscreen.model.operating_points import Chosen, Rule, choose_all
from vfscreen.model.statistics import Estimate, auc, auc_interval
from vfscreen.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """A fold in figures; `aucs` of its validation films, a finding each."""

    number: int
    epochs: int
    best_epoch: int | None
    stopped: str
    trained_on: int
    validated: int
    aucs: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class FindingFigures:
    """A finding over all validation films, and over those set aside (None: there are none).

    `test_auc` is of the checkpoint as a whole, `auc` of each fold's network on its own films.
    """

    finding: str
    films: int
    positives: int
    auc: Estimate
    calibration: Calibration
    points: Chosen
    test_films: int
    test_auc: Estimate | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What the training came to."""

    folds: tuple[FoldFigures, ...]
    findings: tuple[FindingFigures, ...]


def figures_of(
    data: TrainingData,
    results: Sequence[FoldResult],
    rules: dict[str, Rule],
    method: str,
    test: NDArray[np.intp],
    test_logits: NDArray[np.float32],
) -> Figures:
    """Calibrate on films that the network in question was not trained on, and choose thresholds.

    Raises
    ------
    TrainingError
        The networks rank the films of a finding the wrong way round: such a checkpoint would
        list those who are well.
    InputError
        The rule of the default operating point cannot be met.
    """
    validated = np.concatenate([result.validated for result in results])
    logits = np.concatenate([result.logits for result in results])
    folds = tuple(
        FoldFigures(
            number=result.number,
            epochs=len(result.history),
            best_epoch=result.best_epoch,
            stopped=result.stopped,
            trained_on=result.trained_on,
            validated=len(result.validated),
            aucs=tuple(
                _auc(result.logits[:, f], data.targets[result.validated, f])
                for f in range(len(data.findings))
            ),
        )
        for result in results
    )
    findings = []
    for f, finding in enumerate(data.findings):
        # Levels share what they look for, so they share a calibration: of each there are few.
        pool = _alike(data.findings, f)
        z, y = logits[:, pool].T, data.targets[validated][:, pool].T
        known = ~(np.isnan(y) | np.isnan(z))
        of = np.broadcast_to(data.patients[validated], z.shape)
        calibration = _calibrated(finding, z[known], y[known], of[known], method)
        points = choose_all(rules, probability(z[known], calibration), y[known])
        z, y = logits[:, f], data.targets[validated, f]
        known = ~(np.isnan(y) | np.isnan(z))
        findings.append(
            FindingFigures(
                finding=finding,
                films=int(known.sum()),
                positives=int(y[known].sum()),
                auc=_auc(z, y),
                calibration=calibration,
                points=points,
                test_films=int((~np.isnan(data.targets[test, f])).sum()),
                test_auc=_auc(test_logits[:, f], data.targets[test, f]) if len(test) else None,
            )
        )
    return Figures(folds, tuple(findings))


def _alike(findings: Sequence[str], f: int) -> list[int]:
    """The finding's own index; of a finding of a level, those of all its levels."""
    level = level_of(findings[f])
    if level is None:
        return [f]
    base = findings[f].removesuffix(level)
    return [g for g, other in enumerate(findings) if other == f"{base}{level_of(other)}"]


def _calibrated(
    finding: str,
    z: NDArray[np.float32],
    y: NDArray[np.float32],
    patients: NDArray[np.str_],
    method: str,
) -> Calibration:
    if len(np.unique(y)) < 2:
        raise TrainingError(
            f"Of {finding}, no validation films of both classes have an answer: the locator finds "
            "too few levels. Mark more vertebrae, raise train.locator_steps, or leave the levels "
            "out of the marks."
        )
    wrong_way = TrainingError(
        f"The networks rank the validation films of {finding} no better than chance (AUC "
        f"{_auc(z, y)}): no checkpoint is written. More films, more epochs, other first weights or "
        "another learning rate may help; the log shows the curves."
    )
    # An isotonic calibration of such a network would still rise somewhere.
    if auc(z, y) <= 0.5:
        raise wrong_way
    if method == "auto":
        try:
            method = choose_method(z, y, patients).method
        except (InputError, CheckpointError):
            method = "platt"  # too few patients to compare methods
    try:
        return fit(z, y, method)
    except CheckpointError:
        raise wrong_way from None


def _auc(logits: NDArray[np.float32], truth: NDArray[np.float32]) -> Estimate:
    known = ~(np.isnan(truth) | np.isnan(logits))
    return auc_interval(logits[known], truth[known])


def provenance(
    config: Config,
    data: TrainingData,
    spec: Preprocessing,
    figures: Figures,
    *,
    init: dict[str, Any],
    problems: dict[str, int],
) -> dict[str, Any]:
    """How the checkpoint came to be, as JSON: settings, counts, versions; no identifier."""
    import torch
    import torchvision

    return {
        "trained_on": "films of a site, labelled by it",
        "configuration": _configuration(config),
        "preprocessing": asdict(spec),
        "init": init,
        "seed": config.train.seed,
        "data": data.counts()
        | {"sha256": data.sha256(), "failures": dict(data.failed()), "label_problems": problems},
        "folds": [_known(asdict(fold)) for fold in figures.folds],
        "validation_figures": {
            f.finding: _known(
                {"auc": asdict(f.auc), "films": f.films, "positives": f.positives}
                | {"test_auc": f.test_auc and asdict(f.test_auc), "test_films": f.test_films}
            )
            for f in figures.findings
        },
        "calibration_rule": f"{_validation(config)}: each film by the network that was not "
        "trained on it",
        "operating_point_rules": {
            name: str(point.rule)
            for f in figures.findings[:1]
            for name, point in f.points.points.items()
        },
        "operating_point_counts": {
            f.finding: {name: point.counts() for name, point in f.points.points.items()}
            for f in figures.findings
        },
        "versions": {
            "vfscreen": __version__,
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
        },
        # Without the site's paths.
        "command": "vfscreen " + " ".join(a for a in sys.argv[1:] if "/" not in a),
    }


def model_card(name: str, config: Config, began: str, data: TrainingData, figures: Figures) -> str:
    """A site's model in Markdown, with what only the site can say left open, and said to be."""
    s, counts = config.train, data.counts()
    members = len(figures.folds)
    labels = "; ".join(
        f"`{finding}` {c['positive']:,} with, {c['negative']:,} without"
        + (f", {c['unknown']:,} unknown" if c["unknown"] else "")
        for finding, c in counts["labels"].items()
    )
    rows = [
        f"| `{f.finding}` | {f.positives:,} of {f.films:,} | {f.auc} | "
        + (f"{f.test_auc} of {f.test_films:,} |" if f.test_auc else "none set aside |")
        for f in figures.findings
    ]
    points = [
        f"| `{f.finding}` | `{point}` | {p.rule} | {p.threshold:.4f} | {p.sensitivity} | "
        f"{p.specificity} |"
        for f in figures.findings
        for point, p in f.points.points.items()
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            "**A research model that ranks films for a human reader; not a diagnostic device.**",
            "Trained by a site on its own films. Nothing here says how well it does elsewhere.",
            "",
            "| | |",
            "|---|---|",
            f"| network | {members} x {s.architecture}, {s.input_size_px} px"
            f"{', films also mirrored' if s.flip else ''}"
            f"{', on the straightened column of the spine' if s.locate else ''} |",
            f"| first weights | {'random' if began == 'none' else began} |",
            f"| protocol | `{s.protocol}`; all settings are in the provenance |",
            f"| films | {counts['films']:,} of {counts['patients']:,} patients: {labels} |",
            f"| calibration | "
            f"{', '.join(sorted({f.calibration.method for f in figures.findings}))}, on "
            f"{_validation(config)} |",
            "",
            "## Figures",
            "",
            "95 % intervals: DeLong for AUC, Wilson for shares; films of one patient count as if "
            "they were",
            f"independent. Validation films are {_validation(config)}: {_caveat(config)}",
            "",
            "| finding | films with it | AUC, validation | AUC, test films set aside |",
            "|---|---|---|---|",
            *rows,
            "",
            "| finding | operating point | rule | from probability | sensitivity | specificity |",
            "|---|---|---|---|---|---|",
            *points,
            "",
            "## What only the site can say",
            "",
            "- where the films come from: years, wards, devices, who was left out and why",
            "- who labelled them, from what (film, CT, report), and how well two readers agree",
            "- figures on films that played no part here: `vfscreen evaluate`",
            "- what it is meant for, who looks at its list, and who answers for that",
            "",
            "## Limits",
            "",
            "- It knows nothing of findings, views, devices and patients that are not among its "
            "films.",
            "- Probabilities hold for films with the same share of findings as these; in an "
            "archive with",
            "  another share, or from other devices, recalibrate: `vfscreen calibrate`.",
            "",
        ]
    )


def _validation(config: Config) -> str:
    s = config.train
    if s.folds:
        return f"the held-out films of {s.folds} folds by patient"
    return f"the films of {s.validation_share:.0%} of the patients, held out"


def _caveat(config: Config) -> str:
    s = config.train
    said = []
    if s.keep == "best" or s.patience:
        said.append("they also chose the epoch, so their figures are somewhat too good")
    if s.folds:
        said.append("the checkpoint averages the folds' networks, and is judged here one by one")
    return ("; ".join(said) or "they chose nothing") + "."


def _configuration(config: Config) -> dict[str, Any]:
    """All settings but those that name places on the site's machines."""
    said = asdict(config)
    for name in ("pseudonym_key", "group"):
        del said["run"][name]
    del said["reports"]
    if said["train"]["init"] not in ("imagenet", "none", "demo"):
        said["train"]["init"] = "a file"
    return said


def _known(value: Any) -> Any:
    """As JSON knows it: what is not a number is null."""
    if isinstance(value, dict):
        return {name: _known(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_known(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
