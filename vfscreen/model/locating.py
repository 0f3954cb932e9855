"""The locator: a small network that finds the vertebrae of a film.

It says for each level from T10 to L5 where its centre is, as a distribution over the cells of the
film and one more outcome, "not on this film", and for each cell whether the column of vertebral
bodies covers it. `centreline` lays a curve through both.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model.column import CELLS, LEVELS, LOCATOR_PX


class Locator(nn.Module):
    """Where the vertebrae are: a U of convolutions, about half a million weights.

    Normalisation is by groups of channels: what a film gets does not depend on its batch, nor on
    statistics that training elsewhere could overwrite.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                _block(before, after, stride=2)
                for before, after in zip((1, *widths), widths, strict=False)
            ]
        )
        self.across = nn.ModuleList([nn.Conv2d(w, widths[1], 1) for w in widths[1:]])
        self.up = nn.ModuleList([_block(widths[1], widths[1]) for _ in widths[2:]])
        self.where = nn.Conv2d(widths[1], len(LEVELS) + 1, 1)
        self.absent = nn.Linear(widths[-1], len(LEVELS))

    def forward(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of places, and logits of the column.

        Parameters
        ----------
        films : Tensor
            (N, 1, S, S) normalised, float32, S any working size.

        Returns
        -------
        tuple of Tensor
            (N, levels, CELLS * CELLS + 1), the last outcome "not on this film"; and
            (N, CELLS, CELLS).
        """
        if films.shape[-1] != LOCATOR_PX:
            size = (LOCATOR_PX, LOCATOR_PX)
            films = nnf.interpolate(films, size, mode="bilinear", antialias=True)
        x, levels = films, []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        absent = self.absent(x.mean((2, 3)))
        x = self.across[-1](x)
        for across, up, skip in zip(
            reversed(self.across[:-1]), self.up, reversed(levels[1:-1]), strict=True
        ):
            # Nearest: the backward pass of a bilinear enlargement is not deterministic on a GPU.
            x = up(nnf.interpolate(x, skip.shape[-2:]) + across(skip))
        maps = self.where(x)
        places = torch.cat([maps[:, :-1].flatten(2), absent[..., None]], 2)
        return nnf.log_softmax(places.float(), 2), maps[:, -1].float()

    @torch.no_grad()
    def heatmaps(self, films: Tensor) -> Tensor:
        """Probabilities (N, levels + 1, CELLS, CELLS) float32: levels, then the column.

        A level's map adds up to the probability that the level is on the film.
        """
        with torch.autocast(films.device.type, enabled=False):
            places, column = self(films.float())
        levels = places[..., :-1].exp().unflatten(2, (CELLS, CELLS))
        return torch.cat([levels, column.sigmoid()[:, None]], 1)


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, step in ((before, stride), (after, 1)):
        layers += [
            nn.Conv2d(channels, after, 3, step, 1, bias=False),
            nn.GroupNorm(8, after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
