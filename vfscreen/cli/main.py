"""The `vfscreen` command: all commands in one application, one place that maps errors to exits."""

import errno
import os
import sys
import traceback

import typer

from vfscreen import __version__
from vfscreen.cli import (
    auditing,
    calibrating,
    checkpoints,
    evaluating,
    listing,
    making,
    reports,
    screening,
    training,
)
from vfscreen.errors import StorageError, VfscreenError

app = typer.Typer(
    name="vfscreen",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Find the vertebral fractures that archived abdominal films show and reports do not. "
        "A research tool that ranks films for a human reader; not a diagnostic device."
    ),
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vfscreen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


for group in (
    screening, reports, listing, auditing, training, checkpoints, evaluating, calibrating,
    making,
):  # fmt: skip
    group.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with the code of `vfscreen.errors`.

    Typer itself answers wrong usage (2) and Ctrl-C (130).
    """
    try:
        app(args=arguments, prog_name="vfscreen")
    except VfscreenError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            sys.exit(_bug(error))
        _say(f"The disk cannot be written: {error.strerror}. Free some space and run again.")
        sys.exit(StorageError.exit_code)
    except Exception as error:  # noqa: BLE001  the last resort: a bug must not print identifiers
        sys.exit(_bug(error))


def _say(sentence: str) -> None:
    typer.echo(f"vfscreen: {sentence}", err=True)


def _bug(error: BaseException) -> int:
    """Show where a bug is, without the values in its message: they may name a patient."""
    if os.environ.get("VFSCREEN_DEBUG"):
        traceback.print_exception(error)
    else:
        frames = "".join(traceback.format_tb(error.__traceback__))
        _say(
            f"this is a bug ({type(error).__name__}). Where it happened, without the values "
            f"(VFSCREEN_DEBUG=1 shows them):\n{frames}"
        )
    return 1


if __name__ == "__main__":
    main()
