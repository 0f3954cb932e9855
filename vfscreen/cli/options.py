"""Options and arguments that several commands share, and what follows from them."""

import logging
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vfscreen import config_file
from vfscreen.config import Config
from vfscreen.errors import UsageError

ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        "-r",
        envvar="VFSCREEN_RESULTS",
        help="The results folder.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="VFSCREEN_CONFIG",
        help="Configuration; unset: vfscreen.toml in the current folder, if there is one.",
        show_default=False,
    ),
]
ReportsOption = Annotated[
    Path | None,
    typer.Option(
        "--reports",
        help="Reports: a file or a folder, in any format of docs/reports.md.",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="A checkpoint file, or `demo`, the shipped phantom demonstration model.",
        show_default=False,
    ),
]
LabelsOption = Annotated[
    Path,
    typer.Option(
        "--labels",
        help="Labels, a CSV file: films by SOP instance, study or accession number, and a column "
        "a finding (docs/labels.md).",
        show_default=False,
    ),
]
ProblemsOption = Annotated[
    Path | None,
    typer.Option(
        "--problems",
        help="Write the rows of the labels that are not used here: line and reason, as CSV.",
        show_default=False,
    ),
]
ExcludeSeenOption = Annotated[
    bool, typer.Option("--exclude-seen", help="Leave out patients seen in training.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Go on with patients seen in training, and say so.")
]
ArchiveOption = Annotated[
    Path,
    typer.Option("--archive", help="The archive: a folder of DICOM files.", show_default=False),
]
ArchiveArgument = Annotated[
    Path, typer.Argument(help="The archive: a folder of DICOM files.", show_default=False)
]
IdentifiersOption = Annotated[
    bool,
    typer.Option(
        "--show-identifiers", help="Name files and patients; for a person at a terminal only."
    ),
]


def refuse_both(*, force: bool, exclude_seen: bool) -> None:
    """Patients seen in training are counted or left out.

    Raises
    ------
    UsageError
        Both were asked for.
    """
    if force and exclude_seen:
        raise UsageError("Give --force or --exclude-seen, not both.")


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def load_config(path: Path | None, train: dict[str, Any] | None = None) -> Config:
    """The configuration file named, or vfscreen.toml here, or the defaults.

    `train` are keys of its section [train] that were given on the command line.
    """
    here = Path("vfscreen.toml")
    found = path if path is not None else here if here.is_file() else None
    return config_file.load(found, train)


def log_to_stderr() -> None:
    """One plain line an event, in UTC: what a timer's journal keeps."""
    if sys.stderr.isatty() and not os.environ.get("VFSCREEN_LOG"):
        level = logging.WARNING
    else:
        level = logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("vfscreen")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
