"""The catalogue is the only switch: readers see whole states, whatever happens beside them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spec_tables import part

from vfscreen.errors import UsageError
from vfscreen.results.catalogue import connect, publish, publish_if_due, select_only
from vfscreen.results.folder import Results, existing_results, open_results
from vfscreen.results.parts import write_part
from vfscreen.results.schemas import FOLDERS, PREDICTIONS
from vfscreen.results.sql import QUERIES, VIEWS, fetch, query


def predictions(shard: int, films: int = 4) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "sop_instance_uid": f"1.2.{shard}.{film}",
                "finding": "vertebral_fracture",
                "logit": 0.5,
                "model_sha256": "model",
                "content_fingerprint": "v1",
                "run_id": "run",
                "screened_at": 1_700_000_000_000_000 + shard,
            }
            for film in range(films)
        ],
        schema=PREDICTIONS,
    )


def films(results: Results) -> list[str]:
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select sop_instance_uid from parts.predictions order by 1")
    return rows["sop_instance_uid"].to_pylist()


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return open_results(tmp_path / "results")


def test_every_view_answers_on_an_empty_folder(results: Results) -> None:
    publish(results)
    with connect(results) as catalogue:
        for view in VIEWS:
            rows = fetch(catalogue, f"select * from {view}")  # noqa: S608
            empty = {"settings": 1, "screening_funnel": 3}
            assert rows.num_rows == empty.get(view, 0), view


def test_every_file_of_sql_is_a_view_or_a_query_and_says_what_it_is() -> None:
    folder = Path(__file__).parents[1] / "sql"
    assert {p.stem for p in folder.glob("*.sql")} == {*VIEWS, *QUERIES}
    for name in (*VIEWS, *QUERIES):
        assert query(name).startswith("-- "), name
        assert "-- Grain: " in query(name), name


def test_views_read_only_views_above_them() -> None:
    for number, name in enumerate(VIEWS):
        text = query(name).replace("parts.", "")
        for later in VIEWS[number + 1 :]:
            if later in FOLDERS:
                continue  # after `parts.` is cut off, a folder and a view look the same
            assert f"from {later}\n" not in text, (name, later)
            assert f"join {later}\n" not in text, (name, later)


def test_a_part_counts_from_the_publication_on(results: Results) -> None:
    publish(results)
    write_part(results, "predictions", predictions(1))
    assert films(results) == []
    publish(results)
    assert len(films(results)) == 4


def test_a_publication_is_put_off_while_the_last_is_recent(results: Results) -> None:
    assert publish_if_due(results)  # there was none
    write_part(results, "predictions", predictions(1))
    assert not publish_if_due(results, every_s=60)
    assert films(results) == []
    a_minute_ago = time.time() - 61
    os.utime(results.catalogue, (a_minute_ago, a_minute_ago))
    assert publish_if_due(results, every_s=60)
    assert len(films(results)) == 4
    tomorrow = time.time() + 86400
    os.utime(results.catalogue, (tomorrow, tomorrow))
    assert publish_if_due(results, every_s=60)


def test_a_reader_keeps_what_it_opened(results: Results) -> None:
    write_part(results, "predictions", predictions(1))
    publish(results)
    with connect(results) as reader:
        write_part(results, "predictions", predictions(2))
        publish(results)
        seen = fetch(reader, "select count(*) as n from predictions")["n"][0].as_py()
        assert seen == 4
    assert len(films(results)) == 8


def test_the_catalogue_may_only_be_read(results: Results) -> None:
    publish(results)
    assert results.catalogue.stat().st_mode & 0o777 == 0o400
    with connect(results) as catalogue, pytest.raises(duckdb.Error, match="read-only"):
        catalogue.execute("create table vfscreen.main.x as select 1")


def test_an_older_client_can_open_it(results: Results) -> None:
    publish(results)
    # The storage version that DuckDB 0.10 to 1.1 wrote; later ones are not read by them.
    assert results.catalogue.read_bytes()[8:20] == b"DUCK" + (64).to_bytes(8, "little")


AWKWARD = 'it\'s 100% [a]*?{b,c} \u00fc \u8179 "q" ; drop'


def test_a_path_with_quotes_spaces_and_glob_characters_works(tmp_path: Path) -> None:
    (tmp_path / "it's 100% aX").mkdir()  # what the pattern would match
    results = open_results(tmp_path / AWKWARD)
    write_part(results, "predictions", predictions(1))
    publish(results)
    assert len(films(results)) == 4
    with duckdb.connect(str(results.catalogue), read_only=True) as plain_client:
        assert plain_client.execute("select count(*) from predictions").fetchone() == (4,)


def test_a_moved_folder_is_noticed_and_its_catalogue_rebuilt(
    results: Results, tmp_path: Path
) -> None:
    write_part(results, "predictions", predictions(1))
    publish(results)
    results.path.rename(tmp_path / "moved")
    moved = existing_results(tmp_path / "moved")
    assert len(films(moved)) == 4
    with duckdb.connect(str(moved.catalogue), read_only=True) as plain_client:
        assert plain_client.execute("select count(*) from predictions").fetchone() == (4,)


def test_a_catalogue_of_other_views_is_not_asked(results: Results) -> None:
    """After an update the new version's questions are answered before its first run."""
    write_part(results, "predictions", predictions(0))
    publish(results)
    results.catalogue.chmod(0o600)
    with duckdb.connect(str(results.catalogue)) as old:
        old.execute("drop view flagged")
        old.execute(
            "create or replace view catalogue as "
            f"select '{results.path}' as results_path, 'others' as views_sha256"
        )
    with connect(results) as catalogue:
        assert fetch(catalogue, "select count(*) as n from flagged")["n"].to_pylist() == [0]


@pytest.mark.parametrize("may_write", [True, False])
def test_a_part_of_an_earlier_version_lacks_columns_and_is_read(
    results: Results, may_write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = part("checkpoints", "calibration_slope | calibration_intercept\n0.5 | -1")
    old = table.drop_columns(["calibration_method", "calibration_knots"])
    where = results.path / "checkpoints"
    pq.write_table(old, where / "part-20240601T000000000000Z-0123456789ab.parquet")
    write_part(results, "predictions", part("predictions", "film | logit\nF1 | 2"))
    results.catalogue.unlink(missing_ok=True)
    monkeypatch.setattr("vfscreen.results.catalogue._may_write", lambda _: may_write)
    if not may_write:
        for empty in where.glob("empty-*"):
            empty.unlink()
    with connect(results) as catalogue:
        found = fetch(catalogue, "select calibration_method, calibration_knots from calibrations")
        derived = fetch(catalogue, "select probability from predictions")
    assert found.to_pylist() == [{"calibration_method": "platt", "calibration_knots": []}]
    assert derived["probability"].to_pylist() == [0.5]


def test_a_copy_is_read_from_its_own_parts_and_leaves_the_original_alone(
    results: Results, tmp_path: Path
) -> None:
    write_part(results, "predictions", predictions(1))
    publish(results)
    shutil.copytree(results.path, tmp_path / "copy")
    write_part(results, "predictions", predictions(2))
    publish(results)
    assert len(films(existing_results(tmp_path / "copy"))) == 4
    assert len(films(results)) == 8


@pytest.mark.parametrize("damage", [b"", b"not a database", None])
def test_a_missing_or_damaged_catalogue_is_made_up_for(
    results: Results, damage: bytes | None
) -> None:
    write_part(results, "predictions", predictions(1))
    publish(results)
    results.catalogue.unlink()
    if damage is not None:
        results.catalogue.write_bytes(damage)
    assert len(films(results)) == 4
    publish(results)
    assert len(films(results)) == 4


ANALYST = """
import sys, time, duckdb
c = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
c.execute("select count(*) from predictions").fetchall()
if sys.argv[2] == "write":
    c.execute("create table scratch as select 1 as a")
print("open", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["read", "write"])
def test_an_analysts_client_open_or_killed_blocks_nobody(results: Results, how: str) -> None:
    write_part(results, "predictions", predictions(1))
    publish(results)
    if how == "write":
        results.catalogue.chmod(0o600)  # as its owner may, against all advice
    with subprocess.Popen(
        [sys.executable, "-c", ANALYST, str(results.catalogue), how],
        stdout=subprocess.PIPE, text=True,
    ) as analyst:  # fmt: skip
        assert analyst.stdout is not None
        assert analyst.stdout.readline() == "open\n"
        assert len(films(results)) == 4
        write_part(results, "predictions", predictions(2))
        publish(results)
        assert len(films(results)) == 8
        analyst.send_signal(signal.SIGKILL)
        analyst.wait()
    assert len(films(results)) == 8
    publish(results)
    assert not results.catalogue.with_name("catalog.duckdb.wal").exists()
    assert len(films(results)) == 8


def test_a_restricted_reader_reaches_nothing_outside_the_folder(
    results: Results, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    publish(results)
    with connect(results, restricted=True) as catalogue:
        assert fetch(catalogue, "select * from predictions").num_rows == 0
        for statement in (
            f"from read_csv('{tmp_path}/secret.csv')",
            f"copy (select 1) to '{tmp_path}/out.csv'",
            f"attach '{tmp_path}/other.duckdb'",
            "install httpfs",
            "set enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                catalogue.execute(statement)


@pytest.mark.parametrize(
    "text",
    ["", "drop view flagged", "select 1; select 2", "copy flagged to 'x.csv'", "selec 1",
     "set threads = 1", "attach 'x'", "pragma version", "insert into x values (1)"],
)  # fmt: skip
def test_only_one_question_may_be_asked(results: Results, text: str) -> None:
    publish(results)
    with connect(results, restricted=True) as catalogue, pytest.raises(UsageError):
        select_only(catalogue, text)


def test_a_question_may_be_asked(results: Results) -> None:
    publish(results)
    with connect(results, restricted=True) as catalogue:
        text = select_only(catalogue, "with a as (select 1 as b) select * from a -- yes")
        assert fetch(catalogue, text).to_pylist() == [{"b": 1}]


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_results_catalogue import predictions
from vfscreen.results import parts
from vfscreen.results.catalogue import publish
from vfscreen.results.folder import lock, open_results
parts.MERGE_ABOVE_PARTS = 6
results = open_results(Path(sys.argv[1]))
with lock(results):
    publish(results)
    for shard in range(int(sys.argv[2]), 1000):
        parts.write_part(results, "predictions", predictions(shard))
        publish(results)
        print(shard, flush=True)
"""


@pytest.mark.drill
@pytest.mark.parametrize("seed", range(10))
def test_kill_at_any_instant_loses_nothing_published_and_doubles_nothing(
    results: Results, seed: int
) -> None:
    """`kill -9` at seeded instants of writing, merging and publishing; then the next run."""
    delays = random.Random(seed)
    published = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(results.path), str(published + 1),
             os.fspath(Path(__file__).parent)],
            stdout=subprocess.PIPE, text=True,
        ) as writer:  # fmt: skip
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(delays.uniform(0.0, 0.6))
            writer.send_signal(signal.SIGKILL)
            said = [first, *writer.stdout.read().splitlines()]
            writer.wait()
        finished = [int(line) for line in said if line.strip().isdigit()]
        # The reader beside a run that was killed a moment ago, before anybody tidies up.
        seen = films(results)
        assert len(seen) == len(set(seen))
        shards = sorted({int(uid.split(".")[2]) for uid in seen})
        assert shards == list(range(len(shards)))
        assert len(seen) == 4 * len(shards)
        assert max(finished) <= shards[-1]
        # What was whole but not published counts from the next run's start on, once.
        publish(results)
        seen = films(results)
        assert len(seen) == len(set(seen))
        published = max(int(uid.split(".")[2]) for uid in seen)
        assert len(seen) == 4 * (published + 1)
        assert not list(results.path.rglob(".aside-*"))
