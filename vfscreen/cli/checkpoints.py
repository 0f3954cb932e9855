"""`checkpoint info` and `doctor`: what a site's physicist runs."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import ConfigOption, load_config


def checkpoint_info(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file, or `demo`.")],
    card: Annotated[bool, typer.Option("--card", help="Show the model card as well.")] = False,
) -> None:
    """What a checkpoint is, how it was made, and where its operating points lie."""
    from vfscreen.cli.tables import print_checkpoint
    from vfscreen.model.checkpoint import read_info

    print_checkpoint(read_info(checkpoint), card=card)


def doctor(
    results: Annotated[
        Path | None,
        typer.Option("--results", "-r", envvar="VFSCREEN_RESULTS", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """What will work on this machine and what will not: GPU, decoders, processor, disk."""
    from vfscreen.cli.tables import print_doctor
    from vfscreen.jobs.doctor import examine

    if not print_doctor(examine(results, load_config(config))):
        raise typer.Exit(3)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(doctor)
    group = typer.Typer(no_args_is_help=True, help="Checkpoints.")
    group.command("info")(checkpoint_info)
    app.add_typer(group, name="checkpoint")
