"""Pictures for people: right way up, right aspect, the heat where it is."""

import io

import dicom_films as films
import numpy as np
from PIL import Image

from vfscreen.imaging.picture import captioned, film_picture, overlay_picture, png_bytes


def test_a_film_keeps_its_aspect_and_range() -> None:
    display = np.zeros((1000, 500), np.uint16)
    display[:500] = 65535
    picture = film_picture(display, 200)
    assert picture.shape == (200, 100) and picture.dtype == np.uint8
    assert (picture[:98] == 255).all() and (picture[102:] == 0).all()


def test_a_small_film_is_not_enlarged() -> None:
    assert film_picture(np.zeros((50, 40), np.uint16), 200).shape == (50, 40)


def test_fine_stripes_turn_grey_instead_of_aliasing() -> None:
    display = np.zeros((1000, 1000), np.uint16)
    display[::2] = 65535
    picture = film_picture(display, 130)
    assert np.abs(picture[5:-5].astype(int) - 127).max() < 8


def test_heat_lies_where_it_is_and_anatomy_shows_through() -> None:
    film = film_picture(films.anatomy(1200, 600, bits=16), 300)
    heatmap = np.zeros((224, 224), np.float32)
    heatmap[168:190, 100:120] = 1.0  # three quarters down, a little left of the middle
    picture = overlay_picture(film, heatmap)
    assert picture.shape == (300, 150, 3)
    saturation = picture.max(axis=2).astype(int) - picture.min(axis=2)
    y, x = np.unravel_index(saturation.argmax(), saturation.shape)
    assert 0.72 < y / 300 < 0.87 and 0.42 < x / 150 < 0.56
    cold = saturation[:150]
    assert (cold == 0).all()  # the film as it is
    assert np.array_equal(picture[:150, :, 0], film[:150])
    hot = overlay_picture(film, np.ones((224, 224), np.float32)).mean(axis=2)
    assert np.corrcoef(hot.ravel(), film.ravel())[0, 1] > 0.99


def test_a_caption_hides_no_anatomy() -> None:
    film = film_picture(films.anatomy(600, 600, bits=16), 300)
    heatmap = np.zeros((224, 224), np.float32)
    picture = overlay_picture(film, heatmap, caption="phantom demonstration model")
    assert picture.shape[0] > 300 and picture.shape[1] == 300
    assert np.array_equal(picture[:300, :, 0], film)
    assert picture[300:].max() > 200  # there is text
    long = captioned(film, "word " * 200)
    assert long.shape[1] == 300


def test_png_holds_the_pixels_and_nothing_else() -> None:
    picture = captioned(film_picture(films.anatomy(bits=16), 100), "caption")
    image = Image.open(io.BytesIO(png_bytes(picture)))
    assert np.array_equal(np.asarray(image), picture)
    assert image.info == {}
