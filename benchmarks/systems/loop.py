"""What all DataLoader systems share: one process, its workers, a warm-up, a timed pass an archive.

The clock of a pass starts before its first film is asked for (the workers are idle: nothing is
decoded ahead) and stops when its last probability is written. Start-up is everything before:
imports, network, workers, and the warm-up films of the first archive.
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Sampler

from benchmarks.corpus import Corpus
from vfscreen.model.checkpoint import CheckpointInfo, read_info

_IMPORTED_AT = time.monotonic()
# Enough to import every decoder in every worker, and to warm the network's kernels.
WARM_UP_BATCHES_A_WORKER = 1
WARM_UP_FILMS_A_BATCH = 2


@dataclass(slots=True)
class Request:
    """What a system is asked for."""

    paths: list[Path]
    info: CheckpointInfo
    settings: dict[str, int]
    turns: "Turns"


@dataclass(slots=True)
class System:
    """A system, loaded: batches of (films, their numbers), and what scores them."""

    loader: Iterable[tuple[Tensor, Tensor]]
    probabilities: Callable[[Tensor], Tensor]


@dataclass(slots=True)
class Pass:
    """One timed pass over one archive."""

    archive: str
    films: int
    seconds: float
    probabilities: list[float] = field(repr=False)


class Turns(Sampler[list[int]]):
    """Batches of film numbers; the same workers read one archive after the other."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.numbers: list[int] = []

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.numbers), self.batch_size):
            yield self.numbers[start : start + self.batch_size]

    def __len__(self) -> int:
        return math.ceil(len(self.numbers) / self.batch_size)


def main(name: str, settings: dict[str, int], build: Callable[[Request], System]) -> None:
    """Run one system as a script.

    Parameters
    ----------
    name : str
        What the results call it.
    settings : dict
        Its settings with their defaults, at least `workers` and `batch_size`; each is an option.
    build : callable
        Loads everything; workers may start later.
    """
    parser = argparse.ArgumentParser(description=f"Measure {name}.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with corpus.json")
    parser.add_argument("--archives", required=True, help="names, separated by commas")
    parser.add_argument("--films", type=int, default=None, help="only the first so many of each")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--started-at", type=float, default=_IMPORTED_AT, help="monotonic seconds")
    for key, value in settings.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=int, default=value)
    options = parser.parse_args()
    used = {key: getattr(options, key) for key in settings}
    corpus = Corpus(options.corpus, json.loads((options.corpus / "corpus.json").read_text()))
    archives = options.archives.split(",")
    numbers: dict[str, list[int]] = {}
    paths: list[Path] = []
    for archive in archives:
        films = corpus.paths(archive)[: options.films]
        numbers[archive] = list(range(len(paths), len(paths) + len(films)))
        paths += films
    turns = Turns(used["batch_size"])
    system = build(Request(paths, read_info(options.checkpoint), used, turns))
    startup_s = 0.0
    passes = []
    for archive in archives:
        _warm_up(system, turns, numbers[archive], used)
        startup_s = startup_s or time.monotonic() - options.started_at
        passes.append(_timed(system, turns, archive, numbers[archive], options.out))
    result = {
        "startup_s": startup_s,
        "settings": used | {"threads": torch.get_num_threads()},
        "passes": [
            {
                "archive": done.archive,
                "films": done.films,
                "seconds": done.seconds,
                "probabilities": done.probabilities,
            }
            for done in passes
        ],
    }
    options.out.write_text(json.dumps(result))


def _warm_up(system: System, turns: Turns, numbers: list[int], settings: dict[str, int]) -> None:
    """Few films, every worker; the network sees a full batch once, as in the timed pass."""
    turns.batch_size = WARM_UP_FILMS_A_BATCH
    batches = max(1, settings["workers"]) * WARM_UP_BATCHES_A_WORKER
    turns.numbers = (numbers * batches)[: batches * WARM_UP_FILMS_A_BATCH]
    films = [batch for batch, _ in system.loader][-1]
    turns.batch_size = settings["batch_size"]
    copies = -(-turns.batch_size // len(films))
    system.probabilities(films.repeat(copies, 1, 1, 1)[: turns.batch_size])


def _timed(system: System, turns: Turns, archive: str, numbers: list[int], out: Path) -> Pass:
    """One pass, probabilities written to a CSV file as they come."""
    turns.numbers = numbers
    found: dict[int, float] = {}
    began = time.perf_counter()
    with out.with_suffix(f".{archive}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        for films, films_numbers in system.loader:
            for number, probability in zip(
                films_numbers.tolist(), system.probabilities(films).tolist(), strict=True
            ):
                rows.writerow([number, probability])
                found[number] = probability
    seconds = time.perf_counter() - began
    return Pass(archive, len(numbers), seconds, [found[number] for number in numbers])
