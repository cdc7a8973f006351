"""JSON files: written atomically, checked when they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scanline.errors import ModelError
from scanline.storage.json_files import read_json, read_sealed_json, write_json, write_sealed_json


def test_a_json_file_is_replaced_and_no_other_file_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"schema": 1})
    write_json(path, {"schema": 2})
    assert read_json(path) == {"schema": 2}
    assert os.listdir(tmp_path) == ["a.json"]


def test_nan_is_refused_before_anything_is_written(tmp_path):
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
def test_damaged_json_is_refused_with_the_name_of_the_file(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=rf"a\.json is damaged: {message}"):
        read_json(tmp_path / "a.json")


def test_lists_of_numbers_stand_on_one_line(tmp_path):
    write_json(tmp_path / "a.json", {"sizes": [1, 2], "names": {"a": ["x\n", ""]}})
    text = (tmp_path / "a.json").read_text()
    assert '"sizes": [1, 2],' in text
    assert '"a": ["x\\n", ""]' in text


def test_every_changed_byte_of_a_sealed_file_is_detected(tmp_path):
    path = tmp_path / "a.json"
    write_sealed_json(path, {"a": [1, 2], "b": "x"})
    assert read_sealed_json(path) == {"a": [1, 2], "b": "x"}
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ModelError, match="is damaged"):
            read_sealed_json(path)


def test_anything_but_a_regular_file_is_refused():
    with pytest.raises(ModelError, match="expected a regular file"):
        read_json(Path("/dev/zero"))
