"""The arithmetic of the benchmarks: medians, spread, ratios, efficiency."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

STAGES = ("read", "decode", "prepare", "infer")


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its spread, and how many repeats are behind it."""

    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Row:
    """One system on one archive at one input size, all repeats together.

    `rate` is films/s. Differences are those of the probabilities to the plain reference's.
    """

    system: str
    archive: str
    input_size_px: int
    rate: Figure
    startup_s: Figure
    peak_bytes: int
    max_difference: float
    mean_difference: float


@dataclass(frozen=True, slots=True)
class Floor:
    """What one film costs in core-seconds, stage by stage, each alone."""

    archive: str
    input_size_px: int
    core_s: dict[str, float]

    @property
    def total_s(self) -> float:
        """All stages."""
        return sum(self.core_s.values())


def figure(values: Iterable[float]) -> Figure:
    """Median, minimum and maximum."""
    all_values = list(values)
    return Figure(median(all_values), min(all_values), max(all_values), len(all_values))


def rows(cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Raw repeats to rows, in the order of their first appearance."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        groups[cell["system"], cell["archive"], cell["input_size_px"]].append(cell)
    return [
        Row(
            system=system,
            archive=archive,
            input_size_px=size,
            rate=figure(cell["films"] / cell["seconds"] for cell in group),
            startup_s=figure(cell["startup_s"] for cell in group),
            peak_bytes=max(cell["peak_bytes"] for cell in group),
            max_difference=max(cell["max_difference"] for cell in group),
            mean_difference=max(cell["mean_difference"] for cell in group),
        )
        for (system, archive, size), group in groups.items()
    ]


def failures(failed: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str, int]]:
    """How many repeats failed, by system, archive and input size."""
    tasks = [entry["task"] for entry in failed]
    return Counter(
        (task["system"], archive, task["input_size_px"])
        for task in tasks
        for archive in task["archives"]
    )


def floors(cells: Sequence[Mapping[str, Any]], busy_cores: int = 1) -> list[Floor]:
    """Floor measurements with `busy_cores` cores at work, median of the repeats a stage."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        if cell["busy_cores"] == busy_cores:
            groups[cell["archive"], cell["input_size_px"]].append(cell)
    return [
        Floor(
            archive, size, {s: median(cell["core_s_a_film"][s] for cell in group) for s in STAGES}
        )
        for (archive, size), group in groups.items()
    ]


def floor_rate(floor: Floor, cores: int) -> float:
    """The films/s that no run can pass: all cores at work on nothing but the stages."""
    return cores / floor.total_s


def efficiency(floor: Floor, *, rate: float, cores: int) -> float:
    """The stages' core-seconds over those that the run had: films x sum / (cores x seconds)."""
    return floor.total_s * rate / cores


def differences(found: Sequence[float], reference: Sequence[float]) -> tuple[float, float]:
    """Largest and mean absolute difference of two lists of probabilities."""
    apart = [abs(a - b) for a, b in zip(found, reference, strict=True)]
    return max(apart), sum(apart) / len(apart)
