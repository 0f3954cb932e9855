"""The pool of decode workers: films in, display values out, whatever a film does to its worker.

A service thread owns the workers, the shared memory and the clock. The consumer gets films in the
order in which they are ready, as arrays on shared memory, and gives each back with `release`.
"""

import json
import os
import queue
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import FailureReason
from vfscreen.imaging.arena import Arena
from vfscreen.imaging.tasks import DecodedFilm, DecodeFailure, DecodeTask, ReadyFilm, coded_film
from vfscreen.imaging.worker_process import how_it_ended, start_worker

# Reserved for a film whose size nobody told; a worker that finds it larger says so and is asked
# again. 4096 x 3072, above nearly all radiographs.
_GUESSED_PIXELS = 4096 * 3072
# Failures wait without holding memory: a bound on how many, for a consumer that is slow.
_MAX_WAITING = 1024
# Workers that die before they have read a single film, in a row: it is not the films.
_MAX_FAILED_STARTS = 3
# One in hand and one whose file the kernel reads meanwhile.
_TASKS_A_WORKER = 2
_START_TIMEOUT_S = 120.0  # importing from a cold network disk is slow


@dataclass(slots=True)
class _Job:
    """One call of `decode`."""

    tasks: Iterator[DecodeTask]
    results: "queue.SimpleQueue[ReadyFilm | DecodeFailure | BaseException | None]" = field(
        default_factory=queue.SimpleQueue
    )
    again: deque[DecodeTask] = field(default_factory=deque)
    in_flight: int = 0
    exhausted: bool = False
    ended: bool = False
    consumer_waits: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class _Assigned:
    """A task that a worker has been sent, and the memory that waits for its film."""

    job: _Job
    task: DecodeTask
    ticket: int


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker and its tasks: the one in hand, and the next, whose file is being read ahead."""

    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    ready: bool = False
    assigned: deque[_Assigned] = field(default_factory=deque)
    deadline_s: float = float("inf")


class DecodePool:
    """Decode films in worker processes.

    Parameters
    ----------
    workers : int
        Processes; 0 means one a core that this process may use.
    timeout_s : float
        What one film may take; then its worker is killed and replaced.
    max_pixels : int
        Larger films fail before memory is allocated.
    worker_memory_bytes : int
        Address space of a worker.
    buffer_bytes : int
        Shared memory for films that are being decoded, waiting, or not yet released. Exceeded
        only film by film while the consumer itself holds all of it and asks for more.

    Notes
    -----
    Use as a context manager. Workers are started on entry and live until exit, which takes less
    than two seconds whatever they are doing.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        timeout_s: float = 60.0,
        max_pixels: int = 100_000_000,
        worker_memory_bytes: int = 4 << 30,
        buffer_bytes: int = 1 << 30,
    ) -> None:
        self._count = workers or len(os.sched_getaffinity(0))
        self._timeout_s = timeout_s
        self._worker_arguments = [str(worker_memory_bytes), str(max_pixels)]
        self._arena = Arena(buffer_bytes)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._workers: list[_Worker] = []
        self._dying: list[_Worker] = []
        self._released: deque[int] = deque()
        self._job: _Job | None = None
        self._retired_jobs: deque[_Job] = deque()
        self._failed_starts = 0
        self._guess_bytes = 2 * _GUESSED_PIXELS
        self._closing = self._closed = False
        self._wake_lock = threading.Lock()
        # The workers' parent is this thread (PR_SET_PDEATHSIG): it lives as long as the pool.
        self._thread = threading.Thread(target=self._serve, name="decode-pool", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._wake()
        self._thread.join()
        self._selector.close()
        with self._wake_lock:
            self._closed = True
            os.close(self._wake_fd)
        self._arena.close()

    def decode(
        self, tasks: Iterable[DecodeTask], stop: Callable[[], bool] | None = None
    ) -> Iterator[ReadyFilm | DecodeFailure]:
        """Decode films, in order of completion.

        Parameters
        ----------
        tasks : iterable of DecodeTask
            Pulled as workers become free, by the pool's thread.
        stop : callable, optional
            Asked several times a second; once it says yes, the iteration ends and films in hand
            are dropped. Dropping the iterator does the same.

        Yields
        ------
        DecodedFilm, CodedFilm or DecodeFailure
            One a task, coded only in `DecodeMode.CODESTREAM`. Every film is to be given back by
            `release`.
        """
        if self._job is not None:
            raise RuntimeError("one decode at a time")
        job = self._job = _Job(iter(tasks))
        self._wake()
        try:
            while True:
                item = self._next(job, stop)
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            job.cancelled = True
            self._job = None
            self._retired_jobs.append(job)
            self._wake()

    def release(self, film: ReadyFilm) -> None:
        """Give a film's memory back; its arrays must not be read any more."""
        self._released.append(film.ticket)
        self._wake()

    @property
    def memory(self) -> NDArray[np.uint16]:
        """The shared memory of the budget, as this process sees it."""
        return self._arena.memory

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers]

    def _next(
        self, job: _Job, stop: Callable[[], bool] | None
    ) -> ReadyFilm | DecodeFailure | BaseException | None:
        while not (stop is not None and stop()):
            try:
                return job.results.get_nowait() if job.results.qsize() else self._wait(job)
            except queue.Empty:
                if not self._thread.is_alive():
                    raise RuntimeError("the decode pool is closed") from None
        return None

    def _wait(self, job: _Job) -> ReadyFilm | DecodeFailure | BaseException | None:
        job.consumer_waits = True
        self._wake()
        try:
            return job.results.get(timeout=0.2)
        finally:
            job.consumer_waits = False

    def _wake(self) -> None:
        with self._wake_lock:
            if not self._closed:  # its number may be another file's by now
                os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------------ the service thread

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._tidy()
                self._start_workers()
                self._dispatch()
                nearest = min((w.deadline_s for w in self._workers), default=float("inf"))
                wait_s = min(nearest - time.monotonic(), 1.0)  # dying workers are looked at
                for key, _ in self._selector.select(max(wait_s, 0.0)):
                    if key.data is None:
                        os.eventfd_read(self._wake_fd)
                    else:
                        self._receive(key.data)
                self._expire()
        except BaseException as error:  # noqa: BLE001 - the consumer raises it
            if self._job is not None:
                self._job.results.put(error)
        finally:
            self._kill_all()

    def _tidy(self) -> None:
        """Take back what was released, what cancelled jobs left, and what dead workers held."""
        while self._released:
            self._arena.free(self._released.popleft())
        for _ in range(len(self._retired_jobs)):
            job = self._retired_jobs.popleft()
            while job.results.qsize():
                item = job.results.get_nowait()
                if isinstance(item, ReadyFilm):
                    self._arena.free(item.ticket)
        for worker in list(self._dying):
            # Until a worker is surely dead it could still write into its extents.
            if worker.process.poll() is not None:
                for assigned in worker.assigned:
                    self._arena.free(assigned.ticket)
                self._dying.remove(worker)

    def _start_workers(self) -> None:
        while len(self._workers) < self._count:
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise RuntimeError("decode workers do not start; see standard error")
            process, connection = start_worker(self._arena.descriptor, self._worker_arguments)
            worker = _Worker(process, connection, deadline_s=time.monotonic() + _START_TIMEOUT_S)
            self._workers.append(worker)
            self._selector.register(worker.connection, selectors.EVENT_READ, worker)

    def _dispatch(self) -> None:
        job = self._job
        if job is None or job.cancelled or job.ended:
            return
        # The idle first; then everyone may have one more, so that no worker waits for this thread.
        for depth in range(_TASKS_A_WORKER):
            for worker in self._workers:
                if not worker.ready or len(worker.assigned) != depth:
                    continue
                task = self._next_task(job)
                if task is None:
                    break
                if not self._send(worker, job, task):
                    job.again.appendleft(task)
                    break
        if job.exhausted and not (job.ended or job.again or job.in_flight):
            job.ended = True
            job.results.put(None)

    def _next_task(self, job: _Job) -> DecodeTask | None:
        if job.again:
            return job.again.popleft()
        if job.exhausted or job.results.qsize() > _MAX_WAITING:
            return None
        try:
            task = next(job.tasks, None)
        except BaseException as error:  # noqa: BLE001 - the consumer raises it
            job.exhausted = job.ended = True
            job.results.put(error)
            return None
        job.exhausted = task is None
        return task

    def _send(self, worker: _Worker, job: _Job, task: DecodeTask) -> bool:
        """Reserve memory for a task and send it; False where there is no memory now."""
        reserved = 2 * task.pixels if task.pixels else self._guess_bytes
        # Waiting for a consumer that waits for us would be for ever.
        starved = job.consumer_waits and not job.in_flight and not job.results.qsize()
        ticket = self._arena.reserve(reserved, beyond_budget=starved)
        if ticket is None:
            return False
        message = {
            "path": task.path,
            "preprocessing": asdict(task.preprocessing),
            "mode": task.mode,
            "expected_size_bytes": task.expected_size_bytes,
            "offset": self._arena.offset(ticket),
            "reserved_bytes": reserved,
        }
        if not worker.assigned:
            worker.deadline_s = time.monotonic() + self._timeout_s
        worker.assigned.append(_Assigned(job, task, ticket))
        job.in_flight += 1
        try:
            worker.connection.send_bytes(json.dumps(message).encode())
        except OSError:
            self._lose(worker)
        return True

    def _receive(self, worker: _Worker) -> None:
        try:
            answer = json.loads(worker.connection.recv_bytes())
        except (EOFError, OSError, ValueError):
            self._lose(worker)
            return
        if answer == "ready":
            worker.ready, worker.deadline_s, self._failed_starts = True, float("inf"), 0
            return
        assigned = worker.assigned.popleft()
        job, task, ticket = assigned.job, assigned.task, assigned.ticket
        worker.deadline_s = time.monotonic() + self._timeout_s if worker.assigned else float("inf")
        job.in_flight -= 1
        if job.cancelled:
            self._arena.free(ticket)
        elif "needs_bytes" in answer:
            self._arena.free(ticket)
            job.again.append(replace(task, pixels=-(-int(answer["needs_bytes"]) // 2)))
        elif "reason" in answer:
            self._arena.free(ticket)
            answer["reason"] = FailureReason(answer["reason"])
            job.results.put(DecodeFailure(task.index, task.mode, **answer))
        else:
            rows, columns = answer.pop("shape")
            self._arena.shrink(ticket, 2 * rows * columns)
            words = self._arena.view(ticket, (rows, columns))
            ready = coded_film if "coded_rows" in answer else DecodedFilm
            job.results.put(ready(task.index, task.mode, words, ticket, **answer))

    def _expire(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.deadline_s <= now and not worker.connection.poll():
                self._lose(worker, timed_out=True)

    def _lose(self, worker: _Worker, *, timed_out: bool = False) -> None:
        """Bury a worker that crashed or took too long; the next round starts another."""
        self._workers.remove(worker)
        self._selector.unregister(worker.connection)
        worker.connection.close()
        if timed_out:
            reason = FailureReason.DECODE_TIMEOUT
            message = f"not decoded within {self._timeout_s:g} s"
        else:
            reason = FailureReason.LOST_WORKER
            message = f"its worker {how_it_ended(worker.process)}"
        worker.process.kill()
        self._dying.append(worker)
        if not worker.ready:
            self._failed_starts += 1
        for place, assigned in enumerate(worker.assigned):
            job, task = assigned.job, assigned.task
            job.in_flight -= 1
            if place == 0 and not job.cancelled:
                job.results.put(DecodeFailure(task.index, task.mode, reason, message, None))
            elif not job.cancelled:
                job.again.append(task)

    def _kill_all(self) -> None:
        for worker in self._workers:
            self._selector.unregister(worker.connection)
            worker.connection.close()
            worker.process.kill()
        until = time.monotonic() + 1.0
        for worker in self._workers + self._dying:
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue  # stuck in the kernel on a dead file server: it dies when that answers
        self._workers.clear()
