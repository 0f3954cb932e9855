"""The films of a training: where each lies in the cache, its labels, its patient."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.errors import FailureReason
from vfscreen.jobs.film_cache import CachedFilms
from vfscreen.jobs.labels import Labelled
from vfscreen.model.drift import RARE_FILMS, named
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    from vfscreen.model.batches import Films

# Films counted at a time: 256 of 1024 px are 256 MB.
_CHUNK_FILMS = 256


@dataclass(frozen=True, slots=True)
class TrainingData:
    """N films that are labelled and decoded, in the order of `Labelled.films`.

    Attributes
    ----------
    films : pa.Table
        Their rows of `Labelled.films`.
    pixels : ndarray
        uint8 (cached, S, S): the cache.
    rows : ndarray
        intp (N,): where each lies in it.
    targets : ndarray
        float32 (N, findings), NaN where it is not known.
    boxes : ndarray or None
        float32 (N, K, 4) in 0..1 of the film, NaN where there is none.
    failures : dict
        Why a film is left out, by its place in `Labelled.films`.
    points : ndarray or None
        float32 (N, levels, 2): centres of vertebrae, as `locator_training.train_locator` takes
        them; None where the spine is not looked for.
    """

    findings: tuple[str, ...]
    films: pa.Table
    pixels: NDArray[np.uint8]
    rows: NDArray[np.intp]
    targets: NDArray[np.float32]
    boxes: NDArray[np.float32] | None
    failures: dict[int, FailureReason]
    points: NDArray[np.float32] | None = None

    @property
    def patients(self) -> NDArray[np.str_]:
        """(N,) whose film it is, as a keyed hash."""
        return np.asarray(self.films["patient_key"].to_pylist())

    def source(self, chosen: NDArray[np.intp]) -> "Films":
        """Some of the films, as the training loop wants them: in this order, whatever theirs in
        the cache is, which depends on the order in which they were decoded.
        """
        from vfscreen.model.batches import FilmArrays, Films

        # The cache may hold films of other labels as well: nothing is known of these.
        targets = np.full((len(self.pixels), 1, len(self.findings)), np.nan, np.float32)
        targets[self.rows, 0] = self.targets
        boxes = None
        if self.boxes is not None:
            boxes = np.full((len(self.pixels), 1, *self.boxes.shape[1:]), np.nan, np.float32)
            boxes[self.rows, 0] = self.boxes
        return Films(FilmArrays(self.pixels[:, np.newaxis], targets, boxes), self.rows[chosen])

    def failed(self) -> Counter[str]:
        """Films left out, by reason."""
        return Counter(reason.value for reason in self.failures.values())

    def sha256(self) -> str:
        """Over contents and labels of the films, whatever their order; says nothing of a person."""
        names = self.films["content_fingerprint"].to_pylist()
        lines = sorted(f"{n} {t.tolist()}" for n, t in zip(names, self.targets, strict=True))
        return hashlib.sha256("\n".join([*self.findings, *lines]).encode()).hexdigest()

    def counts(self) -> dict[str, Any]:
        """What a checkpoint says of the films: numbers only."""
        values = (1, 0)
        return {
            "films": len(self.rows),
            "patients": len(np.unique(self.patients)),
            "labels": {
                name: {
                    "positive": int((column == values[0]).sum()),
                    "negative": int((column == values[1]).sum()),
                    "unknown": int(np.isnan(column).sum()),
                }
                for name, column in zip(self.findings, self.targets.T, strict=True)
            },
            "manufacturers": _counted(self.films["manufacturer"]),
            "view_positions": _counted(self.films["view_position"]),
            "patient_sexes": _counted(self.films["patient_sex"]),
        }


def training_data(
    labelled: Labelled, cached: CachedFilms, boxes: NDArray[np.float32] | None
) -> TrainingData:
    """The labelled films that could be decoded.

    Parameters
    ----------
    boxes : ndarray or None
        float32 (labelled films, K, 4).
    """
    used = np.flatnonzero(cached.rows >= 0)
    return TrainingData(
        findings=labelled.findings,
        films=labelled.films.take(used),
        pixels=cached.films,
        rows=cached.rows[used],
        targets=labelled.targets()[used],
        boxes=None if boxes is None else boxes[used],
        failures=cached.failures,
    )


def measured_normalisation(data: TrainingData, chosen: NDArray[np.intp]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels of some films, black 0 to white 1.

    From counts of the 256 greys, so exactly; rounded to four digits.
    """
    counts = np.zeros(256, np.int64)
    rows = data.rows[chosen]
    for first in range(0, len(rows), _CHUNK_FILMS):
        part = data.pixels[rows[first : first + _CHUNK_FILMS]]
        counts += np.bincount(part.ravel(), minlength=256)
    greys = np.arange(256) / 255
    mean = float(np.average(greys, weights=counts))
    spread = float(np.sqrt(np.average((greys - mean) ** 2, weights=counts)))
    return round(mean, 4), max(round(spread, 4), 0.0001)


def preprocessing(
    data: TrainingData, chosen: NDArray[np.intp], spec: Preprocessing, rule: str
) -> Preprocessing:
    """The spec with the normalisation that `train.normalisation` asks for."""
    from dataclasses import replace

    if rule == "fixed":
        return spec
    mean, std = measured_normalisation(data, chosen)
    return replace(spec, mean=mean, std=std)


def named_by_films(films: pa.Table) -> "NDArray[np.str_]":
    """Each film's patient, named by one of the patient's films: a split that depends on the films
    is the same on another machine, whose key makes other hashes.
    """
    first: dict[str, str] = {}
    patients = films["patient_key"].to_pylist()
    for patient, name in sorted(
        zip(patients, films["content_fingerprint"].to_pylist(), strict=True)
    ):
        first.setdefault(patient, name)
    return np.asarray([first[patient] for patient in patients])


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """Films by value, most frequent first; values of a few films are one: they could tell whose."""
    counts: Counter[str] = Counter()
    for one in pc.value_counts(column).to_pylist():
        rare = one["values"] is not None and one["counts"] < RARE_FILMS
        counts["rare" if rare else named(one["values"]) or "unknown"] += one["counts"]
    return dict(counts.most_common())
