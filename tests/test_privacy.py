"""The keyed hash that logs show instead of an identifier."""

import stat

import pytest

from vfscreen.errors import StorageError
from vfscreen.privacy import load_key, pseudonym


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "keys" / "pseudonym.key"
    key = load_key(str(path))
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(str(path)) == key
    assert [p.name for p in path.parent.iterdir()] == ["pseudonym.key"]


def test_another_key_gives_another_hash():
    assert pseudonym(b"a" * 32, "1.2.3") != pseudonym(b"b" * 32, "1.2.3")
    assert pseudonym(b"a" * 32, "1.2.3") == pseudonym(b"a" * 32, "1.2.3")
    assert len(pseudonym(b"a" * 32, "1.2.3")) == 16


def test_names_that_are_not_text_are_hashed_too():
    assert len(pseudonym(b"a" * 32, "film\udcff.dcm")) == 16


def test_a_damaged_key_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"short")
    with pytest.raises(StorageError, match="damaged"):
        load_key(str(path))


def test_a_key_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="pseudonym_key"):
        load_key(str(tmp_path / "file" / "key"))
