"""The reader of .ts files: files written by hand, and two of the UEA archive."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline import formats
from scanline.data.checks import check_values
from scanline.data.readers.arrays import from_arrays
from scanline.data.readers.sequence_files import read_sequence_file
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA
from tests.conftest import SHARED

HEADER = "@problemName Ours\n@univariate false\n@dimensions 2\n@classLabel true walk run\n@data\n"  # 5 lines
UNIVARIATE = "@univariate true\n@classLabel true walk run\n@data\n"  # 3 lines
STAMPED = "@timeStamps true\n%\n@classLabel true walk run\n@data\n"  # 4 lines


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, labelled: bool = False):
        path = tmp_path / "ours.ts"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sequence_file(path, formats.get("ts"), DEFAULT_DATA, labelled)

    return read


def test_the_features_of_a_line_stand_one_after_another(read):
    part = read(HEADER + "1,2,3:10,20,30:run\n")
    assert part.concatenated.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert part.concatenated.dtype == np.float32
    assert part.lengths.tolist() == [3]


def test_a_univariate_file_has_one_feature(read):
    part = read(UNIVARIATE + "1.5,-2e3:run\n.5,+1:walk\n")
    assert part.values.tolist() == [[[1.5], [-2000]], [[0.5], [1]]]


def test_lengths_are_those_of_the_lines_whatever_the_header_says(read):
    content = "@equalLength true\n@seriesLength 9\n" + UNIVARIATE + "1:run\n2,3,4:run\n5,6:walk\n"
    part = read(content)
    assert part.lengths.tolist() == [1, 3, 2]
    assert part.concatenated.ravel().tolist() == [1, 2, 3, 4, 5, 6]


def test_classes_are_in_the_headers_order_also_those_that_no_sequence_has(read):
    part = read("@classLabel true z 10 a 9\n@data\n1:a\n2:10\n3:a\n")
    assert part.classes == ("z", "10", "a", "9")
    assert part.targets.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "(0,1.5),(1,?),(2,-3):run",
        "(2007-01-01 00:00:00,1.5),(2007-01-01 00:01:00,?),(2007-01-01 00:02:00,-3):run",
        "(2007-01-01,1.5) , (2007-01-02,?),(2007-01-03,-3) :run",
        "(1700000000000000001,1.5),(1700000000000000002,?),(1700000000000000003,-3):run",
    ],
)
def test_values_with_time_stamps_are_read_in_their_order(read, line):
    source = read(STAMPED + line + "\n" + line + "\n")
    assert source.lengths.tolist() == [3, 3]
    np.testing.assert_array_equal(source.steps_of(1), np.array([[1.5], [np.nan], [-3]], np.float32))
    assert "read in order of time stamps" in source.info.notes[0]


def test_features_with_time_stamps_are_separated_after_the_bracket(read):
    first, second = "2007-01-01 10:00:00", "2007-01-01 10:00:07"
    dated = f"({first},1),({second},2):({first},3),({second},4):run"
    assert read(STAMPED + dated + "\n").steps_of(0).tolist() == [[1, 3], [2, 4]]


def test_time_stamps_that_are_not_evenly_spaced_are_named(read):
    assert "which differ" in read(STAMPED + "(0,1),(1,2),(5,2):run\n").info.notes[0]
    assert "which differ" not in read(STAMPED + "(0.1,1),(0.2,2),(0.3,2):run\n").info.notes[0]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_comment_may_have_any_encoding(read, encoding):
    content = "% Recorded by J. Müller, 20°\n" + HEADER + "1,2:3,4:run\n# größer\n5:6:walk\n"
    assert read(content.encode(encoding)).fingerprint() == read(content).fingerprint()


def test_a_file_is_read_in_the_encoding_that_is_named(tmp_path):
    content = "@classLabel true grün rot\n@data\n1,2:grün\n3,4:rot\n"
    plain, named = tmp_path / "plain.ts", tmp_path / "named.ts"
    plain.write_text(content, encoding="utf-8")
    for encoding in ("cp1252", "utf-16"):
        named.write_text(content, encoding=encoding)
        settings = DEFAULT_DATA.model_copy(update={"encoding": encoding})
        first, second = read_source(plain, settings=DEFAULT_DATA), read_source(named, settings=settings)
        assert first.fingerprint() == second.fingerprint()


def read_source(path, settings):
    return read_sequence_file(path, formats.get("ts"), settings)


def test_a_compressed_file_is_read_and_bounded(tmp_path):
    content = (UNIVARIATE + "1.5,-2e3:run\n.5,+1:walk\n").encode()
    (tmp_path / "a.ts").write_bytes(content)
    (tmp_path / "a.ts.gz").write_bytes(gzip.compress(content))
    paths = [tmp_path / name for name in ("a.ts", "a.ts.gz")]
    assert len({read_source(path, DEFAULT_DATA).fingerprint() for path in paths}) == 1
    (tmp_path / "bomb.ts.gz").write_bytes(gzip.compress(content + b"#" * 9_000_000))
    with pytest.raises(DataError, match="packed bytes to become at most"):
        read_source(tmp_path / "bomb.ts.gz", DEFAULT_DATA)
    (tmp_path / "cut.ts.gz").write_bytes(gzip.compress(content)[:-6])
    with pytest.raises(DataError, match="the gzip stream is damaged"):
        read_source(tmp_path / "cut.ts.gz", DEFAULT_DATA)


def test_labels_stay_text(read):
    assert read("@classLabel true 1 2.0 007\n@data\n1:007\n").classes == ("1", "2.0", "007")


def test_classes_that_the_header_does_not_name_are_those_of_the_lines_sorted(read):
    part = read("@classLabel true\n@data\n1:b\n2:a\n3:b\n")
    assert part.classes == ("a", "b")
    assert part.targets.tolist() == [1, 0, 1]


def test_a_file_without_labels_has_values_alone(read):
    part = read("@classLabel false\n@data\n1,2:3,4\n5:6\n")
    assert part.classes == ()
    assert part.targets.tolist() == [0, 0]
    assert part.concatenated.tolist() == [[1, 3], [2, 4], [5, 6]]


def test_a_file_without_labels_is_refused_where_they_are_needed(read):
    with pytest.raises(DataError, match=r"ours\.ts: expected class labels, found none"):
        read("@classLabel False\n@data\n1,2:3,4\n", labelled=True)
    assert len(read(UNIVARIATE + "1:run\n", labelled=True)) == 1


@pytest.mark.parametrize("word", ["?", " ? ", "NaN", "nan"])
def test_a_missing_value_is_nan(read, word):
    part = read(HEADER + f"1,{word},3:4,5,6:run\n")
    assert np.isnan(part.concatenated).tolist() == [[False, False], [True, False], [False, False]]


def test_a_missing_value_is_refused_with_its_place_unless_something_may_stand_in(read):
    found = read(HEADER + "1,2:3,4:run\n\n1,2,3:4,5,?:run\n")
    with pytest.raises(
        DataError,
        match=r"ours\.ts: line 8, step 2, feature 1: expected a finite number, found a missing value; "
        r"use --missing forward-fill, zero or mean to replace missing values",
    ):
        check_values(found, missing=False)
    check_values(found, missing=True)


@pytest.mark.parametrize(("word", "seen"), [("inf", "inf"), ("-Infinity", "-inf"), ("1e39", "inf")])
def test_infinity_is_refused_also_where_values_may_be_missing(read, word, seen):
    found = read(HEADER + f"1,{word}:3,4:run\n")
    for missing in (False, True):
        with pytest.raises(
            DataError, match=f"line 6, step 1, feature 0: expected a finite number, found {seen}"
        ):
            check_values(found, missing)


def test_comments_empty_lines_capitals_and_a_bom_are_no_matter(read):
    header = "\ufeff# hello\r\n\r\n@CLASSLABEL TRUE walk run\r\n% more\r\n@Data\r\n"
    part = read(header + "\r\n#1:run\r\n 1 , 2 : walk \r\n")
    assert part.concatenated.tolist() == [[1], [2]]
    assert part.classes[part.targets[0]] == "walk"


def test_a_place_is_a_line_of_the_file(read):
    found = read("# hello\n\n" + UNIVARIATE + "1:run\n\n# one more\n2:walk\n")
    assert [found.info.locate(0), found.info.locate(1, 0)] == ["line 6", "line 9"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a .ts file of the UEA archive, found no @data line"),
        ("@classLabel true a\n", "found no @data line"),
        (UNIVARIATE, "expected sequences after @data, found none"),
        (UNIVARIATE + "\n# 1:run\n", "expected sequences after @data, found none"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: expected text in UTF-8, found the byte 0x89; name the encoding"),
        (
            HEADER.encode() + b"1:2:run\n1:2:r\xfcn\n",
            "line 7: expected text in UTF-8, found the byte 0xfc; name",
        ),
        (HEADER.encode("utf-16-le"), r"line 2: expected a header line that begins with @, found '\\x00@"),
        ("id,time,x\n1,2,3\n", "line 1: expected a header line that begins with @, found 'id,time,x'"),
        (HEADER + "1,2:3,4:jump\n", r"line 6: expected a class of the header \(walk, run\), found 'jump'"),
        (HEADER + "1,2:3,4\n", r"line 6: expected a class of the header \(walk, run\), found '3,4'"),
        (HEADER + "1,2:3,4:\n", "line 6: expected a label after the last colon, found none"),
        (HEADER + "1,2:run\n", "line 6: expected 2 features, found 1"),
        (HEADER + "1,2:3,4:5,6:run\n", "line 6: expected 2 features, found 3"),
        (HEADER + "1,2:3:run\n", "line 6: expected 2 values in each feature, found 1 in feature 1"),
        (HEADER + "1,2:3,4:run\n1,2:3,4,5:run\n", "line 7: expected 2 values in each feature, found 3 in"),
        (HEADER + "1,2:x,4:run\n", "line 6: step 0, feature 1: expected a number, found 'x'"),
        (HEADER + "1,2:3,:run\n", "line 6: step 1, feature 1: expected a number, found ''"),
        (HEADER + "1,1_0:3,4:run\n", "line 6: step 1, feature 0: expected a number, found '1_0'"),
        (HEADER + "1,0x1:3,4:run\n", "line 6: step 1, feature 0: expected a number, found '0x1'"),
        (HEADER + "(0,1),(1,2):3,4:run\n", "line 6: step 0, feature 0: expected a number, found '.0'"),
        (HEADER + "::run\n", "line 6: expected values, found an empty sequence"),
        (HEADER + "1: :run\n", "line 6: expected values, found an empty sequence"),
        (UNIVARIATE + "run\n", "line 4: expected 1 features, found 0"),
        ("@classLabel true run\n@data\nrun\n", "line 3: expected values, found an empty sequence"),
        ("@classLabel true a b\n@data\n1:a\n1:2:b\n", "line 4: expected 1 features, found 2"),
        ("@classLabel true a b a\n@data\n", "line 1: expected different class names, found a twice"),
        ("@dimensions none\n", "line 1: expected a number of features, found none"),
        ("@dimensions 0\n", "line 1: expected a number of features, found 0"),
        ("@dimensions " + "9" * 5000 + "\n", "line 1: expected a number of features, found 9999"),
        ("\n@dimension\n", "line 2: expected a number of features, found none"),
        (STAMPED + "1,2:run\n", r"line 5: expected \(time,value\) pairs, found '1,2:run'"),
        (STAMPED + "(0,1),(1):run\n", r"line 5: feature 0: expected \(time,value\) pairs, found '\(1\)'"),
        (STAMPED + "(1,5),(0,6):run\n", "line 5: feature 0: expected increasing time stamps, found another"),
        (STAMPED + "(0,5),(0,6):run\n", "line 5: feature 0: expected increasing time stamps, found another"),
        (STAMPED + "(soon,5):run\n", "line 5: expected a time stamp, a number or a date .*, found 'soon'"),
        (STAMPED + "(0,fast):run\n", "line 5: step 0, feature 0: expected a number, found 'fast'"),
        (STAMPED + "(0,1):(1,2):run\n", "line 5: expected the same time stamps in each feature"),
    ],
)
def test_a_fault_is_one_line_with_the_place_what_was_expected_and_what_was_found(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    text = str(caught.value)
    assert "ours.ts: " in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_message_does_not_repeat_a_whole_line_or_all_classes(read):
    names = " ".join(f"c{index}" for index in range(1000))
    with pytest.raises(DataError, match=r"c11 and 988 more\), found '1,1,1,") as caught:
        read(f"@classLabel true {names}\n@data\n1:" + ",".join("1" * 5000) + "\n")
    assert len(str(caught.value)) < 400


def test_a_folder_and_a_missing_file_are_data_errors(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_sequence_file(tmp_path, formats.get("ts"), DEFAULT_DATA)
    with pytest.raises(DataError, match=r"none\.ts: cannot be read \(No such file or directory\)"):
        read_sequence_file(tmp_path / "none.ts", formats.get("ts"), DEFAULT_DATA)


# --- against other readers


@pytest.mark.parametrize(
    ("name", "count", "features", "lengths", "classes"),
    [
        ("JapaneseVowels", 270, 12, (7, 26), tuple("123456789")),
        ("BasicMotions", 40, 6, (100, 100), ("Standing", "Running", "Walking", "Badminton")),
    ],
)
def test_the_archives_own_files_are_read_as_a_plain_split_reads_them(name, count, features, lengths, classes):
    path = None if SHARED is None else SHARED / "ts" / f"{name}_TRAIN.ts"
    if path is None or not path.is_file():
        pytest.skip("the archive's files are missing: set SCANLINE_DATA to the folder that has ts/")
    part = read_sequence_file(path, formats.get("ts"), DEFAULT_DATA)
    assert (len(part), part.features, part.classes) == (count, features, classes)
    assert (part.lengths.min(), part.lengths.max()) == lengths
    assert np.bincount(part.targets).tolist() == [count // len(classes)] * len(classes)
    lines = path.read_text().split("@data\n")[1].splitlines()
    for line, start, length, label in zip(lines, part.starts, part.lengths, part.targets, strict=True):
        *fields, name = line.split(":")
        wanted = np.array([field.split(",") for field in fields], np.float64).T.astype(np.float32)
        assert np.array_equal(part.concatenated[start : start + length], wanted)
        assert classes[label] == name


numbers = st.floats(width=64, allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(), features=st.integers(1, 3), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5)
)
def test_what_is_written_reads_as_the_same_arrays_of_a_program(read, data, features, lengths):
    arrays = [
        np.array(data.draw(st.lists(numbers, min_size=n * features, max_size=n * features))).reshape(
            n, features
        )
        for n in lengths
    ]
    labels = data.draw(st.lists(st.sampled_from("ab"), min_size=len(lengths), max_size=len(lengths)))
    lines = [":".join(",".join(map(repr, each)) for each in array.T.tolist()) for array in arrays]
    content = "@classLabel true\n@data\n" + "".join(
        f"{line}:{name}\n" for line, name in zip(lines, labels, strict=True)
    )
    assert read(content).fingerprint() == from_arrays(arrays, labels, settings=DEFAULT_DATA).fingerprint()


GOOD = (HEADER + "1,2:3,?:run\n4:5:walk\n").encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_any_mutation_of_a_good_file_is_read_or_refused(read, data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4), label="mutations")):
        at = data.draw(st.integers(0, len(content) - 1), label="at")
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(SPLINTERS) | st.binary(max_size=2)
        )
        content = content or bytearray(b"@")
    message = ""
    try:
        read(bytes(content))
    except DataError as error:
        message = str(error)
    assert len(message.splitlines()) < 2


SPLINTERS = [
    b":",
    b",",
    b"?",
    b"\n",
    b"@",
    b"@data\n",
    b"\r",
    b"nan",
    b"_",
    b"\xff",
    b"\0",
    b"\x85",
    b"true",
    b" ",
]


def test_colons_are_counted_before_a_list_is_made(read):
    with pytest.raises(DataError, match="65,536 values a step, found 100,000"):
        read(UNIVARIATE + ":" * 100_000 + "run\n")


def test_numbers_as_labels_are_refused_unless_they_are_asked_for(tmp_path):
    path = tmp_path / "numbers.ts"
    path.write_text("@univariate true\n@targetLabel true\n@data\n1,2:0.5\n3,4:2\n")
    with pytest.raises(
        DataError, match=r"its labels are numbers \(@targetlabel true\), not classes: use --task"
    ):
        read_sequence_file(path, formats.get("ts"), DEFAULT_DATA)
    numbers = DEFAULT_DATA.model_copy(update={"targets": "numbers"})
    source = read_sequence_file(path, formats.get("ts"), numbers)
    assert [source.classes[code] for code in source.targets] == [0.5, 2.0]
    assert read_sequence_file(path, formats.get("ts"), DEFAULT_DATA, labelled=False).classes == ()
