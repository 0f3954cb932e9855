"""Write a phantom archive: films as PACS hold them, clutter, reports, truth.

::

    OUT/archive/             the DICOM tree
    OUT/reports.csv          the reports that have arrived: what `report_status` is about
    OUT/reports_late.csv     reports that arrive days later: whole studies, in no other file
    OUT/truth.parquet        a row a film of the studies (not of the clutter)
    OUT/labels.csv           a row a film of the studies that is for presentation
    OUT/marks.csv            on these films, where the fractured and all other vertebrae are

The same seed and version give the same bytes, whatever the number of workers. Every study draws
from streams of its own, files carry a fixed time, and nothing asks the clock.
"""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from vfscreen.errors import StorageError, UsageError
from vfscreen.phantom.anatomy import Variant
from vfscreen.phantom.clutter import FORBIDDEN, write_clutter
from vfscreen.phantom.dicom_habits import draw_habit
from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty
from vfscreen.phantom.shift import Shift
from vfscreen.phantom.streams import stream
from vfscreen.phantom.study import StudyPlan, WrittenStudy, write_group
from vfscreen.phantom.truth import LabelRow, MarkRow, ReportRow, write_rows, write_truth

# "Today" of every archive: its newest study is just before.
REFERENCE = datetime(2025, 6, 30, 18, 0)
SPAN_DAYS = 3650
# Anatomy seeds of archives, far from those that training and validation render.
PATIENT_SEEDS = 10**12
SHARE_LATER_STUDY = 0.06
LATER_DAYS = (60, 900)
# One in so many studies has an accession number that another site has given as well.
SHARED_ACCESSION_EVERY = 30

# What lies beside the archive.
BESIDE = ("truth.parquet", "reports.csv", "reports_late.csv", "labels.csv", "marks.csv")

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PhantomSummary:
    """What was written.

    Attributes
    ----------
    studies, films : int
        Studies (counterfactual ones counted each) and their instances, without clutter.
    fractured : int
        Studies that show a vertebral fracture.
    files, size_bytes : int
        Of the archive's tree, clutter and copies included.
    reports, late_reports : int
        Rows of the two files.
    transfer_syntaxes : dict
        Studies by transfer syntax UID.
    clutter : dict
        Pieces by kind, see `vfscreen.phantom.clutter`.
    """

    studies: int
    films: int
    fractured: int
    files: int
    size_bytes: int
    reports: int
    late_reports: int
    transfer_syntaxes: dict[str, int]
    clutter: dict[str, int]


def write_phantom(
    out: Path,
    *,
    studies: int,
    seed: int,
    workers: int = 0,
    long_side_px: tuple[int, int] = (2000, 2700),
    counterfactuals: bool = False,
    reports: bool = True,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
    shift: Shift | None = None,
    progress: Progress | None = None,
) -> PhantomSummary:
    """Write a phantom archive into `out`.

    Parameters
    ----------
    out : Path
        A folder without `archive/`; made where it is missing.
    studies : int
        Studies of the documented mix. A few are later studies of the same patient.
    seed : int
        Same seed, same bytes.
    workers : int
        Processes that render; 0 means one a core, 1 renders in this process.
    long_side_px : (int, int)
        Films are drawn with a long side from the first to the second, both included. Below some
        750 px the short side falls under the default of `eligibility.min_short_side_px`.
    counterfactuals : bool
        Write each study three times, with the fracture, with a mimic and without either, as
        patients of their own that share nothing but body and habit (`pair` in the truth); a
        single film each, and no later studies.
    reports : bool
        Whether reports are dictated; without, both files hold a header only.
    difficulty : Difficulty
        How hard films are to read.
    shift : Shift, optional
        Another display of the same films: anatomy, headers, reports and who has what stay.
    progress : callable, optional
        Called with the number of further studies (of `studies`) done.

    Raises
    ------
    UsageError
        `out/archive` exists.
    StorageError
        The disk is full or may not be written.
    """
    root = out / "archive"
    if root.exists():
        raise UsageError(f"{root} exists already: name a new folder.")
    plan = plan_groups(
        studies,
        seed,
        long_side_px,
        counterfactuals=counterfactuals,
        difficulty=difficulty,
        shift=shift,
    )
    try:
        return _write(out, plan, seed, workers, reports=reports, progress=progress)
    except OSError as error:
        raise StorageError(f"The phantom archive cannot be written: {error.strerror}.") from error


def _write(
    out: Path,
    groups: list[tuple[StudyPlan, ...]],
    seed: int,
    workers: int,
    *,
    reports: bool,
    progress: Progress | None,
) -> PhantomSummary:
    root = out / "archive"
    root.mkdir(parents=True)
    work = partial(write_group, root, reports=reports)
    written: list[WrittenStudy] = []
    for group in _run(work, groups, workers or len(os.sched_getaffinity(0))):
        written += group
        if progress is not None:
            progress(1)
    clutter = write_clutter(root, seed)
    truth = [row for study in written for row in study.truth]
    write_truth(out / "truth.parquet", truth)
    count = write_rows(out / "reports.csv", ReportRow, (r for s in written for r in s.reports))
    late = write_rows(
        out / "reports_late.csv", ReportRow, (r for s in written for r in s.late_reports)
    )
    write_rows(out / "labels.csv", LabelRow, (r for s in written for r in s.labels))
    write_rows(out / "marks.csv", MarkRow, (r for s in written for r in s.marks))
    _settle(root, tuple(out / name for name in BESIDE))
    (root / FORBIDDEN).chmod(0o000)
    sizes = [size for study in written for size in study.file_sizes]
    return PhantomSummary(
        studies=len(written),
        films=len(truth),
        fractured=len({r["study_instance_uid"] for r in truth if r["vertebral_fracture"]}),
        files=len(sizes) + clutter.files,
        size_bytes=sum(sizes) + clutter.size_bytes,
        reports=count,
        late_reports=late,
        transfer_syntaxes=dict(sorted(Counter(s.transfer_syntax_uid for s in written).items())),
        clutter=clutter.pieces,
    )


def plan_groups(
    studies: int,
    seed: int,
    long_side_px: tuple[int, int],
    *,
    counterfactuals: bool,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
    shift: Shift | None = None,
) -> list[tuple[StudyPlan, ...]]:
    """Decide who is filmed when: groups of studies that share one rendered anatomy."""
    groups: list[tuple[StudyPlan, ...]] = []
    variants: tuple[Variant | None, ...] = tuple(Variant) if counterfactuals else (None,)
    last: StudyPlan | None = None
    patients = 0
    for index in range(studies):
        rng = stream(seed, "study", index)
        first_time = (REFERENCE - timedelta(days=float(rng.uniform(1, SPAN_DAYS)))).replace(
            microsecond=0
        )
        wanted = rng.random() < SHARE_LATER_STUDY and not counterfactuals
        wait = timedelta(days=int(rng.integers(*LATER_DAYS)))
        size = int(rng.integers(long_side_px[0], long_side_px[1] + 1))
        earlier = last if wanted and _may_follow(seed, last, wait) else None
        number, shared = _accession(seed, index)
        group = []
        for place, variant in enumerate(variants):
            patients += earlier is None
            group.append(
                StudyPlan(
                    archive_seed=seed,
                    index=index * len(variants) + place,
                    habit_index=index,
                    patient_index=patients,
                    patient_seed=earlier.patient_seed if earlier else _patient_seed(seed, index),
                    variant=variant,
                    alone=counterfactuals,
                    view=1 if earlier else 0,
                    accession_number=f"{number}{'FMP'[place]}" if counterfactuals else number,
                    shared_accession=shared,
                    study_datetime=earlier.study_datetime + wait if earlier else first_time,
                    first_study_datetime=earlier.study_datetime if earlier else first_time,
                    long_side_px=size,
                    difficulty=difficulty,
                    shift=shift,
                )
            )
        last = group[-1]
        groups.append(tuple(group))
    return groups


def _may_follow(seed: int, last: StudyPlan | None, wait: timedelta) -> bool:
    """Whether a later study can be the other exposure of the last patient's anatomy."""
    return (
        last is not None
        and last.view == 0
        and not draw_habit(seed, last.habit_index).second_film
        and last.study_datetime + wait < REFERENCE
    )


def _patient_seed(seed: int, index: int) -> int:
    return PATIENT_SEEDS + seed * 10**6 + index


def _accession(seed: int, index: int) -> tuple[str, bool]:
    """Return the accession number, and whether another site has given the same one."""

    def partner(late: int) -> int | None:
        site = draw_habit(seed, late).site
        others = (i for i in range(late - 1, late - SHARED_ACCESSION_EVERY, -1))
        return next((i for i in others if draw_habit(seed, i).site != site), None)

    late = (index // SHARED_ACCESSION_EVERY + 1) * SHARED_ACCESSION_EVERY - 1
    with_whom = partner(late)
    if index == late and with_whom is not None:
        return f"70{with_whom:07d}", True
    return f"70{index:07d}", index == with_whom


def _run(
    work: Callable[[tuple[StudyPlan, ...]], list[WrittenStudy]],
    groups: list[tuple[StudyPlan, ...]],
    workers: int,
) -> Iterator[list[WrittenStudy]]:
    """Do the work, in the order of `groups`."""
    if workers <= 1 or len(groups) <= 1:
        yield from map(work, groups)
        return
    # Spawned: forking after torch, DALI or duckdb have started threads can hang the child.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_signals) as pool:
        futures: list[Future[list[WrittenStudy]]] = [pool.submit(work, g) for g in groups]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            # An interrupt ends what has begun and cancels the rest.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_signals() -> None:
    """A terminal's Ctrl-C reaches the workers too; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _settle(root: Path, beside: tuple[Path, ...]) -> None:
    """Give every file, link and folder the same time, so that two archives are the same."""
    moment = REFERENCE.replace(tzinfo=UTC).timestamp()
    for path in beside:
        os.utime(path, (moment, moment))
    for folder, folders, files in os.walk(root, topdown=False):
        for name in (*folders, *files):
            os.utime(Path(folder, name), (moment, moment), follow_symlinks=False)
    os.utime(root, (moment, moment))
