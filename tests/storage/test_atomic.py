"""Files and folders appear complete or not at all."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from scanline.errors import ScanlineError
from scanline.storage import atomic
from scanline.storage.atomic import atomic_folder, overwrite, write_atomic


def test_a_file_is_replaced_and_no_other_file_is_left(tmp_path):
    path = tmp_path / "a"
    write_atomic(path, "old")
    write_atomic(path, b"new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_the_umask_sets_the_permissions_of_a_file(tmp_path):
    write_atomic(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_the_umask_sets_the_permissions_of_a_folder(tmp_path):
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "b").write_text("x")
    (tmp_path / "expected").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "expected").stat().st_mode


def test_writing_from_several_threads_never_changes_the_umask(tmp_path, monkeypatch):
    # The umask belongs to the process: a thread that sets it for a moment changes the files of all others.
    def changed(mask):
        raise AssertionError(f"umask({mask})")

    monkeypatch.setattr(os, "umask", changed)

    def write(number):
        write_atomic(tmp_path / f"file{number}", "x")
        with atomic_folder(tmp_path / f"folder{number}") as folder:
            (folder / "a").write_text("x")
        return stat.S_IMODE((tmp_path / f"file{number}").stat().st_mode)

    with ThreadPoolExecutor(8) as threads:
        modes = set(threads.map(write, range(32)))
    (tmp_path / "expected").touch()
    assert modes == {stat.S_IMODE((tmp_path / "expected").stat().st_mode)}


def test_a_temporary_name_that_is_taken_is_not_written_to(tmp_path, monkeypatch):
    names = iter(["taken", "free", "taken", "free"])
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda length: next(names))
    (tmp_path / ".a.taken.tmp").write_text("someone else's")
    write_atomic(tmp_path / "a", "mine")
    (tmp_path / ".b.taken.tmp").mkdir()
    with atomic_folder(tmp_path / "b") as folder:
        assert folder.name == ".b.free.tmp"
    assert (tmp_path / ".a.taken.tmp").read_text() == "someone else's"
    assert (tmp_path / "a").read_text() == "mine"


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
