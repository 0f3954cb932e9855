"""The canary: a few films of every run are decoded a second time by the plain reference.

What is compared is what the network saw: the pixels as they were prepared for it against the
reference's. A decoder that a new version has broken, a wrong window, a shift, a film in another's
memory would otherwise score a whole archive wrongly and leave no trace.
"""

import random
from collections.abc import Collection
from typing import TYPE_CHECKING

from vfscreen.config import CanaryConfig
from vfscreen.jobs.run import Run, log

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vfscreen.imaging.tasks import DecodedFilm
    from vfscreen.preprocessing import Preprocessing

# Largest mean and largest single difference that may be, as shares of the range from black to
# white. In full: rounding to 16 bits and DALI's filter against Pillow's. Halved by the codec:
# measured on 390 phantom films, 0.0040 and 0.09; a wrong window, an inversion or a neighbour's
# film is above 0.05, a wrap from white to black above 0.4.
_FULL = (0.001, 0.02)
_HALVED = (0.012, 0.3)
# The two resizing filters treat the border differently.
_BORDER_PX = 2


def draw(count: int, config: CanaryConfig, seed: str) -> Collection[int]:
    """Which of `count` films are compared: a seeded sample, another one every run."""
    size = min(count, max(config.min_films, round(config.share * count)))
    return frozenset(random.Random(seed).sample(range(count), size))


class Canary:
    """Pairs what the network saw with the reference, whichever comes first, and keeps the worst."""

    def __init__(self, run: Run, spec: "Preprocessing") -> None:
        self._run, self._spec = run, spec
        self._seen: dict[int, tuple[str, NDArray[np.float32]]] = {}
        self._references: dict[int, NDArray[np.float32]] = {}
        self._undecoded: set[int] = set()

    def network_saw(self, index: int, uid: str, route: str, pixels: "NDArray[np.float32]") -> None:
        """Take the prepared pixels (1, S, S) of a film of the sample."""
        if index in self._undecoded:
            return
        self._seen[index] = (route, pixels)
        self._compare(index, uid)

    def reference(self, film: "DecodedFilm", uid: str) -> None:
        """Take a film of the sample as the reference decodes it; prepared at once, then let go."""
        from vfscreen.imaging.reference import reference_prepare

        with self._run.timed("canary") as stage:
            self._references[film.index] = reference_prepare(film.display, self._spec)
            stage.films += 1
            stage.cpu_seconds += film.cpu_s
        self._compare(film.index, uid)

    def not_comparable(self, index: int) -> None:
        """Count a film that the reference could not decode."""
        self._run.ledger.canary.not_comparable += 1
        self._undecoded.add(index)
        self._seen.pop(index, None)

    def finish(self) -> None:
        """Count films of the sample of which one side only came: the other failed or stopped."""
        alone = self._seen.keys() | self._references.keys()
        self._run.ledger.canary.not_comparable += len(alone)
        self._seen.clear()
        self._references.clear()

    def _compare(self, index: int, uid: str) -> None:
        if index not in self._seen or index not in self._references:
            return
        import numpy as np

        route, seen = self._seen.pop(index)
        difference = np.abs(seen - self._references.pop(index))[0] * self._spec.std
        difference = difference[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
        # What is no number is as wrong as can be, and must be seen in the ledger's worst figures.
        difference = np.nan_to_num(difference, nan=1.0, posinf=1.0)
        mean, largest = float(difference.mean()), float(difference.max())
        figures = self._run.ledger.canary
        figures.compared += 1
        figures.worst_mean_difference = max(figures.worst_mean_difference, mean)
        figures.worst_pixel_difference = max(figures.worst_pixel_difference, largest)
        bounds = _HALVED if "/" in route else _FULL
        if mean > bounds[0] or largest > bounds[1]:
            figures.beyond_bound += 1
            log.error(
                "canary: film %s by route %s differs from the reference by %.4f on average and "
                "%.3f at most",
                self._run.hash(uid), route, mean, largest,
            )  # fmt: skip
