"""What a list would hold before there is one: arithmetic from accuracy and prevalence.

Of the studies of a week, `W`, a share `prevalence` shows a fracture; of those fractures a share
`unreported_share` is not in the report. On the list come, at an operating point with the
sensitivities `Se_u` (fractures that reports do not name) and `Se_r` (that they name) and the
specificity `Sp`, and with a labeller that takes a share `false_reported` of the reports that name
no fracture for ones that do, and overlooks the fracture in a share `missed` of those that name it:

    found             W * prevalence * unreported_share * Se_u * (1 - false_reported)
    already reported  W * prevalence * (1 - unreported_share) * Se_r * missed
    no fracture       W * (1 - prevalence) * (1 - Sp) * (1 - false_reported)

With the figures of Chen et al. (2021), PLoS ONE 16(1):e0245992 (sensitivity 73.8 %, specificity
73.0 %, 53 % unreported) and 10 % prevalence: 39 found and 243 without a fracture per 1,000.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfscreen.errors import UsageError
from vfscreen.model.statistics import Estimate, share

if TYPE_CHECKING:
    from vfscreen.model.checkpoint import CheckpointInfo

UNREPORTED_SHARE = 0.53
"""Chen et al. (2021): 204 of 438 fractures were in the report."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A checkpoint at one operating point, over all fractures.

    Without counts of the films behind them, both have no interval: low, value and high are one.
    """

    operating_point: str
    threshold: float | None
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, slots=True)
class Setting:
    """A hospital, its reports and its nurse; all shares in 0..1."""

    prevalence: float
    unreported_share: float = UNREPORTED_SHARE
    false_reported: float = 0.0
    missed: float = 0.0
    studies: float = 1000.0
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a list holds at one operating point; numbers of studies, out of `Setting.studies`.

    The list cut at the capacity counts as if its order were no better than chance between two
    operating points: a bound from below for what is found, since the list is ranked.
    """

    operating_point: str
    threshold: float | None
    sensitivity: Estimate
    sensitivity_unreported: Estimate
    specificity: Estimate
    unreported: Estimate  # fractures on these films that no report names: what there is to find
    listed: Estimate
    found: Estimate
    already_reported: Estimate
    no_fracture: Estimate
    ppv: Estimate
    missed_by_checkpoint: Estimate
    hidden_by_labeller: Estimate
    listed_cut: Estimate | None
    found_cut: Estimate | None


def expect_list(
    points: Sequence[Accuracy], setting: Setting, sensitivity_unreported: float | None
) -> list[Expected]:
    """`vfscreen estimate`: what a list holds, at each operating point.

    Parameters
    ----------
    points
        At least one; the first is the one that `sensitivity_unreported` speaks of.
    sensitivity_unreported
        Of the fractures that reports do not name; None: as for the others. At the other operating
        points it differs from the whole by the same odds ratio.

    Raises
    ------
    UsageError
        The shares contradict each other.
    """
    ratio = _odds_ratio(points[0].sensitivity.value, sensitivity_unreported, setting)
    expected = [_expected(point, setting, ratio) for point in points]
    if setting.capacity is None:
        return expected
    return [_cut(row, expected, setting.capacity) for row in expected]


def accuracy(
    checkpoint: str | None,
    finding: str,
    sensitivity: float | None,
    specificity: float | None,
    positives: int | None,
    negatives: int | None,
) -> tuple[list[Accuracy], bool]:
    """The operating points to reckon with, and whether they are those of a demonstration model.

    Parameters
    ----------
    checkpoint
        A checkpoint that says how often it was right; else sensitivity and specificity are given.
    positives, negatives
        Films with and without a fracture that these were measured on; None: no interval.

    Raises
    ------
    UsageError
        Neither or both are given, or the checkpoint does not say.
    """
    if checkpoint is not None:
        from vfscreen.model.checkpoint import read_info

        if (sensitivity, specificity, positives, negatives) != (None, None, None, None):
            raise UsageError("Give --checkpoint, or --sensitivity and --specificity, not both.")
        info = read_info(checkpoint)
        return checkpoint_accuracy(info, finding), info.demonstration
    if sensitivity is None or specificity is None:
        raise UsageError("Give --sensitivity and --specificity, or a --checkpoint that says them.")
    point = Accuracy(
        "as given", None, _given(sensitivity, positives), _given(specificity, negatives)
    )
    return [point], False


def _given(value: float, films: int | None) -> Estimate:
    if films is None:
        return Estimate(value, value, value)
    interval = share(round(value * films), films)
    # The value was rounded by whoever gave it, the interval belongs to whole films.
    return Estimate(value, min(value, interval.low), max(value, interval.high))


def checkpoint_accuracy(info: "CheckpointInfo", finding: str) -> list[Accuracy]:
    """A checkpoint's operating points with what its provenance says of each, `default` first.

    `provenance["operating_point_counts"][finding][name]` holds the films behind them:
    `true_positives`, `positives`, `true_negatives`, `negatives`.

    Raises
    ------
    UsageError
        The checkpoint does not say, or has no such finding.
    """
    if finding not in info.findings:
        raise UsageError(f"The checkpoint predicts {', '.join(info.findings)}, not {finding}.")
    points = info.operating_points[finding]
    names = sorted(points, key=lambda name: (name != "default", points[name]))
    try:
        counts = info.provenance["operating_point_counts"][finding]
        return [
            Accuracy(
                name,
                points[name],
                _measured(counts[name]["true_positives"], counts[name]["positives"]),
                _measured(counts[name]["true_negatives"], counts[name]["negatives"]),
            )
            for name in names
        ]
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"The checkpoint {info.name} does not say on how many films it was right at its "
            "operating points: give --sensitivity and --specificity as they were measured on "
            "films of your own."
        ) from None


def _measured(right: int, of: int) -> Estimate:
    if not 0 <= right <= of or of == 0:
        raise ValueError
    return share(right, of)


def _odds_ratio(whole: float, unreported: float | None, setting: Setting) -> float:
    """Odds of finding an unreported fracture over those of finding any."""
    if unreported is None:
        return 1.0
    u = setting.unreported_share
    least, most = _bounds(whole, u)
    if not least - 1e-9 <= unreported <= most + 1e-9:
        raise UsageError(
            f"With a sensitivity of {whole:.3f} for all fractures and {u:.0%} of them unreported, "
            f"that for the unreported ones is between {least:.3f} and {most:.3f}."
        )
    if whole in (0.0, 1.0):
        return 1.0
    if unreported >= 1.0:
        return float("inf")
    return unreported / (1 - unreported) / (whole / (1 - whole))


def _bounds(whole: float, unreported_share: float) -> tuple[float, float]:
    """Lowest and highest sensitivity for the unreported ones: all or none of the others found."""
    if unreported_share == 0:
        return 0.0, 1.0
    reported = 1 - unreported_share
    return max(0.0, (whole - reported) / unreported_share), min(1.0, whole / unreported_share)


def _of_unreported(whole: float, ratio: float, unreported_share: float) -> float:
    """Sensitivity for unreported fractures, given that for all."""
    if ratio == 1.0 or whole in (0.0, 1.0):
        return whole
    odds = ratio * whole / (1 - whole)
    alone = 1.0 if odds == float("inf") else odds / (1 + odds)
    least, most = _bounds(whole, unreported_share)
    return min(max(alone, least), most)


def _expected(point: Accuracy, setting: Setting, ratio: float) -> Expected:
    u, w = setting.unreported_share, setting.studies
    fractures, clear = w * setting.prevalence, w * (1 - setting.prevalence)
    kept = 1 - setting.false_reported

    def unreported(se: float, _: float) -> float:
        return _of_unreported(se, ratio, u)

    def found(se: float, sp: float) -> float:
        return fractures * u * unreported(se, sp) * kept

    def already(se: float, sp: float) -> float:
        # Those that reports name are what is left of all that is found.
        return fractures * max(0.0, se - u * unreported(se, sp)) * setting.missed

    def false(_: float, sp: float) -> float:
        return clear * (1 - sp) * kept

    def listed(se: float, sp: float) -> float:
        return found(se, sp) + already(se, sp) + false(se, sp)

    def ppv(se: float, sp: float) -> float:
        return found(se, sp) / listed(se, sp) if listed(se, sp) > 0 else float("nan")

    def of(figure: Callable[[float, float], float]) -> Estimate:
        return _carried(figure, point.sensitivity, point.specificity)

    return Expected(
        operating_point=point.operating_point,
        threshold=point.threshold,
        sensitivity=point.sensitivity,
        sensitivity_unreported=of(unreported),
        specificity=point.specificity,
        unreported=Estimate(fractures * u, fractures * u, fractures * u),
        listed=of(listed),
        found=of(found),
        already_reported=of(already),
        no_fracture=of(false),
        ppv=_carried(ppv, point.sensitivity, point.specificity, most=1.0),
        missed_by_checkpoint=of(lambda se, sp: fractures * u * (1 - unreported(se, sp))),
        hidden_by_labeller=of(
            lambda se, sp: fractures * u * unreported(se, sp) * setting.false_reported
        ),
        listed_cut=None,
        found_cut=None,
    )


def _carried(
    figure: Callable[[float, float], float],
    sensitivity: Estimate,
    specificity: Estimate,
    most: float = float("inf"),
) -> Estimate:
    """A figure with the interval that two independent ones give it.

    Square-and-add of what each limit moves (MOVER: Newcombe 1998, Stat Med 17:873; Zou and Donner
    2008, Stat Med 27:1693).
    """
    se, sp = sensitivity, specificity
    value = figure(se.value, sp.value)
    down = up = 0.0
    for ends in (
        (figure(se.low, sp.value), figure(se.high, sp.value)),
        (figure(se.value, sp.low), figure(se.value, sp.high)),
    ):
        down += max(0.0, value - min(ends)) ** 2
        up += max(0.0, max(ends) - value) ** 2
    return Estimate(value, max(0.0, value - down**0.5), min(most, value + up**0.5))


def _cut(row: Expected, rows: Sequence[Expected], capacity: int) -> Expected:
    """The same row with the list cut at the capacity.

    A list that is cut begins with the shorter lists of stricter operating points: the best of them
    bounds what it finds.
    """
    from dataclasses import replace

    if row.listed.value <= capacity:
        return replace(row, listed_cut=row.listed, found_cut=row.found)

    def found(shorter: Expected) -> Estimate:
        if shorter.listed.value <= capacity:
            rest = capacity - shorter.listed.value
            between = row.listed.value - shorter.listed.value
            more = (row.found.value - shorter.found.value) * rest / between
            return _shifted(shorter.found, max(0.0, more))
        p = shorter.ppv
        return Estimate(p.value * capacity, p.low * capacity, p.high * capacity)

    best = max((found(r) for r in rows if r.listed.value <= row.listed.value), key=_value)
    size = Estimate(float(capacity), float(capacity), float(capacity))
    return replace(row, listed_cut=size, found_cut=best)


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(estimate.value + by, estimate.low + by, estimate.high + by)


def _value(estimate: Estimate) -> float:
    return estimate.value
