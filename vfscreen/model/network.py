"""The networks: torchvision's, with one film channel in and one logit a finding out."""

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.errors import CheckpointError, UsageError
from vfscreen.model.column import LEVELS, level_of
from vfscreen.model.straightening import Straightener

# (N, 1, H, W) pictures and, of columns, their windows, to (N, findings) logits.
Network = Callable[[Tensor, Tensor | None], Tensor]

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
    findings : tuple of str
        A logit each, in this order.
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
        self.findings = tuple(findings)
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

    def judge(self, last: Tensor, windows: Tensor | None = None) -> Tensor:
        """Logits of the map at stride 32.

        A finding of a level (`vertebral_fracture_L1`) is judged by what is around that level,
        where that is known. Few fractures are marked at any one level, so the levels of a finding
        share what they look for (the mean of their rows of the last layer); each keeps its bias.

        Parameters
        ----------
        last : Tensor
            (N, C32, H, W), the second of `feature_maps`.
        windows : Tensor, optional
            (N, levels, 4) of a straightened column, as `straightening.Columns` has them.

        Returns
        -------
        Tensor
            (N, findings) float32; NaN for the findings of a level that was not seen.
        """
        logits = self.classify(last.mean((2, 3), dtype=torch.float32))
        places = [level_of(finding) for finding in self.findings]
        if windows is None or not any(places):
            return logits
        seen = ~windows.isnan().any(2)
        around = self.classify(_around(last, windows))
        columns = list(logits.unbind(1))
        for i, (finding, level) in enumerate(zip(self.findings, places, strict=True)):
            if level is None:
                continue
            base = finding.removesuffix(level)
            alike = [j for j, f in enumerate(self.findings) if f == f"{base}{places[j]}"]
            row, bias = LEVELS.index(level), self.output.bias
            shared = around[:, row, alike].mean(1) + (bias[i] - bias[alike].mean())
            columns[i] = shared.masked_fill(~seen[:, row], torch.nan)
        return torch.stack(columns, 1)

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

    def forward(self, films: Tensor, windows: Tensor | None = None) -> Tensor:
        """Logits of normalised films, or of their columns.

        Parameters
        ----------
        films : Tensor
            (N, 1, S, S), normalised as the checkpoint's preprocessing says; or columns.
        windows : Tensor, optional
            With columns, as for `judge`.

        Returns
        -------
        Tensor
            (N, findings) float32; NaN only for the findings of a level that was not seen.
        """
        return self.judge(self.feature_maps(films)[1], windows)

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
        Each (N, 1, S, S) films, or their columns, to (N, findings) logits.
    flip : bool
        Whether the films mirrored about their vertical axis are averaged in: left and right are
        alike for a spine.
    straightener : Straightener or None
        What makes columns of films, where the members read columns.
    """

    def __init__(
        self,
        members: Sequence[FilmClassifier],
        *,
        flip: bool = False,
        straightener: Straightener | None = None,
    ) -> None:
        super().__init__()
        self.members = cast(Sequence[FilmClassifier], nn.ModuleList(members))
        self.flip = flip
        self.straightener = straightener

    def forward(self, films: Tensor) -> Tensor:
        """Mean logits (N, findings), float32, of films (N, 1, S, S)."""
        return averaged(self.members, films, flip=self.flip, straightener=self.straightener)


def averaged(
    networks: Sequence[Network],
    films: Tensor,
    *,
    flip: bool,
    straightener: Straightener | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Mean of the networks' logits, and of those of the mirrored pictures too.

    The spine is looked for once, on the films as they are; networks run in `dtype`.
    """
    windows = None
    if straightener is not None:
        columns = straightener(films)
        films, windows = columns.pixels, columns.windows
    if dtype is not None:
        films = films.to(dtype)
    films = films.contiguous(memory_format=torch.channels_last)
    views = [(films, windows)]
    if flip:
        views.append((films.flip(3), None if windows is None else _mirrored(windows)))
    return torch.stack([network(*view) for network in networks for view in views]).mean(0)


def _mirrored(windows: Tensor) -> Tensor:
    x0, y0, x1, y1 = windows.unbind(-1)
    return torch.stack([1 - x1, y0, 1 - x0, y1], -1)


def _around(last: Tensor, windows: Tensor) -> Tensor:
    """Mean features (N, levels, C) of a map within windows, cells weighted by the part inside.

    Of a window that is NaN they are 0.
    """
    known = windows.nan_to_num(0.0)

    def share(low: Tensor, high: Tensor, cells: int) -> Tensor:
        at = torch.arange(cells, dtype=known.dtype, device=known.device) / cells
        inside = torch.minimum(high[..., None], at + 1 / cells) - torch.maximum(low[..., None], at)
        inside = inside.clamp(min=0.0)
        return inside / inside.sum(-1, keepdim=True).clamp(min=1e-6)

    across = share(known[..., 0], known[..., 2], last.shape[3])
    down = share(known[..., 1], known[..., 3], last.shape[2])
    with torch.autocast(last.device.type, enabled=False):
        return torch.einsum("nchw,nlh,nlw->nlc", last.float(), down, across)
