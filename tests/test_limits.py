"""Limits: their values, how the environment raises them, and the errors about them."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from scanline import limits
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError
from scanline.formats.idx import read_idx
from scanline.recipe import DEFAULT_DATA


@pytest.fixture
def raised(monkeypatch):
    """Return a function that sets limits for one test: raised(STEPS=5)."""

    def raised(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"SCANLINE_LIMIT_{name}", str(value))
        limits.limit_of.cache_clear()

    limits.limit_of.cache_clear()
    yield raised
    limits.limit_of.cache_clear()


def test_a_limit_is_the_value_of_the_table(raised):
    assert limits.limit_of("CLASSES") == 65_536
    assert limits.limit_of("LAYERS") == 64


def test_the_environment_raises_one_limit_and_no_other(raised):
    raised(STEPS=10**9)
    assert limits.limit_of("STEPS") == 10**9
    assert limits.limit_of("CLASSES") == 65_536


@pytest.mark.parametrize("value", ["many", "-1", "0", "1e9", "0x10", "1" * 19])
def test_a_limit_that_is_not_a_whole_number_is_refused(raised, value):
    raised(STEPS=value)
    with pytest.raises(UsageError) as caught:
        limits.limit_of("STEPS")
    assert (caught.value.where, caught.value.found) == ("SCANLINE_LIMIT_STEPS", repr(value))


def test_an_unknown_limit_is_refused_with_a_suggestion(raised):
    raised(STEP=5)
    with pytest.raises(UsageError, match="did you mean 'SCANLINE_LIMIT_STEPS'") as caught:
        limits.limit_of("CLASSES")
    assert caught.value.where == "SCANLINE_LIMIT_STEP"


def test_few_bytes_may_unpack_to_8_mib_and_many_to_a_hundredfold(raised):
    assert limits.unpacked_limit(0) == limits.unpacked_limit(1000) == 2**23
    assert limits.unpacked_limit(2**20) == 100 * 2**20
    raised(UNPACKED_BYTES=2**25, EXPANSION=1000)
    assert limits.unpacked_limit(2**14) == 1000 * 2**14
    assert limits.unpacked_limit(2**20) == 2**25


def test_a_gzip_file_of_zeros_is_read_once_its_limit_is_raised(raised, tmp_path):
    shape = (20, 1024, 1024)
    header = bytes([0, 0, 8, 3]) + np.array(shape, ">u4").tobytes()
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(header + bytes(20 * 2**20)))
    with pytest.raises(DataError, match="SCANLINE_LIMIT_EXPANSION"):
        read_idx(tmp_path / "zeros.gz")
    raised(EXPANSION=2000)
    assert read_idx(tmp_path / "zeros.gz").shape == shape


def test_an_error_about_a_limit_names_the_limit_the_count_and_the_variable(raised):
    assert limits.exceeded("STEPS", 2**24 + 1) == (
        "expected at most 16,777,216 steps in a sequence, found 16,777,217; if you trust the file, raise the "
        "limit with SCANLINE_LIMIT_STEPS"
    )
    assert limits.excess("STEPS", 9)["found"] == "9"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STEPS", 3, "at most 3 steps.*found 4"),
        ("FEATURES", 1, "at most 1 values a step.*found 2"),
        ("CLASSES", 1, "at most 1 classes.*found 2"),
        ("FILE_BYTES", 100, "at most 100 bytes.*found"),
        ("LINE_BYTES", 8, "at most 8 bytes.*found 9"),
    ],
)
def test_data_over_a_limit_is_refused_with_the_variable_that_raises_it(
    raised, tmp_path, name, value, message
):
    (tmp_path / "a.ts").write_text("@classLabel true a b\n@data\n" + "1,2,3,4:5,6,7,8:a\n1,2:3,4:b\n" * 9)
    read_sources(tmp_path / "a.ts", DEFAULT_DATA)
    raised(**{name: value})
    with pytest.raises(DataError, match=rf"a\.ts: .*{message}.*SCANLINE_LIMIT_{name}"):
        read_sources(tmp_path / "a.ts", DEFAULT_DATA)
