"""Packing into a temporary folder, and what training directly on the source would have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from scanline.data import catalogue
from scanline.data.dataset import Dataset
from scanline.data.packed_data import read_packed
from scanline.data.packing import PackResult, pack
from scanline.data.partition import partition
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


@dataclasses.dataclass(frozen=True)
class Packed:
    result: PackResult
    data: Dataset
    folder: Path


@pytest.fixture
def packed(tmp_path):
    """packed(source, ...) packs it, by default in the order of the source, and reads the result."""
    count = iter(range(1_000))

    def make(*sources, **options) -> Packed:
        target = tmp_path / "targets" / f"target{next(count)}"
        settings = DEFAULT_DATA.model_copy(update=options.pop("settings", {}))
        options = {"keep_order": True, "temp": tmp_path / "temp"} | options
        result = pack(list(map(str, sources)), str(target), settings, **options)
        left = [path.name for path in (tmp_path / "temp").iterdir()] if (tmp_path / "temp").exists() else []
        assert left == []
        return Packed(result, read_packed(str(target), in_memory=True), target)

    return make


def direct(source, **settings) -> Dataset:
    """What training on the source has."""
    read = catalogue.read(str(source), DEFAULT_DATA.model_copy(update=settings))
    return partition(read, DEFAULT_SPLIT, "zero")


def check_same(found: Dataset, expected: Dataset) -> None:
    """Check that two data sets have the same splits of the same sequences in the same order."""
    assert list(found.splits) == list(expected.splits)
    for name, wanted in expected.splits.items():
        source = found.splits[name]
        np.testing.assert_array_equal(source.concatenated, wanted.concatenated)
        assert source.dtype == wanted.dtype
        assert source.lengths.tolist() == wanted.lengths.tolist()
        labels = [[repr(each.classes[target]) for target in each.targets] for each in (source, wanted)]
        assert labels[0] == labels[1]
        if not source.info.numeric_targets:
            assert list(map(repr, source.classes)) == list(map(repr, wanted.classes))
        assert source.info.settings == wanted.info.settings
        assert source.info.picture == wanted.info.picture
        assert source.info.full_scale == wanted.info.full_scale
        assert source.info.feature_names == wanted.info.feature_names
        assert found.provenance[name].text == expected.provenance[name].text
        if wanted.ids is not None:
            assert source.ids.tolist() == [str(each) for each in wanted.ids]
    notes = {note for note in found.notes if not note.endswith("on disk")}
    assert notes == set(expected.notes)


def long_csv(path: Path, sequences: int = 40, seed: int = 0, shuffle: bool = False, columns=()) -> Path:
    """A long table of two features, classes a and b, and perhaps group and split."""
    draw = np.random.default_rng(seed)
    rows = []
    for index in range(sequences):
        more = {"group": f"g{index // 4}", "split": "test" if index % 5 == 4 else "train"}
        named = [more[column] for column in columns]
        for step in range(int(draw.integers(2, 7))):
            values = draw.normal(size=2).astype(np.float32)
            rows.append([f"s{index}", step, *map(str, values), "ab"[index % 2], *named])
    if shuffle:
        rows = [rows[place] for place in draw.permutation(len(rows))]
    lines = [",".join(["id", "time", "x", "z", "label", *columns])]
    lines += [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path
