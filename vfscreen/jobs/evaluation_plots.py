"""The plots of an evaluation, each as an SVG of its own: told apart in grey, and in print."""

import io
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vfscreen.jobs.evaluation_figures import HISTOGRAM_BINS, LevelFigures, PointFigures, Rate
from vfscreen.jobs.readers import ReadersFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito: told apart by the colour-blind as well.
_BLUE, _ORANGE, _GREY, _BLACK = "#0072B2", "#D55E00", "#767676", "#000000"
_MARKERS = "ovs^DP*X"
_STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "vfscreen",
}
_SIDE_INCH = 4.2


def roc_plot(figures: LevelFigures, readers: ReadersFigures | None) -> str:
    """The ROC curve with its operating points, and the readers as in Chen et al. (2021)."""

    def draw(axis: "Axes") -> None:
        assert figures.curves is not None
        axis.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1)
        axis.plot(
            *_columns(figures.curves.roc), color=_BLUE, linewidth=1.8, drawstyle="steps-post",
            label="model",
        )  # fmt: skip
        for point, name, marker in _points(figures):
            _cross(axis, point.sensitivity, point.specificity)
            axis.plot(
                1 - _value(point.specificity), _value(point.sensitivity), marker, color=_BLUE,
                markersize=8, markeredgecolor=_BLACK, label=name, zorder=4,
            )  # fmt: skip
        if readers is not None and readers.level == figures.level:
            _readers(axis, readers)
        axis.set_xlabel("1 − specificity")
        axis.set_ylabel("Sensitivity")
        _unit_square(axis)
        axis.legend(loc="lower right", frameon=False, fontsize=8.5)

    return _svg(draw)


def _readers(axis: "Axes", readers: ReadersFigures) -> None:
    label: str | None = "readers"
    for reader in readers.readers:
        x, y = 1 - _value(reader.specificity), _value(reader.sensitivity)
        axis.plot(
            x, y, "+", color=_ORANGE, markersize=9, markeredgewidth=1.6, label=label, zorder=5
        )
        axis.annotate(
            str(reader.reader), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7.5
        )
        label = None
    if readers.mean_sensitivity is not None and readers.mean_specificity is not None:
        axis.plot(
            1 - readers.mean_specificity.value, readers.mean_sensitivity.value, "D",
            color="none", markeredgecolor=_ORANGE, markersize=9, markeredgewidth=1.8,
            label="mean of the readers", zorder=5,
        )  # fmt: skip


def precision_recall_plot(figures: LevelFigures) -> str:
    """PPV over sensitivity, and the share of positives, which chance reaches."""

    def draw(axis: "Axes") -> None:
        assert figures.curves is not None
        chance = figures.positives / max(1, figures.units)
        axis.axhline(chance, linestyle=":", color=_GREY, linewidth=1)
        axis.annotate(
            f"share with the finding: {chance:.1%}", (0, chance), xytext=(3, 3),
            textcoords="offset points", fontsize=8.5, color="#444444",
        )  # fmt: skip
        # The point of recall 0 has no precision of its own.
        axis.plot(
            *_columns(figures.curves.precision_recall[1:]), color=_BLUE, linewidth=1.8,
            drawstyle="steps-pre",
        )  # fmt: skip
        for point, name, marker in _points(figures):
            if point.ppv.value is not None:
                axis.plot(
                    _value(point.sensitivity), point.ppv.value, marker, color=_BLUE, markersize=8,
                    markeredgecolor=_BLACK, label=name, zorder=4,
                )  # fmt: skip
        axis.set_xlabel("Sensitivity (recall)")
        axis.set_ylabel("Positive predictive value (precision)")
        _unit_square(axis)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="lower left", frameon=False, fontsize=8.5)

    return _svg(draw)


def calibration_plot(figures: LevelFigures) -> str:
    """Share found over probability promised, in bins of like size."""

    def draw(axis: "Axes") -> None:
        axis.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1)
        for bin_ in figures.bins:
            low, high = bin_.observed.low, bin_.observed.high
            axis.plot([bin_.mean_probability] * 2, [low, high], color=_BLUE, linewidth=1.2)
            axis.plot(
                bin_.mean_probability, bin_.observed.value, "o", color=_BLUE,
                markeredgecolor=_BLACK, markersize=6, zorder=4,
            )  # fmt: skip
        axis.set_xlabel("Mean probability")
        axis.set_ylabel("Share with the finding (95 % interval)")
        _unit_square(axis)

    return _svg(draw)


def histogram_plot(figures: LevelFigures) -> str:
    """How probabilities lie, by truth, and where the operating points cut."""

    def draw(axis: "Axes") -> None:
        assert figures.curves is not None
        edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
        counts = np.array(figures.curves.histogram).T
        for values, sign, colour, hatch, name in (
            (counts[0], 1, _ORANGE, "///", "with the finding"),
            (counts[1], -1, _BLUE, "", "without"),
        ):
            share = values / max(1, values.sum())
            axis.bar(
                edges[:-1], sign * share, np.diff(edges), align="edge", color=colour, alpha=0.75,
                edgecolor="white", linewidth=0.4, hatch=hatch, label=f"{name} ({values.sum():,})",
            )  # fmt: skip
        most = max(0.05, *np.abs(axis.get_ylim()))
        axis.set_ylim(-most * 1.15, most * 1.15)
        axis.axhline(0, color=_BLACK, linewidth=0.8)
        for point, _, marker in _points(figures):
            axis.axvline(point.threshold, color=_BLACK, linestyle="--", linewidth=0.9)
            axis.plot(
                point.threshold, most * 1.08, marker, color=_BLUE, markeredgecolor=_BLACK,
                markersize=7, clip_on=False,
            )  # fmt: skip
        axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
        axis.set_xlim(0, 1)
        axis.set_xlabel("Probability")
        axis.set_ylabel("Share of the class")
        axis.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8.5
        )

    return _svg(draw)


def decision_plot(figures: LevelFigures) -> str:
    """Net benefit over the threshold, beside calling everyone and no one positive."""

    def draw(axis: "Axes") -> None:
        assert figures.curves is not None
        top = figures.positives / max(1, figures.units)
        axis.axhline(0, color=_GREY, linestyle=":", linewidth=1, label="look at none")
        axis.plot(
            *_columns(figures.curves.decision_all), "--", color=_GREY, linewidth=1.2,
            label="look at all",
        )  # fmt: skip
        axis.plot(*_columns(figures.curves.decision), color=_BLUE, linewidth=1.8, label="model")
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.15 * top - 0.01, 1.08 * top + 0.01)
        axis.set_xlabel("Threshold probability")
        axis.set_ylabel("Net benefit")
        axis.legend(loc="upper right", frameon=False, fontsize=8.5)

    return _svg(draw)


def _points(figures: LevelFigures) -> list[tuple[PointFigures, str, str]]:
    """Operating points with a name and a marker; those of one threshold are one."""
    together: dict[float, list[PointFigures]] = {}
    for point in figures.operating_points:
        together.setdefault(point.threshold, []).append(point)
    return [
        (points[0], "\n".join(p.name.replace("_", " ") for p in points), marker)
        for points, marker in zip(together.values(), itertools.cycle(_MARKERS), strict=False)
    ]


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _value(rate: Rate) -> float:
    return float("nan") if rate.value is None else rate.value


def _cross(axis: "Axes", sensitivity: Rate, specificity: Rate) -> None:
    """The intervals of both, as a cross."""
    x, y = 1 - _value(specificity), _value(sensitivity)
    if specificity.low is not None and specificity.high is not None:
        axis.plot([1 - specificity.high, 1 - specificity.low], [y, y], color=_BLACK, linewidth=0.8)
    if sensitivity.low is not None and sensitivity.high is not None:
        axis.plot([x, x], [sensitivity.low, sensitivity.high], color=_BLACK, linewidth=0.8)


def _unit_square(axis: "Axes") -> None:
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_aspect("equal")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.grid(alpha=0.25, linewidth=0.6)


def _svg(draw: "Callable[[Axes], Any]") -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure: Figure = Figure(figsize=(_SIDE_INCH, _SIDE_INCH), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        out = io.StringIO()
        # Without a date, the same figures are the same file.
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
