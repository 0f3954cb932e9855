"""Walking the archive: loops, links, pipes, odd names, folders without permission."""

import os
from pathlib import Path

import pytest
from archive_films import as_nobody, needs_root, opened

from vfscreen.archive.walk import (
    FoundFile,
    UnreadableFolder,
    archive_root,
    decode_path,
    encode_path,
    locate,
    walk,
)
from vfscreen.errors import ArchiveError, FailureReason


def names(root: Path, *, follow_links: bool = True) -> list[str]:
    return [item.archive_path for item in walk(root, follow_links=follow_links)]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_come_by_name_a_folder_before_its_subfolders(tmp_path: Path) -> None:
    touch(tmp_path / "b/2.dcm", tmp_path / "a/z/1", tmp_path / "a/9", tmp_path / "c.dcm")

    assert names(tmp_path) == ["c.dcm", "a/9", "a/z/1", "b/2.dcm"]


def test_size_and_time_are_the_files_own(tmp_path: Path) -> None:
    touch(tmp_path / "film")
    os.utime(tmp_path / "film", ns=(5, 1_234_567_890_123))

    assert list(walk(tmp_path, follow_links=True)) == [FoundFile("film", 1, 1_234_567_890_123)]


def test_a_link_loop_is_walked_once(tmp_path: Path) -> None:
    touch(tmp_path / "a/film")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)

    assert names(tmp_path) == ["a/film"]


def test_a_link_to_a_folder_outside_is_followed_only_if_asked(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/film")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/link").symlink_to(tmp_path / "elsewhere")

    assert names(tmp_path / "archive") == ["link/film"]
    assert names(tmp_path / "archive", follow_links=False) == []


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/film")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/link").symlink_to(tmp_path / "elsewhere/film")

    [found] = walk(tmp_path / "archive", follow_links=False)

    assert isinstance(found, FoundFile)
    assert (found.archive_path, found.size_bytes, found.regular) == ("link", 1, True)


@pytest.mark.parametrize("target", ["nowhere", "link"], ids=["dangling", "onto itself"])
def test_a_link_to_nothing_is_an_unreadable_file(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)

    assert list(walk(tmp_path, follow_links=True)) == [
        FoundFile("link", 0, 0, failure=FailureReason.UNREADABLE_FILE)
    ]


def test_a_pipe_is_found_and_marked_as_nothing_to_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    [found] = walk(tmp_path, follow_links=True)

    assert isinstance(found, FoundFile)
    assert not found.regular


@pytest.mark.parametrize(
    "name",
    [
        b"plain.dcm",
        b'it\'s "quoted".dcm',
        b"new\nline",
        b"back\\slash",
        b"\\xff",
        b"latin-1 \xe9\xff",
        "日本語".encode(),
        b"<b>'; DROP TABLE manifest; --",
    ],
)
def test_every_file_name_survives_as_text(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"film")

    [path] = names(tmp_path)

    assert path.encode("utf-8")
    assert os.fsencode(decode_path(path)) == name
    with open(locate(archive_root(tmp_path), path), "rb") as file:  # noqa: PTH123
        assert file.read() == b"film"


def test_different_names_never_become_one() -> None:
    assert encode_path("\\xff") != encode_path("\udcff")


@needs_root
def test_a_folder_without_permission_is_reported_and_the_rest_walked(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    touch(archive / "closed/film", archive / "open/film")
    (archive / "closed").chmod(0)
    for folder in (archive, *opened(tmp_path), tmp_path):
        folder.chmod(0o755)

    def found() -> list[tuple[str, bool]]:
        items = walk(archive, follow_links=True)
        return [(item.archive_path, isinstance(item, UnreadableFolder)) for item in items]

    assert as_nobody(found) == [["closed", True], ["open/film", False]]


@needs_root
def test_an_archive_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir(mode=0)
    for folder in (*opened(tmp_path), tmp_path):
        folder.chmod(0o755)

    def refusal() -> str:
        try:
            return str(list(walk(tmp_path / "archive", follow_links=True)))
        except ArchiveError as error:
            return str(error)

    assert "cannot be listed: Permission denied" in as_nobody(refusal)


def test_a_missing_archive_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="mounted"):
        list(walk(tmp_path / "nowhere", follow_links=True))


def test_a_file_is_no_archive(tmp_path: Path) -> None:
    touch(tmp_path / "film")

    with pytest.raises(ArchiveError, match="not a folder"):
        list(walk(tmp_path / "film", follow_links=True))
