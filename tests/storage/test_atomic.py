"""Files and folders appear complete or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from scanline.errors import ScanlineError
from scanline.storage.atomic import atomic_folder, overwrite, write_atomic


def test_a_file_is_replaced_and_no_other_file_is_left(tmp_path):
    path = tmp_path / "a"
    write_atomic(path, "old")
    write_atomic(path, b"new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_the_umask_decides_who_can_read_a_file(tmp_path):
    write_atomic(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomic(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ScanlineError, match=r"cannot write .*a: No space left on device"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_shorter_content_leaves_nothing_of_the_longer_one_it_overwrites(tmp_path):
    overwrite(tmp_path / "a", b"longer")
    overwrite(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_folder_appears_complete(tmp_path):
    with atomic_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "new").exists()
    assert os.listdir(tmp_path) == ["new"]
    assert (tmp_path / "new" / "a").read_text() == "1"


def test_a_folder_replaces_an_older_one(tmp_path):
    for content in "12":
        with atomic_folder(tmp_path / "new") as folder:
            (folder / content).write_text(content)
    assert os.listdir(tmp_path) == ["new"]
    assert os.listdir(tmp_path / "new") == ["2"]


def test_a_folder_that_fails_while_it_is_written_leaves_nothing(tmp_path):
    def fail() -> None:
        with atomic_folder(tmp_path / "new") as folder:
            (folder / "a").write_text("1")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert os.listdir(tmp_path) == []
