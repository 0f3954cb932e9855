"""Start a process tree, wait for it, and watch its memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.5
# Counting shared pages once takes some 20 ms a process: only when there is more than ever.
WORTH_A_CLOSER_LOOK = 1.05


class ProcessFailedError(RuntimeError):
    """A measured process ended with an exit code other than 0."""


@dataclass(slots=True)
class Finished:
    """What a process tree took.

    Attributes
    ----------
    wall_s : float
        From start to end.
    peak_tree_bytes : int
        Most memory of the tree at once; pages that its processes share are counted once (PSS).
    peak_parent_bytes, peak_children_bytes, peak_resident_bytes : int
        Most resident memory of the first process, of all others together, and of both at once,
        shared pages counted in each.
    """

    wall_s: float
    peak_tree_bytes: int = 0
    peak_parent_bytes: int = 0
    peak_children_bytes: int = 0
    peak_resident_bytes: int = 0


def run(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Finished:
    """Run a command out of reach of the terminal's Ctrl-C; what ends us ends its whole tree.

    Raises
    ------
    ProcessFailedError
        It failed; the message ends with what it said.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    finished = Finished(0.0)
    said = ""
    try:
        while True:
            try:
                said = process.communicate(timeout=SAMPLE_EVERY_S)[1]
                break
            except subprocess.TimeoutExpired:
                _sample(process.pid, finished)
    finally:
        if process.poll() is None:
            kill_tree(process.pid)
            process.wait()
    finished.wall_s = time.monotonic() - began
    if process.returncode != 0:
        raise ProcessFailedError(
            f"{' '.join(map(str, command))}: exit code {process.returncode}\n{said[-2000:]}"
        )
    return finished


def _sample(pid: int, finished: Finished) -> None:
    tree = descendants(pid)
    parent = 1024 * _kilobytes(pid, "status", "VmRSS")
    children = 1024 * sum(_kilobytes(child, "status", "VmRSS") for child in tree)
    finished.peak_parent_bytes = max(finished.peak_parent_bytes, parent)
    finished.peak_children_bytes = max(finished.peak_children_bytes, children)
    if parent + children > WORTH_A_CLOSER_LOOK * finished.peak_resident_bytes:
        finished.peak_resident_bytes = parent + children
        shared_once = sum(_kilobytes(member, "smaps_rollup", "Pss") for member in (pid, *tree))
        finished.peak_tree_bytes = max(finished.peak_tree_bytes, 1024 * shared_once)


def kill_tree(pid: int) -> None:
    """Kill a process and all below it, also what has a process group or session of its own."""
    for member in (pid, *descendants(pid)):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM (`kill`, `timeout`) end us as Ctrl-C does, with all that was started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def descendants(pid: int) -> list[int]:
    """All processes below one; those that end meanwhile are left out."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            for thread in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = [int(n) for n in (thread / "children").read_text().split()]
                found += children
                waiting += children
        except OSError:
            continue
    return found


def _kilobytes(pid: int, file: str, key: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def say(text: str) -> None:
    """A line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
