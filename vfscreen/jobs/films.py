"""The path of films through one run: decode, prepare, infer, save, one shard after another."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config
from vfscreen.errors import ArchiveError, FailureReason, Stage
from vfscreen.jobs.flag import heads
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run
from vfscreen.jobs.stopping import StopRequest
from vfscreen.results.catalogue import publish
from vfscreen.results.ledger import StageFigures, write_ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import Failure, ScreenedFilm, failures_table, predictions_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vfscreen.imaging.tasks import DecodedFilm, DecodeTask
    from vfscreen.model.checkpoint import CheckpointInfo


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
    films: list[PlannedFilm],
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
    shard = Shard()
    try:
        with progress("screening", unit="films", total=len(films)) as show:
            for done in _outcomes(run, films, info, config, stop):
                if done.failures and _gone(root, done.failures):
                    raise ArchiveError(
                        "The archive has gone away during the run. What was screened is saved; "
                        "the rest is screened by the next run."
                    )
                shard.films += done.films
                shard.logits += done.logits
                shard.failures += done.failures
                show(len(done))
                if len(shard) >= config.run.shard_films:
                    save, shard = shard, Shard()
                    _save(run, save, info)
    finally:
        _save(run, shard, info)


def _gone(root: Path, failures: list[Failure]) -> bool:
    """Whether files cannot be read because the archive as a whole cannot."""
    if all(f.reason is not FailureReason.UNREADABLE_FILE for f in failures):
        return False
    try:
        return next(root.iterdir(), None) is None
    except OSError:
        return True


def _save(run: Run, shard: Shard, info: "CheckpointInfo") -> None:
    """Write a shard's parts, then the catalogue; only then do its films count in the ledger."""
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
        publish(run.results)
        stage.films += len(shard)
    run.ledger.screened += len(shard.films)
    for lost in shard.failures:
        run.ledger.add("failed", lost.reason.value)
    run.ledger.not_reached -= len(shard)
    write_ledger(run.results, run.ledger)


def _outcomes(
    run: Run,
    films: list[PlannedFilm],
    info: "CheckpointInfo",
    config: Config,
    stop: StopRequest,
) -> Iterator[Shard]:
    """Decode in worker processes, infer here; yields after each batch and each failure."""
    from vfscreen.imaging.tasks import DecodedFilm
    from vfscreen.imaging.workers import DecodePool

    # The workers start first: they import their decoders while torch is being imported here.
    with DecodePool(**asdict(config.decode)) as pool:
        items = pool.decode(tasks(films, info), stop)
        inference = Inference(run, films, info, config)
        batch: list[DecodedFilm] = []
        for item in items:
            if isinstance(item, DecodedFilm):
                _count_decoded(run, item)
                batch.append(item)
            else:
                planned = films[item.index]
                lost = failure(planned, info, Stage.DECODE, item.reason, item.message)
                yield Shard(failures=[lost])
            if len(batch) == inference.batch_size:
                yield inference(batch)
                for film in batch:
                    pool.release(film)
                batch = []
            if stop():
                break
        if batch:
            yield inference(batch)


def _count_decoded(run: Run, film: "DecodedFilm") -> None:
    """Add one film to the figures by stage, transfer syntax and route."""
    for figures in (
        run.ledger.stage("decode (worker seconds)"),
        run.ledger.transfer_syntaxes.setdefault(film.transfer_syntax_uid, StageFigures()),
    ):
        figures.films += 1
        figures.seconds += film.decode_s
        figures.bytes += film.read_bytes
    run.ledger.add("decode_routes", film.route)


def tasks(films: list[PlannedFilm], info: "CheckpointInfo") -> "Iterator[DecodeTask]":
    """What the decode workers are given; `index` is the place in `films`."""
    from vfscreen.imaging.tasks import DecodeTask

    for index, film in enumerate(films):
        yield DecodeTask(
            index=index,
            path=str(film.path),
            preprocessing=info.preprocessing,
            expected_size_bytes=film.size_bytes,
            pixels=film.pixels,
        )


class Inference:
    """The network and its DALI pipeline, loaded once a run."""

    def __init__(
        self, run: Run, films: list[PlannedFilm], info: "CheckpointInfo", config: Config
    ) -> None:
        with run.timed("load"):
            from vfscreen.imaging.dali import Preparer

            self.predictor = run.predictor(info, config.inference)
            self.batch_size = config.inference.batch_size or self.predictor.batch_size
            self.preparer = Preparer(
                info.preprocessing, self.batch_size, str(self.predictor.device)
            )
        self.run, self.films, self.info = run, films, info

    def __call__(self, batch: "list[DecodedFilm]") -> Shard:
        """Score one batch of decoded films."""
        import numpy as np
        import torch.utils.dlpack

        with self.run.timed("prepare") as stage:
            pixels = torch.utils.dlpack.from_dlpack(
                self.preparer.prepare([film.display for film in batch])
            )
            stage.films += len(batch)
        with self.run.timed("infer") as stage:
            logits = self.predictor.logits(pixels)
            stage.films += len(batch)
        done = Shard()
        for film, row in zip(batch, logits, strict=True):
            planned = self.films[film.index]
            if np.isfinite(row).all():
                done.films.append(
                    ScreenedFilm(
                        planned.sop_instance_uid,
                        planned.study_instance_uid,
                        planned.content_fingerprint,
                        film.route,
                    )
                )
                done.logits.append(row)
            else:
                reason = FailureReason.NON_FINITE_LOGIT
                message = "The network's answer is not a number."
                done.failures.append(failure(planned, self.info, Stage.INFER, reason, message))
        return done


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
