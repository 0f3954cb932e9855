"""What a network makes of phantoms that training never sees: the figures of the model card."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfscreen.jobs.phantom_cache import PhantomCache
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from vfscreen.model.network import FilmClassifier


@dataclass(frozen=True, slots=True)
class Scores:
    """What a network says about the validation films, (patients, 3 variants)."""

    logits: NDArray[np.float64]
    peaks: NDArray[np.float64]  # (patients, 3, 2), x and y in 0..1 of the film


class Validation:
    """Patients that training never sees, as they are and in other makers' display."""

    _BATCH = 96

    def __init__(self, cache: PhantomCache, spec: Preprocessing, device: "torch.device") -> None:
        import torch

        rows = slice(0, cache.plan.validation)
        self._films = torch.from_numpy(np.array(cache.columns["films"][rows])).to(device)
        self._spec, self._device = spec, device
        self.grades = np.array(cache.columns["grade"][rows])
        self.sizes_px = np.array(cache.columns["sizes_px"][rows], np.float64)
        self.boxes = np.array(cache.columns["boxes"][rows, 0], np.float64)

    def scores(self, model: "FilmClassifier", *, varied: bool) -> Scores:
        """Logits and where the network looks; `varied` changes the display (the same each time)."""
        import torch
        from torch.nn import functional as nnf

        from vfscreen.model.augmentation import VARIATIONS, draw, vary_display
        from vfscreen.model.validating import autocast_of

        rng, size = torch.Generator().manual_seed(20), self._spec.input_size_px
        logits, peaks = [], []
        for films in torch.split(self._films, self._BATCH // 3):
            x = films.flatten(0, 1)[:, None].float() / 255.0
            x = nnf.interpolate(x, (size, size), mode="bilinear", antialias=True)
            if varied:
                x = vary_display(x, draw(len(films), 3, VARIATIONS["default"], rng))
            x = ((x - self._spec.mean) / self._spec.std).contiguous(
                memory_format=torch.channels_last
            )
            with torch.inference_mode(), autocast_of(self._device):
                last = model.feature_maps(x)[1].float()
                logits.append(model.classify(last.mean((2, 3)))[:, 0])
                cells = model.cells(last)[:, :1]
            fine = nnf.interpolate(cells, (56, 56), mode="bilinear")
            at = fine.flatten(1).argmax(1)
            peaks.append(torch.stack([(at % 56 + 0.5) / 56, (at // 56 + 0.5) / 56], 1))
        return Scores(
            torch.cat(logits).double().cpu().numpy().reshape(-1, 3),
            torch.cat(peaks).double().cpu().numpy().reshape(-1, 3, 2),
        )

    def figures(self, scores: Scores, threshold_logit: float) -> dict[str, float]:
        """The figures of the model card."""
        from vfscreen.model.statistics import auc

        logits, grades = scores.logits, self.grades
        negatives = logits[:, 1:].ravel()

        def against(chosen: NDArray[np.bool_]) -> float:
            positives = logits[chosen, 0]
            truth = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
            return auc(np.r_[positives, negatives], truth)

        found = logits[:, 0] >= threshold_logit
        near = self._peak_distance(scores.peaks[:, 0]) <= 1.0
        return {
            "auc_grade_2_3": against(grades >= 2),
            "auc_grade_1": against(grades == 1),
            "auc_grade_2": against(grades == 2),
            "auc_grade_3": against(grades == 3),
            "auc_all": against(grades >= 1),
            "fracture_raises": float((logits[:, 0] > logits[:, 2]).mean()),
            "mimic_raises": float((logits[:, 1] > logits[:, 2]).mean()),
            "peak_on_fracture": float(near[found].mean()) if found.any() else float("nan"),
            "sensitivity": float(found.mean()),
            "specificity": float((negatives < threshold_logit).mean()),
        }

    def _peak_distance(self, peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of each peak to the nearest fractured box, in vertebra heights."""
        at = (peaks * self.sizes_px[:, :2])[:, None]
        boxes = self.boxes * np.tile(self.sizes_px[:, :2], 2)[:, None]
        outside = np.maximum(np.maximum(boxes[..., :2] - at, at - boxes[..., 2:]), 0)
        distance = np.hypot(outside[..., 0], outside[..., 1])
        return np.asarray(np.nanmin(distance, axis=1) / self.sizes_px[:, 2])
