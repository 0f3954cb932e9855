"""Scan the archive: find files, read the headers of new and changed ones, decide who is screened.

What an earlier night knows is not opened again: a file counts as unchanged while its path, size
and time of modification are the same. Every file found ends in exactly one state: eligible, one
exclusion reason, one failure reason, or not reached because the scan was stopped.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.archive import manifest
from vfscreen.archive.eligibility import ExclusionReason, eligibility_sha256
from vfscreen.archive.manifest import Bools, Described, Stamp, describe
from vfscreen.archive.walk import FoundFile, UnreadableFolder, archive_root, walk
from vfscreen.config import Config
from vfscreen.errors import ArchiveError, FailureReason

NOT_REACHED = "not_reached"

_CHUNK_FILES = 64
"""Files a thread is given at a time: with fewer, handing them over costs more than reading."""
_STRETCHES = 4096
"""Slices of the known rows that one table is put together from; more of them cost more than a
copy."""
_DECISION = [
    "archive_path", "sop_instance_uid", "eligible", "exclusion_reason", "failure_reason",
    "eligibility_sha256",
]  # fmt: skip
"""What deciding needs of a known row; of a million rows the rest stays where it is."""
_TRANSIENT = pa.array([reason.value for reason in FailureReason if reason.transient])


@dataclass(slots=True)
class ScanResult:
    """What a scan found.

    Attributes
    ----------
    new_rows
        Rows of the manifest (results.schemas.MANIFEST) for what is new, changed, tried again,
        judged differently, or vanished; the latest row of a path counts.
    counts
        State -> files, over all files found: "eligible", an exclusion reason, a failure reason,
        or "not_reached". The values add up to `found`.
    found
        Files below the archive's root tonight.
    read
        Files that were opened; the others are as an earlier night left them.
    vanished
        Files known from an earlier night that are no longer there.
    unreadable_folders
        Folders whose files are unknown tonight; what is known of them stays as it is.
    complete
        False where the scan was stopped before its end.
    """

    new_rows: pa.Table
    counts: Counter[str] = field(default_factory=Counter)
    found: int = 0
    read: int = 0
    vanished: int = 0
    unreadable_folders: list[UnreadableFolder] = field(default_factory=list)
    complete: bool = True


def scan(
    root: Path,
    known: pa.Table | None,
    config: Config,
    *,
    run_id: str,
    hash_key: Callable[[str], str],
    progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> ScanResult:
    """Bring the manifest of one archive up to date.

    Parameters
    ----------
    root
        The archive's folder.
    known
        The latest manifest row of every path of this archive (of `archive_root(root)`); None or
        empty on the first night.
    config
        Sections `archive` and `eligibility` are used.
    run_id
        Written into new rows.
    hash_key
        Gives the `instance_key` from the SOPInstanceUID, or the path where there is none.
    progress
        Called with the number of files that have got their state since the last call.
    stop
        Asked often; once true, the scan ends with what it has.

    Raises
    ------
    ArchiveError
        The archive cannot be listed, or is empty although an earlier night knows files in it: an
        archive that is not mounted looks like that, and an outage is not a deletion.
    """
    known = manifest.conform(known)
    eligibility = config.eligibility
    stamp = Stamp(archive_root(root), eligibility_sha256(eligibility), run_id, hash_key)
    result = ScanResult(known.slice(0, 0))

    found = _find(root, config.archive.follow_links, result, stop)
    _refuse_outage(root, known, result)
    known_row, unchanged = _compare(found, known)
    progress(int(unchanged.sum()))

    fresh_files = list(compress(found, ~unchanged))
    del found  # of a million files, 300 MB
    fresh_count = len(fresh_files)
    fresh_rows = _read(fresh_files, config, stamp, result, progress, stop)
    old_known_row = np.sort(known_row[unchanged])
    old_rows = _rows_at(known.select(_DECISION), old_known_row)
    lost = _lost(known, known_row, result)
    unseen = known.select(_DECISION).filter(pa.array(~_seen(known, known_row) & ~lost))

    # Which of several files with one SOPInstanceUID counts is the archive's matter, not a file's.
    fresh_known_row = known_row[~unchanged][: fresh_rows.num_rows]
    fresh = _Part(fresh_rows, _held(known)[fresh_known_row] & (fresh_known_row >= 0))
    judged_as = pc.fill_null(old_rows["eligibility_sha256"], "")
    stale = manifest.numpy(pc.not_equal(judged_as, stamp.eligibility_sha256))
    old = _Part(old_rows, _held(old_rows)[:-1])
    old.reasons[stale] = manifest.judged_again(known, old_known_row[stale], eligibility)
    if fresh_rows.num_rows or lost.any() or stale.any():  # else last night's answer holds
        _settle_duplicates(fresh, old, _Part(unseen, _held(unseen)[:-1]))

    changed = stale | (old.reasons != manifest.objects(old_rows["exclusion_reason"].to_pylist()))
    changed_rows = _rows_at(known, old_known_row[changed])
    result.new_rows = pa.concat_tables(
        [
            manifest.decided(fresh_rows, fresh.reasons, stamp),
            manifest.decided(changed_rows, old.reasons[changed], stamp),
            manifest.vanished(known.filter(pa.array(lost)), stamp),
        ]
    )
    result.vanished = int(lost.sum())
    for judged in (fresh, old):
        result.counts.update(manifest.states(judged.reasons, judged.rows["failure_reason"]))
    if missed := fresh_count - fresh_rows.num_rows:
        result.counts[NOT_REACHED] = missed
    return result


def _find(
    root: Path, follow_links: bool, result: ScanResult, stop: Callable[[], bool]
) -> list[FoundFile]:
    """All files below the root, in the walk's order."""
    found: list[FoundFile] = []
    for item in walk(root, follow_links=follow_links):
        if isinstance(item, UnreadableFolder):
            result.unreadable_folders.append(item)
        else:
            found.append(item)
        if len(found) % 1024 == 1023 and stop():
            result.complete = False
            break
    result.found = len(found)
    return found


def _refuse_outage(root: Path, known: pa.Table, result: ScanResult) -> None:
    if result.found or result.unreadable_folders or not result.complete:
        return
    expected = int((~_gone(known)).sum())
    if expected:
        raise ArchiveError(
            f"The archive {root} is empty, but {expected} of its files are known from earlier "
            "runs: is it mounted? Nothing was changed."
        )


def _compare(found: list[FoundFile], known: pa.Table) -> tuple[NDArray[np.int64], Bools]:
    """For each file its row of `known` (-1: none), and whether it need not be opened again."""
    if known.num_rows == 0:
        return np.full(len(found), -1, np.int64), np.zeros(len(found), np.bool_)
    paths = pa.array([file.archive_path for file in found], pa.string())
    index = pc.index_in(paths, value_set=known["archive_path"].combine_chunks())
    row = np.asarray(pc.fill_null(index, -1), np.int64)
    size = np.fromiter((file.size_bytes for file in found), np.int64, len(found))
    mtime = np.fromiter((file.mtime_ns for file in found), np.int64, len(found))
    known_size = manifest.numpy(pc.fill_null(known["size_bytes"], -1))
    known_mtime = manifest.numpy(pc.fill_null(known["mtime_ns"], -1))
    # A transient failure is tried again; what had vanished and is back is new.
    transient = manifest.numpy(pc.is_in(known["failure_reason"], value_set=_TRANSIENT))
    reusable = ~transient & ~_gone(known)
    same = (known_size[row] == size) & (known_mtime[row] == mtime)
    return row, (row >= 0) & same & reusable[row]


def _rows_at(known: pa.Table, index: NDArray[np.int64]) -> pa.Table:
    """Rows at ascending places; where these have few gaps, slices, which copy nothing."""
    stretches = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
    if len(stretches) > _STRETCHES:
        return known.take(pa.array(index))
    return pa.concat_tables([known.slice(at[0] if len(at) else 0, len(at)) for at in stretches])


def _gone(rows: pa.Table) -> Bools:
    vanished = pc.equal(rows["exclusion_reason"], ExclusionReason.VANISHED.value)
    return manifest.numpy(pc.fill_null(vanished, False))


def _held(rows: pa.Table) -> Bools:
    """Which rows are eligible, and a last False, which index -1 (no row) finds."""
    return np.append(manifest.numpy(rows["eligible"]), False).astype(np.bool_)


def _seen(known: pa.Table, known_row: NDArray[np.int64]) -> Bools:
    """Which rows of `known` are of files found tonight."""
    seen = np.zeros(known.num_rows, np.bool_)
    seen[known_row[known_row >= 0]] = True
    return seen


def _lost(known: pa.Table, known_row: NDArray[np.int64], result: ScanResult) -> Bools:
    """Which rows of `known` are of files that vanished since the last night.

    Not those below a folder that could not be listed, and none where the walk was stopped: there
    nobody looked tonight.
    """
    if not result.complete:
        return np.zeros(known.num_rows, np.bool_)
    lost = ~_seen(known, known_row) & ~_gone(known)
    for folder in result.unreadable_folders:
        below = pc.starts_with(known["archive_path"], f"{folder.archive_path}/")
        lost &= ~manifest.numpy(below)
    return np.asarray(lost, np.bool_)


def _read(
    files: list[FoundFile],
    config: Config,
    stamp: Stamp,
    result: ScanResult,
    progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> pa.Table:
    """Read and judge headers; rows in the order of `files`, fewer where the scan was stopped.

    `files` is emptied: what was found of a file goes as its row comes.
    """
    count = len(files)

    def describe_chunk(chunk: list[FoundFile]) -> list[Described]:
        return [describe(file, stamp.archive_root, config.eligibility) for file in chunk]

    tables, batch, done = [], list[Described](), 0
    chunks = _chunks(files)
    for described in _in_threads(describe_chunk, chunks, config.archive.scan_threads, stop):
        batch += described
        done += len(described)
        result.read += sum(one.opened for one in described)
        progress(len(described))
        if len(batch) >= manifest.BATCH_ROWS:
            tables.append(manifest.table(batch, stamp))
            batch = []
    result.complete = result.complete and done == count
    return pa.concat_tables([*tables, manifest.table(batch, stamp)])


def _in_threads(
    work: Callable[[list[FoundFile]], list[Described]],
    chunks: Iterator[list[FoundFile]],
    threads: int,
    stop: Callable[[], bool],
) -> Iterator[list[Described]]:
    """Results chunk by chunk in order, with a bounded number of chunks in hand.

    Threads, because what a scan waits for is storage: reading from the page cache they are no
    slower than one alone, and from a network share they wait beside each other.
    """
    pending: deque[Future[list[Described]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="scan") as pool:
        for chunk in chunks:
            if stop():
                break
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _chunks(files: list[FoundFile]) -> Iterator[list[FoundFile]]:
    """A few files at a time, in their order, taken out of the list."""
    files.reverse()
    while files:
        chunk = files[: -_CHUNK_FILES - 1 : -1]
        del files[-_CHUNK_FILES:]
        yield chunk


class _Part:
    """Rows of the manifest beside the exclusion reasons that tonight's scan gives them.

    `held` marks the instances that the manifest holds as eligible: of files with the same
    SOPInstanceUID they keep it, so that a copy that appears later does not take it over.
    """

    def __init__(self, rows: pa.Table, held: Bools) -> None:
        self.rows = rows
        self.held = held
        self.reasons = manifest.objects(rows["exclusion_reason"].to_pylist())

    def candidates(self) -> NDArray[np.int64]:
        """Indices of the instances that nothing but being a duplicate excludes."""
        readable = ~manifest.numpy(pc.is_valid(self.rows["failure_reason"]))
        reasons = pa.array(self.reasons, pa.string())
        duplicate = pc.fill_null(pc.equal(reasons, ExclusionReason.DUPLICATE.value), True)
        return np.flatnonzero(readable & np.asarray(duplicate))


def _settle_duplicates(*parts: _Part) -> None:
    """Let one instance of each SOPInstanceUID stand and mark the others, in `reasons`.

    The one that the manifest already holds as eligible stands; else the first by archive_path.
    """
    indices = [judged.candidates() for judged in parts]
    for judged, index in zip(parts, indices, strict=True):
        judged.reasons[index] = None
    if not sum(map(len, indices)):
        return
    uids = [
        chunk
        for judged, index in zip(parts, indices, strict=True)
        for chunk in judged.rows["sop_instance_uid"].take(pa.array(index)).chunks
    ]
    # One dictionary for all chunks, so that their codes agree without another copy of the UIDs.
    coded = pa.chunked_array(uids).dictionary_encode().unify_dictionaries()
    codes = np.concatenate([manifest.numpy(chunk.indices) for chunk in coded.chunks])
    del uids, coded
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    part_of = np.repeat(np.arange(len(parts)), [len(index) for index in indices])
    index_of = np.concatenate(indices)

    groups: dict[int, list[tuple[bool, str, int, int]]] = {}
    for at in repeated.tolist():
        part, row = int(part_of[at]), int(index_of[at])
        path = parts[part].rows["archive_path"][row].as_py()
        rank = (not parts[part].held[row], path, part, row)
        groups.setdefault(int(codes[at]), []).append(rank)
    for group in groups.values():
        for *_, part, row in sorted(group)[1:]:
            parts[part].reasons[row] = ExclusionReason.DUPLICATE.value
