"""The film cache: the network's input to half a grey, whole after every kind of end."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from dicom_films import JPEG_2000_LOSSLESS, anatomy, film, write

from vfscreen.config import Config, DecodeConfig
from vfscreen.errors import ArchiveError, FailureReason, InterruptedRunError, StorageError
from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.tasks import DecodedFilm
from vfscreen.imaging.workers import DecodePool
from vfscreen.jobs import film_cache
from vfscreen.jobs.film_cache import CachedFilms, cache_films
from vfscreen.jobs.films import PlannedFilms, decode_task, pool_options
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import read_info
from vfscreen.model.inference import Predictor
from vfscreen.preprocessing import Preprocessing
from vfscreen.results.catalogue import connect
from vfscreen.results.folder import existing_results
from vfscreen.results.sql import ask

CONFIG = Config(decode=DecodeConfig(workers=1))
SPEC = Preprocessing(input_size_px=64)


def archive_of(folder: Path, count: int, *, broken: tuple[int, ...] = ()) -> PlannedFilms:
    """Films of random anatomy; of a broken one the codestream ends early."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(count):
        path = folder / f"{number}.dcm"
        stored = anatomy(160, 120, seed=number)
        dataset = film(stored, JPEG_2000_LOSSLESS, SOPInstanceUID=f"1.2.3.{number}")
        if number in broken:
            dataset = film(stored, JPEG_2000_LOSSLESS, codestream=bytes(200))
        write(dataset, path)
        rows.append(
            {
                "archive_root": str(folder),
                "archive_path": path.name,
                "size_bytes": path.stat().st_size,
                "instance_key": f"key{number}",
                "sop_instance_uid": f"1.2.3.{number}",
                "study_instance_uid": f"1.2.{number}",
                "content_fingerprint": f"content{number}",
                "transfer_syntax_uid": JPEG_2000_LOSSLESS,
                "rows": 160,
                "columns": 120,
            }
        )
    return PlannedFilms(pa.Table.from_pylist(rows))


def cached(tmp_path: Path, films: PlannedFilms, spec: Preprocessing = SPEC) -> CachedFilms:
    return cache_films(tmp_path / "cache", films, tmp_path / "archive", spec, CONFIG, StopRequest())


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("a film was decoded")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*"))


@pytest.mark.parametrize("size_px", [64, 224, 512])
def test_cached_films_are_what_inference_prepares(
    tmp_path: Path, workplace: Path, size_px: int
) -> None:
    """Of every transfer syntax of the phantom: half a grey of 256 apart at most."""
    with connect(existing_results(workplace / "results")) as catalogue:
        roots = catalogue.execute("select distinct archive_root from manifest").fetchall()
        rows = ask(
            catalogue, "to_screen", archive_roots=[r for (r,) in roots], model_sha256="another",
            transient_nights=3,
        )  # fmt: skip
    first = rows.group_by("transfer_syntax_uid").aggregate([("archive_path", "min")])
    one_each = PlannedFilms(rows.filter(pc.is_in(rows["archive_path"], first["archive_path_min"])))
    spec = replace(read_info("demo").preprocessing, input_size_px=size_px)
    cache = cache_films(
        tmp_path / "cache", one_each, Path(roots[0][0]), spec, CONFIG, StopRequest()
    )
    assert cache.films.shape[1:] == (size_px, size_px)
    preparer = Preparer(spec, 1)
    compared, prepared = [], []
    with DecodePool(**pool_options(CONFIG)) as pool:
        tasks = [decode_task(one_each[i], i, spec, "reduced") for i in range(len(one_each))]
        for item in pool.decode(iter(tasks)):
            if isinstance(item, DecodedFilm):
                pixels = preparer.prepare([item.display], [item.region])
                prepared.append(torch.utils.dlpack.from_dlpack(pixels).clone())
                compared.append(item.index)
                pool.release(item)
    assert len(compared) >= 8
    assert sorted(cache.failures) == sorted(set(range(len(one_each))) - set(compared))
    stored = torch.from_numpy(np.array(cache.films[cache.rows[compared]]))[:, None]
    again = (stored / 255.0 - spec.mean) / spec.std
    inference = torch.cat(prepared)
    assert ((again - inference).abs().max() * spec.std) <= 0.5 / 255 + 1e-6
    if size_px == 224:
        network = Predictor(read_info("demo"), device="cpu", precision="float32")
        difference = np.abs(network.logits(again) - network.logits(inference))
        # Of logits that span some twenty: what 256 greys cost.
        assert difference.max() < 0.05


def test_a_cached_film_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = archive_of(tmp_path / "archive", 5, broken=(2,))
    first = cached(tmp_path, films)
    assert first.films.shape == (4, 64, 64)
    assert first.rows[2] == -1 and sorted(first.rows[[0, 1, 3, 4]]) == [0, 1, 2, 3]
    assert list(first.failures) == [2]
    assert not first.failures[2].transient
    assert first.failed() == {first.failures[2].value: 1}
    monkeypatch.setattr(film_cache, "_fill", forbidden)
    again = cached(tmp_path, films)
    assert again.rows.tolist() == first.rows.tolist()
    assert np.array_equal(again.films, first.films)
    assert again.failures == first.failures


def test_more_films_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    films = archive_of(tmp_path / "archive", 4)
    before = cached(tmp_path, films[:2])
    after = cached(tmp_path, films)
    assert np.array_equal(after.films[after.rows[:2]], before.films[before.rows])
    assert len(after.films) == 4
    # Another normalisation is the same cache, another size is not.
    assert len(files(tmp_path)) == 3
    cached(tmp_path, films, replace(SPEC, mean=0.1, std=0.9))
    assert len(files(tmp_path)) == 3
    assert cached(tmp_path, films, replace(SPEC, input_size_px=32)).films.shape == (4, 32, 32)
    assert len(files(tmp_path)) == 6


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    cached(tmp_path, archive_of(tmp_path / "archive", 1))
    for path in [tmp_path / "cache", *files(tmp_path)]:
        assert path.stat().st_mode & 0o077 == 0


def test_a_row_that_no_line_names_is_overwritten(tmp_path: Path) -> None:
    """What a killed run leaves: a row without its line, and a line without its end."""
    films = archive_of(tmp_path / "archive", 3)
    whole = cached(tmp_path, films)
    expected = np.array(whole.films[whole.rows])
    _, pixels, index = files(tmp_path)
    pixels, index = sorted((pixels, index), key=lambda p: p.suffix != ".u8")
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(lines[0] + lines[1][:20])
    with pixels.open("ab") as file:
        file.write(bytes(100))
    again = cached(tmp_path, films)
    assert np.array_equal(again.films[again.rows], expected)
    assert len(again.films) == 3


def test_a_failure_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    films = archive_of(tmp_path / "archive", 3)
    away = tmp_path / "archive" / "1.dcm"
    data = away.read_bytes()
    away.unlink()
    assert cached(tmp_path, films).failures == {1: FailureReason.UNREADABLE_FILE}
    away.write_bytes(data)
    assert cached(tmp_path, films).failures == {}


def test_an_archive_that_goes_away_is_said(tmp_path: Path) -> None:
    films = archive_of(tmp_path / "archive", 3)
    cached(tmp_path, films[:1])
    (tmp_path / "archive").rename(tmp_path / "away")
    with pytest.raises(ArchiveError, match="gone away"):
        cached(tmp_path, films)
    (tmp_path / "away").rename(tmp_path / "archive")
    assert cached(tmp_path, films).failures == {}


def test_a_stop_keeps_what_is_cached(tmp_path: Path) -> None:
    films = archive_of(tmp_path / "archive", 2)
    stop = StopRequest(reason="signal SIGTERM")
    with pytest.raises(InterruptedRunError, match="goes on"):
        cache_films(tmp_path / "cache", films, tmp_path / "archive", SPEC, CONFIG, stop)
    assert cached(tmp_path, films).failures == {}


def test_films_that_will_not_fit_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = archive_of(tmp_path / "archive", 2)
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(film_cache.shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(film_cache, "_fill", forbidden)
    with pytest.raises(StorageError, match=r"2 films of 64 x 64 px.*--work"):
        cached(tmp_path, films)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_the_cache_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = archive_of(tmp_path / "archive", 12)
    disk = tmp_path / "cache"
    disk.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], check=True)
    try:
        # The disk fills while films are being decoded: others write to it as well.
        monkeypatch.setattr(film_cache._Cache, "refuse_full_disk", lambda *_: None)
        monkeypatch.setattr(film_cache, "_BATCH_FILMS", 4)
        with pytest.raises(StorageError, match="stay usable"):
            cached(tmp_path, films)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        again = cached(tmp_path, films)
        assert len(again.films) == 12 and not again.failures
        assert len(np.unique(again.films[again.rows].reshape(12, -1), axis=0)) == 12
        del again
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
