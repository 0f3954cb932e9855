"""How a labels or marks file is shown: what of it is used, and what not and why."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vfscreen.cli.rows import print_table

if TYPE_CHECKING:
    from vfscreen.jobs.labels import Labelled, LabelProblems

_LINES_SHOWN = 5


def print_labelled(labelled: "Labelled", listed: Path | None = None) -> None:
    """What a labels file says of the archive, a row a finding; then its problems.

    `listed` is where all problems were written, if they were.
    """
    import pyarrow.compute as pc

    rows = []
    for finding in labelled.findings:
        column = labelled.films[finding]
        positive = pc.sum(column).as_py() or 0
        known = len(column) - column.null_count
        rows.append([finding, known, positive, known - positive, column.null_count])
    print_table(["finding", "films labelled", "with it", "without", "unknown"], rows)
    typer.echo(f"Films are named by {labelled.key}.")
    print_problems(labelled.problems, listed=listed)


def print_problems(
    problems: "LabelProblems", what: str = "labels", listed: Path | None = None
) -> None:
    """Rows that are not used, by reason, with the first lines of each.

    Parameters
    ----------
    what
        What the file holds.
    listed
        Where all of them were written, if they were.
    """
    import pyarrow.compute as pc

    if not problems.counts:
        typer.echo(f"Rows of the {what} file: {problems.total:,}, all used.")
        return
    typer.echo(f"Rows of the {what} file: {problems.total:,}, of which used {problems.used:,}.")
    rows = []
    for reason, count in problems.counts.items():
        lines = problems.rows.filter(pc.equal(problems.rows["reason"], reason))["line"]
        shown = ", ".join(str(line) for line in lines.slice(0, _LINES_SHOWN).to_pylist())
        rows.append([_words(reason), count, shown + (", ..." if count > _LINES_SHOWN else "")])
    print_table(["not used, because", "rows", "lines of the file"], rows)
    typer.echo(
        f"All of them are in {listed}."
        if listed
        else "--problems FILE writes all of them as CSV; docs/labels.md explains the reasons."
    )


def _words(reason: str) -> str:
    return reason.replace("_", " ")
