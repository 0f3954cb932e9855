"""A decode worker: a process that a film may crash, hang or exhaust without harming anything else.

Started by `workers.py` as `python -m vfscreen.imaging.worker`, so that it is a fresh interpreter
whatever the parent has loaded, with codecs, NumPy and pydicom and nothing else. Messages are JSON
over a socket, never pickle: a damaged worker must not be able to make the parent run anything.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config as pydicom_config

from vfscreen.errors import FailureReason
from vfscreen.imaging.arena import map_film
from vfscreen.imaging.decode import Film, decode_film
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits
from vfscreen.imaging.tasks import DecodeMode
from vfscreen.preprocessing import Preprocessing

_PR_SET_PDEATHSIG = 1


class _NeedsMoreError(Exception):
    """The film is larger than the extent that was reserved for it."""


def main() -> None:
    """Serve decode tasks until the parent is gone."""
    socket_fd, memory_fd, parent_pid, memory_bytes, max_pixels = map(int, sys.argv[1:])
    _bind_to_parent(parent_pid)
    _limit(memory_bytes)
    _keep_memory()
    limits = DecodeLimits(max_pixels=max_pixels, memory_bytes=memory_bytes)
    connection: Connection[Any, Any] = Connection(socket_fd)
    connection.send_bytes(b'"ready"')
    _silence()
    tasks: deque[dict[str, Any]] = deque()
    while True:
        try:
            while not tasks or connection.poll():
                tasks.append(json.loads(connection.recv_bytes()))
                if len(tasks) > 1:
                    _read_ahead(tasks[-1]["path"])
            answer = _answer(tasks.popleft(), memory_fd, limits)
            connection.send_bytes(json.dumps(answer).encode())
        except (EOFError, OSError):
            return


def _read_ahead(path: str) -> None:
    """Let the kernel read a film while the one before it is decoded. What fails, fails later."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _bind_to_parent(parent_pid: int) -> None:
    """Die with the parent, even if it is killed; leave Ctrl-C and SIGTERM to it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _keep_memory() -> None:
    """Let glibc keep what is freed, up to what films need, for the next film.

    By default every buffer of a film comes from the system and goes back to it, and the kernel
    clears its pages each time: 11 of 57 ms for a JPEG lossless film. Other C libraries lack it.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 32 << 20)  # the largest that it takes
        libc.mallopt(m_trim_threshold, 256 << 20)


def _limit(memory_bytes: int) -> None:
    """Bound the address space that films may take, beyond what the process has by itself."""
    own_pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory_bytes += own_pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))
    # A core file would hold a patient's film.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _silence() -> None:
    """Codecs print what they think of a file; nobody reads it, and it could quote the file."""
    warnings.simplefilter("ignore")
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _answer(task: dict[str, Any], memory_fd: int, limits: DecodeLimits) -> dict[str, Any]:
    started, cpu_started = time.perf_counter(), time.process_time()

    def allocate(shape: tuple[int, int]) -> NDArray[np.uint16]:
        if 2 * shape[0] * shape[1] > task["reserved_bytes"]:
            raise _NeedsMoreError(2 * shape[0] * shape[1])
        return map_film(memory_fd, task["offset"], shape, writable=True)

    mode = DecodeMode(task["mode"])
    path, spec = os.fsencode(task["path"]), Preprocessing(**task["preprocessing"])
    decode: Callable[..., Film]
    if mode is DecodeMode.REFERENCE:
        # Other decoders, which a worker that decodes only needs for one film in a thousand.
        from vfscreen.imaging.reference import decode_reference as decode
    else:
        decode = partial(decode_film, reduced=mode is not DecodeMode.FULL)
    try:
        if mode is DecodeMode.CODESTREAM:
            from vfscreen.imaging.codestreams import hand_over

            coded = hand_over(path, spec, limits, task["expected_size_bytes"], allocate)
            if coded is not None:
                return coded | {
                    "decode_s": time.perf_counter() - started - coded["read_s"],
                    "cpu_s": time.process_time() - cpu_started,
                }
        film = decode(
            path,
            spec,
            limits,
            expected_size_bytes=task["expected_size_bytes"],
            allocate=allocate,
        )
    except _NeedsMoreError as needs:
        return {"needs_bytes": needs.args[0]}
    except FilmError as error:
        return {
            "reason": error.reason.value,
            "message": error.message,
            "transfer_syntax_uid": error.transfer_syntax_uid,
        }
    except Exception as error:  # noqa: BLE001
        # A file that nobody foresaw must not end the night: it is this film's failure.
        return {
            "reason": FailureReason.CORRUPT_CODESTREAM.value,
            "message": f"unexpected {type(error).__name__} while decoding",
            "transfer_syntax_uid": None,
        }
    return {
        "shape": film.display.shape,
        "region": film.region,
        "route": film.route,
        "transfer_syntax_uid": film.transfer_syntax_uid,
        "read_bytes": film.read_bytes,
        "voi_rule": film.voi_rule,
        "read_s": film.read_s,
        "decode_s": time.perf_counter() - started - film.read_s,
        "cpu_s": time.process_time() - cpu_started,
    }


if __name__ == "__main__":
    main()
