"""`phantom` and `demo`: what needs no patient at all."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import ConfigOption, load_config, log_to_stderr
from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty
from vfscreen.phantom.shift import Shift

StudiesOption = Annotated[int, typer.Option(min=1, max=1_000_000, help="Studies to make.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same archive.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Worker processes; 0 means one a core.")]


def phantom(
    out: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    studies: StudiesOption = 120,
    seed: SeedOption = 1,
    long_side_px: Annotated[
        int, typer.Option(min=0, max=4096, help="Long side of films; 0: 2000 to 2700, as drawn.")
    ] = 0,
    counterfactuals: Annotated[
        bool,
        typer.Option(
            "--counterfactuals", help="Each study with its fracture, with a mimic, and without."
        ),
    ] = False,
    films: Annotated[
        Difficulty,
        typer.Option(help="easy: as in textbooks; usual: as in archives, much harder to read."),
    ] = DEFAULT_DIFFICULTY,
    shift: Annotated[
        Shift | None,
        typer.Option(
            help="The same films in another display: another maker's curve, more noise, or "
            "photographed from a screen.",
            show_default=False,
        ),
    ] = None,
    workers: WorkersOption = 0,
) -> None:
    """Make a synthetic archive: films and all else in archives, reports, labels, truth."""
    log_to_stderr()
    from vfscreen.cli.tables import print_phantom
    from vfscreen.jobs.phantom import run_phantom

    print_phantom(
        run_phantom(
            out,
            studies=studies,
            seed=seed,
            long_side_px=long_side_px,
            counterfactuals=counterfactuals,
            workers=workers,
            films=films,
            shift=shift,
        )
    )


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("demo"),
    studies: StudiesOption = 120,
    seed: SeedOption = 1,
    config: ConfigOption = None,
) -> None:
    """The whole of it on a phantom archive: make, screen, list, and a page to look at."""
    log_to_stderr()
    from vfscreen.cli.tables import print_demo
    from vfscreen.jobs.demo import run_demo

    print_demo(run_demo(folder, studies, seed, load_config(config)))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(phantom)
    app.command()(demo)
