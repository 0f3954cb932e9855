"""Starting a decode worker's process, and saying how it ended."""

import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import vfscreen


def start_worker(
    memory_fd: int, arguments: list[str]
) -> "tuple[subprocess.Popen[bytes], Connection[Any, Any]]":
    """Start a worker: a fresh interpreter, whatever this process has loaded, in its own group."""
    ours, theirs = socket.socketpair()
    descriptors = (theirs.fileno(), memory_fd)
    package = str(Path(vfscreen.__file__).parents[1])
    with theirs:
        process = subprocess.Popen(
            # -P: nothing in the current folder may shadow a module.
            [
                sys.executable, "-P", "-m", "vfscreen.imaging.worker",
                *map(str, descriptors), str(os.getpid()), *arguments,
            ],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C at the terminal is the parent's
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [package, os.environ.get("PYTHONPATH")])
                ),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )  # fmt: skip
    return process, Connection(ours.detach())


def how_it_ended(process: "subprocess.Popen[bytes]") -> str:
    """The end of a worker whose connection was closed, in words."""
    try:
        code = process.wait(0.5)
    except subprocess.TimeoutExpired:
        return "closed its connection"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
