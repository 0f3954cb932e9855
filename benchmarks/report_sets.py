"""The sets of sentences that the report labeller is held against, and how a row is judged.

A row asks what its columns fill: the status always, the others where they are not empty (``-``
stands for none). Right is what is right in every column that is filled.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "report_sets"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of ``adversarial`` or ``held_out``."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wrong(row: dict[str, str], label: Any) -> dict[str, tuple[str, str]]:
    """Column -> (wanted, found) of each that a label gets wrong."""
    found = {
        "report_status": label.report_status,
        "history": str(label.history).lower(),
        "levels": ";".join(label.levels) or "-",
        "acuity": label.acuity,
        "severity": label.severity or "-",
        "recommendation": str(label.recommendation).lower(),
    }
    return {
        name: (row[name], value)
        for name, value in found.items()
        if row[name] and row[name] != value
    }


def judged(
    name: str, label: Callable[[dict[str, str]], Any]
) -> Iterator[tuple[dict[str, str], dict[str, tuple[str, str]]]]:
    """Each row of a set, with what a labeller gets wrong of it."""
    for row in rows(name):
        yield row, wrong(row, label(row))
