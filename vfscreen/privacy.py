"""Keyed hashes: how logs, failure messages and ledgers name an instance.

The key lies outside the results folder, readable by its owner only, so that who gets a log or a
ledger cannot find a patient's hash by trying identifiers.
"""

import hashlib
import os
import secrets
from pathlib import Path

from vfscreen.errors import StorageError


def load_key(configured: str) -> bytes:
    """Read the 32-byte key, making it (mode 0600) on first use.

    Parameters
    ----------
    configured
        Path of the key file; empty: `vfscreen/pseudonym.key` in the user's configuration folder.

    Raises
    ------
    StorageError
        The key can neither be read nor made.
    """
    if configured:
        path = Path(configured).expanduser()
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        path = Path(base).expanduser() / "vfscreen" / "pseudonym.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        if not path.exists():
            aside.touch(mode=0o600)
            aside.write_bytes(secrets.token_bytes(32))
            # A link fails where a run beside this one was first: then its key is the key.
            try:
                os.link(aside, path)
            except FileExistsError:
                pass
            finally:
                aside.unlink()
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"The key of the hashes in logs, {path}, cannot be read or made: {error.strerror}. "
            "Set run.pseudonym_key to a file that this user may write."
        ) from None
    if len(key) < 16:
        raise StorageError(f"The key file {path} is damaged: remove it and a new one is made.")
    return key


def pseudonym(key: bytes, text: str) -> str:
    """16 hex digits that stand for an identifier; the same for the same key and text."""
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, key=key[:64], digest_size=8).hexdigest()


def key_id(key: bytes) -> str:
    """16 hex digits that tell whether two hashes were made with the same key; say nothing of it."""
    return pseudonym(key, "vfscreen key id")


def patient_key(
    key: bytes, issuer: str | None, patient_id: str | None, study_instance_uid: str
) -> str:
    """The keyed hash that stands for a patient in splits, checkpoints and reports.

    Case and surrounding space do not count: sites that copy films to one another change them. A
    film without a patient id is of its study, and of nobody else.
    """
    patient = (patient_id or "").strip().upper()
    if not patient:
        return pseudonym(key, f"study\0{study_instance_uid}")
    return pseudonym(key, f"patient\0{(issuer or '').strip().upper()}\0{patient}")
