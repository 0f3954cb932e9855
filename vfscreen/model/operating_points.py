"""Operating points by rule: from which probability on a film counts as positive, and why there.

    youden                the largest sum of sensitivity and specificity
    sensitivity>=0.9      the largest specificity while 90 % of the positives are found
    specificity>=0.9      the largest sensitivity while 90 % of the negatives are spared
    ppv>=0.3              the largest sensitivity while 30 % of the films found are positive,
                          at a stated prevalence
    films_per_week<=40    the lowest threshold that an archive's films pass 40 times a week

Of thresholds that are equal in the one figure the better in the other is taken. A rule is met by
the figure itself; the interval beside it says how sure that is. One that cannot be met is said,
never bent.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfscreen.errors import ConfigError, InputError
from vfscreen.model.statistics import Estimate, share

_SIGNS = {"sensitivity": ">=", "specificity": ">=", "ppv": ">=", "films_per_week": "<="}
_RULE = re.compile(r"(?P<kind>[a-z_]+) *(?P<sign>[<>]=) *(?P<value>\d+(\.\d*)?|\.\d+)", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
# How far below the lowest film a threshold lies, as a share: no other film says where.
_BEYOND = 1e-6


@dataclass(frozen=True, slots=True)
class Rule:
    """What an operating point is to reach; `kind` is `youden` (no value) or what is bounded."""

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        return self.kind + (f"{_SIGNS[self.kind]}{self.value:g}" if self.kind in _SIGNS else "")


@dataclass(frozen=True, slots=True)
class ArchiveFilms:
    """Films as a site's archive brings them, without labels: what `films_per_week` goes by.

    `weeks` are calendar weeks in which at least one of them was made.
    """

    probabilities: NDArray[np.float64]
    weeks: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, and on how many labelled films it is right.

    `ppv` is at the `prevalence` stated; NaN where no film is found. `rule` is None where nobody
    knows what the threshold was chosen for.
    """

    rule: Rule | None
    threshold: float
    true_positives: int
    positives: int
    true_negatives: int
    negatives: int
    prevalence: float

    @property
    def sensitivity(self) -> Estimate:
        """With Wilson's interval."""
        return share(self.true_positives, self.positives)

    @property
    def specificity(self) -> Estimate:
        """With Wilson's interval."""
        return share(self.true_negatives, self.negatives)

    @property
    def ppv(self) -> float:
        """Share of the films found that are positive, at the stated prevalence."""
        return float(_ppv(self.sensitivity.value, self.specificity.value, self.prevalence))

    def counts(self) -> dict[str, int]:
        """What `provenance["operating_point_counts"]` holds of it."""
        names = ("true_positives", "positives", "true_negatives", "negatives")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Unmet:
    """A rule that these films cannot meet, and why."""

    rule: Rule
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Operating points by name; `unmet` and `notes` are sentences for a person."""

    points: dict[str, OperatingPoint]
    unmet: dict[str, str]
    notes: tuple[str, ...]

    def thresholds(self) -> dict[str, float]:
        """What a checkpoint holds of them."""
        return {name: point.threshold for name, point in self.points.items()}


def parse_rule(text: str) -> Rule:
    """Read one rule.

    Raises
    ------
    ConfigError
        It is none.
    """
    if text.strip() == "youden":
        return Rule("youden")
    match = _RULE.fullmatch(text.strip())
    if match is None or _SIGNS.get(match["kind"]) != match["sign"]:
        raise ConfigError(
            f"`{text}` is no rule for an operating point: write youden, sensitivity>=0.9, "
            "specificity>=0.9, ppv>=0.3 or films_per_week<=40."
        )
    rule = Rule(match["kind"], float(match["value"]))
    if rule.value <= 0 or (rule.value > 1 and rule.kind != "films_per_week"):
        raise ConfigError(
            f"`{text}`: a share is above 0 and at most 1, films a week are more than 0."
        )
    return rule


def parse_rules(texts: Iterable[str]) -> dict[str, Rule]:
    """Read rules by name, as in `default=youden`; `default` is always there.

    Raises
    ------
    ConfigError
        One cannot be read, a name is given twice, or none is called `default`.
    """
    rules: dict[str, Rule] = {}
    for text in texts:
        name, separator, rule = text.partition("=")
        name = name.strip()
        if not separator or not _NAME.fullmatch(name):
            raise ConfigError(
                f"`{text}` is no operating point: write name=rule, as in default=youden (small "
                "letters, digits and _)."
            )
        if name in rules:
            raise ConfigError(f"Two operating points are called `{name}`.")
        rules[name] = parse_rule(rule)
    if "default" not in rules:
        raise ConfigError("One operating point must be called `default`, as in default=youden.")
    return rules


def choose(
    rule: Rule,
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    prevalence: float | None = None,
    archive: ArchiveFilms | None = None,
) -> OperatingPoint | Unmet:
    """Find the threshold that a rule asks for.

    Thresholds lie between two films' probabilities, so that rounding moves no film across.

    Parameters
    ----------
    probabilities, labels : array_like
        (N,) calibrated probabilities, or whatever else the threshold is to be of, and truth (0 or
        1), both classes present.
    prevalence : float, optional
        At which `ppv` counts; None: that of the labels.
    archive : ArchiveFilms, optional
        For `films_per_week`.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels).astype(bool)
    if prevalence is None:
        prevalence = float(y.mean())
    if rule.kind == "films_per_week":
        cut = _by_workload(rule, archive)
    else:
        cut = _by_labels(rule, p, y, prevalence)
    if isinstance(cut, Unmet):
        return cut
    return measured(rule, cut, p, y, prevalence)


def measured(
    rule: Rule | None,
    threshold: float,
    probabilities: ArrayLike,
    labels: ArrayLike,
    prevalence: float,
) -> OperatingPoint:
    """A threshold, with the labelled films that are on its right and wrong sides."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels).astype(bool)
    found = p >= threshold
    return OperatingPoint(
        rule=rule,
        threshold=threshold,
        true_positives=int((found & y).sum()),
        positives=int(y.sum()),
        true_negatives=int((~found & ~y).sum()),
        negatives=int((~y).sum()),
        prevalence=prevalence,
    )


def choose_all(
    rules: Mapping[str, Rule],
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    prevalence: float | None = None,
    archive: ArchiveFilms | None = None,
) -> Chosen:
    """Choose every operating point of a finding; parameters as in `choose`.

    Raises
    ------
    InputError
        The rule of `default` cannot be met: the nightly list would have no threshold.
    """
    points: dict[str, OperatingPoint] = {}
    unmet: dict[str, str] = {}
    for name, rule in rules.items():
        found = choose(rule, probabilities, labels, prevalence=prevalence, archive=archive)
        if isinstance(found, Unmet):
            unmet[name] = f"The operating point {name} ({rule}) cannot be met: {found.why}."
        else:
            points[name] = found
    if "default" in unmet:
        raise InputError(f"{unmet['default']} Give it another rule.")
    by_threshold: dict[float, list[str]] = {}
    for name, point in points.items():
        by_threshold.setdefault(point.threshold, []).append(name)
    notes = tuple(
        f"The operating points {', '.join(names)} have the same threshold: no film lies between."
        for names in by_threshold.values()
        if len(names) > 1
    )
    return Chosen(points, unmet, notes)


def _by_labels(
    rule: Rule, p: NDArray[np.float64], y: NDArray[np.bool_], prevalence: float
) -> float | Unmet:
    values = np.unique(p)
    # Of the cut below each value, and of the one above all.
    found = 1 - np.r_[np.searchsorted(np.sort(p[y]), values), y.sum()] / y.sum()
    spared = np.r_[np.searchsorted(np.sort(p[~y]), values), (~y).sum()] / (~y).sum()
    if rule.kind == "youden":
        return _cut(values, int(np.argmax(found + spared)))
    least = rule.value - 1e-12
    if rule.kind == "sensitivity":
        best = spared[found >= least].max()
        return _cut(values, int(np.flatnonzero(spared == best)[0]))
    ppv = np.where(found > 0, _ppv(found, spared, prevalence), -1.0)
    met = found > 0
    met &= (spared if rule.kind == "specificity" else ppv) >= least
    if met.any():
        return _cut(values, int(np.flatnonzero(found == found[met].max())[-1]))
    if rule.kind == "specificity":
        return Unmet(rule, "no positive film lies above that many of the negatives")
    return Unmet(rule, f"at a prevalence of {prevalence:.3g} the highest PPV is {ppv.max():.3f}")


def _by_workload(rule: Rule, archive: ArchiveFilms | None) -> float | Unmet:
    if archive is None or not len(archive.probabilities) or not archive.weeks:
        return Unmet(rule, "no screened films of the archive with study dates are at hand")
    values, counts = np.unique(archive.probabilities, return_counts=True)
    from_here_on = np.r_[np.cumsum(counts[::-1])[::-1], 0]
    first = int(np.flatnonzero(from_here_on <= rule.value * archive.weeks + 1e-9)[0])
    if first < len(values):
        return _cut(values, first)
    return Unmet(
        rule,
        f"in {archive.weeks:,} week(s) that is less than the {counts[-1]:,} film(s) of the "
        "highest probability",
    )


def _cut(values: NDArray[np.float64], first: int) -> float:
    """A threshold that the values from `first` on reach, and those before do not."""
    if first == 0:
        return float(values[0] - abs(values[0]) * _BEYOND)
    middle = (values[first - 1] + values[first]) / 2
    return float(middle if middle > values[first - 1] else values[first])


def _ppv(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: float) -> NDArray[np.float64]:
    """Bayes: of the films found, those that are positive; NaN where none is found."""
    right = np.asarray(sensitivity) * prevalence
    found = right + (1 - np.asarray(specificity)) * (1 - prevalence)
    return np.asarray(np.divide(right, found, out=np.full_like(found, np.nan), where=found > 0))
