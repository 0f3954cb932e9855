"""What varies the training films: DALI, or the plain reference in torch."""

from typing import TYPE_CHECKING

from vfscreen.errors import ConfigError
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vfscreen.model.augmentation import Draws
    from vfscreen.model.batches import Augment


def augment_of(
    name: str, spec: Preprocessing, batch_size: int, device: "torch.device"
) -> "Augment":
    """The callable that `vfscreen.model.training.train` takes.

    Parameters
    ----------
    name : str
        `[train] augment`: `dali`, `torch`, or `auto` for what is faster on the device.
    batch_size : int
        The most films a batch.

    Raises
    ------
    ConfigError
        There is nothing of that name.
    """
    from vfscreen.model.augmentation import inside_collimation, noise, vary

    if name not in ("auto", "dali", "torch"):
        raise ConfigError(f"[train] augment is `auto`, `dali` or `torch`, not {name!r}.")
    if name == "torch":
        return vary
    from vfscreen.imaging.augment import Augmenter

    augmenter = Augmenter(spec, batch_size, str(device))

    def augment(films: "Tensor", draws: "Draws", spec: Preprocessing) -> "Tensor":
        size = spec.input_size_px
        return augmenter.vary(
            films, draws, noise(draws, size, device), inside_collimation(draws, size)
        )

    return augment
