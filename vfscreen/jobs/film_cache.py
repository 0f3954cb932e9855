"""Decoded films on disk at the size that the network reads: an epoch opens no DICOM file.

A cache is a folder of two files that only grow: `films.u8`, a row a film, and `index.jsonl`, a line
a film, which names its row, or the reason why it has none. A line is written after its row has
reached the disk, so that a killed run loses no more than the films in hand, and a torn last line
is a film that is decoded again. Films are found by their content: other labels, or more of them,
decode only what is new.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.config import Config
from vfscreen.errors import ArchiveError, FailureReason, InterruptedRunError, StorageError
from vfscreen.jobs.films import PlannedFilms, archive_gone, decode_task, pool_options
from vfscreen.jobs.progress import progress
from vfscreen.jobs.stopping import StopRequest
from vfscreen.preprocessing import Preprocessing, to_json

if TYPE_CHECKING:
    from vfscreen.imaging.dali import Preparer
    from vfscreen.imaging.tasks import DecodedFilm

_VERSION = 1
# Films that are prepared, written and flushed together; a kill costs no more than these.
_BATCH_FILMS = 32
# What the disk must have left when the cache is full: checkpoint, state and logs come on top.
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class CachedFilms:
    """What the cache holds of the films that were asked for.

    Attributes
    ----------
    films : ndarray
        uint8 (cached, S, S), read-only and memory-mapped; 0 black to 255 white. The network's
        input is `(films / 255 - mean) / std`.
    rows : ndarray
        intp (asked for,): where each film that was asked for lies in `films`; -1 where it failed.
    failures : dict
        Why, by the place among the films that were asked for.
    """

    films: NDArray[np.uint8]
    rows: NDArray[np.intp]
    failures: dict[int, FailureReason]

    def failed(self) -> Counter[str]:
        """Failures by reason."""
        return Counter(reason.value for reason in self.failures.values())


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of a film: the row that it lies in, or why it lies in none."""

    row: int | None
    reason: FailureReason | None = None


def cache_films(
    folder: Path,
    films: PlannedFilms,
    archive: Path,
    spec: Preprocessing,
    config: Config,
    stop: StopRequest,
    *,
    device: str = "cpu",
) -> CachedFilms:
    """Decode and prepare what a cache lacks, on the path that `vfscreen screen` takes.

    Films that failed for good are not decoded again; those whose failure may pass are.

    Parameters
    ----------
    folder : Path
        Where caches lie, one a preprocessing (its `mean` and `std` apart: they are applied later).
        Made private (0700): it holds patients' films.
    films : PlannedFilms
        Of one archive.
    device : str
        Where DALI resizes: `cpu`, `cuda` or `cuda:N`.

    Raises
    ------
    StorageError
        The films would not fit on the disk, or the disk is full or cannot be written. What is
        cached by then stays, and the next call goes on from it.
    ArchiveError
        The archive has gone away; the same holds.
    InterruptedRunError
        `stop` asked to; the same holds.
    """
    mode = "reduced" if config.decode.reduced else "full"
    spec = replace(spec, mean=0.0, std=1.0)
    cache = _Cache(folder / f"films-{_key(spec, mode)}", spec.input_size_px)
    fingerprints = [films[i].content_fingerprint for i in range(len(films))]
    missing = cache.missing(fingerprints)
    if missing:
        cache.refuse_full_disk(len(missing))
        _fill(cache, films, missing, archive, spec, mode, config, stop, device)
    return cache.answer(fingerprints)


def _fill(
    cache: "_Cache",
    films: PlannedFilms,
    missing: Sequence[int],
    archive: Path,
    spec: Preprocessing,
    mode: str,
    config: Config,
    stop: StopRequest,
    device: str,
) -> None:
    from vfscreen.imaging.tasks import DecodedFilm, DecodeFailure
    from vfscreen.imaging.workers import DecodePool

    tasks = (decode_task(films[i], i, spec, mode) for i in missing)
    with DecodePool(**pool_options(config)) as pool:
        from vfscreen.imaging.dali import Preparer

        preparer = Preparer(spec, _BATCH_FILMS, device)
        with progress("caching films", unit="films", total=len(missing)) as show:
            batch: list[DecodedFilm] = []
            held_bytes = 0

            def save() -> None:
                """Prepare and write the films in hand."""
                nonlocal held_bytes
                if batch:
                    pixels = _prepared(preparer, batch)
                    names = [films[film.index].content_fingerprint for film in batch]
                    for film in batch:
                        pool.release(film)
                    cache.add(names, pixels)
                    show(len(batch))
                batch.clear()
                held_bytes = 0

            for item in pool.decode(tasks, stop):
                if isinstance(item, DecodeFailure):
                    if archive_gone(archive, [item.reason]):
                        save()
                        raise ArchiveError(
                            "The archive has gone away while its films were being cached. What "
                            "is cached stays; run the same command again."
                        )
                    cache.fail(films[item.index].content_fingerprint, item.reason)
                    show()
                elif isinstance(item, DecodedFilm):
                    batch.append(item)
                    held_bytes += item.memory_bytes
                if len(batch) == _BATCH_FILMS or held_bytes > config.decode.buffer_bytes // 4:
                    save()
            save()
    if stop():
        raise InterruptedRunError(
            "Stopped while films were being cached; run the same command again and it goes on."
        )


def _prepared(preparer: "Preparer", batch: "Sequence[DecodedFilm]") -> NDArray[np.uint8]:
    """Films as the network will see them, rounded to 256 greys: (N, S, S)."""
    import torch.utils.dlpack

    prepared = preparer.prepare([f.display for f in batch], [f.region for f in batch])
    shown = torch.utils.dlpack.from_dlpack(prepared)[:, 0] * 255
    return np.asarray(shown.round_().clamp_(0, 255).to(torch.uint8).cpu().numpy())


class _Cache:
    """The two files of one cache."""

    def __init__(self, folder: Path, size_px: int) -> None:
        self._folder, self._size_px = folder, size_px
        self._pixels, self._index = folder / "films.u8", folder / "index.jsonl"
        with self._writing():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            for path in (self._pixels, self._index):
                path.touch(mode=0o600)
            self._entries = dict(self._read())
            # Beyond the rows that the index names lie those of a run that was killed or ran out
            # of disk.
            self._rows = sum(entry.row is not None for entry in self._entries.values())
            os.truncate(self._pixels, self._rows * size_px**2)

    def _read(self) -> Iterator[tuple[str, _Entry]]:
        data = self._index.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(self._index, whole)
        try:
            for line in data[:whole].splitlines():
                raw = json.loads(line)
                reason = raw.get("reason")
                yield raw["film"], _Entry(raw.get("row"), reason and FailureReason(reason))
        except (ValueError, KeyError, TypeError):
            raise StorageError(
                f"The film cache {self._folder} is damaged: remove it, and it is made again."
            ) from None

    def missing(self, fingerprints: Sequence[str]) -> list[int]:
        """Places of the films that are to be decoded; a film that is asked for twice, once."""
        first: dict[str, int] = {}
        for place, name in enumerate(fingerprints):
            known = self._entries.get(name)
            if known is None or (known.reason is not None and known.reason.transient):
                first.setdefault(name, place)
        return list(first.values())

    def refuse_full_disk(self, films: int) -> None:
        """Say so before hours of decoding, not after."""
        needed = films * self._size_px**2
        free = shutil.disk_usage(self._folder).free
        if needed + _SPARE_BYTES > free:
            raise StorageError(
                f"The films to be cached need {needed / 1e9:.2f} GB ({films:,} films of "
                f"{self._size_px} x {self._size_px} px), and {self._folder} has "
                f"{free / 1e9:.2f} GB free: make room, name another folder with --work, or train "
                "at a smaller input_size_px."
            )

    def add(self, fingerprints: Sequence[str], pixels: NDArray[np.uint8]) -> None:
        """Write rows, then the lines that name them."""
        rows = range(self._rows, self._rows + len(fingerprints))
        with self._writing():
            _write_at(self._pixels, self._rows * self._size_px**2, pixels.tobytes())
            self._append({name: _Entry(row) for name, row in zip(fingerprints, rows, strict=True)})
        self._rows += len(fingerprints)

    def fail(self, fingerprint: str, reason: FailureReason) -> None:
        """Note a film that has no row."""
        with self._writing():
            self._append({fingerprint: _Entry(None, reason)})

    def _append(self, entries: dict[str, _Entry]) -> None:
        lines = [
            json.dumps({"film": name} | {k: v for k, v in asdict(e).items() if v is not None})
            for name, e in entries.items()
        ]
        _write_at(
            self._index, self._index.stat().st_size, "".join(f"{x}\n" for x in lines).encode()
        )
        self._entries |= entries

    def answer(self, fingerprints: Sequence[str]) -> CachedFilms:
        """The films that were asked for, in their order."""
        shape = (self._rows, self._size_px, self._size_px)
        # A file without bytes cannot be mapped.
        films = np.memmap(self._pixels, np.uint8, "r", 0, shape) if self._rows else np.empty(shape)
        entries = [self._entries[name] for name in fingerprints]
        rows = [-1 if entry.row is None else entry.row for entry in entries]
        failures = {i: e.reason for i, e in enumerate(entries) if e.reason is not None}
        return CachedFilms(films.astype(np.uint8, copy=False), np.array(rows, np.intp), failures)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk says within the body into one sentence."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"The film cache {self._folder} cannot be written: {error.strerror}. The films "
                "that are in it stay usable; once that is mended, run the same command again."
            ) from None


def _write_at(path: Path, offset: int, data: bytes) -> None:
    """Write and flush; on a full disk nothing of it stays.

    Not through a memory map: there a full disk is a signal that kills the process.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        try:
            view, at = memoryview(data), offset
            while view:
                written = os.pwrite(handle, view, at)
                view, at = view[written:], at + written
            os.fdatasync(handle)
        except OSError:
            os.ftruncate(handle, offset)
            raise
    finally:
        os.close(handle)


def _key(spec: Preprocessing, mode: str) -> str:
    """What a cached film depends on besides its content."""
    said: dict[str, Any] = {"preprocessing": to_json(spec), "decode": mode, "version": _VERSION}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
