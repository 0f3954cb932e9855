"""DALI and the plain reference make the same training films from the same numbers."""

import pytest
import torch
from torch.nn import functional as nnf

from vfscreen.errors import ConfigError
from vfscreen.jobs.augmenting import augment_of
from vfscreen.model.augmentation import VARIATIONS, draw, vary
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing(input_size_px=96)
CPU = torch.device("cpu")
# A hundredth of the films' spread: a four-hundredth of the way from black to white.
TOLERANCE = 0.01


def films(count: int, size_px: int) -> torch.Tensor:
    """Films that are as smooth as films are."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (count, 1, 16, 16), generator=rng).float()
    return nnf.interpolate(coarse, (size_px, size_px), mode="bicubic").clamp(0, 255)[:, 0].byte()


@pytest.mark.parametrize("strength", VARIATIONS)
@pytest.mark.parametrize("size_px", [96, 128])
def test_dali_varies_films_as_the_reference_does(strength: str, size_px: int) -> None:
    dali = augment_of("dali", SPEC, 24, CPU)
    for seed in range(3):
        draws = draw(8, 3, VARIATIONS[strength], torch.Generator().manual_seed(seed))
        shown = films(24, size_px)
        fast, plain = dali(shown, draws, SPEC), vary(shown, draws, SPEC)
        assert fast.shape == plain.shape == (24, 1, 96, 96)
        assert (fast - plain).abs().max() < TOLERANCE


def test_a_film_does_not_depend_on_its_batch_nor_on_what_came_before() -> None:
    dali = augment_of("dali", SPEC, 24, CPU)
    draws = draw(24, 1, VARIATIONS["default"], torch.Generator().manual_seed(4))
    first = dali(films(24, 96), draws, SPEC)
    dali(films(7, 96), draw(7, 1, VARIATIONS["default"], torch.Generator()), SPEC)
    assert torch.equal(dali(films(24, 96), draws, SPEC), first)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="`auto`, `dali` or `torch`, not 'opencv'"):
        augment_of("opencv", SPEC, 24, CPU)
