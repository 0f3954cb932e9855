"""Lanes: threads that take batches of decoded films to logits, side by side.

On a CPU each lane is one core's worth of work, preparation and network alike, since several batches
on a core each outrun one batch on all of them as soon as decode workers share the cores: no lane
waits for another inside a layer. On a GPU two lanes keep it busy: one prepares and copies on a
stream of its own while the other computes. Films that a GPU is to decode come as codestreams; those
that its decoders do not answer as they should are given back, for the CPU.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import torch
import torch.utils.dlpack
from numpy.typing import NDArray

from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.tasks import CodedFilm, DecodedFilm, ReadyFilm
from vfscreen.model.inference import Predictor

_GPU_LANES = 2


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch that has been through the network.

    `logits` is float32 (films, findings); `kept` holds the network's input (1, S, S) of those
    films that were asked for, by their index. `given_back` are the indexes of films that the GPU
    could not decode; they are in none of the others. `infer_cpu_s` are seconds of the lane's
    processor (DALI prepares in a thread of its own).
    """

    indexes: list[int]
    routes: list[str]
    logits: NDArray[np.float32]
    kept: dict[int, NDArray[np.float32]] = field(repr=False)
    given_back: list[int]
    prepare_s: float
    infer_s: float
    infer_cpu_s: float


class Lanes:
    """Score batches in threads, in the order in which they are submitted.

    Parameters
    ----------
    predictor : Predictor
        Shared by all lanes.
    batch_size : int
        The most films a batch.
    release : callable
        Given each film as soon as it is prepared.
    keep : collection of int
        Indexes of films whose prepared pixels are wanted.
    most_bytes : int
        Memory of films that may wait for a lane or be prepared in one.
    codestreams : bool
        Films may come coded, to be decoded on the predictor's device.
    """

    def __init__(
        self,
        predictor: Predictor,
        batch_size: int,
        release: Callable[[ReadyFilm], None],
        keep: Collection[int] = (),
        *,
        most_bytes: int = 1 << 30,
        codestreams: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self._predictor, self._release, self._keep = predictor, release, keep
        self._codestreams, self._most_bytes = codestreams, most_bytes
        self._on_gpu = predictor.device.type == "cuda"
        self.count = _GPU_LANES if self._on_gpu else predictor.lanes
        self._own = threading.local()
        self._executor = ThreadPoolExecutor(self.count, "lane")
        self._pending: deque[Future[Scored]] = deque()
        self._held_bytes = 0
        self._held_lock = threading.Lock()
        # Every lane is opened now and not within its first batch; the barrier keeps one thread
        # from opening two.
        all_open = threading.Barrier(self.count)
        opened = [self._executor.submit(self._open, all_open) for _ in range(self.count)]
        errors = [error for lane in opened if (error := lane.exception()) is not None]
        for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
            self._executor.shutdown()
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, batch: list[ReadyFilm]) -> Iterator[Scored]:
        """Take a batch; yields what is done by now.

        Waits while every lane has a batch waiting, or batches hold more than `most_bytes`.
        """
        self._hold(sum(film.memory_bytes for film in batch))
        self._pending.append(self._executor.submit(self._score, batch))
        while self._pending and (
            len(self._pending) > 2 * self.count
            or self._held_bytes > self._most_bytes
            or self._pending[0].done()
        ):
            yield self._pending.popleft().result()

    def finish(self) -> Iterator[Scored]:
        """The batches still in hand."""
        while self._pending:
            yield self._pending.popleft().result()

    def _hold(self, more_bytes: int) -> None:
        with self._held_lock:
            self._held_bytes += more_bytes

    def _open(self, all_open: threading.Barrier) -> None:
        try:
            self._make_own()
        except BaseException:
            all_open.abort()  # or the other lanes would wait for ever
            raise
        all_open.wait()

    def _make_own(self) -> None:
        """What a lane has of its own, made in its thread."""
        if not self._on_gpu:
            torch.set_num_threads(1)
        device = str(self._predictor.device)
        spec = self._predictor.info.preprocessing
        threads = None if self._on_gpu else 1
        self._own.preparer = Preparer(spec, self.batch_size, device, threads=threads)
        if self._codestreams:
            from vfscreen.imaging.gpu_decode import CodestreamDecoder

            self._own.decoder = CodestreamDecoder(device)
            self._own.device_preparer = Preparer(
                spec, self.batch_size, device, threads=threads, on_device=self._on_gpu
            )
        self._predictor.warm_up()
        self._own.stream = cast(Any, torch.cuda.Stream)(device) if self._on_gpu else None

    def _score(self, batch: list[ReadyFilm]) -> Scored:
        stream: AbstractContextManager[Any] = nullcontext()
        if self._on_gpu:
            stream = torch.cuda.stream(self._own.stream)
        began = time.monotonic()
        with stream:
            films, pixels, given_back = self._prepare(batch)
            for film in batch:
                self._release(film)
            self._hold(-sum(film.memory_bytes for film in batch))
            between = time.monotonic(), time.thread_time()
            logits = self._predictor.logits(pixels)
        ended = time.monotonic(), time.thread_time()
        kept = {
            film.index: pixels[place].cpu().numpy().copy()
            for place, film in enumerate(films)
            if film.index in self._keep
        }
        return Scored(
            indexes=[film.index for film in films],
            routes=[film.route for film in films],
            logits=logits,
            kept=kept,
            given_back=given_back,
            prepare_s=between[0] - began,
            infer_s=ended[0] - between[0],
            infer_cpu_s=ended[1] - between[1],
        )

    def _prepare(self, batch: list[ReadyFilm]) -> tuple[list[ReadyFilm], torch.Tensor, list[int]]:
        """The films that could be decoded, the network's input of each, and the others' indexes."""
        decoded = [film for film in batch if isinstance(film, DecodedFilm)]
        coded = [film for film in batch if isinstance(film, CodedFilm)]
        films: list[ReadyFilm] = [*decoded]
        parts, given_back = [], []
        if decoded:
            prepared = self._own.preparer.prepare(
                [film.display for film in decoded], [film.region for film in decoded]
            )
            parts.append(torch.utils.dlpack.from_dlpack(prepared))
        if coded:
            answers = list(zip(coded, self._own.decoder.decode(coded), strict=True))
            given_back = [film.index for film, shown in answers if shown is None]
            films += [film for film, shown in answers if shown is not None]
            displays = [shown for _, shown in answers if shown is not None]
            if displays:
                # DALI asks for a CUDA stream wherever it sees a tensor of torch.
                given = displays if self._on_gpu else [shown.numpy() for shown in displays]
                prepared = self._own.device_preparer.prepare(given)
                parts.append(torch.utils.dlpack.from_dlpack(prepared))
        if len(parts) == 1:
            return films, parts[0], given_back
        size = self._predictor.info.preprocessing.input_size_px
        return films, torch.cat(parts or [torch.empty(0, 1, size, size)]), given_back
