"""Limits: what they are, how the environment raises them, and what is said where one is passed."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from scanline import limits
from scanline.data.reading import read_source
from scanline.errors import DataError, UsageError
from scanline.formats.idx import read_idx
from scanline.recipe import UNSAID


@pytest.fixture
def raised(monkeypatch):
    """Sets limits, for one test: raised(STEPS=5)."""

    def raised(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"SCANLINE_LIMIT_{name}", str(value))
        limits.limit_of.cache_clear()

    limits.limit_of.cache_clear()
    yield raised
    limits.limit_of.cache_clear()


def test_a_limit_is_what_the_table_says(raised):
    assert limits.limit_of("CLASSES") == 65_536
    assert limits.limit_of("LAYERS") == 64


def test_the_environment_raises_a_limit_and_leaves_the_others(raised):
    raised(STEPS=10**9)
    assert limits.limit_of("STEPS") == 10**9
    assert limits.limit_of("CLASSES") == 65_536


@pytest.mark.parametrize("value", ["many", "-1", "0", "1e9", "0x10", "1" * 19])
def test_a_limit_that_is_no_whole_number_is_refused(raised, value):
    raised(STEPS=value)
    with pytest.raises(UsageError, match="SCANLINE_LIMIT_STEPS must be a whole number >= 1, got"):
        limits.limit_of("STEPS")


def test_a_limit_that_there_is_not_is_refused_with_the_nearest(raised):
    raised(STEP=5)
    with pytest.raises(UsageError, match="variable SCANLINE_LIMIT_STEP; did you mean 'SCANLINE_LIMIT_STEPS'"):
        limits.limit_of("CLASSES")


def test_few_bytes_may_become_8_mib_and_many_a_hundredfold(raised):
    assert limits.unpacked_limit(0) == limits.unpacked_limit(1000) == 2**23
    assert limits.unpacked_limit(2**20) == 100 * 2**20
    raised(UNPACKED_BYTES=2**25, EXPANSION=1000)
    assert limits.unpacked_limit(2**14) == 1000 * 2**14
    assert limits.unpacked_limit(2**20) == 2**25


def test_a_gzip_file_of_zeros_is_read_once_its_limit_is_raised(raised, tmp_path):
    shape = (20, 1024, 1024)
    header = bytes([0, 0, 8, 3]) + np.array(shape, ">u4").tobytes()
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(header + bytes(20 * 2**20)))
    with pytest.raises(DataError, match="SCANLINE_LIMIT_EXPANSION raises the limit"):
        read_idx(tmp_path / "zeros.gz")
    raised(EXPANSION=2000)
    assert read_idx(tmp_path / "zeros.gz").shape == shape


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STEPS", 3, "expected at most 3 steps in a sequence, found 4"),
        ("FEATURES", 1, "expected at most 1 values a step, found 2"),
        ("CLASSES", 1, "expected at most 1 classes, found 2"),
        ("FILE_BYTES", 100, "expected at most 100 bytes in a file of data, found"),
        ("LINE_BYTES", 8, "expected at most 8 bytes in a line of text, found 9"),
    ],
)
def test_what_is_over_a_limit_is_refused_with_what_raises_it(raised, tmp_path, name, value, message):
    (tmp_path / "a.ts").write_text("@classLabel true a b\n@data\n" + "1,2,3,4:5,6,7,8:a\n1,2:3,4:b\n" * 9)
    assert read_source(tmp_path / "a.ts", UNSAID)["all"].sequences.shape == (18, 4, 2)
    raised(**{name: value})
    with pytest.raises(DataError, match=rf"a\.ts: .*{message}.*, SCANLINE_LIMIT_{name} raises"):
        read_source(tmp_path / "a.ts", UNSAID)
