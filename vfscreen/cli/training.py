"""`train`: a site's own network."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ArchiveOption,
    ConfigOption,
    LabelsOption,
    load_config,
    log_to_stderr,
)


def train(
    archive: ArchiveOption,
    labels: LabelsOption,
    out: Annotated[
        Path, typer.Option(help="The checkpoint to write (.safetensors).", show_default=False)
    ],
    marks: Annotated[
        Path | None,
        typer.Option(
            help="CSV of boxes or points on the films, where somebody drew them.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="`default`, or `chen2021`: as the paper did; wins over train.protocol.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="`imagenet`, `none`, a file of weights, or a checkpoint; wins over train.init.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Wins over train.seed.", show_default=False)
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Where decoded films and the state lie meanwhile; unset: OUT.work.",
            show_default=False,
        ),
    ] = None,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Do not remove the work folder at the end.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew where a training was begun, or is done.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Train a network on the archive's labelled films; run again, it goes on where it was."""
    log_to_stderr()
    from vfscreen.cli.training_tables import print_training
    from vfscreen.jobs.stopping import StopRequest, stop_on_signals
    from vfscreen.jobs.train import TrainRequest, run_train

    given = {"protocol": protocol, "init": init, "seed": seed}
    settings = load_config(config, {k: v for k, v in given.items() if v is not None})
    request = TrainRequest(archive, labels, out, marks, work, keep_work, fresh)
    stop = StopRequest()
    with stop_on_signals(stop):
        outcome = run_train(request, settings, stop, typer.echo)
    print_training(outcome)
    if outcome.error is not None:
        raise outcome.error


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(train)
