"""The decode pool: whatever one film does to its worker, the others come through."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dicom_films as films
import numpy as np
import pytest
from dicom_films import anatomy, film, write

from vfscreen.errors import FailureReason
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.workers import DecodedFilm, DecodeFailure, DecodePool, DecodeTask
from vfscreen.preprocessing import Preprocessing

SPEC = Preprocessing()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Films that decode in a millisecond or two, of differing sizes."""
    folder = tmp_path_factory.mktemp("small")
    syntaxes = (films.EXPLICIT, films.JPEG_LOSSLESS_SV1, films.JPEG_LS, films.HTJ2K_LOSSLESS)
    return [
        write(film(anatomy(100 + i, 80, seed=i), syntaxes[i % 4]), folder / f"{i}")
        for i in range(12)
    ]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A JPEG 2000 film that takes the better part of a second."""
    path = tmp_path_factory.mktemp("slow") / "film"
    return write(film(anatomy(2200, 2200), films.JPEG_2000_LOSSLESS), path)


def tasks(paths: list[str]) -> Iterator[DecodeTask]:
    return (DecodeTask(i, path, SPEC) for i, path in enumerate(paths))


@contextmanager
def started(**options: Any) -> Iterator[DecodePool]:
    """A pool whose workers are up."""
    with DecodePool(**options) as pool:
        while not (pool._workers and all(worker.ready for worker in pool._workers)):
            time.sleep(0.01)
        yield pool


def outcomes(pool: DecodePool, paths: list[str]) -> dict[int, str]:
    found = {}
    for item in pool.decode(tasks(paths)):
        found[item.index] = item.reason.value if isinstance(item, DecodeFailure) else "decoded"
        if isinstance(item, DecodedFilm):
            pool.release(item)
    return found


def test_every_task_is_answered_with_the_right_pixels(small: list[str]) -> None:
    paths = small * 5
    with DecodePool(workers=2) as pool:
        seen = set()
        for item in pool.decode(tasks(paths)):
            assert isinstance(item, DecodedFilm)
            assert np.array_equal(item.display, decode_film(paths[item.index]).display)
            assert not item.display.flags.writeable
            assert item.read_bytes == Path(paths[item.index]).stat().st_size
            pool.release(item)
            seen.add(item.index)
    assert seen == set(range(len(paths)))


def test_films_held_by_the_consumer_keep_their_pixels(small: list[str]) -> None:
    with DecodePool(workers=2) as pool:
        held = [item for item in pool.decode(tasks(small)) if isinstance(item, DecodedFilm)]
        for item in pool.decode(tasks(small)):
            assert isinstance(item, DecodedFilm)
            pool.release(item)
            pool.release(item)  # twice: must not give away another film's memory
        for item in held:
            assert np.array_equal(item.display, decode_film(small[item.index]).display)


def test_more_films_than_the_buffer_holds(small: list[str]) -> None:
    """A consumer that releases nothing gets all its films; the rest of the time the bound holds."""
    with DecodePool(workers=2, buffer_bytes=1 << 16) as pool:
        held = [item for item in pool.decode(tasks(small * 3)) if isinstance(item, DecodedFilm)]
        assert len(held) == 36
        for item in held:
            expected = decode_film((small * 3)[item.index]).display
            assert np.array_equal(item.display, expected)
            pool.release(item)
        assert outcomes(pool, small) == dict.fromkeys(range(12), "decoded")


def test_memory_in_use_stays_within_the_budget(tmp_path: Path) -> None:
    paths = [write(film(anatomy(500, 500, seed=i)), tmp_path / f"{i}") for i in range(4)]
    budget = 2_000_000  # four films of 500 KB
    with DecodePool(workers=2, buffer_bytes=budget) as pool:
        sized = (DecodeTask(i, p, SPEC, pixels=250_000) for i, p in enumerate(paths * 10))
        for item in pool.decode(sized):
            assert isinstance(item, DecodedFilm)
            blocks = os.fstat(pool._arena.descriptor).st_blocks * 512
            assert blocks <= budget + 8192
            pool.release(item)


def test_a_film_larger_than_its_manifest_says(small: list[str]) -> None:
    with DecodePool(workers=1) as pool:
        (item,) = pool.decode(iter([DecodeTask(7, small[3], SPEC, pixels=10)]))
        assert isinstance(item, DecodedFilm)
        assert np.array_equal(item.display, decode_film(small[3]).display)


def test_failures_are_answers(small: list[str], tmp_path: Path) -> None:
    constant = write(film(np.zeros((64, 64), np.uint16)), tmp_path / "constant")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("Marker^Taint")
    surrogate = os.fsdecode(bytes(tmp_path) + b"/\xff\xfe.dcm")
    os.link(small[0], surrogate)
    paths = [
        constant, str(tmp_path / "pipe"), str(tmp_path / "text"), str(tmp_path / "gone"), small[1],
        surrogate,
    ]  # fmt: skip
    with DecodePool(workers=2) as pool:
        assert outcomes(pool, paths) == {
            0: "constant_frame",
            1: "unreadable_file",
            2: "bad_header",
            3: "unreadable_file",
            4: "decoded",
            5: "decoded",
        }


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crashed_worker_costs_its_film_only(small: list[str], slow: str, number: int) -> None:
    with started(workers=1) as pool:
        results = pool.decode(tasks([slow, *small]))
        (victim,) = pool.worker_pids

        def crash() -> None:
            time.sleep(0.15)  # while it decodes the slow film
            os.kill(victim, number)

        thread = threading.Thread(target=crash)
        thread.start()
        found = {item.index: item for item in results}
        thread.join()
        lost = found.pop(0)
        assert isinstance(lost, DecodeFailure)
        assert lost.reason is FailureReason.LOST_WORKER and lost.reason.transient
        assert signal.Signals(number).name in lost.message
        assert sorted(found) == list(range(1, 13))
        assert all(isinstance(item, DecodedFilm) for item in found.values())
        assert pool.worker_pids != [victim]


def test_a_hung_worker_costs_its_film_only(small: list[str], slow: str) -> None:
    with started(workers=2, timeout_s=1.5) as pool:
        hung = pool.worker_pids[0]
        os.kill(hung, signal.SIGSTOP)
        begun = time.monotonic()
        found = outcomes(pool, small)
        assert sorted(found.values()) == ["decode_timeout"] + ["decoded"] * 11
        assert time.monotonic() - begun < 4
        assert hung not in pool.worker_pids
        assert outcomes(pool, small) == dict.fromkeys(range(12), "decoded")


def test_a_film_that_takes_too_long(slow: str, small: list[str]) -> None:
    with started(workers=2, timeout_s=0.1) as pool:
        found = outcomes(pool, [slow, small[0]])
        assert found == {0: "decode_timeout", 1: "decoded"}


@pytest.mark.parametrize("syntax", [films.EXPLICIT, films.JPEG_LOSSLESS, films.HTJ2K_LOSSLESS])
def test_a_film_that_needs_too_much_memory(tmp_path: Path, small: list[str], syntax: str) -> None:
    """36 megapixels in 100 MB. Some codecs abort where memory ends; both are tried again."""
    big = np.tile(anatomy(300, 300), (20, 20))
    path = write(film(big, syntax), tmp_path / "big")
    with DecodePool(workers=1, worker_memory_bytes=100 << 20) as pool:
        found = outcomes(pool, [path, small[0]])
    assert found[0] == "out_of_memory" or (
        syntax == films.HTJ2K_LOSSLESS and found[0] == "lost_worker"
    )
    assert found[1] == "decoded"


def test_closing_is_quick_while_a_worker_hangs(slow: str) -> None:
    with started(workers=2) as pool:
        pids = pool.worker_pids
        os.kill(pids[0], signal.SIGSTOP)
        results = pool.decode(tasks([slow] * 6))
        next(results)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_stopping_early_and_going_on(small: list[str]) -> None:
    with DecodePool(workers=2) as pool:
        for _ in range(5):
            results = pool.decode(tasks(small * 10))
            next(results)
            results.close()
        stopped = [False]
        got = 0
        for _ in pool.decode(tasks(small * 10), stop=lambda: stopped[0]):
            got += 1
            stopped[0] = got == 3
        assert got == 3
        assert len(outcomes(pool, small)) == 12


def test_a_stop_is_noticed_while_a_worker_hangs(small: list[str]) -> None:
    with started(workers=1) as pool:
        os.kill(pool.worker_pids[0], signal.SIGSTOP)
        begun = time.monotonic()
        assert list(pool.decode(tasks(small), stop=lambda: time.monotonic() - begun > 0.3)) == []
        assert time.monotonic() - begun < 1.5


def test_a_lost_worker_loses_the_film_in_hand_and_not_the_next(small: list[str], slow: str) -> None:
    """A worker holds two films; the second of a killed one goes to another worker."""
    with started(workers=1) as pool:
        found = {}
        items = pool.decode(tasks([slow, *small[:3]]))
        killer = threading.Timer(0.2, lambda: os.kill(pool.worker_pids[0], signal.SIGKILL))
        killer.start()
        for item in items:
            found[item.index] = item.reason if isinstance(item, DecodeFailure) else "decoded"
            if isinstance(item, DecodedFilm):
                assert np.array_equal(item.display, decode_film(small[item.index - 1]).display)
                pool.release(item)
        killer.join()
    assert found == {0: FailureReason.LOST_WORKER, 1: "decoded", 2: "decoded", 3: "decoded"}


def test_an_error_of_the_caller_reaches_the_caller(small: list[str]) -> None:
    def broken() -> Iterator[DecodeTask]:
        yield from tasks(small[:2])
        raise LookupError("the manifest ended")

    with DecodePool(workers=1) as pool:
        with pytest.raises(LookupError):
            list(pool.decode(broken()))
        assert len(outcomes(pool, small)) == 12


def test_no_tasks(small: list[str]) -> None:
    with DecodePool(workers=1) as pool:
        assert list(pool.decode(iter([]))) == []


def test_workers_import_codecs_and_nothing_else(small: list[str]) -> None:
    with started(workers=1) as pool:
        outcomes(pool, small)
        maps = Path(f"/proc/{pool.worker_pids[0]}/maps").read_text()
    assert "imagecodecs" in maps
    for heavy in ("torch", "nvidia", "duckdb", "pyarrow"):
        assert f"site-packages/{heavy}" not in maps, heavy


def test_workers_die_with_a_killed_parent(slow: str, tmp_path: Path) -> None:
    code = f"""
        from vfscreen.imaging.workers import DecodePool, DecodeTask
        from vfscreen.preprocessing import Preprocessing
        with DecodePool(workers=2) as pool:
            work = pool.decode(DecodeTask(i, {slow!r}, Preprocessing()) for i in range(1000))
            pool.release(next(work))
            print(*pool.worker_pids, flush=True)
            for film in work:
                pool.release(film)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        os.kill(pids[0], signal.SIGTERM)  # theirs to ignore: a stop is the parent's business
        os.kill(pids[0], signal.SIGINT)
        assert len(pids) == 2 and Path(f"/proc/{pids[0]}").exists()
        parent.kill()
        parent.wait()
    until = time.monotonic() + 3
    while any(_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    """Running; a zombie that nobody waits for is dead enough."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
