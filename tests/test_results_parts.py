"""Parts exist whole or not at all, and what replaces them counts once."""

import errno
import os
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vfscreen.errors import StorageError
from vfscreen.results import parts
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results, open_results
from vfscreen.results.parts import conform, counted_parts, write_aside, write_part
from vfscreen.results.schemas import REVIEWS
from vfscreen.results.sql import fetch


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return open_results(tmp_path / "results")


def review(study: str) -> pa.Table:
    row = {"study_instance_uid": study, "finding": "vertebral_fracture", "decision": "reject",
           "reviewer": "nurse", "reviewed_at": "2024-06-01T00:00:00"}  # fmt: skip
    table = pa.Table.from_pylist([row])
    at = table.schema.get_field_index("reviewed_at")
    kind = REVIEWS.field("reviewed_at").type
    return table.set_column(
        at, "reviewed_at", table["reviewed_at"].cast(pa.timestamp("us")).cast(kind)
    )


def studies(results: Results) -> list[str]:
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select study_instance_uid from parts.reviews order by 1")
    return rows["study_instance_uid"].to_pylist()


def test_a_part_has_the_schema_of_its_folder_whatever_the_order_of_the_columns(
    results: Results,
) -> None:
    path = write_part(results, "reviews", review("S1"))
    assert path is not None
    assert pq.read_schema(path).remove_metadata() == REVIEWS
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_table_adds_no_part(results: Results) -> None:
    assert write_part(results, "reviews", REVIEWS.empty_table()) is None
    assert counted_parts(results, "reviews") == []


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"study_instance_uid": ["S1"]}),  # required columns are missing
        review("S1").append_column("nonsense", pa.array([1])),
        review("S1").set_column(0, "study_instance_uid", pa.array([None], pa.string())),
    ],
)
def test_a_table_of_another_schema_is_a_bug(table: pa.Table) -> None:
    with pytest.raises(ValueError, match="column"):
        conform(table, REVIEWS)


def test_a_leftover_of_a_killed_writer_is_removed_and_never_read(results: Results) -> None:
    write_part(results, "reviews", review("S1"))
    leftover = results.path / "reviews" / ".aside-0123"
    leftover.write_bytes(b"half a part")
    publish(results)
    assert not leftover.exists()
    assert studies(results) == ["S1"]


def test_a_file_of_another_name_is_no_part(results: Results) -> None:
    path = write_part(results, "reviews", review("S1"))
    assert path is not None
    path.with_name("part-copy.parquet").write_bytes(path.read_bytes())
    publish(results)
    assert studies(results) == ["S1"]


def test_small_parts_are_merged_and_count_once(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MERGE_ABOVE_PARTS", 5)
    expected = []
    for number in range(17):
        write_part(results, "reviews", review(f"S{number:02}"))
        expected.append(f"S{number:02}")
        publish(results)
        assert studies(results) == expected
        assert len(counted_parts(results, "reviews")) <= 6
    # All that was merged is still there for readers of an older catalogue.
    assert len(list((results.path / "reviews").glob("part-*"))) > 17


def test_a_merged_part_is_not_merged_again_with_small_ones(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_part(results, "reviews", review(f"S{number:02}"))
    single = max(path.stat().st_size for path in counted_parts(results, "reviews"))
    monkeypatch.setattr(parts, "MERGE_ABOVE_PARTS", 5)
    monkeypatch.setattr(parts, "MERGED_TOGETHER_BYTES", ((0, single + 1), (single + 1, 1 << 20)))
    for number in range(6, 40):
        write_part(results, "reviews", review(f"S{number:02}"))
        publish(results)
        assert len(counted_parts(results, "reviews")) <= 10
    merged = list((results.path / "reviews").glob("*-merged.parquet"))
    assert 6 <= len(merged) <= 8  # 6 of 6 small parts each, and what those make
    assert studies(results) == [f"S{number:02}" for number in range(40)]


def test_replaced_parts_are_removed_after_seven_days(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MERGE_ABOVE_PARTS", 5)
    for number in range(12):
        write_part(results, "reviews", review(f"S{number:02}"))
        publish(results)
    eight_days_ago = time.time() - 8 * 86400
    for path in (results.path / "reviews").glob("part-*"):
        os.utime(path, (eight_days_ago, eight_days_ago))
    publish(results)
    assert sorted((results.path / "reviews").glob("part-*")) == counted_parts(results, "reviews")
    assert studies(results) == [f"S{number:02}" for number in range(12)]


def test_parts_of_an_earlier_version_lack_a_column_and_are_read(results: Results) -> None:
    old = review("S0").drop_columns(["reviewer"])
    pq.write_table(
        old, results.path / "reviews" / "part-20200101T000000000000Z-0123456789ab.parquet"
    )
    write_part(results, "reviews", review("S1"))
    publish(results)
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select study_instance_uid, reviewer from parts.reviews order by 1")
    assert rows.to_pylist() == [
        {"study_instance_uid": "S0", "reviewer": None},
        {"study_instance_uid": "S1", "reviewer": "nurse"},
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)],
        capture_output=True, check=False,
    ) if os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("a small disk needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_a_clear_error_and_the_next_write_goes_on(small_disk: Path) -> None:
    results = open_results(small_disk / "results")
    write_part(results, "reviews", review("S1"))
    publish(results)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    with pytest.raises(StorageError, match="No space left on device"):
        write_part(results, "reviews", review("S2"))
    with pytest.raises(StorageError, match="cannot be written"):
        publish(results)
    assert studies(results) == ["S1"]
    assert not list(results.path.rglob(".aside-*"))
    ballast.unlink()
    write_part(results, "reviews", review("S2"))
    publish(results)
    assert studies(results) == ["S1", "S2"]


FULL_BY_LIMIT = """
import resource, sys
from pathlib import Path
from vfscreen.errors import StorageError
from vfscreen.results.folder import open_results
from vfscreen.results.parts import write_aside
results = open_results(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_aside(results, results.path / "page.html", b"x" * 5000)
except StorageError as error:
    print(error)
"""


def test_a_file_too_large_for_the_quota_is_a_clear_error(results: Results) -> None:
    """The same on a machine where nothing can be mounted: the kernel refuses further bytes."""
    import sys

    write_aside(results, results.path / "page.html", b"yesterday's")
    said = subprocess.run(
        [sys.executable, "-c", FULL_BY_LIMIT, str(results.path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert os.strerror(errno.EFBIG) in said.stdout
    assert (results.path / "page.html").read_bytes() == b"yesterday's"
    assert not list(results.path.rglob(".aside-*"))


PART_FULL_BY_LIMIT = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from vfscreen.errors import StorageError
from vfscreen.results import parts
from vfscreen.results.folder import open_results
from vfscreen.results.schemas import REVIEWS
results = open_results(Path(sys.argv[1]))
parts.ROW_GROUP_ROWS = 1000
count = 20_000
row = {"finding": "f", "decision": "reject", "reviewer": "nurse", "reviewed_at": 0}
columns = {name: pa.array([value] * count) for name, value in row.items()}
columns["study_instance_uid"] = pa.array([os.urandom(16).hex() for _ in range(count)])
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    parts.write_part(results, "reviews", pa.table(columns))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [3, 1_000, 200_000])
def test_a_disk_that_fills_while_a_part_is_written_leaves_nothing_of_it(
    results: Results, limit: int
) -> None:
    """In its first bytes, its first row group, or after some row groups are on disk."""
    import sys

    said = subprocess.run(
        [sys.executable, "-c", PART_FULL_BY_LIMIT, str(results.path), str(limit)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert os.strerror(errno.EFBIG) in said.stdout
    assert said.stderr == ""
    assert not list((results.path / "reviews").iterdir())


def test_a_part_of_many_row_groups_holds_every_row_in_order(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 100)
    rows = pa.concat_tables([review(f"S{number:04}") for number in range(1000)]).combine_chunks()
    path = write_part(results, "reviews", rows)
    assert path is not None
    assert pq.read_metadata(path).num_row_groups == 10
    publish(results)
    assert studies(results) == [f"S{number:04}" for number in range(1000)]
