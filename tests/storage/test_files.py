"""Whole files or none."""

from __future__ import annotations

import os
import stat

import pytest

from scanline.errors import ModelError, ScanlineError
from scanline.storage.files import read_json, whole_folder, write_json, write_whole


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"schema": 1})
    write_json(path, {"schema": 2})
    assert read_json(path) == {"schema": 2}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_can_be_read_by_whom_the_umask_lets(tmp_path):
    write_whole(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ScanlineError, match=r"cannot write .*a: No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_json_that_is_damaged_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=rf"a\.json is damaged: {message}"):
        read_json(tmp_path / "a.json")


def test_a_folder_appears_whole(tmp_path):
    with whole_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "new").exists()
    assert os.listdir(tmp_path) == ["new"]
    assert (tmp_path / "new" / "a").read_text() == "1"


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for content in "12":
        with whole_folder(tmp_path / "new") as folder:
            (folder / content).write_text(content)
    assert os.listdir(tmp_path) == ["new"]
    assert os.listdir(tmp_path / "new") == ["2"]


def test_a_folder_whose_writing_fails_leaves_nothing(tmp_path):
    def fail() -> None:
        with whole_folder(tmp_path / "new") as folder:
            (folder / "a").write_text("1")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert os.listdir(tmp_path) == []
