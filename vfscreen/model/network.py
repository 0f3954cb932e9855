"""The networks: torchvision's, with one film channel in and one logit a finding out."""

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.errors import CheckpointError, UsageError

# How many channels the maps at stride 16 and at stride 32 have.
ARCHITECTURES = {
    "resnext50_32x4d": (1024, 2048),
    "resnext101_32x8d": (1024, 2048),
    "densenet161": (2112, 2208),
    "densenet169": (1280, 1664),
    "efficientnet_b5": (176, 2048),
    "convnext_tiny": (384, 768),
}
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4", "head")


class FilmClassifier(nn.Module):
    """A torchvision backbone that reads films of one channel.

    The backbone keeps torchvision's own names and three input channels, so that its published
    weights load as they are; the film is repeated over the channels.

    Attributes
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    backbone : nn.Module
        torchvision's network; its names are those of a checkpoint's tensors.
    channels : int
        How many channels the stem reads: 3, or 1 once inference has summed its kernel.
    last : nn.Module
        Passes the map at stride 32 on: what Grad-CAM hooks, whatever the architecture.
    frozen : tuple of str
        Names of the stages that `freeze` has set; `train()` leaves them as in inference.
    """

    def __init__(self, architecture: str, findings: Sequence[str]) -> None:
        super().__init__()
        channels_of(architecture)
        backbone = getattr(torchvision.models, architecture)(weights=None)
        self.architecture = architecture
        self.channels = 3
        self.backbone: Any = backbone
        self.last = nn.Identity()
        self.frozen: tuple[str, ...] = ()
        parent, name = self._output_place()
        setattr(parent, name, nn.Linear(self.output.in_features, len(findings)))

    def _output_place(self) -> tuple[nn.Module, str]:
        """Where torchvision keeps the last linear layer: the module that holds it, and its name."""
        if self.architecture.startswith("resnext"):
            return self.backbone, "fc"
        if self.architecture.startswith("densenet"):
            return self.backbone, "classifier"
        # After dropout (EfficientNet), or after a normalisation of pooled features (ConvNeXt).
        classifier = self.backbone.classifier
        return classifier, str(len(classifier) - 1)

    @property
    def output(self) -> nn.Linear:
        """The last layer, a row a finding; reached here whatever the architecture calls it."""
        parent, name = self._output_place()
        layer = parent.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        return layer

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules in the order in which a film passes them, by the names `STAGES`.

        `stem` to `stage4` applied one after the other are the map at stride 32, `stem` to
        `stage3` the one at stride 16; `head` is what follows the pooling.
        """
        net = self.backbone
        if self.architecture.startswith("resnext"):
            stem = (net.conv1, net.bn1, net.relu, net.maxpool)
            body = [(net.layer1,), (net.layer2,), (net.layer3,), (net.layer4,)]
            return dict(zip(STAGES, [stem, *body, (net.fc,)], strict=True))
        f = net.features
        if self.architecture.startswith("densenet"):
            # A transition halves the map, so it begins a stage. The last ReLU has no weights
            # and no name of its own in torchvision.
            parts = [
                (f.conv0, f.norm0, f.relu0, f.pool0),
                (f.denseblock1,),
                (f.transition1, f.denseblock2),
                (f.transition2, f.denseblock3),
                (f.transition3, f.denseblock4, f.norm5, f.relu0),
            ]
        elif self.architecture.startswith("efficientnet"):
            parts = [tuple(f[a:b]) for a, b in ((0, 1), (1, 3), (3, 4), (4, 6), (6, 9))]
        else:
            parts = [tuple(f[a:b]) for a, b in ((0, 1), (1, 2), (2, 4), (4, 6), (6, 8))]
        return dict(zip(STAGES, [*parts, (net.classifier,)], strict=True))

    def feature_maps(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Maps at stride 16 and 32: (N, C16, S/16, S/16), (N, C32, S/32, S/32) of `channels_of`."""
        stages = self.stages()
        x = films.expand(-1, self.channels, -1, -1)
        for name in ("stem", "stage1", "stage2", "stage3"):
            for module in stages[name]:
                x = module(x)
        third = x
        for module in stages["stage4"]:
            x = module(x)
        return third, self.last(x)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits of pooled features, in float32: bfloat16 logits tie in steps of 1/64.

        Parameters
        ----------
        pooled : Tensor
            (..., C32): means of the map at stride 32.

        Returns
        -------
        Tensor
            (..., findings) float32.
        """
        with torch.autocast(pooled.device.type, enabled=False):
            x = pooled.float()
            (head,) = self.stages()["head"]
            for layer in head.children() if isinstance(head, nn.Sequential) else (head,):
                if isinstance(layer, nn.LayerNorm):
                    # torchvision's own normalises the channels of a map of one cell: the same.
                    x = nnf.layer_norm(
                        x, layer.normalized_shape, layer.weight, layer.bias, layer.eps
                    )
                elif not isinstance(layer, nn.Flatten):
                    x = layer(x)
        return x

    def cells(self, last: Tensor) -> Tensor:
        """What `classify` makes of each cell of the map at stride 32 alone.

        Without a normalisation in the head (all but ConvNeXt) their mean is the film's logit.

        Parameters
        ----------
        last : Tensor
            (N, C32, H, W), the second of `feature_maps`.

        Returns
        -------
        Tensor
            (N, findings, H, W) float32.
        """
        return self.classify(last.movedim(1, -1)).movedim(-1, 1)

    def forward(self, films: Tensor) -> Tensor:
        """Logits of normalised films.

        Parameters
        ----------
        films : Tensor
            (N, 1, S, S), normalised as the checkpoint's preprocessing says.

        Returns
        -------
        Tensor
            (N, findings) float32.
        """
        return self.classify(self.feature_maps(films)[1].mean((2, 3), dtype=torch.float32))

    def train(self, mode: bool = True) -> Self:
        """Set what is not frozen to training; frozen stages keep their statistics."""
        super().train(mode)
        for module in frozen_modules(self):
            module.eval()
        return self


def build(architecture: str, findings: Sequence[str]) -> FilmClassifier:
    """A network with random weights.

    Raises
    ------
    CheckpointError
        The architecture is not known.
    """
    return FilmClassifier(architecture, findings)


def channels_of(architecture: str) -> tuple[int, int]:
    """How many channels the maps at stride 16 and at stride 32 have.

    Raises
    ------
    CheckpointError
        The architecture is not known.
    """
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"The architecture {architecture!r} is not known to this version of vfscreen; "
            f"known: {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[architecture]


def freeze(model: FilmClassifier, stages: Sequence[str]) -> None:
    """Keep stages as they are: neither their weights nor their statistics change in training.

    Parameters
    ----------
    model : FilmClassifier
        `model.train()` leaves the frozen stages in inference mode from now on (their statistics
        stay, their dropout is off); an optimiser takes the parameters with `requires_grad`.
    stages : sequence of str
        Of `STAGES`; what was frozen before and is not named is trained again.

    Raises
    ------
    UsageError
        A stage is not known, or nothing would be left to train.
    """
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r} to freeze; a network has: {', '.join(STAGES)}."
        )
    if set(stages) == set(STAGES):
        raise UsageError("Every stage is frozen: there is nothing left to train.")
    model.frozen = tuple(stage for stage in STAGES if stage in stages)
    model.requires_grad_(True)
    for module in frozen_modules(model):
        module.requires_grad_(False)
    model.train(model.training)


def frozen_modules(model: FilmClassifier) -> list[nn.Module]:
    """The modules of the frozen stages."""
    stages = model.stages()
    return [module for name in model.frozen for module in stages[name]]


class Ensemble(nn.Module):
    """Networks whose logits are averaged, such as those of the folds; often a single one.

    Attributes
    ----------
    members : sequence of FilmClassifier
        Each (N, 1, S, S) films to (N, findings) logits.
    flip : bool
        Whether the films mirrored about their vertical axis are averaged in: left and right are
        alike for a spine.
    """

    def __init__(self, members: Sequence[FilmClassifier], *, flip: bool = False) -> None:
        super().__init__()
        self.members = cast(Sequence[FilmClassifier], nn.ModuleList(members))
        self.flip = flip

    def forward(self, films: Tensor) -> Tensor:
        """Mean logits (N, findings), float32, of films (N, 1, S, S)."""
        return averaged(self.members, films, flip=self.flip)


def averaged(
    networks: Sequence[Callable[[Tensor], Tensor]], films: Tensor, *, flip: bool
) -> Tensor:
    """Mean of the networks' logits, and of those of the mirrored films too."""
    views = (films, films.flip(3)) if flip else (films,)
    return torch.stack([network(view) for network in networks for view in views]).mean(0)
