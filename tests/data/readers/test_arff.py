"""The reader of Weka's .arff files, as the UCR/UEA archive publishes them."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from scanline import formats
from scanline.data.readers.sequence_files import read_sequence_file
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA

PLAIN = (
    "%comment\n@relation 'Gun Point'\n\n@attribute att1 numeric\n@ATTRIBUTE 'att 2' REAL\n"
    "@attribute target {2, 'one and a half'}\n\n@data\n"
)
RELATION = (
    "@relation Basic\n@attribute basic relational\n  @attribute t1 numeric\n  @attribute t2 numeric\n"
    "  @attribute t3 numeric\n@end basic\n@attribute class {walk,run}\n@data\n"
)


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, name: str = "ours.arff", **settings: str):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        form = formats.for_path(path)
        return read_sequence_file(path, form, DEFAULT_DATA.model_copy(update=settings))

    return read


def test_each_attribute_is_a_step_and_the_last_one_the_class(read):
    source = read(PLAIN + "1.5,?,2\n-1, 2e1 ,'one and a half'\n")
    np.testing.assert_array_equal(source.values, np.array([[[1.5], [np.nan]], [[-1], [20]]], np.float32))
    assert source.classes == ("2", "one and a half")
    assert source.targets.tolist() == [0, 1]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_relation_has_a_line_for_each_feature(read, quote):
    source = read(RELATION + rf"{quote}1,2,3\n10,20,?{quote},run" + "\n")
    expected = np.array([[1, 10], [2, 20], [3, np.nan]], np.float32)
    np.testing.assert_array_equal(source.steps_of(0), expected)
    assert source.targets.tolist() == [1]


def test_other_encodings_line_ends_and_gzip_make_no_difference(read):
    content = PLAIN.replace("one and a half", "größer") + "1,2,2\n3,4,größer\n"
    wanted = read(content).fingerprint()
    assert read("\ufeff" + content.replace("\n", "\r\n")).fingerprint() == wanted
    assert read(content.encode("cp1252"), encoding="cp1252").fingerprint() == wanted
    assert read(gzip.compress(content.encode()), "ours.arff.gz").fingerprint() == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected an .arff file of Weka, found no @data line"),
        (PLAIN, "expected rows after @data, found none"),
        (PLAIN + "1,2\n", "line 9: expected 3 cells, found 2"),
        (PLAIN + "1,fast,2\n", "line 9: expected a number, found 'fast'"),
        (PLAIN + "1,1_0,2\n", "line 9: expected a number, found '1_0'"),
        (PLAIN + "1,2,3\n", r"line 9: expected a class of the header \(2, one and a half\), found '3'"),
        (PLAIN + "{0 1.5, 2 2}\n", "line 9: sparse rows"),
        (PLAIN + "1,2,'one' and\n", "line 9: expected a comma after a quoted cell"),
        (PLAIN + "1,2,'one\n", "line 9: expected a comma after a quoted cell"),
        ("hello\n", "line 1: expected @relation, @attribute or @data, found 'hello'"),
        (
            PLAIN.replace("REAL", "string") + "1,a,2\n",
            "attribute att 2: .*found one of type string",
        ),
        (PLAIN.replace("'att 2'", "index") + "1,2,2\n", "attribute index: .*found a name that means no step"),
        (PLAIN.replace("{2, 'one and a half'}", "numeric") + "1,2,2\n", "found target of type numeric there"),
        (RELATION + "'1,2\\n1',run\n", "line 9: expected 2 values in each feature, found 1"),
        (RELATION + "'1,x\\n1,2',run\n", "line 9: expected a number, found 'x'"),
        (PLAIN.encode() + b"1,2,'gr\xf6\xdfer'\n", "line 9: expected text in UTF-8, found the byte 0xf6"),
        (PLAIN.replace("half'}", "half'} @x"), "found target of type"),
    ],
)
def test_a_fault_is_one_line_with_its_place(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)
