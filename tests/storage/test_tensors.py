"""Packed tensors have the bytes of the library; tests of the checks are in tests/hostile."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from scanline.storage.tensors import check_tensors, pack_tensors

shapes = st.lists(st.integers(0, 4), max_size=4)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(names, shapes, max_size=6))
def test_the_bytes_are_those_of_the_library(wanted):
    tensors = {name: torch.randn(shape) for name, shape in wanted.items()}
    packed = pack_tensors(tensors)
    assert packed == safetensors.torch.save(tensors)
    check_tensors(packed)


def test_packed_values_are_a_copy_in_the_order_of_the_tensor():
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    packed = pack_tensors({"turned": weight.T, "part": weight[:, 1]})
    with torch.no_grad():
        weight.zero_()
    loaded = safetensors.torch.load(packed)
    assert loaded["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert loaded["part"].tolist() == [1, 4]


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match=r"^w: expected float32, found torch\.int64$"):
        pack_tensors({"w": torch.tensor([1])})
