"""Where a network looks: Grad-CAM (Selvaraju et al. 2017) by pytorch-grad-cam.

Where the networks see the straightened column, their map of it is drawn back on the film.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vfscreen.model.inference import Predictor
from vfscreen.model.network import FilmClassifier
from vfscreen.model.straightening import to_film

# Gradients keep all activations: a few films at a time are enough for a list of forty.
_FILMS_AT_A_TIME = 8


def heatmaps(predictor: Predictor, batch: Tensor, finding: str) -> NDArray[np.float32]:
    """Heatmaps of prepared films, from the same pixels that were scored, in float32.

    Parameters
    ----------
    predictor : Predictor
        Its stored networks are used, not the fused ones in half precision.
    batch : Tensor
        (N, 1, S, S) float32, as for `Predictor.logits`.
    finding : str
        One of the checkpoint's findings.

    Returns
    -------
    ndarray
        (N, S, S) float32; each film's map spans 0..1, or is all 0 where nothing speaks for the
        finding. Of several members it is the mean of their maps, each of which spans 0..1: the
        film is listed for the mean of their logits, and one network's own map may miss what moved
        the others. The mirrored film adds nothing to see and is left out.

    Raises
    ------
    ValueError
        The checkpoint has no such finding.
    """
    # Asked for here: importing it costs seconds (OpenCV, matplotlib), and most runs list nothing.
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if finding not in predictor.info.findings:
        raise ValueError(f"the checkpoint has no finding {finding!r}")
    index = predictor.info.findings.index(finding)
    # Weights that are first touched in inference mode could not carry gradients.
    with torch.inference_mode(False):
        reference = predictor.reference
        model = _OfFinding(reference.members, index)
    size = batch.shape[-1]
    maps = np.zeros((len(batch), size, size), np.float32)
    # One object for all films, closed at the end: it leaks hooks otherwise. Leaving the block
    # swallows an IndexError, hence nothing inside may raise one unseen: `done` is checked.
    done = 0
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        GradCAM(model=model, target_layers=[member.last for member in reference.members]) as cam,
    ):
        for start in range(0, len(batch), _FILMS_AT_A_TIME):
            # A batch from inference mode cannot carry gradients; a copy can.
            films = batch[start : start + _FILMS_AT_A_TIME].to(predictor.device).clone()
            target = [ClassifierOutputTarget(0)] * len(films)
            if reference.straightener is None:
                found = cam(films, target)
            else:
                columns = reference.straightener(films)
                model.windows = columns.windows
                of_column = torch.from_numpy(cam(columns.pixels, target)).to(predictor.device)
                spec = reference.straightener.spec
                on_film = to_film(of_column[:, None], columns.curve, spec, size)
                found = on_film[:, 0].cpu().numpy()
            maps[start : start + len(films)] = found
            done += len(films)
    if done != len(batch):
        raise RuntimeError("Grad-CAM stopped before the last film")
    model.zero_grad(set_to_none=True)
    return np.clip(np.nan_to_num(maps), 0.0, 1.0)


class _OfFinding(nn.Module):
    """The networks with one input, as Grad-CAM calls them, and the logit of one finding."""

    def __init__(self, members: Sequence[FilmClassifier], index: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.windows: Tensor | None = None
        self._index = index

    def forward(self, pictures: Tensor) -> Tensor:
        logits = torch.stack([member(pictures, self.windows) for member in self.members]).mean(0)
        return logits[:, self._index, None]


def peak(heatmap: NDArray[np.float32]) -> tuple[float, float]:
    """Where a heatmap is hottest.

    Parameters
    ----------
    heatmap : ndarray
        (S, S).

    Returns
    -------
    tuple of float
        x and y in 0..1 of the film, from its upper left corner; the middle of the hottest pixels
        where several are.
    """
    rows, columns = np.nonzero(heatmap == heatmap.max())
    height, width = heatmap.shape
    return float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)
