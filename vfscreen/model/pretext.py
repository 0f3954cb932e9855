"""A pretext task for a classifier's backbone: say where the vertebrae are.

First weights for machines that cannot have ImageNet's: nobody has to know which vertebra is
fractured to mark vertebrae, and a backbone that can tell their levels apart has looked at end
plates and pedicles. The task is the locator's, at the backbone's own stride; what is added to the
backbone is thrown away.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model import container
from vfscreen.model.column import CELLS, LEVELS
from vfscreen.model.network import FilmClassifier, channels_of

_WIDTH = 64


class VertebraFinder(nn.Module):
    """A backbone, and on top of its maps at stride 16 and 32 what `Locator` answers."""

    def __init__(self, classifier: FilmClassifier) -> None:
        super().__init__()
        third, last = channels_of(classifier.architecture)
        self.classifier = classifier
        self.fine = nn.Conv2d(third, _WIDTH, 1)
        self.coarse = nn.Conv2d(last, _WIDTH, 1)
        self.up = nn.ModuleList([_block() for _ in range(3)])
        self.where = nn.Conv2d(_WIDTH, len(LEVELS) + 1, 1)
        self.absent = nn.Linear(last, len(LEVELS))

    def forward(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of places, and logits of the column, as `Locator.forward`.

        Parameters
        ----------
        films : Tensor
            (N, 1, S, S) normalised, float32.
        """
        third, last = self.classifier.feature_maps(films)
        absent = self.absent(last.mean((2, 3)))
        # Nearest: the backward pass of a bilinear enlargement is not deterministic on a GPU.
        x = self.fine(third) + nnf.interpolate(self.coarse(last), third.shape[-2:])
        for block, size in zip(self.up, (third.shape[-1], CELLS // 2, CELLS), strict=True):
            x = block(nnf.interpolate(x, (size, size)))
        maps = self.where(x)
        places = torch.cat([maps[:, :-1].flatten(2), absent[..., None]], 2)
        return nnf.log_softmax(places.float(), 2), maps[:, -1].float()


def save_backbone(path: Path, classifier: FilmClassifier, about: dict[str, str]) -> None:
    """Write the backbone by torchvision's names, its head left out: what `--init` takes.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    head = f"{_head_of(classifier)}."
    tensors = {
        name: tensor.detach().cpu().numpy()
        for name, tensor in classifier.backbone.state_dict().items()
        if not name.startswith(head) and not name.endswith("num_batches_tracked")
    }
    container.write(path, tensors, about, what="weights")


def _head_of(classifier: FilmClassifier) -> str:
    """The last layer's name in the backbone."""
    names: dict[Any, str] = {m: name for name, m in classifier.backbone.named_modules()}
    return names[classifier.output]


def _block() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(_WIDTH, _WIDTH, 3, 1, 1, bias=False), nn.GroupNorm(8, _WIDTH), nn.ReLU()
    )
