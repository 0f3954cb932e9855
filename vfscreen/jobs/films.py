"""The path of films through one run: decode, prepare, infer, save, one shard after another."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from vfscreen.archive.walk import locate
from vfscreen.config import Config
from vfscreen.errors import ArchiveError, FailureReason, Stage
from vfscreen.jobs.canary import Canary, draw
from vfscreen.jobs.flag import heads
from vfscreen.jobs.gpu_route import gpu_syntaxes
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run
from vfscreen.jobs.stopping import StopRequest
from vfscreen.results.catalogue import publish, publish_if_due
from vfscreen.results.ledger import StageFigures, write_ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import Failure, ScreenedFilm, failures_table, predictions_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vfscreen.imaging.tasks import DecodeTask, ReadyFilm
    from vfscreen.imaging.workers import DecodePool
    from vfscreen.jobs.lanes import Scored
    from vfscreen.model.checkpoint import CheckpointInfo
    from vfscreen.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class PlannedFilm:
    """One eligible instance that this run is to decode."""

    path: Path
    size_bytes: int
    instance_key: str
    sop_instance_uid: str
    study_instance_uid: str
    content_fingerprint: str
    transfer_syntax_uid: str | None
    pixels: int | None


def planned(row: dict[str, Any]) -> PlannedFilm:
    """A row of a plan as a film to decode."""
    return PlannedFilm(
        path=Path(locate(row["archive_root"], row["archive_path"])),
        size_bytes=row["size_bytes"],
        instance_key=row["instance_key"],
        sop_instance_uid=row["sop_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        content_fingerprint=row["content_fingerprint"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        pixels=(row["rows"] or 0) * (row["columns"] or 0) or None,
    )


class PlannedFilms(Sequence[PlannedFilm]):
    """The films of a plan in their order, each made when it is asked for.

    What a backlog of a million films keeps in memory is the plan's Arrow table and no objects.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.combine_chunks()

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @overload
    def __getitem__(self, index: int) -> PlannedFilm: ...

    @overload
    def __getitem__(self, index: slice) -> "PlannedFilms": ...

    def __getitem__(self, index: int | slice) -> "PlannedFilm | PlannedFilms":
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return PlannedFilms(self._rows.slice(start, max(0, stop - start)))
        if not 0 <= index < len(self):
            raise IndexError(index)
        names = self._rows.column_names
        return planned({name: self._rows[name][index].as_py() for name in names})

    def of_syntax(self, transfer_syntax_uid: str) -> "PlannedFilms":
        """Those of one transfer syntax."""
        column = self._rows["transfer_syntax_uid"]
        return PlannedFilms(self._rows.filter(pc.equal(column, transfer_syntax_uid)))


@dataclass(slots=True)
class Shard:
    """What has been done since the last save."""

    films: list[ScreenedFilm] = field(default_factory=list)
    logits: "list[NDArray[np.float32]]" = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.films) + len(self.failures)


def screen_films(
    run: Run,
    films: PlannedFilms,
    root: Path,
    info: "CheckpointInfo",
    config: Config,
    stop: StopRequest,
) -> None:
    """Screen `films` in their order; each ends as predictions or as one failure, or not reached.

    Raises
    ------
    ArchiveError
        The archive has gone away: what was done is saved, the rest is left for the next run.
    """
    run.ledger.not_reached += len(films)
    if not films or stop():
        return
    from vfscreen.imaging.workers import DecodePool

    shard = Shard()
    # The workers start first: they import their decoders while torch is being imported here.
    with DecodePool(**pool_options(config)) as pool:
        path = _Path(run, films, info, config, pool)
        # From the first film asked for to the last one saved: what the rate of a run is.
        with (
            path.pinned,
            path.lanes,
            run.timed("screen") as stage,
            progress("screening", unit="films", total=len(films)) as show,
        ):
            try:
                for done in path.outcomes(stop):
                    if archive_gone(root, [lost.reason for lost in done.failures]):
                        raise ArchiveError(
                            "The archive has gone away during the run. What was screened is "
                            "saved; the rest is screened by the next run."
                        )
                    shard.films += done.films
                    shard.logits += done.logits
                    shard.failures += done.failures
                    show(len(done))
                    stage.films += len(done)
                    if len(shard) >= config.run.shard_films:
                        save, shard = shard, Shard()
                        _save(run, save, info)
            finally:
                _save(run, shard, info)
                with run.timed("write"):
                    publish(run.results)


def pool_options(config: Config) -> dict[str, Any]:
    """What the decode pool takes of the configuration."""
    names = ("workers", "timeout_s", "max_pixels", "worker_memory_bytes", "buffer_bytes")
    return {name: getattr(config.decode, name) for name in names}


def archive_gone(root: Path, reasons: Collection[FailureReason]) -> bool:
    """Whether files cannot be read because the archive as a whole cannot."""
    if FailureReason.UNREADABLE_FILE not in reasons:
        return False
    try:
        return next(root.iterdir(), None) is None
    except OSError:
        return True


def _save(run: Run, shard: Shard, info: "CheckpointInfo") -> None:
    """Write a shard's parts; only then do its films count in the ledger.

    A part that is written counts, also for a run that is killed before the catalogue lists it: the
    next run begins by publishing. So the catalogue may be half a minute behind.
    """
    if not len(shard):
        return
    import numpy as np

    with run.timed("write") as stage:
        if shard.films:
            predictions = predictions_table(
                shard.films,
                np.stack(shard.logits),
                heads(info),
                model_sha256=info.model_sha256,
                checkpoint_sha256=info.checkpoint_sha256,
                run_id=run.run_id,
            )
            write_part(run.results, "predictions", predictions)
        write_part(run.results, "failures", failures_table(shard.failures, run.run_id))
        publish_if_due(run.results)
        stage.films += len(shard)
    run.ledger.screened += len(shard.films)
    for lost in shard.failures:
        run.ledger.add("failed", lost.reason.value)
    run.ledger.not_reached -= len(shard)
    write_ledger(run.results, run.ledger)


class _Path:
    """The decode pool, the lanes and the canary of one run, and the films on their way through."""

    def __init__(
        self,
        run: Run,
        films: PlannedFilms,
        info: "CheckpointInfo",
        config: Config,
        pool: "DecodePool",
    ) -> None:
        self.run, self.films, self.info, self.pool = run, films, info, pool
        self.spec = info.preprocessing
        self.sample = draw(len(films), config.canary, run.run_id)
        self.canary = Canary(run, self.spec)
        self.mode = "reduced" if config.decode.reduced else "full"
        with run.timed("load"):
            from vfscreen.jobs.lanes import Lanes

            predictor = run.predictor(info, config.inference)
            batch_size = config.inference.batch_size or predictor.batch_size
            self.on_gpu = gpu_syntaxes(
                run, films, lambda some: tasks(some, info), config.decode, pool, predictor.device
            )
            self.batch_bytes = config.decode.buffer_bytes // 4
            self.pinned: AbstractContextManager[object] = nullcontext()
            if predictor.device.type == "cuda":
                from vfscreen.imaging.pinned import pinned

                self.pinned = pinned(pool.memory)
            self.lanes = Lanes(
                predictor,
                batch_size,
                pool.release,
                self.sample,
                codestreams=bool(self.on_gpu),
                # The other half is for the films that are being decoded meanwhile.
                most_bytes=config.decode.buffer_bytes // 2,
            )
        self.given_back: set[int] = set()

    def outcomes(self, stop: StopRequest) -> Iterator[Shard]:
        """Yields after each batch and each failure."""
        yield from self._through(self._tasks(), stop)
        if self.given_back and not stop():
            # The GPU's decoders did not answer as they should: the CPU's say what is wrong, if so.
            again = tasks(self.films, self.info, only=sorted(self.given_back))
            yield from self._through(again, stop)
        self.canary.finish()

    def _through(self, films: "Iterable[DecodeTask]", stop: StopRequest) -> Iterator[Shard]:
        from vfscreen.imaging.tasks import DecodedFilm, DecodeFailure, DecodeMode

        batch: list[ReadyFilm] = []
        held_bytes = 0
        for item in self.pool.decode(films, stop):
            if item.mode is DecodeMode.REFERENCE:
                if isinstance(item, DecodedFilm):
                    self.canary.reference(item, self.films[item.index].sop_instance_uid)
                    self.pool.release(item)
                else:
                    self.canary.not_comparable(item.index)
            elif isinstance(item, DecodeFailure):
                film = self.films[item.index]
                lost = failure(film, self.info, Stage.DECODE, item.reason, item.message)
                yield Shard(failures=[lost])
            else:
                _count_decoded(self.run, item)
                batch.append(item)
                held_bytes += item.memory_bytes
            # Large films go on before a batch of them is full: memory is a budget of bytes.
            if len(batch) == self.lanes.batch_size or held_bytes > self.batch_bytes:
                yield from map(self._scored, self.lanes.submit(batch))
                batch, held_bytes = [], 0
            if stop():
                break
        if batch:
            yield from map(self._scored, self.lanes.submit(batch))
        yield from map(self._scored, self.lanes.finish())

    def _tasks(self) -> "Iterator[DecodeTask]":
        """Every film by the fast path, and those of the sample by the reference as well."""
        for index in range(len(self.films)):
            film = self.films[index]
            coded = film.transfer_syntax_uid in self.on_gpu
            yield decode_task(film, index, self.spec, "codestream" if coded else self.mode)
            if index in self.sample:
                yield decode_task(film, index, self.spec, "reference")

    def _scored(self, scored: "Scored") -> Shard:
        """Count a batch and make rows of it."""
        from vfscreen.model.inference import answered

        ledger = self.run.ledger
        self.given_back.update(scored.given_back)
        for name, seconds, cpu_seconds in (
            ("prepare", scored.prepare_s, 0.0),
            ("infer", scored.infer_s, scored.infer_cpu_s),
        ):
            stage = ledger.stage(name)
            stage.films += len(scored.indexes)
            stage.seconds += seconds
            stage.cpu_seconds += cpu_seconds
        done = Shard()
        found = answered(scored.logits, self.info)
        rows = zip(scored.indexes, scored.routes, scored.logits, found, strict=True)
        for index, route, row, has_answer in rows:
            film = self.films[index]
            if index in scored.kept:
                self.canary.network_saw(index, film.sop_instance_uid, route, scored.kept[index])
            if has_answer:
                done.films.append(
                    ScreenedFilm(
                        film.sop_instance_uid,
                        film.study_instance_uid,
                        film.content_fingerprint,
                        route,
                    )
                )
                done.logits.append(row)
            else:
                reason = FailureReason.NON_FINITE_LOGIT
                message = "The network's answer is not a number."
                done.failures.append(failure(film, self.info, Stage.INFER, reason, message))
        return done


def _count_decoded(run: Run, film: "ReadyFilm") -> None:
    """Add one film to the figures by stage, transfer syntax and route.

    One that the GPU gives back is read twice, and counts twice.
    """
    from vfscreen.imaging.tasks import DecodedFilm

    read, decode = run.ledger.stage("read"), run.ledger.stage("decode")
    syntax = run.ledger.transfer_syntaxes.setdefault(film.transfer_syntax_uid, StageFigures())
    read.seconds += film.read_s
    read.bytes += film.read_bytes
    pixels = film.display.size if isinstance(film, DecodedFilm) else film.rows * film.columns
    decode.bytes += 2 * pixels
    decode.seconds += film.decode_s
    decode.cpu_seconds += film.cpu_s
    syntax.seconds += film.read_s + film.decode_s
    syntax.cpu_seconds += film.cpu_s
    syntax.bytes += film.read_bytes
    for figures in (read, decode, syntax):
        figures.films += 1
    run.ledger.add("decode_routes", film.route)


def tasks(
    films: Sequence[PlannedFilm],
    info: "CheckpointInfo",
    only: Iterable[int] | None = None,
) -> "Iterator[DecodeTask]":
    """What the decode workers are given, every pixel; `only` some of the films, by their index."""
    for index in range(len(films)) if only is None else only:
        yield decode_task(films[index], index, info.preprocessing, "full")


def decode_task(film: PlannedFilm, index: int, spec: "Preprocessing", mode: str) -> "DecodeTask":
    """What a decode worker is given; `index` is the film's place among those of the run."""
    from vfscreen.imaging.tasks import DecodeMode, DecodeTask

    return DecodeTask(
        index=index,
        path=str(film.path),
        preprocessing=spec,
        expected_size_bytes=film.size_bytes,
        pixels=film.pixels,
        mode=DecodeMode(mode),
    )


def failure(
    film: PlannedFilm,
    info: "CheckpointInfo",
    stage: Stage,
    reason: FailureReason,
    message: str,
) -> Failure:
    """A failure row; the message must be free of identifiers."""
    return Failure(
        instance_key=film.instance_key,
        sop_instance_uid=film.sop_instance_uid,
        content_fingerprint=film.content_fingerprint,
        model_sha256=info.model_sha256,
        stage=stage,
        reason=reason,
        message=message,
        transfer_syntax_uid=film.transfer_syntax_uid,
    )
