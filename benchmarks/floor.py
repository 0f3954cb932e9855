"""The floor: each stage alone, in core-seconds a film.

One process on one core, nothing else running, the stages of the nightly job one after the other
over the same films: reading, decoding (as a worker does it), preparation, inference. No pool, no
ledger, no writing. CPU time is what is counted, so that a neighbour does not count. With `--busy`,
the same on several cores at a time, and the mean of them.
"""

import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus import Corpus, options_of
from benchmarks.figures import STAGES


class Stages:
    """The nightly job's own parts, on one thread."""

    def __init__(self, checkpoint: str) -> None:
        import torch

        from vfscreen.imaging.dali import Preparer
        from vfscreen.model.checkpoint import read_info
        from vfscreen.model.inference import Predictor

        torch.set_num_threads(1)
        info = read_info(checkpoint)
        self.spec = info.preprocessing
        self.predictor = Predictor(info)
        self.batch_size = self.predictor.batch_size
        self.preparer = Preparer(self.spec, self.batch_size, "cpu", threads=1)

    def measure(self, paths: Sequence[Path]) -> dict[str, float]:
        """Core-seconds a film of every stage."""
        self._through_decoding(paths[: self.batch_size])  # warms everything up, not counted
        spent = dict.fromkeys(STAGES, 0.0)
        prepared = []
        for start in range(0, len(paths), self.batch_size):
            pixels, seconds = self._through_decoding(paths[start : start + self.batch_size])
            prepared.append(pixels)
            for stage, s in seconds.items():
                spent[stage] += s
        films = np.concatenate(prepared)
        self._infer(films[: self.batch_size])
        # Whole batches: the network's batches are of one size, a last one would be padded.
        whole = math.ceil(len(films) / self.batch_size) * self.batch_size
        films = np.resize(films, (whole, *films.shape[1:]))
        infer_s, _ = _timed(lambda: self._infer(films))
        return {stage: s / len(paths) for stage, s in spent.items()} | {"infer": infer_s / whole}

    def _through_decoding(self, paths: Sequence[Path]) -> tuple[Any, dict[str, float]]:
        from vfscreen.imaging.decode import decode_film

        read_s, _ = _timed(lambda: [path.read_bytes() for path in paths])
        both_s, films = _timed(
            lambda: [decode_film(str(path), self.spec, reduced=True) for path in paths]
        )
        prepare_s, pixels = _timed(
            lambda: np.array(
                np.from_dlpack(
                    self.preparer.prepare(
                        [film.display for film in films], [film.region for film in films]
                    )
                )
            )
        )
        # `decode_film` reads as well: reading is counted once.
        return pixels, {"read": read_s, "decode": both_s - read_s, "prepare": prepare_s}

    def _infer(self, films: Any) -> Any:
        import torch

        return self.predictor.logits(torch.from_numpy(films))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def measured_on(
    core: int, *, corpus: Corpus, archives: Sequence[str], checkpoint: str, films: int
) -> dict[str, dict[str, float]]:
    """Core-seconds a film of every stage of every archive, on one core."""
    os.sched_setaffinity(0, {core})
    stages = Stages(checkpoint)
    return {archive: stages.measure(corpus.paths(archive)[:films]) for archive in archives}


def main() -> None:
    parser = options_of("Measure each stage alone.")
    parser.add_argument("--films", type=int, default=18, help="only the first so many of each")
    parser.add_argument("--busy", type=int, default=1, help="cores that do the same at a time")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: options.busy]
    one = partial(
        measured_on, corpus=options.corpus, archives=options.archives,
        checkpoint=options.checkpoint, films=options.films,
    )  # fmt: skip
    with ProcessPoolExecutor(len(cores), multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(one, cores))
    means = {
        archive: {stage: sum(one[archive][stage] for one in found) / len(found) for stage in STAGES}
        for archive in options.archives
    }
    options.out.write_text(json.dumps(means))


if __name__ == "__main__":
    main()
