"""Random variation of films on the training device, a whole batch at a time.

A group of films (counterfactuals of one patient) gets the same geometry and the same display, so
that within a group nothing but the finding differs; noise is drawn for each film.
Inversion is not varied: it is undone before a film reaches the network.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nnf


@dataclass(frozen=True, slots=True)
class Variation:
    """How much films vary. Lengths are shares of the film, angles degrees, values 0..1."""

    scale: float = 0.13
    aspect: float = 0.06
    shift: float = 0.05
    rotation_deg: float = 5.0
    log_gamma: float = 0.4
    window: float = 0.22
    sigmoid: float = 0.3
    noise: float = 0.025
    margin: float = 0.05


def random_geometry(groups: int, variation: Variation, generator: torch.Generator) -> Tensor:
    """Affine maps (groups, 2, 3) from output to input positions, both in -1..1."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(groups, generator=generator)

    v = variation
    angle = uniform(-1, 1) * math.radians(v.rotation_deg)
    size = torch.exp(uniform(-v.scale, v.scale))
    aspect = torch.exp(uniform(-v.aspect, v.aspect))
    # Left and right are alike on a frontal film but for liver and gas: mirrored films are films.
    mirror = torch.where(torch.rand(groups, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([mirror * cos * size * aspect, -sin * size, uniform(-v.shift, v.shift) * 2], 1),
        torch.stack([mirror * sin * size, cos * size / aspect, uniform(-v.shift, v.shift) * 2], 1),
    ]
    return torch.stack(rows, 1)


def warp(images: Tensor, geometry: Tensor, size_px: int) -> Tensor:
    """Resample (N, C, H, W) images by (N, 2, 3) maps to (N, C, size_px, size_px)."""
    grid = nnf.affine_grid(
        geometry, [images.shape[0], images.shape[1], size_px, size_px], align_corners=False
    )
    return nnf.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )


def vary_display(films: Tensor, group: int, variation: Variation, rng: torch.Generator) -> Tensor:
    """Another maker's way to show the same exposure.

    Window, gamma, sigmoid curve and edge enhancement or smoothing are the same within a group
    of consecutive films; noise is each film's own.

    Parameters
    ----------
    films : Tensor
        (N, 1, S, S), 0..1, N a multiple of `group`.
    """
    groups = films.shape[0] // group

    def column(values: Tensor) -> Tensor:
        return values.to(films.device).repeat_interleave(group).view(-1, 1, 1, 1)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(groups, generator=rng)

    def sometimes(values: Tensor, otherwise: float, chance: float) -> Tensor:
        use = torch.rand(groups, generator=rng) < chance
        return column(torch.where(use, values, torch.tensor(otherwise)))

    v = variation
    low = sometimes(uniform(-v.window / 2, v.window), 0.0, 0.6)
    high = sometimes(uniform(1 - v.window * 1.3, 1 + v.window / 2), 1.0, 0.6)
    x = ((films - low) / (high - low)).clamp(1e-4, 1.0)
    x = x ** sometimes(torch.exp(uniform(-v.log_gamma, v.log_gamma)), 1.0, 0.6)
    steepness, centre = column(uniform(2.5, 8.0)), column(uniform(0.35, 0.65))
    curve = torch.sigmoid(steepness * (x - centre))
    bottom, top = torch.sigmoid(-steepness * centre), torch.sigmoid(steepness * (1 - centre))
    share = sometimes(uniform(0.3, 1.0), 0.0, v.sigmoid)
    x = x + share * ((curve - bottom) / (top - bottom) - x)
    detail = x - _smooth(x)
    x = x + sometimes(uniform(-0.9, 1.0), 0.0, 0.6) * detail
    sigma = sometimes(uniform(0.0, v.noise), 0.0, 0.6)
    noise = torch.randn(x.shape, generator=_on(films.device, rng), device=films.device)
    return (x + sigma * noise).clamp(0.0, 1.0)


def vary_collimation(
    films: Tensor, group: int, variation: Variation, rng: torch.Generator
) -> Tensor:
    """Shut the collimator a little, on some films, with any grey outside it."""
    groups, size = films.shape[0] // group, films.shape[-1]
    margins = torch.rand(groups, 4, generator=rng) * variation.margin
    margins *= (torch.rand(groups, 4, generator=rng) < 0.25).float()
    grey = torch.rand(groups, generator=rng).round()
    margins = margins.to(films.device).repeat_interleave(group, 0)[..., None]
    at = (torch.arange(size, device=films.device) + 0.5) / size
    across = (at >= margins[:, 0]) & (at <= 1 - margins[:, 1])
    down = (at >= margins[:, 2]) & (at <= 1 - margins[:, 3])
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    outside = grey.to(films.device).repeat_interleave(group).view(-1, 1, 1, 1)
    return torch.where(inside, films, outside)


def focus(
    films: Tensor, where: Tensor, group: int, width: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut films and box masks to a strip of `width` (share of the film) around the finding.

    A group has one strip, off the finding's centre by up to a third of its width, so that its
    place in the strip tells nothing.
    """
    cells, pixels = where.shape[-1], films.shape[-1]
    grouped = where.view(-1, group, cells, cells).amax((1, 2))
    at = torch.arange(cells, device=where.device, dtype=where.dtype)
    weight = grouped.sum(1, keepdim=True)
    centre = torch.where(
        weight[:, 0] > 0, (grouped * at).sum(1) / weight[:, 0].clamp(min=1e-6), cells / 2
    )
    strip = round(cells * width)
    jitter = (torch.rand(len(centre), generator=rng).to(centre.device) - 0.5) * strip * 2 / 3
    left = (centre + jitter - strip / 2).round().clamp(0, cells - strip).long()
    left = left.repeat_interleave(group)

    def cut(images: Tensor, scale: int) -> Tensor:
        columns = torch.arange(strip * scale, device=images.device)
        index = (left * scale)[:, None] + columns
        index = index[:, None, None].expand(-1, images.shape[1], images.shape[2], -1)
        return images.gather(3, index)

    return cut(films, pixels // cells), cut(where, 1)


def box_masks(boxes: Tensor, size_px: int) -> Tensor:
    """Boxes as images: (N, K, 4) of x0, y0, x1, y1 in 0..1 (NaN: none) to (N, 1, size, size)."""
    at = (torch.arange(size_px, device=boxes.device) + 0.5) / size_px
    across = (at >= boxes[..., 0:1]) & (at <= boxes[..., 2:3])
    down = (at >= boxes[..., 1:2]) & (at <= boxes[..., 3:4])
    return (down[..., :, None] & across[..., None, :]).any(1, keepdim=True).float()


def _smooth(films: Tensor) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25], device=films.device, dtype=films.dtype)
    padded = nnf.pad(films, (1, 1, 1, 1), mode="replicate")
    return nnf.conv2d(nnf.conv2d(padded, kernel.view(1, 1, 3, 1)), kernel.view(1, 1, 1, 3))


def _on(device: torch.device, rng: torch.Generator) -> torch.Generator:
    """A generator on the device, seeded from the one that draws everything else."""
    if device.type == "cpu":
        return rng
    seed = int(torch.randint(2**31, (1,), generator=rng))
    return torch.Generator(device).manual_seed(seed)
