"""A picture of what a list would hold, for whoever has to staff it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.errors import UsageError
from vfscreen.jobs.estimate import Accuracy, Expected, Setting, expect_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart in grey and by the colour-blind as well (Okabe and Ito).
_FOUND, _ALREADY, _NOTHING = "#0072B2", "#56B4E9", "#E69F00"
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_STYLES = ("-", "--", "-.", ":", "-")
_STEPS = 60


def draw_estimate(
    points: Sequence[Accuracy],
    setting: Setting,
    sensitivity_unreported: float | None,
    out: Path,
    *,
    weekly: bool,
) -> None:
    """Draw what the list holds at each operating point, and its PPV over the prevalence.

    Parameters
    ----------
    out
        A .png, .pdf or .svg file.
    weekly
        Whether `setting.studies` are those of a week.

    Raises
    ------
    UsageError
        The file cannot be written, or is of another kind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UsageError("The plot is a .png, .pdf or .svg file: name it so.")
    rows = expect_list(points, setting, sensitivity_unreported)
    rows.sort(key=lambda row: row.listed.value)
    figure = Figure(figsize=(11, 3.6 + 0.55 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    _bars(left, rows, setting)
    unit = "a week" if weekly else f"of {setting.studies:,.0f}"
    left.set_xlabel(f"studies on the uncut list {unit}")
    _curves(right, points, setting, sensitivity_unreported)
    figure.suptitle(
        f"Expected before go-live: {setting.studies:,.0f} studies{' a week' * weekly}, "
        f"{setting.prevalence:.1%} with a fracture, {setting.unreported_share:.0%} of these "
        "unreported",
        fontsize=11,
    )
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise UsageError(f"The plot {out} cannot be written: {error.strerror}.") from None


def _bars(axis: "Axes", rows: Sequence[Expected], setting: Setting) -> None:
    """Each operating point's list, by what is on it."""
    parts: tuple[tuple[str, str, str, Any], ...] = (
        ("unreported fracture", _FOUND, "", [r.found.value for r in rows]),
        (
            "fracture that the report names",
            _ALREADY,
            "//",
            [r.already_reported.value for r in rows],
        ),
        ("no fracture", _NOTHING, "", [r.no_fracture.value for r in rows]),
    )
    start = [0.0] * len(rows)
    for label, colour, hatch, lengths in parts:
        if any(lengths):
            axis.barh(
                range(len(rows)), lengths, left=start, height=0.5, label=label, color=colour,
                hatch=hatch, edgecolor="white", linewidth=0.5,
            )  # fmt: skip
        start = [s + n for s, n in zip(start, lengths, strict=True)]
    for place, row in enumerate(rows):
        listed = row.listed
        if listed.low < listed.high:
            axis.errorbar(
                listed.value, place, color="black", capsize=4, linewidth=1,
                xerr=[[listed.value - listed.low], [listed.high - listed.value]],
            )  # fmt: skip
        axis.annotate(
            f"finds {row.found.value:,.0f} of {row.unreported.value:,.0f} unreported fractures; "
            f"PPV {row.ppv.value:.0%}{_cut(row, setting)}",
            (0, place - 0.3), xytext=(4, 0), textcoords="offset points", fontsize=9, va="bottom",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    if setting.capacity is not None:
        axis.axvline(setting.capacity, color="black", linestyle="--", linewidth=1.2)
        axis.annotate(
            f"capacity {setting.capacity:,}", (setting.capacity, 1), xytext=(3, -2),
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9, va="top",
        )  # fmt: skip
    axis.set_yticks(range(len(rows)), [r.operating_point.replace("_", " ") for r in rows])
    axis.set_ylim(len(rows) - 0.5, -0.75)
    axis.set_xlim(left=0)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize=9, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _cut(row: Expected, setting: Setting) -> str:
    """What is said of a list that is longer than the capacity."""
    if row.found_cut is None or setting.capacity is None or row.listed.value <= setting.capacity:
        return ""
    # Rounded down: it is a bound.
    return f"; the first {setting.capacity:,} hold {int(row.found_cut.value):,} or more"


def _curves(
    axis: "Axes", points: Sequence[Accuracy], setting: Setting, sensitivity_unreported: float | None
) -> None:
    """PPV of the uncut list over the prevalence, the expected one marked."""
    top = min(1.0, max(0.2, 2 * setting.prevalence))
    prevalences = [top * i / _STEPS for i in range(_STEPS + 1)]
    over = [
        expect_list(points, replace(setting, prevalence=p, capacity=None), sensitivity_unreported)
        for p in prevalences
    ]
    here = expect_list(points, setting, sensitivity_unreported)
    for place, row in enumerate(here):
        colour, style = _LINES[place % len(_LINES)], _STYLES[place % len(_STYLES)]
        ppvs = [rows[place].ppv for rows in over]
        percent = [100 * p for p in prevalences]
        axis.plot(
            percent, [100 * p.value for p in ppvs], style, color=colour,
            label=row.operating_point.replace("_", " "),
        )  # fmt: skip
        axis.fill_between(
            percent, [100 * p.low for p in ppvs], [100 * p.high for p in ppvs], color=colour,
            alpha=0.15, linewidth=0,
        )  # fmt: skip
        axis.plot(100 * setting.prevalence, 100 * row.ppv.value, "o", color=colour)
    axis.set_xlim(0, 100 * top)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("studies that show a fracture (%)")
    axis.set_ylabel("PPV of the uncut list (%)")
    if len(here) > 1:
        axis.legend(fontsize=9, frameon=False)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
