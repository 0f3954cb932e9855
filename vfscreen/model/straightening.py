"""The straightened column: a film resampled along the normals of its centreline, and back.

Positions are x, y in 0..1, of the film or of the column. Rows follow the curve's arc length; the
patient's left stays where it was. The frame is that of the prepared film, which is stretched to a
square: on a film of 35 by 43 cm a curve that leans by 10 degrees has normals that are 2 degrees
off, which shears the column by 4 %.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model.centreline import centreline
from vfscreen.model.column import ColumnSpec
from vfscreen.model.locating import Locator

# Around a level's centre, in spacings: half the height to its neighbours' end plates, and on each
# side the width of a body.
_HALF_HEIGHT, _HALF_WIDTH = 0.55, 0.9
# Positions in the column change slowly over a film: finer ones are interpolated.
_COARSE_PX = 256
# How far columns vary in training: e-fold of the scale, slope, and shift as a share of the length
# (0.015 are an eighth of a spacing, somewhat more than the locator errs).
_JITTER_SCALE, _JITTER_TILT, _JITTER_SHIFT = 0.08, 0.05, 0.015


def sampling(curve: Tensor, spec: ColumnSpec, height: int, width: int) -> Tensor:
    """Where on the film the cells of a column lie.

    Parameters
    ----------
    curve : Tensor
        (N, K, 2), at equal steps of arc length.
    height, width : int
        Cells of the column: its pixels, or fewer for a map of it.

    Returns
    -------
    Tensor
        (N, height, width, 2) positions on the film; some may lie outside 0..1.
    """
    rows = (torch.arange(height, dtype=curve.dtype, device=curve.device) + 0.5) / height
    columns = (torch.arange(width, dtype=curve.dtype, device=curve.device) + 0.5) / width
    on_curve, normal = _at(curve, rows.expand(len(curve), -1))
    across = (columns - 0.5) * _width(curve, spec)[:, None]
    return on_curve[:, :, None] + across[:, None, :, None] * normal[:, :, None]


def resample(films: Tensor, positions: Tensor) -> Tensor:
    """Bilinear values (N, C, H, W) of films (N, C, S, S) at positions (N, H, W, 2); 0 outside."""
    return nnf.grid_sample(
        films, (positions * 2 - 1).to(films.dtype), padding_mode="zeros", align_corners=False
    )


def straighten(films: Tensor, curve: Tensor, spec: ColumnSpec) -> Tensor:
    """The column of each film.

    Parameters
    ----------
    films : Tensor
        (N, 1, S, S) float32, normalised: what lies outside a film becomes 0, the mean grey.
    curve : Tensor
        (N, K, 2), as in `Centreline`.

    Returns
    -------
    Tensor
        (N, 1, height_px, width_px) float32.
    """
    return resample(films, sampling(curve, spec, spec.height_px, spec.width_px))


def to_column(points: Tensor, curve: Tensor, spec: ColumnSpec) -> Tensor:
    """Where positions on the film lie in the column.

    Parameters
    ----------
    points : Tensor
        (N, P, 2); NaN stays NaN.

    Returns
    -------
    Tensor
        (N, P, 2), x and y in 0..1 inside the column.
    """
    last = curve.shape[1] - 1
    nearest = torch.cdist(points.nan_to_num(0.5), curve).argmin(2)
    row = nearest.to(curve.dtype) / last
    # The nearest of the curve's points, then along its tangent; beyond the ends it runs straight.
    for _ in range(2):
        on_curve, normal = _at(curve, row)
        tangent = torch.stack([-normal[..., 1], normal[..., 0]], -1)
        ahead = ((points - on_curve) * tangent).sum(-1) / _length(curve)[:, None]
        row = row + ahead.nan_to_num(0.0)
    on_curve, normal = _at(curve, row)
    x = ((points - on_curve) * normal).sum(-1) / _width(curve, spec)[:, None] + 0.5
    return torch.stack([x, torch.where(x.isnan(), torch.nan, row)], -1)


def to_film(maps: Tensor, curve: Tensor, spec: ColumnSpec, size_px: int) -> Tensor:
    """Maps of columns drawn on their films; 0 outside the column.

    Parameters
    ----------
    maps : Tensor
        (N, C, h, w) of the column, at any resolution.

    Returns
    -------
    Tensor
        (N, C, size_px, size_px).
    """
    coarse = min(size_px, _COARSE_PX)
    at = (torch.arange(coarse, dtype=curve.dtype, device=curve.device) + 0.5) / coarse
    y, x = torch.meshgrid(at, at, indexing="ij")
    points = torch.stack([x, y], -1).view(1, -1, 2)
    drawn = []
    # A film at a time: every position is compared with every point of the curve.
    for one, line in zip(maps.split(1), curve.split(1), strict=True):  # type: ignore[no-untyped-call]
        where = to_column(points, line, spec).view(1, coarse, coarse, 2).movedim(3, 1)
        where = nnf.interpolate(where, (size_px, size_px), mode="bilinear").movedim(1, 3)
        inside = ((where > 0) & (where < 1)).all(-1)[:, None]
        values = nnf.grid_sample(
            one, (where * 2 - 1).to(one.dtype), padding_mode="border", align_corners=False
        )
        drawn.append(torch.where(inside, values, 0.0))
    return torch.cat(drawn)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of N films, and the way back.

    Attributes
    ----------
    pixels : Tensor
        (N, 1, height_px, width_px) float32: what the classifier sees.
    windows : Tensor
        (N, levels, 4) x0, y0, x1, y1 around each level's centre, in 0..1 of the column; NaN for a
        level that was not seen on this film.
    curve : Tensor
        (N, K, 2) the line along which the film was straightened.
    located : Tensor
        (N,) whether that line is a spine's; otherwise it is the middle of the film.
    """

    pixels: Tensor
    windows: Tensor
    curve: Tensor
    located: Tensor


class Straightener(nn.Module):
    """What stands before a classifier of columns: films in, their columns out.

    Always float32 and frozen, whatever precision the classifier has; a film's column does not
    depend on the films that come with it.
    """

    def __init__(self, locator: Locator, spec: ColumnSpec) -> None:
        super().__init__()
        self.locator = locator.eval().requires_grad_(False)
        self.spec = spec

    @torch.no_grad()
    def forward(self, films: Tensor, vary: Tensor | None = None) -> Columns:
        """Straighten films.

        Parameters
        ----------
        films : Tensor
            (N, 1, S, S) normalised.
        vary : Tensor, optional
            (N, 4) in -1..1, for training: how each column is moved, by `jittered`.
        """
        with torch.autocast(films.device.type, enabled=False):
            films = films.float()
            line = centreline(self.locator.heatmaps(films), self.spec)
            curve = line.curve if vary is None else jittered(line.curve, vary.to(line.curve))
            pixels = straighten(films, curve, self.spec)
            x, y = to_column(line.points, curve, self.spec).unbind(-1)
        half_x, half_y = _HALF_WIDTH / self.spec.width, _HALF_HEIGHT / self.spec.extent
        windows = torch.stack([x - half_x, y - half_y, x + half_x, y + half_y], -1)
        return Columns(pixels, windows, curve, line.located)


def jittered(curve: Tensor, vary: Tensor) -> Tensor:
    """Curves (N, K, 2) scaled, tilted and moved by (N, 4) numbers in -1..1.

    The locator errs a little on every film; a classifier that has never seen that would err more.
    """
    scale = torch.exp(vary[:, 0] * _JITTER_SCALE)[:, None, None]
    tilt = vary[:, 1:2] * _JITTER_TILT
    centre = curve.mean(1, keepdim=True)
    x, y = (curve - centre).unbind(-1)
    turned = torch.stack([x - tilt * y, y + tilt * x], -1)
    moved = vary[:, 2:] * _JITTER_SHIFT * _length(curve)[:, None]
    return centre + turned * scale + moved[:, None]


def _length(curve: Tensor) -> Tensor:
    length: Tensor = curve.diff(dim=1).norm(dim=-1).sum(1)
    return length


def _width(curve: Tensor, spec: ColumnSpec) -> Tensor:
    """(N,) width of the column: its pixels are square on the prepared film."""
    return _length(curve) * (spec.width_px / spec.height_px)


def _at(curve: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and unit normals (to the film's right) at rows (N, R) in 0..1 of the length."""
    last = curve.shape[1] - 1
    tangent = torch.cat(
        [curve[:, 1:2] - curve[:, :1], (curve[:, 2:] - curve[:, :-2]) / 2,
         curve[:, -1:] - curve[:, -2:-1]], 1,
    )  # fmt: skip
    place = rows * last
    before = place.floor().clamp(0, last - 1)
    # Beyond the ends the last chord goes on; its direction does not turn.
    share = (place - before)[..., None]
    index = before.long()[..., None].expand(-1, -1, 2)
    position = torch.lerp(curve.gather(1, index), curve.gather(1, index + 1), share)
    share = share.clamp(0, 1)
    direction = torch.lerp(tangent.gather(1, index), tangent.gather(1, index + 1), share)
    direction = direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return position, torch.stack([direction[..., 1], -direction[..., 0]], -1)
