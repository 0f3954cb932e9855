"""The floor: each stage alone, in core-seconds a film.

One process on one core, nothing else running, the stages of the nightly job one after the other
over the same films: reading, decoding (as a worker does it), preparation, inference. No pool, no
ledger, no writing. CPU time is what is counted, so that a neighbour does not count.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus import Corpus
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure each stage alone.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--archives", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--films", type=int, default=18)
    parser.add_argument("--core", type=int, default=None, help="the core to stay on")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0] if options.core is None else cores[options.core]})
    corpus = Corpus(options.corpus, json.loads((options.corpus / "corpus.json").read_text()))
    stages = Stages(options.checkpoint)
    found = {
        archive: stages.measure(corpus.paths(archive)[: options.films])
        for archive in options.archives.split(",")
    }
    options.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
