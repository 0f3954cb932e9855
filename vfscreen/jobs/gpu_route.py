"""Which transfer syntaxes the GPU decodes tonight: those in which it is measured to be faster.

The GPU decodes every pixel, the CPU's workers no more than the network needs: which of the two wins
depends on the GPU, on the number of cores and on the films. So the first films of each syntax go
both ways, and the ledger keeps what came of it.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from vfscreen.config import DecodeConfig
from vfscreen.errors import UsageError
from vfscreen.jobs.run import Run

if TYPE_CHECKING:
    import torch

    from vfscreen.imaging.gpu_decode import CodestreamDecoder
    from vfscreen.imaging.tasks import DecodeTask
    from vfscreen.imaging.workers import DecodePool
    from vfscreen.jobs.films import PlannedFilms

_SAMPLE_FILMS = 32
# Measuring costs a second or two a syntax; what fewer films could gain is less.
_WORTH_MEASURING = 500


@dataclass(frozen=True, slots=True)
class Paces:
    """Milliseconds a film of one transfer syntax takes each way, all decode workers at work."""

    cpu_ms: float
    gpu_ms: float

    @property
    def gpu_wins(self) -> bool:
        """Whether the films go to the GPU."""
        return self.gpu_ms < self.cpu_ms


def gpu_syntaxes(
    run: Run,
    films: "PlannedFilms",
    tasks: "Callable[[PlannedFilms], Iterator[DecodeTask]]",
    config: DecodeConfig,
    pool: "DecodePool",
    device: "torch.device",
) -> frozenset[str]:
    """The transfer syntaxes whose films go to the GPU undecoded; none without a GPU.

    Raises
    ------
    UsageError
        `decode.gpu` is none of the three.
    """
    if config.gpu not in ("auto", "on", "off"):
        raise UsageError(f"decode.gpu is auto, on or off, not {config.gpu!r}.")
    if device.type != "cuda" or config.gpu == "off" or not config.reduced:
        return frozenset()
    from vfscreen.imaging.codestreams import GPU_SYNTAXES
    from vfscreen.imaging.gpu_decode import CodestreamDecoder

    if config.gpu == "on":
        return GPU_SYNTAXES
    decoder = CodestreamDecoder(str(device))
    chosen, measured = set(), {}
    for uid in sorted(GPU_SYNTAXES):
        of_syntax = films.of_syntax(uid)
        if len(of_syntax) < _WORTH_MEASURING:
            continue
        with run.timed("gpu_route"):
            sample = list(islice(tasks(of_syntax), _SAMPLE_FILMS))
            workers = config.workers or len(os.sched_getaffinity(0))
            paces = measure(sample, pool, decoder, workers)
        if paces is not None:
            measured[uid] = asdict(paces)
            chosen |= {uid} if paces.gpu_wins else set()
    run.ledger.host["gpu_decode"] = {"films": sorted(chosen), "measured": measured}
    return frozenset(chosen)


def measure(
    sample: "list[DecodeTask]", pool: "DecodePool", decoder: "CodestreamDecoder", workers: int
) -> Paces | None:
    """Take films both ways; None where none of them is for the GPU.

    The workers' pace is their processor time a film over their number. On the GPU's way they still
    read and check each film, so the slower of the two sets the pace; and what it gives back is
    decoded by the workers after all.
    """
    from vfscreen.imaging.tasks import CodedFilm, DecodedFilm, DecodeMode

    cpu_s: list[float] = []
    for item in pool.decode(replace(task, mode=DecodeMode.REDUCED) for task in sample):
        if isinstance(item, DecodedFilm):
            cpu_s.append(item.cpu_s)
            pool.release(item)
    coded: list[CodedFilm] = []
    for item in pool.decode(replace(task, mode=DecodeMode.CODESTREAM) for task in sample):
        if isinstance(item, CodedFilm):
            coded.append(item)
        elif isinstance(item, DecodedFilm):
            pool.release(item)
    if not coded or not cpu_s:
        return None
    decoder.decode(coded)  # kernels are loaded and memory is found by the first batch
    began = time.monotonic()
    shown = decoder.decode(coded)
    decode_s = (time.monotonic() - began) / len(coded)
    for film in coded:
        pool.release(film)
    worker_s = sum(cpu_s) / len(cpu_s) / workers
    reading_s = sum(film.cpu_s for film in coded) / len(coded) / workers
    given_back = sum(film is None for film in shown) / len(coded)
    gpu_s = max(decode_s, reading_s) + given_back * worker_s
    return Paces(cpu_ms=round(1000 * worker_s, 3), gpu_ms=round(1000 * gpu_s, 3))
