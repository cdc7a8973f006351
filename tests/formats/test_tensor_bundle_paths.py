"""A TensorFlow checkpoint is located by prefix, index or folder, and missing files are named."""

from __future__ import annotations

import os

import numpy as np
import pytest

from scanline.errors import FormatError
from scanline.formats.tensor_bundle import open_bundle
from tests.formats.bundles import SMALL, assert_refused, equal_bytes, read_floats
from tests.interchange.checkpoints import write


def test_a_checkpoint_is_located_by_prefix_index_or_folder(small_checkpoint):
    for path in (small_checkpoint, small_checkpoint.with_name("model.ckpt.index"), small_checkpoint.parent):
        assert open_bundle(path).prefix == small_checkpoint


@pytest.mark.parametrize(
    "line",
    [
        'model_checkpoint_path: "model.ckpt"',
        'model_checkpoint_path: "/somewhere/else/model.ckpt"',
        'model_checkpoint_path: "../../model.ckpt"',
        r'model_checkpoint_path: "C:\\runs\\model.ckpt"',
        r'model_checkpoint_path: "/t\303\251/model.ckpt"',
        '# last\nmodel_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "old.ckpt"',
    ],
)
def test_a_folder_names_its_checkpoint_by_a_path_that_has_moved(small_checkpoint, line):
    write(small_checkpoint.parent, {"b": np.ones(2, np.float32)}, name="old.ckpt")
    (small_checkpoint.parent / "checkpoint").write_text(line + "\n")
    assert equal_bytes(
        read_floats(small_checkpoint.parent), {name: SMALL[name] for name in SMALL if name != "step"}
    )


def test_a_name_beyond_ascii_is_read_as_protobuf_writes_it(tmp_path):
    write(tmp_path, {"b": np.ones(2, np.float32)}, name="modèle.ckpt")
    write(tmp_path, SMALL, name="other")
    (tmp_path / "checkpoint").write_text(r'model_checkpoint_path: "mod\303\250le.ckpt"')
    assert read_floats(tmp_path).keys() == {"b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_checkpoint_path: ",
        'model_checkpoint_path: ".."',
        'model_checkpoint_path: "a/"',
        'model_checkpoint_path: "a\\nb"x',
        "\n" * 2**20,
        "\0\xff",
        'model_checkpoint_path: "\x1b[31m"',
    ],
)
def test_a_checkpoint_file_that_names_nothing_is_refused(small_checkpoint, text):
    (small_checkpoint.parent / "checkpoint").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"name the checkpoint itself|there is no .*/anb\.index"):
        open_bundle(small_checkpoint.parent)


def test_a_name_too_long_for_the_file_system_is_refused(small_checkpoint):
    (small_checkpoint.parent / "checkpoint").write_text(f'model_checkpoint_path: "{"a" * 5000}"')
    assert_refused(small_checkpoint.parent, "cannot be read")
    assert_refused(small_checkpoint.parent / "a\0b", r"there is no|cannot be read")


def test_a_folder_with_several_checkpoints_and_no_checkpoint_file_is_refused(small_checkpoint):
    write(small_checkpoint.parent, SMALL, name="second")
    assert_refused(
        small_checkpoint.parent,
        r"expected a file `checkpoint` .*, found model\.ckpt\.index, second\.index; name the",
    )


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    assert_refused(
        tmp_path, "expected a file `checkpoint` that names a checkpoint, or one NAME.index, found none"
    )


def test_a_missing_index_is_named(small_checkpoint):
    assert_refused(
        small_checkpoint.with_name("model.cpkt"),
        r"no .*model\.cpkt\.index; did you mean 'model\.ckpt\.index'\?; expected",
    )
    assert_refused(
        small_checkpoint.parent / "nowhere" / "x",
        r"there is no .*/nowhere/x\.index; expected a TensorFlow checkpoint",
    )


def test_a_missing_data_file_is_named(tmp_path):
    prefix = write(tmp_path, SMALL, shards=3)
    (tmp_path / "model.ckpt.data-00001-of-00003").unlink()
    assert_refused(
        prefix,
        r"there is no .*model\.ckpt\.data-00001-of-00003, which has .*rnn/bias; copy",
    )


def test_a_path_that_is_not_a_regular_file_is_not_opened(small_checkpoint):
    index = small_checkpoint.with_name("model.ckpt.index")
    index.unlink()
    os.mkfifo(index)
    assert_refused(small_checkpoint, r"there is no .*model\.ckpt\.index")
