"""What a service asks about itself: one question of `sql/` each, with what to beware of."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.config import Config
from vfscreen.errors import UsageError
from vfscreen.jobs.flag import listing_threshold
from vfscreen.results.catalogue import connect
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import MEASURES, VIEWS, About, about, fetch, query
from vfscreen.results.staging import staged

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Measure:
    """The answer, and how to read it; `threshold` is what counted as likely, if that matters."""

    rows: "pa.Table"
    about: About
    threshold: float | None


def measure(results_path: Path, name: str, config: Config) -> Measure:
    """Ask one of `MEASURES`, of the configured finding and threshold.

    Raises
    ------
    UsageError
        There is no such measure, or it needs a threshold and nothing has been screened yet.
    """
    if name not in MEASURES:
        raise UsageError(f"There is no measure `{name}`, but {', '.join(MEASURES)}.")
    results = existing_results(results_path)
    question = f"select * from {name}" if name in VIEWS else query(name)  # noqa: S608
    bound: dict[str, Any] = {}
    if "$finding" in question:
        bound["finding"] = config.list.finding
    if "$threshold" in question:
        bound["threshold"] = listing_threshold(results, config)
    with connect(results) as catalogue, staged(catalogue, question):
        rows = fetch(catalogue, question, bound)
    return Measure(rows, about(name), bound.get("threshold"))
