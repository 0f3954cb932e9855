"""A smooth curve along the spine, through what the locator found.

x and y are stiff polynomials of the place along an average column. A level that was taken for its
neighbour, or found in a gas bubble, is outvoted by the others. All films of a batch are fitted at
once: a nightly job has no time for a solver a film.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nnf

from vfscreen.model.column import CELLS, ColumnSpec, standard_places

# Points of a curve. A spine bends so little that the chords between them are the curve.
CURVE_POINTS = 129
# Cells around a level's peak that belong to it (vertebrae are about five cells apart), and around
# the middle of the column (a body is about eight cells wide).
_PEAK_CELLS, _COLUMN_CELLS = 2, 6
# Beyond this many spacings from the curve, a level was found somewhere else.
_STRAY = 0.6
# What a spacing can be, as a share of the prepared film's height.
_SPACING = (0.03, 0.25)
# The column leaves the vertical by less than this, as a slope on the prepared film.
_STEEPEST = 1.0
# Degree, and weight of the integrated squared bending against squared distances in spacings: a
# scoliosis of 25 mm is followed, a single level that is half a spacing off is not.
_ACROSS, _ALONG = (5, 0.02), (2, 0.3)
# Distances (in spacings) at which a place counts half, round by round.
_ROUNDS = (1.0, 0.7, 0.5, 0.3, 0.3, 0.3)
# A row of the column map against a level: rows are many and of one opinion.
_ROW_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class Centreline:
    """Where the spine runs on N films; positions are x, y in 0..1 of the prepared film.

    Attributes
    ----------
    curve : Tensor
        (N, CURVE_POINTS, 2) float32, downwards from the column's upper end to its lower end, at
        equal steps of arc length.
    points : Tensor
        (N, levels, 2) centres of the levels that were seen; NaN for the others.
    confidence : Tensor
        (N, levels) the locator's probability around the place of each level, seen or not.
    located : Tensor
        (N,) whether the curve follows a spine; otherwise it is the middle of the film, from top
        to bottom, and no level counts as seen.
    """

    curve: Tensor
    points: Tensor
    confidence: Tensor
    located: Tensor


@torch.no_grad()
def centreline(heatmaps: Tensor, spec: ColumnSpec) -> Centreline:
    """Lay the curve, by weighted least squares.

    Weights are the locator's confidences, less for what lies far from the curve (Cauchy's, a few
    rounds); the start is the median of the lines through two levels each (Theil and Sen).

    Parameters
    ----------
    heatmaps : Tensor
        (N, levels + 1, CELLS, CELLS) from `Locator.heatmaps`.
    """
    # A film of what is no number is the network's to refuse; here it is a film without a spine.
    heatmaps = heatmaps.nan_to_num(0.0)
    points, confidence = _levels(heatmaps[:, :-1])
    ridge, cover = _rows(heatmaps[:, -1])
    u = points.new_tensor(standard_places()).expand_as(confidence)
    weight = confidence * (confidence >= spec.min_confidence / 2)
    spacing, middle = _line(u, points[..., 1], weight)
    along = _Fit(_ALONG, spec, spacing, u, points[..., 1], weight, middle[:, None] + spacing * u)
    # Also a level that was taken for its neighbour lies on the column, where it was found.
    places = torch.cat([along.inverse(points[..., 1]), along.inverse(ridge[..., 1])], 1)
    positions = torch.cat([points[..., 0], ridge[..., 0]], 1)
    weight = torch.cat([weight, _ROW_WEIGHT * cover * (cover > 0.5)], 1)
    weight = weight * (places.abs() <= spec.extent / 2)
    start = _median(positions, weight)[:, None].expand_as(positions)
    across = _Fit(_ACROSS, spec, spacing, places, positions, weight, start)

    ends = spec.extent / 2
    fine = torch.linspace(-ends, ends, CURVE_POINTS, dtype=u.dtype, device=u.device)
    fine = fine.expand(len(u), -1)
    curve = torch.stack([across(fine), along(fine)], -1)
    stray = torch.stack([across(u), along(u)], -1) - points
    seen = (confidence >= spec.min_confidence) & (stray.norm(dim=-1) < _STRAY * spacing)
    step = curve.diff(dim=1)
    located = (seen.sum(1) >= spec.min_levels) & (step[..., 1] > 0).all(1)
    located &= (step[..., 0].abs() <= _STEEPEST * step[..., 1]).all(1)
    located &= ((spacing > _SPACING[0]) & (spacing < _SPACING[1]))[:, 0]

    strip = torch.linspace(0, 1, CURVE_POINTS, dtype=u.dtype, device=u.device)
    strip = torch.stack([torch.full_like(strip, 0.5), strip], -1)
    curve = torch.where(located[:, None, None], _evenly(curve), strip)
    points = torch.where((seen & located[:, None])[..., None], points, torch.nan)
    return Centreline(curve.float(), points.float(), confidence.float(), located)


class _Fit:
    """A stiff polynomial of the place along the column, a film each, in units of its spacing."""

    def __init__(
        self,
        shape: tuple[int, float],
        spec: ColumnSpec,
        spacing: Tensor,
        places: Tensor,
        positions: Tensor,
        weight: Tensor,
        fitted: Tensor,
    ) -> None:
        degree, stiffness = shape
        self._half, self._spacing = spec.extent / 2, spacing
        self._powers = torch.arange(degree + 1, dtype=places.dtype, device=places.device)
        basis = self._basis(places)
        bending = stiffness * self._bending() + 1e-9 * torch.eye(degree + 1).to(basis)
        for scale in _ROUNDS:
            w = weight / (1 + ((positions - fitted) / (scale * spacing)).square())
            normal = torch.einsum("nk,nki,nkj->nij", w, basis, basis) + bending
            right = torch.einsum("nk,nki->ni", w * positions / spacing, basis)
            self._coefficients = torch.linalg.solve(normal, right)
            fitted = self(places)

    def __call__(self, places: Tensor) -> Tensor:
        values = torch.einsum("nki,ni->nk", self._basis(places), self._coefficients)
        return values * self._spacing

    def inverse(self, positions: Tensor) -> Tensor:
        """Places of positions, for a fit that is nearly a line (Newton's method)."""
        first, second = self._coefficients[:, :1], self._coefficients[:, 1:2]
        wanted = positions / self._spacing
        places: Tensor = (wanted - first) / second.clamp(min=1e-3) * self._half
        for _ in range(3):
            slope = second + 2 * self._coefficients[:, 2:3] * places / self._half
            miss = self(places) / self._spacing - wanted
            places = places - miss / slope.clamp(min=1e-3) * self._half
        return places

    def _basis(self, places: Tensor) -> Tensor:
        return (places / self._half)[..., None] ** self._powers

    def _bending(self) -> Tensor:
        """Integral of the products of second derivatives over the column, place in spacings."""
        k = self._powers
        factor = k * (k - 1) / self._half**2
        power = k[:, None] + k[None, :] - 3
        # Over -1..1 odd powers cancel; the first two have no second derivative.
        integral = torch.where((power % 2 != 0) & (power > 0), 2 / power, 0.0)
        bending: Tensor = factor[:, None] * factor[None, :] * integral * self._half
        return bending


def _levels(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and mass of the highest peak of each map: (N, M, 2) x, y in 0..1, and (N, M)."""
    count = maps.shape[1]
    smooth = nnf.avg_pool2d(maps, 3, 1, 1)
    peak = smooth.flatten(2).argmax(2)
    at = torch.arange(CELLS, device=maps.device)
    near_x = (at - (peak % CELLS)[..., None]).abs() <= _PEAK_CELLS
    near_y = (at - (peak // CELLS)[..., None]).abs() <= _PEAK_CELLS
    part = (maps * (near_y[..., :, None] & near_x[..., None, :])).double()
    mass = part.sum((2, 3))
    centres = (at.double() + 0.5) / CELLS
    x = (part.sum(2) @ centres) / mass.clamp(min=1e-9)
    y = (part.sum(3) @ centres) / mass.clamp(min=1e-9)
    return torch.stack([x, y], -1).view(-1, count, 2), mass


def _rows(column: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and height of the column map in each row: (N, CELLS, 2) x, y, and (N, CELLS)."""
    smooth = nnf.avg_pool1d(column, 5, 1, 2)
    height, peak = smooth.max(2)
    at = torch.arange(CELLS, device=column.device)
    part = (column * ((at - peak[..., None]).abs() <= _COLUMN_CELLS)).double()
    centres = (at.double() + 0.5) / CELLS
    x = (part @ centres) / part.sum(2).clamp(min=1e-9)
    return torch.stack([x, centres.expand_as(x)], -1), height.double()


def _line(u: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (N, 1) and value at 0 (N,) of the median line."""
    first, second = torch.triu_indices(u.shape[1], u.shape[1], 1, device=u.device)
    slopes = (y[:, second] - y[:, first]) / (u[:, second] - u[:, first])
    slope = _median(slopes, weight[:, first] * weight[:, second])[:, None]
    slope = slope.clamp(min=_SPACING[0] / 2)
    return slope, _median(y - slope * u, weight)


def _median(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted median of each row."""
    ordered, order = values.sort(dim=1)
    mass = weight.gather(1, order).cumsum(1)
    return ordered.gather(1, (mass < mass[:, -1:] / 2).sum(1, keepdim=True))[:, 0]


def _evenly(curve: Tensor) -> Tensor:
    """The curve (N, K, 2) again, at K places of equal steps of its arc length."""
    count = curve.shape[1]
    length = nnf.pad(curve.diff(dim=1).norm(dim=-1).cumsum(1), (1, 0))
    steps = torch.linspace(0, 1, count, dtype=curve.dtype, device=curve.device)
    wanted = steps * length[:, -1:]
    after = torch.searchsorted(length, wanted).clamp(1, count - 1)
    left, right = length.gather(1, after - 1), length.gather(1, after)
    share = ((wanted - left) / (right - left).clamp(min=1e-12))[..., None]
    index = after[..., None].expand(-1, -1, 2)
    return curve.gather(1, index - 1) * (1 - share) + curve.gather(1, index) * share
