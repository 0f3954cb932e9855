"""What a training shows at its end."""

from typing import TYPE_CHECKING

import typer

from vfscreen.cli.rows import print_table
from vfscreen.cli.tables import NOTICE, words

if TYPE_CHECKING:
    from vfscreen.jobs.labels import LabelProblems
    from vfscreen.jobs.train import TrainOutcome


def print_training(outcome: "TrainOutcome") -> None:
    """What was used and what was not, each fold's AUC, the findings', and what to do next."""
    _print_films(outcome)
    names = outcome.data.findings
    columns = [f"AUC {name}" if names[1:] else "AUC (95 %)" for name in names]
    print_table(
        ["fold", "trained on", "validated on", "epochs", "best epoch", *columns],
        [
            [f.number, f.trained_on, f.validated, f.epochs, f.best_epoch, *map(str, f.aucs)]
            for f in outcome.figures.folds
        ],
    )
    rows = [
        [
            f.finding, f"{f.positives:,} of {f.films:,}", str(f.auc), name, str(p.rule),
            f"{p.threshold:.3f}", str(p.sensitivity), str(p.specificity),
        ]
        for f in outcome.figures.findings
        for name, p in f.points.points.items()
    ]  # fmt: skip
    print_table(
        ["finding", "with it", "AUC, all folds", "operating point", "rule", "from probability",
         "sensitivity", "specificity"],
        rows,
    )  # fmt: skip
    for f in outcome.figures.findings:
        if f.test_auc is not None:
            typer.echo(
                f"{f.finding}: AUC {f.test_auc} on {f.test_films:,} films set aside, of the "
                "checkpoint as a whole."
            )
        for sentence in [*f.points.unmet.values(), *f.points.notes]:
            typer.echo(f"{f.finding}: {sentence}")
    info = outcome.info
    typer.echo(
        f"Validation films were held out of a network's training, but may have chosen its epoch: "
        f"figures to quote come from `vfscreen evaluate` on other patients.\n"
        f"Written: {info.path} ({info.path.stat().st_size / 1e6:.1f} MB, model "
        f"{info.model_sha256[:12]}); curves and what was left out: {outcome.log}\n{NOTICE}"
    )


def _print_films(outcome: "TrainOutcome") -> None:
    counts = outcome.data.counts()
    rows: list[list[object]] = [["films", counts["films"]], ["patients", counts["patients"]]]
    first = outcome.figures.folds[0]
    if aside := counts["films"] - first.trained_on - first.validated:
        rows.append(["films set aside", aside])
    for name, c in counts["labels"].items():
        rows += [[f"{name}: {word}", n] for word, n in c.items() if n]
    rows += [[f"left out: {words(k)}", n] for k, n in outcome.data.failed().items()]
    print_table(["trained with", "count"], rows)
    _print_problems("label", outcome.problems)
    if outcome.mark_problems is not None:
        _print_problems("mark", outcome.mark_problems)


def _print_problems(what: str, problems: "LabelProblems") -> None:
    if problems.counts:
        said = ", ".join(f"{n:,} {words(reason)}" for reason, n in problems.counts.items())
        typer.echo(
            f"{problems.total - problems.used:,} of {problems.total:,} {what} rows are not used "
            f"({said}): {what}_rows_not_used.csv names their lines."
        )
