"""Heatmaps: for listed studies only, from the pixels that the network saw."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.config import Config
from vfscreen.errors import InputError, Stage, UsageError
from vfscreen.jobs.films import failure, planned
from vfscreen.jobs.progress import progress
from vfscreen.jobs.run import Run, open_run
from vfscreen.jobs.stopping import StopRequest
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import existing_results
from vfscreen.results.parts import write_aside, write_part
from vfscreen.results.rows import Failure, Heatmap, failures_table, heatmaps_table
from vfscreen.results.sql import ask, fetch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vfscreen.imaging.tasks import DecodedFilm
    from vfscreen.model.checkpoint import CheckpointInfo

PICTURE_LONG_SIDE_PX = 1024
DEMONSTRATION_CAPTION = "phantom demonstration model: not for patients"
CAPTION = "Grad-CAM, research use: what raised the probability, not a finding"


def explain_study(results_path: Path, accession: str, config: Config) -> Path:
    """`vfscreen explain`: the path of the study's heatmap, rendered now if it is missing.

    Raises
    ------
    UsageError
        No study goes by this accession number, or it has not been screened.
    InputError
        The film can no longer be read, or the checkpoint in use is not at hand.
    """
    from vfscreen.results.reviews import find_study

    results = existing_results(results_path)
    with connect(results) as catalogue:
        study = find_study(catalogue, accession)
        rows = ask(
            catalogue, "study_film", study_instance_uid=study, finding=config.list.finding
        ).to_pylist()
    if not rows:
        raise UsageError("This study has not been screened by the checkpoint in use.")
    row = rows[0]
    if row["heatmap"] and (results.path / row["heatmap"]).is_file():
        return results.path / str(row["heatmap"])
    with open_run(results_path, "explain", config) as run:
        info = checkpoint_of(run, row["model_sha256"])
        if not render(run, rows, info, config, StopRequest()):
            raise InputError(
                "The film of this study can no longer be read; `vfscreen status` shows why."
            )
        return results.heatmaps / heatmap_files(row, info)[1]


def checkpoint_of(run: Run, model_sha256: str) -> "CheckpointInfo":
    """Find the checkpoint file of a model again, where a run has used it.

    Raises
    ------
    InputError
        It is not there any more, or is another one by now.
    """
    from vfscreen.errors import CheckpointError
    from vfscreen.model.checkpoint import read_info

    with connect(run.results) as catalogue:
        known = fetch(
            catalogue,
            "select distinct path from parts.checkpoints where model_sha256 = $model",
            {"model": model_sha256},
        )
    for path in known["path"].to_pylist():
        try:
            info = read_info(Path(path))
        except CheckpointError:
            continue
        if info.model_sha256 == model_sha256:
            return info
    raise InputError(
        "The checkpoint that this film was screened with is not where it was: run "
        "`vfscreen screen` with it again, which renders what is missing."
    )


def explain_listed(run: Run, info: "CheckpointInfo", config: Config, stop: StopRequest) -> None:
    """Render what is on the lists, inside their capacity, and has no heatmap yet."""
    with run.timed("explain") as stage:
        with connect(run.results) as catalogue:
            listed = ask(catalogue, "to_explain", capacity=config.list.capacity).to_pylist()
        # What another model flagged is explained by that model, when it is asked for.
        rows = [row for row in listed if row["model_sha256"] == info.model_sha256]
        stage.films += render(run, rows, info, config, stop)


def render(
    run: Run,
    rows: list[dict[str, Any]],
    info: "CheckpointInfo",
    config: Config,
    stop: StopRequest,
) -> int:
    """Decode films again, render film and heatmap, and note them; the number rendered.

    `rows` have `sop_instance_uid, study_instance_uid, finding, archive_root, archive_path` and
    what else the failure row of a film that can no longer be read needs.
    """
    if not rows or stop.out_of_grace():
        return 0
    import torch.utils.dlpack

    from vfscreen.imaging.dali import Preparer
    from vfscreen.imaging.tasks import DecodedFilm, DecodeFailure
    from vfscreen.imaging.workers import DecodePool
    from vfscreen.jobs.films import pool_options, tasks
    from vfscreen.model.heatmap import heatmaps, peak

    films = [planned(row) for row in rows]
    failures: list[Failure] = []
    done: list[Heatmap] = []
    with (
        DecodePool(**pool_options(config)) as pool,
        progress("heatmaps", unit="films", total=len(films)) as show,
    ):
        items = pool.decode(tasks(films, info), stop.out_of_grace)
        predictor = run.predictor(info, config.inference)
        preparer = Preparer(info.preprocessing, 1, str(predictor.device))
        for item in items:
            show()
            if isinstance(item, DecodeFailure):
                film = films[item.index]
                failures.append(failure(film, info, Stage.EXPLAIN, item.reason, item.message))
                continue
            assert isinstance(item, DecodedFilm)  # codestreams come only where they are asked for
            row = rows[item.index]
            pixels = torch.utils.dlpack.from_dlpack(preparer.prepare([item.display], [item.region]))
            heat = heatmaps(predictor, pixels, row["finding"])[0]
            done.append(_store(run, row, info, item, heat, peak(heat)))
            pool.release(item)
            if stop.out_of_grace():
                break
    write_part(run.results, "heatmaps", heatmaps_table(done))
    write_part(run.results, "failures", failures_table(failures, run.run_id))
    publish(run.results)
    run.ledger.heatmaps_rendered += len(done)
    return len(done)


def heatmap_files(row: dict[str, Any], info: "CheckpointInfo") -> tuple[str, str]:
    """Names of a film's two pictures: a hash, since a UID from DICOM is no safe file name."""
    text = "\0".join((row["sop_instance_uid"], row["finding"], info.model_sha256))
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{name}.film.png", f"{name}.heatmap.png"


def _store(
    run: Run,
    row: dict[str, Any],
    info: "CheckpointInfo",
    film: "DecodedFilm",
    heat: "NDArray[np.float32]",
    at: tuple[float, float],
) -> Heatmap:
    """Write film and overlay as PNG; the row that describes them."""
    from vfscreen.imaging.picture import film_picture, overlay_picture, png_bytes

    small = film_picture(film.display, PICTURE_LONG_SIDE_PX)
    caption = DEMONSTRATION_CAPTION if info.demonstration else CAPTION
    film_file, heatmap_file = heatmap_files(row, info)
    write_aside(run.results, run.results.heatmaps / film_file, png_bytes(small))
    overlay = overlay_picture(small, heat, caption)
    write_aside(run.results, run.results.heatmaps / heatmap_file, png_bytes(overlay))
    height, width = film.display.shape
    return Heatmap(
        sop_instance_uid=row["sop_instance_uid"],
        finding=row["finding"],
        model_sha256=info.model_sha256,
        film_file=film_file,
        heatmap_file=heatmap_file,
        peak_column_px=at[0] * width,
        peak_row_px=at[1] * height,
    )
