"""Pictures for people: a film at screen size, a heatmap over it, a caption burnt in."""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Anchors of the "inferno" colour map (matplotlib, CC0): lightness rises evenly, so that more heat
# always looks brighter, also in grey print and to a colour-blind reader.
_INFERNO = (
    (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85),
    (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164),
)  # fmt: skip
_MAX_OPACITY = 0.55  # the film's anatomy stays readable under the hottest spot
_LEAST_HEAT = 0.15  # below it the film is shown as it is


def film_picture(display: NDArray[np.uint16], long_side_px: int) -> NDArray[np.uint8]:
    """A film at screen size, antialiased, in its own aspect; never enlarged.

    Parameters
    ----------
    display : uint16 array, shape (rows, columns)
        Display values, 0 black.
    long_side_px : int
        Longest side of the picture.

    Returns
    -------
    uint8 array, shape (height, width)
    """
    rows, columns = display.shape
    scale = min(1.0, long_side_px / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    image = Image.fromarray(display.astype(np.float32))
    small = image.resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.rint(np.asarray(small) / 257.0), 0, 255).astype(np.uint8)


def overlay_picture(
    film: NDArray[np.uint8], heatmap: NDArray[np.float32], caption: str = ""
) -> NDArray[np.uint8]:
    """A heatmap over its film.

    Parameters
    ----------
    film : uint8 array, shape (height, width)
    heatmap : float array, shape (S, S)
        0 to 1 in the network's stretched coordinates; stretched back to the film's aspect here.
    caption : str
        Burnt into a strip below the film, where it hides no anatomy.

    Returns
    -------
    uint8 array, shape (height + strip, width, 3)
    """
    height, width = film.shape
    heat_image = Image.fromarray(np.clip(heatmap, 0, 1).astype(np.float32))
    heat = np.asarray(heat_image.resize((width, height), Image.Resampling.BICUBIC))
    heat = np.clip(heat, 0.0, 1.0)
    opacity = np.clip((heat - _LEAST_HEAT) / (1 - _LEAST_HEAT), 0, 1) * _MAX_OPACITY
    colour = _colours()[np.rint(heat * 255).astype(np.uint8)]
    grey = film[:, :, np.newaxis].astype(np.float32)
    mixed = grey + (colour - grey) * opacity[:, :, np.newaxis].astype(np.float32)
    picture = np.rint(mixed).astype(np.uint8)
    return captioned(picture, caption) if caption else picture


def captioned(picture: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """The picture with a strip of text below it, cut to the width where it does not fit."""
    rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, np.newaxis], 3, axis=2)
    width = rgb.shape[1]
    font = ImageFont.load_default(max(10, width // 40))
    _, top, _, bottom = font.getbbox("Ag")
    strip_height = round((bottom - top) * 2)
    while len(caption) > 1 and font.getlength(caption) > width - 8:
        caption = caption[:-2] + "…" if caption.endswith("…") else caption[:-1] + "…"
    strip = Image.new("RGB", (width, strip_height))
    ImageDraw.Draw(strip).text(
        (4, strip_height / 2), caption, fill=(255, 255, 255), font=font, anchor="lm"
    )
    return np.vstack([rgb, np.asarray(strip)])


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """Encode a grey or RGB picture as PNG, with nothing but pixels in it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


@cache
def _colours() -> NDArray[np.float32]:
    """256 colours, interpolated between the anchors."""
    places = np.linspace(0, 255, len(_INFERNO))
    anchors = np.array(_INFERNO, np.float32)
    steps = np.arange(256)
    return np.stack([np.interp(steps, places, anchors[:, c]) for c in range(3)], axis=1).astype(
        np.float32
    )
