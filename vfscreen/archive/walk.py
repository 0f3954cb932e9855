"""Walk the archive folder: every file once, with one stat, in a fixed order.

Paths below the archive are written in Parquet, which holds UTF-8 only, while a file name on Linux
is any bytes without "/" and NUL. `encode_path` writes a byte that is not UTF-8 as `\\xNN` and a
backslash as two, everything else as it is; `decode_path` gives the name back, byte for byte.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vfscreen.errors import ArchiveError, FailureReason


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below the archive's root.

    `regular` is false for a pipe, socket or device, which must never be opened: opening a pipe
    waits for its writer, opening a tape drive rewinds it. `failure` is set where not even the
    stat succeeded (a link to nowhere, an I/O error); then size and time are 0.
    """

    archive_path: str
    size_bytes: int
    mtime_ns: int
    regular: bool = True
    failure: FailureReason | None = None


@dataclass(frozen=True, slots=True)
class UnreadableFolder:
    """A folder that could not be listed, or not to its end; what it holds is unknown tonight."""

    archive_path: str
    reason: FailureReason


def encode_path(name: str) -> str:
    """A file name or path, as the operating system gave it, as text that fits UTF-8."""
    if "\\" not in name and name.isascii():
        return name
    data = os.fsencode(name.replace("\\", "\\\\"))
    return data.decode("utf-8", "backslashreplace")


def decode_path(archive_path: str) -> str:
    """The name that `encode_path` was given; open this one."""
    if "\\" not in archive_path:
        return archive_path
    data = archive_path.encode("utf-8")
    return os.fsdecode(re.sub(rb"\\(\\|x([0-9a-f]{2}))", _unescape, data))


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[2].decode()) if match[2] else b"\\"


def archive_root(root: Path) -> str:
    """The archive's root as the manifest names it: absolute, links followed, encoded."""
    return encode_path(str(root.resolve()))


def locate(root: str, archive_path: str) -> str:
    """The path to open, from `archive_root` and `archive_path` of a manifest row."""
    return f"{decode_path(root)}/{decode_path(archive_path)}"


def walk(root: Path, *, follow_links: bool) -> Iterator[FoundFile | UnreadableFolder]:
    """Yield every file below `root`, and every folder that could not be listed.

    Entries come in the order of their names, a folder's files before its subfolders. A folder
    reached a second time (a link loop, two links to one folder; told by device and inode) is
    skipped. A link to a file is that file, under the link's path.

    Parameters
    ----------
    root
        The archive.
    follow_links
        Whether links to folders are followed.

    Raises
    ------
    ArchiveError
        `root` is missing, not a folder, or may not be listed.
    """
    try:
        top = root.stat()
        entries = _list(str(root))
    except FileNotFoundError:
        raise ArchiveError(
            f"There is no archive folder {root}. Is the archive mounted on this machine?"
        ) from None
    except NotADirectoryError:
        raise ArchiveError(f"The archive {root} is not a folder.") from None
    except OSError as error:
        raise ArchiveError(f"The archive {root} cannot be listed: {error.strerror}.") from None

    seen = {(top.st_dev, top.st_ino)}
    stack: list[str] = []  # folders still to list, each below the root with a trailing "/"
    prefix = ""
    while True:
        folders = []
        for entry in entries:
            if _is_folder(entry):
                if follow_links or not entry.is_symlink():
                    folders.append(f"{prefix}{entry.name}/")
            elif (found := _found(entry, prefix)) is not None:
                yield found
        stack.extend(reversed(folders))
        while stack:
            prefix = stack.pop()
            path = f"{root}/{prefix}"
            try:
                status = Path(path).stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = _list(path)
                break
            except OSError:
                yield UnreadableFolder(encode_path(prefix[:-1]), FailureReason.UNREADABLE_FOLDER)
        else:
            return


def _list(path: str) -> list[os.DirEntry[str]]:
    """The entries of one folder by name; a listing that breaks off midway raises OSError."""
    with os.scandir(path) as listing:
        return sorted(listing, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that loops onto itself
        return False


def _found(entry: os.DirEntry[str], prefix: str) -> FoundFile | None:
    """One file with its only stat; None where it was removed since the folder was listed."""
    archive_path = encode_path(prefix + entry.name)
    try:
        status = entry.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not entry.is_symlink():
            return None
        return FoundFile(archive_path, 0, 0, failure=FailureReason.UNREADABLE_FILE)
    regular = stat.S_ISREG(status.st_mode)
    return FoundFile(archive_path, status.st_size, status.st_mtime_ns, regular=regular)
