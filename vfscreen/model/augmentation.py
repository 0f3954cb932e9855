"""Random variation of films, a whole batch at a time.

What is random is drawn first, on the CPU, as numbers a film (`Draws`); applying them is then a
pure function of film and numbers. `vary` is the plain reference; DALI does the same from the same
numbers (`vfscreen.imaging.augment`).

A group of films (counterfactuals of one patient) gets the same geometry and the same display, so
that within a group nothing but the finding differs; noise is drawn for each film.
Inversion is not varied: it is undone before a film reaches the network.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nnf

from vfscreen.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class Variation:
    """How much films vary. Lengths are shares of the film, angles degrees, values 0..1."""

    scale: float = 0.13
    aspect: float = 0.06
    shift: float = 0.05
    rotation_deg: float = 5.0
    mirror: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    log_gamma: float = 0.4
    window: float = 0.22
    sigmoid: float = 0.3
    detail: float = 1.0
    noise: float = 0.025
    margin: float = 0.05
    # How much straightened columns move, of what `straightening.jittered` moves them.
    column: float = 1.0


_STILL = Variation(
    scale=0, aspect=0, shift=0, rotation_deg=0, mirror=0, log_gamma=0, window=0, sigmoid=0,
    detail=0, noise=0, margin=0, column=0,
)  # fmt: skip

VARIATIONS: dict[str, Variation] = {
    "none": _STILL,
    # Colour jitter of a grey film is brightness and contrast; the paper gives no strength.
    "chen2021": Variation(
        scale=0, aspect=0, shift=0, rotation_deg=0, mirror=0, log_gamma=0, window=0, sigmoid=0,
        detail=0, noise=0, margin=0, column=0, brightness=0.2, contrast=0.2,
    ),
    "default": Variation(),
}  # fmt: skip
"""What `augmentation` in a training plan may be."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What was drawn for N films; (N,) float32 on the CPU where nothing else is said.

    In the order of use: `geometry` (N, 2, 3) maps output to input positions, both in -1..1;
    `low` and `high` are the display window, `gamma` its exponent; `curve` is the share of a
    sigmoid of `steepness` around `centre`; `detail` enhances edges (negative: smooths them);
    `sigma` is the noise's; `margins` (N, 4) of left, right, top, bottom are shut off, and show
    the grey `outside`. `jitter` (groups,) in -0.5..0.5 is where a strip lies (`focus`), `column`
    (N, 4) in -1..1 how a straightened column is moved (`straightening.jittered`).
    """

    geometry: Tensor
    low: Tensor
    high: Tensor
    gamma: Tensor
    curve: Tensor
    steepness: Tensor
    centre: Tensor
    detail: Tensor
    sigma: Tensor
    margins: Tensor
    outside: Tensor
    jitter: Tensor
    column: Tensor
    noise_seed: int


def draw(groups: int, group: int, variation: Variation, rng: torch.Generator) -> Draws:
    """Draw for `groups` groups of `group` consecutive films, from `rng` and nothing else."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(groups, generator=rng)

    def sometimes(values: Tensor, otherwise: float, chance: float = 0.6) -> Tensor:
        use = torch.rand(groups, generator=rng) < chance
        return torch.where(use, values, torch.tensor(otherwise))

    v = variation
    geometry = random_geometry(groups, v, rng)
    # Contrast turns about mid-grey: about the film's own mean it could not be drawn unseen.
    bright = 1 + uniform(-v.brightness, v.brightness)
    contrast = 1 + uniform(-v.contrast, v.contrast)
    dark = (0.5 - 0.5 / contrast) / bright
    span = 1 / (contrast * bright)
    low = sometimes(uniform(-v.window / 2, v.window), 0.0)
    high = sometimes(uniform(1 - v.window * 1.3, 1 + v.window / 2), 1.0)
    of_group = {
        "geometry": geometry,
        "low": dark + low * span,
        "high": dark + high * span,
        "gamma": sometimes(torch.exp(uniform(-v.log_gamma, v.log_gamma)), 1.0),
        "steepness": uniform(2.5, 8.0),
        "centre": uniform(0.35, 0.65),
        "curve": sometimes(uniform(0.3, 1.0), 0.0, v.sigmoid),
        "detail": v.detail * sometimes(uniform(-0.9, 1.0), 0.0),
        "sigma": sometimes(uniform(0.0, v.noise), 0.0),
        "margins": v.margin
        * torch.rand(groups, 4, generator=rng)
        * (torch.rand(groups, 4, generator=rng) < 0.25),
        "outside": torch.rand(groups, generator=rng).round(),
        "column": v.column * (2 * torch.rand(groups, 4, generator=rng) - 1),
    }
    return Draws(
        **{name: values.repeat_interleave(group, 0) for name, values in of_group.items()},
        jitter=torch.rand(groups, generator=rng) - 0.5,
        noise_seed=int(torch.randint(2**62, (1,), generator=rng)),
    )


def random_geometry(groups: int, variation: Variation, generator: torch.Generator) -> Tensor:
    """Affine maps (groups, 2, 3) from output to input positions, both in -1..1."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(groups, generator=generator)

    v = variation
    angle = uniform(-1, 1) * math.radians(v.rotation_deg)
    size = torch.exp(uniform(-v.scale, v.scale))
    aspect = torch.exp(uniform(-v.aspect, v.aspect))
    # Left and right are alike on a frontal film but for liver and gas: mirrored films are films.
    mirror = torch.where(torch.rand(groups, generator=generator) < v.mirror, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([mirror * cos * size * aspect, -sin * size, uniform(-v.shift, v.shift) * 2], 1),
        torch.stack([mirror * sin * size, cos * size / aspect, uniform(-v.shift, v.shift) * 2], 1),
    ]
    return torch.stack(rows, 1)


def vary(films: Tensor, draws: Draws, spec: Preprocessing) -> Tensor:
    """Films as the network sees them in training: the plain reference.

    Parameters
    ----------
    films : Tensor
        (N, C, C) uint8 display values, on the device; C is the input size or larger.

    Returns
    -------
    Tensor
        (N, 1, S, S) float32, normalised.
    """
    x = warp(films[:, None].float() / 255.0, draws.geometry.to(films.device), spec.input_size_px)
    x = vary_collimation(vary_display(x, draws), draws)
    return (x - spec.mean) / spec.std


def plain(films: Tensor, spec: Preprocessing) -> Tensor:
    """Films as the network sees them in validation: (N, C, C) uint8 to (N, 1, S, S) normalised."""
    x, size = films[:, None].float() / 255.0, (spec.input_size_px, spec.input_size_px)
    if tuple(x.shape[-2:]) != size:
        x = nnf.interpolate(x, size, mode="bilinear", antialias=True)
    return (x - spec.mean) / spec.std


def warp(images: Tensor, geometry: Tensor, size_px: int) -> Tensor:
    """Resample (N, C, H, W) images by (N, 2, 3) maps to (N, C, size_px, size_px)."""
    grid = nnf.affine_grid(
        geometry, [images.shape[0], images.shape[1], size_px, size_px], align_corners=False
    )
    return nnf.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )


def vary_display(films: Tensor, draws: Draws) -> Tensor:
    """Another maker's way to show the same exposure.

    Window, gamma, sigmoid curve, edge enhancement or smoothing, and noise.

    Parameters
    ----------
    films : Tensor
        (N, 1, S, S), 0..1.
    """

    def column(values: Tensor) -> Tensor:
        return values.to(films.device).view(-1, 1, 1, 1)

    low, high = column(draws.low), column(draws.high)
    x = ((films - low) / (high - low)).clamp(1e-4, 1.0)
    if (draws.gamma != 1).any():
        x = x ** column(draws.gamma)
    if draws.curve.any():
        steepness, centre = column(draws.steepness), column(draws.centre)
        curve = torch.sigmoid(steepness * (x - centre))
        bottom, top = torch.sigmoid(-steepness * centre), torch.sigmoid(steepness * (1 - centre))
        x = x + column(draws.curve) * ((curve - bottom) / (top - bottom) - x)
    if draws.detail.any():
        x = x + column(draws.detail) * (x - _smooth(x))
    if draws.sigma.any():
        x = x + column(draws.sigma) * noise(draws, films.shape[-1], films.device)
    return x.clamp(0.0, 1.0)


def noise(draws: Draws, size_px: int, device: torch.device) -> Tensor:
    """The noise of a batch, standard normal, (N, 1, size_px, size_px) on the device."""
    rng = torch.Generator(device).manual_seed(draws.noise_seed)
    return torch.randn(len(draws.sigma), 1, size_px, size_px, generator=rng, device=device)


def inside_collimation(draws: Draws, size_px: int) -> tuple[Tensor, Tensor]:
    """Which columns and which rows of the films are inside the collimator, (N, size_px) each."""
    at, margins = (torch.arange(size_px) + 0.5) / size_px, draws.margins[..., None]
    return (
        (at >= margins[:, 0]) & (at <= 1 - margins[:, 1]),
        (at >= margins[:, 2]) & (at <= 1 - margins[:, 3]),
    )


def vary_collimation(films: Tensor, draws: Draws) -> Tensor:
    """Shut the collimator a little, on some films, with any grey outside it."""
    if not draws.margins.any():
        return films
    across, down = (t.to(films.device) for t in inside_collimation(draws, films.shape[-1]))
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(inside, films, draws.outside.to(films.device).view(-1, 1, 1, 1))


def focus(
    films: Tensor, where: Tensor, group: int, width: float, jitter: Tensor
) -> tuple[Tensor, Tensor]:
    """Cut films and box masks to a strip of `width` (share of the film) around the finding.

    A group has one strip, off the finding's centre by up to a third of its width (`jitter`, one
    a group, -0.5..0.5), so that its place in the strip tells nothing.
    """
    cells, pixels = where.shape[-1], films.shape[-1]
    grouped = where.view(-1, group, cells, cells).amax((1, 2))
    at = torch.arange(cells, device=where.device, dtype=where.dtype)
    weight = grouped.sum(1, keepdim=True)
    centre = torch.where(
        weight[:, 0] > 0, (grouped * at).sum(1) / weight[:, 0].clamp(min=1e-6), cells / 2
    )
    strip = round(cells * width)
    offset = jitter.to(centre.device) * strip * 2 / 3
    left = (centre + offset - strip / 2).round().clamp(0, cells - strip).long()
    left = left.repeat_interleave(group)

    def cut(images: Tensor, scale: int) -> Tensor:
        columns = torch.arange(strip * scale, device=images.device)
        index = (left * scale)[:, None] + columns
        index = index[:, None, None].expand(-1, images.shape[1], images.shape[2], -1)
        return images.gather(3, index)

    return cut(films, pixels // cells), cut(where, 1)


# A mark without extent is a point: it stands for a vertebra, a fifteenth of an abdominal film.
_MARK = 1 / 15


def box_masks(boxes: Tensor, size_px: int) -> Tensor:
    """Boxes as images: (N, K, 4) of x0, y0, x1, y1 in 0..1 (NaN: none) to (N, 1, size, size).

    A point (x0 = x1, y0 = y1) marks the vertebra around it.
    """
    at = (torch.arange(size_px, device=boxes.device) + 0.5) / size_px
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    half = torch.where((half == 0).all(-1, keepdim=True), _MARK / 2, half)
    low, high = (centre - half)[..., None], (centre + half)[..., None]
    across = (at >= low[..., 0, :]) & (at <= high[..., 0, :])
    down = (at >= low[..., 1, :]) & (at <= high[..., 1, :])
    return (down[..., :, None] & across[..., None, :]).any(1, keepdim=True).float()


def _smooth(films: Tensor) -> Tensor:
    """The [1 2 1] filter in both directions, edges reflected as DALI reflects them."""
    kernel = torch.tensor([0.25, 0.5, 0.25], device=films.device, dtype=films.dtype)
    padded = nnf.pad(films, (1, 1, 1, 1), mode="reflect")
    return nnf.conv2d(nnf.conv2d(padded, kernel.view(1, 1, 3, 1)), kernel.view(1, 1, 1, 3))
