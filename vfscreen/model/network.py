"""The network: torchvision's ResNeXt-50 with one input channel and one logit a finding."""

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from vfscreen.errors import CheckpointError

ARCHITECTURES = ("resnext50_32x4d",)


class FilmClassifier(nn.Module):
    """A torchvision backbone that reads films of one channel.

    The backbone keeps torchvision's own names and three input channels, so that its published
    weights load as they are; the film is repeated over the channels.
    """

    def __init__(self, architecture: str, findings: Sequence[str]) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise CheckpointError(
                f"The architecture {architecture!r} is not known to this version of vfscreen; "
                f"known: {', '.join(ARCHITECTURES)}."
            )
        backbone = getattr(torchvision.models, architecture)(weights=None)
        backbone.fc = nn.Linear(backbone.fc.in_features, len(findings))
        # What the stem reads; inference folds its three equal channels into one.
        self.channels = 3
        self.backbone: torchvision.models.ResNet = backbone

    def feature_maps(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the last two stages, (N, 1024, S/16, S/16) and (N, 2048, S/32, S/32)."""
        net = self.backbone
        x = films.expand(-1, self.channels, -1, -1)
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        third = net.layer3(net.layer2(net.layer1(x)))
        return third, net.layer4(third)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of pooled features, in float32: bfloat16 logits tie in steps of 1/64."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.backbone.fc(features.float())
        return logits

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


def build(architecture: str, findings: Sequence[str]) -> FilmClassifier:
    """A network with random weights.

    Raises
    ------
    CheckpointError
        The architecture is not known.
    """
    return FilmClassifier(architecture, findings)
