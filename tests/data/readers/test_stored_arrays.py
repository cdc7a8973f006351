"""Arrays of a program in files, for other processes."""

import json

import numpy as np
import pytest

from scanline.data.readers.arrays import Arrays
from scanline.data.readers.stored_arrays import read_arrays, write_arrays
from scanline.errors import UsageError


def test_arrays_of_any_kind_come_back(tmp_path):
    values = [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)]
    given = Arrays(values, ["a", "b"], test=(np.ones((2, 4, 1)), [1, 2]), name="mine")
    tree = json.loads(json.dumps(write_arrays(tmp_path, given)))
    found = read_arrays(tmp_path, tree)
    assert [each.shape for each in found.values] == [(2, 3), (1, 3)]
    assert found.labels.tolist() == ["a", "b"]
    assert found.lengths is None
    assert isinstance(found.test, tuple)
    assert found.test[1].tolist() == [1, 2]
    assert found.name == "mine"


def test_a_changed_name_does_not_lead_to_another_folder(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside.npy"
    inside.mkdir()
    np.save(outside, np.zeros(3))
    tree = write_arrays(inside, Arrays(np.ones((2, 3)), [0, 1]))
    tree["fields"]["values"] = {"file": str(outside)}
    with pytest.raises(FileNotFoundError):
        read_arrays(inside, tree)


def test_objects_are_refused(tmp_path):
    with pytest.raises(UsageError, match="arrays or lists of arrays, got object"):
        write_arrays(tmp_path, Arrays(object(), [0]))
