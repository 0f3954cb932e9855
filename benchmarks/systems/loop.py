"""What all DataLoader systems share: one process, its workers, a warm-up, a timed pass an archive.

The clock of a pass starts before its first film is asked for (the workers are idle: nothing is
decoded ahead) and stops when its last probability is written. Start-up is everything before:
imports, network, workers, and the warm-up films of the first archive.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from benchmarks.corpus import options_of
from vfscreen.model.checkpoint import CheckpointInfo, load_weights, read_info

_IMPORTED_AT = time.monotonic()
# A batch a worker: enough to import every decoder in each, and to warm the network's kernels.
WARM_UP_FILMS_A_BATCH = 2


@dataclass(slots=True)
class Request:
    """What a system is asked for."""

    paths: list[str]
    info: CheckpointInfo
    settings: dict[str, int]
    turns: "Turns"


@dataclass(slots=True)
class System:
    """A system, loaded: batches of (films, their numbers), and what scores them."""

    loader: Iterable[tuple[Tensor, Tensor]]
    probabilities: Callable[[Tensor], Tensor]


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


def plain_network(info: CheckpointInfo) -> Callable[[Tensor], Tensor]:
    """The network as its checkpoint has it, in float32: films to probabilities."""
    model = load_weights(info)

    @torch.no_grad()
    def probabilities(films: Tensor) -> Tensor:
        return torch.sigmoid(model(films))[:, 0]

    return probabilities


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
    parser = options_of(f"Measure {name}.")
    parser.add_argument("--films", type=int, default=None, help="only the first so many of each")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--started-at", type=float, default=_IMPORTED_AT, help="monotonic seconds")
    for key, value in settings.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=int, default=value)
    options = parser.parse_args()
    used = {key: getattr(options, key) for key in settings}
    numbers: dict[str, list[int]] = {}
    paths: list[str] = []
    for archive in options.archives:
        films = options.corpus.paths(archive)[: options.films]
        numbers[archive] = list(range(len(paths), len(paths) + len(films)))
        paths += map(str, films)
    turns = Turns(used["batch_size"])
    system = build(Request(paths, read_info(options.checkpoint), used, turns))
    startup_s = 0.0
    passes = []
    for archive in options.archives:
        _warm_up(system, turns, numbers[archive], used)
        startup_s = startup_s or time.monotonic() - options.started_at
        passes.append(_timed(system, turns, archive, numbers[archive], options.out))
    result = {
        "startup_s": startup_s,
        "settings": used | {"threads": torch.get_num_threads()},
        "passes": passes,
    }
    options.out.write_text(json.dumps(result))


def _warm_up(system: System, turns: Turns, numbers: list[int], settings: dict[str, int]) -> None:
    """Few films, every worker; the network sees a full batch once, as in the timed pass."""
    turns.batch_size = WARM_UP_FILMS_A_BATCH
    count = max(1, settings["workers"]) * WARM_UP_FILMS_A_BATCH
    turns.numbers = (numbers * count)[:count]
    films = [batch for batch, _ in system.loader][-1]
    turns.batch_size = settings["batch_size"]
    copies = -(-turns.batch_size // len(films))
    system.probabilities(films.repeat(copies, 1, 1, 1)[: turns.batch_size])


def _timed(
    system: System, turns: Turns, archive: str, numbers: list[int], out: Path
) -> dict[str, Any]:
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
    return {
        "archive": archive,
        "films": len(numbers),
        "seconds": seconds,
        "probabilities": [found[number] for number in numbers],
    }
