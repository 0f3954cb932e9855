"""Whether the films of a month are still like those that a checkpoint was calibrated on.

A difference is told only where it is both large enough to matter and too large for chance, the
numbers of studies and patients being what they are: a small month must not cry wolf.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10
FILMS_PER_BIN = 20
"""Fewer bins where the calibration set is small."""
FEWEST_STUDIES = 100
"""A month of fewer says nothing: chance alone moves a tenth of them by 3 % of all."""
CHANCE = 0.001
"""Looked at every night, one false alarm in some years is tolerable; one a month is not."""
PSI_MATTERS = 0.1
"""Above what chance brings. By the custom of credit scoring, 0.1 is a moderate shift and 0.25 a
major one (Siddiqi 2006)."""
KS_MATTERS = 0.1
SHARE_MATTERS = 0.05
"""Of films: one in twenty otherwise than before, of missing tags, failures, or films called
positive."""
RARE_FILMS = 5
"""A manufacturer of fewer films is lumped with the other rare ones: a single film's could tell
whose it is."""
NAME_CHARACTERS = 64
TAGS = ("age", "sex", "view", "manufacturer")


@dataclass(frozen=True, slots=True)
class Reference:
    """The calibration set of a finding, as the months to come are held against.

    Films are weighted so that the finding has the prevalence that calibration is meant for: sets
    made for calibration have more positives than a month.

    Attributes
    ----------
    films, patients : int
        Screened and labelled.
    effective : float
        Patients that an unweighted sample would need for the same scatter (Kish 1965).
    edges, shares : tuple of float
        Inner edges of the bins of logits, and the share of films in each bin (one more).
    missing : dict
        Share of films without a tag, for each of `TAGS`.
    manufacturers : dict
        Share of films by name; `rare_manufacturers` is that of the names left out.
    threshold_logit, positive : float
        The default operating point as a logit, and the share of films at or above it.
    tried, failed : int
        Films of the results folder in which calibration was done, and those of them that could not
        be screened: a set that somebody labelled has few such films, or none.
    """

    films: int
    patients: int
    effective: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: dict[str, float]
    manufacturers: dict[str, float]
    rare_manufacturers: float
    threshold_logit: float
    positive: float
    tried: int
    failed: int

    def to_json(self) -> dict[str, Any]:
        """As plain objects, for a checkpoint."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Month:
    """What one model screened lately: counts of films, of the same things as a `Reference`."""

    since: date
    until: date
    films: int
    studies: int
    bins: tuple[int, ...]
    missing: dict[str, int]
    manufacturers: dict[str, int]
    positive: int
    failed: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of the calibration set beside that of the month; `differs`: worth a word."""

    what: str
    calibration: float | None
    month: float
    differs: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """How a month compares; `reasons` are what differs, in words; none where nothing does.

    `enough` is False where the month has fewer than `fewest` studies, too few to tell.
    """

    month: Month
    enough: bool
    rows: tuple[Compared, ...]
    reasons: tuple[str, ...]
    fewest: int = FEWEST_STUDIES


def named(manufacturer: str | None) -> str:
    """A manufacturer's name without what devices of one maker spell differently; "" for none."""
    return " ".join((manufacturer or "").split()).upper()[:NAME_CHARACTERS]


def reference_of(
    logits: ArrayLike,
    labels: ArrayLike,
    patients: ArrayLike,
    *,
    missing: Mapping[str, ArrayLike],
    manufacturers: list[str | None],
    prevalence: float,
    threshold_logit: float,
    tried: int,
    failed: int,
) -> Reference:
    """Describe a calibration set.

    Parameters
    ----------
    logits, labels, patients : array_like
        (N,) of the films that were screened.
    missing : mapping
        For each of `TAGS`, (N,) whether a film lacks it.
    manufacturers : list
        (N,) as they are in DICOM.
    prevalence : float
        That calibration is meant for.
    threshold_logit : float
        The default operating point.
    tried, failed : int
        Films that the model was given, and how many of them could not be screened.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels).astype(bool)
    w = np.where(y, prevalence / y.mean(), (1 - prevalence) / (1 - y.mean()))
    w = w / w.sum()
    persons = len(np.unique(np.asarray(patients)))
    bins = max(2, min(BINS, len(z) // FILMS_PER_BIN))
    edges = _edges(z, w, bins)
    names = np.array([named(name) for name in manufacturers])
    known = {
        str(name): float(w[names == name].sum())
        for name in np.unique(names)
        if name and (names == name).sum() >= RARE_FILMS
    }
    return Reference(
        films=len(z),
        patients=persons,
        effective=float(1 / (w**2).sum() * persons / len(z)),
        edges=tuple(float(edge) for edge in edges),
        shares=tuple(
            float(share)
            for share in np.bincount(np.searchsorted(edges, z, "right"), w, len(edges) + 1)
        ),
        missing={tag: float(w[np.asarray(missing[tag], bool)].sum()) for tag in TAGS},
        manufacturers=known,
        rare_manufacturers=float(w[(names != "") & ~np.isin(names, list(known))].sum()),
        threshold_logit=threshold_logit,
        positive=float(w[z >= threshold_logit].sum()),
        tried=tried,
        failed=failed,
    )


def _edges(z: NDArray[np.float64], w: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Edges between bins of like weight; fewer where logits are equal."""
    order = np.argsort(z, kind="stable")
    places = np.searchsorted(np.cumsum(w[order]), np.arange(1, bins) / bins)
    edges = np.unique(z[order][np.minimum(places, len(z) - 1)])
    # An edge at the lowest logit would leave an empty bin below it.
    return np.asarray(edges[edges > z.min()] if len(edges) > 1 else edges)


def from_json(raw: Any) -> Reference:
    """A reference as a checkpoint holds it.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        It is none.
    """
    read = Reference(
        films=int(raw["films"]),
        patients=int(raw["patients"]),
        effective=float(raw["effective"]),
        edges=tuple(float(edge) for edge in raw["edges"]),
        shares=tuple(float(share) for share in raw["shares"]),
        missing={tag: float(raw["missing"][tag]) for tag in TAGS},
        manufacturers={str(k): float(v) for k, v in raw["manufacturers"].items()},
        rare_manufacturers=float(raw["rare_manufacturers"]),
        threshold_logit=float(raw["threshold_logit"]),
        positive=float(raw["positive"]),
        tried=int(raw["tried"]),
        failed=int(raw["failed"]),
    )
    shares = [*read.shares, *read.missing.values(), *read.manufacturers.values(), read.positive]
    if not all(0 <= share <= 1 + 1e-9 for share in shares):
        raise ValueError("a share is between 0 and 1")
    if len(read.shares) != len(read.edges) + 1 or not (np.diff(read.edges) > 0).all():
        raise ValueError("bins have increasing edges between them")
    if not np.isfinite(read.threshold_logit):
        raise ValueError("a threshold is a number")
    if not 0 < read.effective < np.inf or not 0 <= read.failed <= read.tried:
        raise ValueError("counts do not fit")
    return read


def compare(reference: Reference, month: Month) -> Drift:
    """Hold a month against the calibration set."""
    rows = [_logits(reference, month), _ks(reference, month)]
    rows.append(
        _share("films called positive", reference.positive, month.positive, reference, month)
    )
    rows += [
        _share(f"films without {tag}", reference.missing[tag], month.missing[tag], reference, month)
        for tag in TAGS
    ]
    unseen, row = _manufacturers(reference, month)
    rows += [row, _failures(reference, month)]
    if month.studies < FEWEST_STUDIES:
        return Drift(month, False, tuple(rows), ())
    reasons = [_in_words(row, unseen) for row in rows if row.differs]
    # PSI and KS are two views of one thing: it is said once.
    return Drift(month, True, tuple(rows), tuple(dict.fromkeys(reasons)))


def _logits(reference: Reference, month: Month) -> Compared:
    """Population stability index of the logits, less what chance brings."""
    from scipy.stats import chi2

    bins = len(reference.shares)
    then = (np.array(reference.shares) * reference.effective + 0.5) / (
        reference.effective + 0.5 * bins
    )
    films = max(sum(month.bins), 1)
    # As if each study had one film: its films are alike.
    now = (np.array(month.bins) / films * month.studies + 0.5) / (month.studies + 0.5 * bins)
    psi = float(((now - then) * np.log(now / then)).sum())
    scatter = 1 / reference.effective + 1 / max(month.studies, 1)
    by_chance = float(chi2.ppf(1 - CHANCE, bins - 1)) * scatter
    matters = psi - (bins - 1) * scatter >= PSI_MATTERS
    return Compared("PSI of the logits", None, psi, matters and psi > by_chance)


def _ks(reference: Reference, month: Month) -> Compared:
    """Largest difference between the two distributions of logits, at the edges (Kolmogorov)."""
    then = np.cumsum(reference.shares)
    now = np.cumsum(month.bins) / max(sum(month.bins), 1)
    distance = float(np.abs(then - now).max())
    scatter = 1 / reference.effective + 1 / max(month.studies, 1)
    by_chance = float(np.sqrt(-np.log(CHANCE / 2) / 2 * scatter))
    differs = distance >= KS_MATTERS and distance > by_chance
    return Compared("KS distance of the logits", None, distance, differs)


def _share(
    what: str,
    then: float,
    films: int,
    reference: Reference,
    month: Month,
    *,
    only_more: bool = False,
) -> Compared:
    now = films / max(month.films, 1)
    differs = abs(now - then) >= SHARE_MATTERS and not (only_more and now < then)
    differs = differs and _beyond_chance(
        then * reference.effective, reference.effective, now * month.studies, month.studies
    )
    return Compared(what, then, now, differs)


def _beyond_chance(then: float, of_then: float, now: float, of_now: float) -> bool:
    """Fisher's exact test of two shares."""
    from scipy.stats import fisher_exact

    a, b = round(then), round(now)
    table = [[a, max(0, round(of_then) - a)], [b, max(0, round(of_now) - b)]]
    return bool(fisher_exact(table).pvalue < CHANCE)


def _manufacturers(reference: Reference, month: Month) -> tuple[list[str], Compared]:
    """Films of manufacturers that calibration has not seen, beyond those it lumped together."""
    by_name: dict[str, int] = {}
    for name, films in month.manufacturers.items():
        by_name[named(name)] = by_name.get(named(name), 0) + films
    unseen = {
        name: n for name, n in by_name.items() if name and name not in reference.manufacturers
    }
    row = _share(
        "films of manufacturers new to calibration",
        reference.rare_manufacturers,
        sum(unseen.values()),
        reference,
        month,
        only_more=True,
    )
    return sorted(unseen, key=lambda name: (-unseen[name], name)), row


def _failures(reference: Reference, month: Month) -> Compared:
    """More failures than at calibration; fewer are nobody's worry."""
    tried = month.films + month.failed
    then, now = reference.failed / max(reference.tried, 1), month.failed / max(tried, 1)
    differs = now - then >= SHARE_MATTERS and _beyond_chance(
        reference.failed, reference.tried, month.failed, tried
    )
    return Compared("films that failed", then, now, differs)


def _in_words(row: Compared, unseen: list[str]) -> str:
    if row.calibration is None:
        return "the model's outputs are distributed otherwise"
    said = f"{row.what}: {row.month:.0%} instead of {row.calibration:.0%}"
    if "manufacturers" in row.what:
        said += f" ({', '.join(unseen[:3])}{', ...' if len(unseen) > 3 else ''})"
    return said
