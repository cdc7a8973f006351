"""Long tables have a row for each step, wide ones a row for each sequence."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.data.checks import check_values
from scanline.data.readers import tables
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

LONG = "id,time,x,label\n"


@pytest.fixture
def read(tmp_path):
    def read(content: str, **said):
        path = tmp_path / "ours.csv"
        path.write_text(content)
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=said))

    return read


def each(part) -> dict[str, list]:
    """The values of each sequence by its name."""
    cuts = np.split(part.concatenated, part.starts[1:])
    return {str(name): cut.tolist() for name, cut in zip(part.ids, cuts, strict=True)}


# --- long


def test_a_long_table_has_a_sequence_for_each_name_in_the_order_of_their_first_rows(read):
    part = read("id,time,a,b,label\nz,1,1,10,run\nz,2,2,20,run\na,1,3,30,walk\n")
    assert part.ids.tolist() == ["z", "a"]
    assert part.concatenated.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert part.lengths.tolist() == [2, 1]
    assert part.classes == ("run", "walk")
    assert part.targets.tolist() == [0, 1]


def test_rows_of_sequences_that_are_mixed_are_gathered(read):
    found = read(LONG + "b,1,1,p\na,5,2,q\nb,2,3,p\nc,1,4,p\na,6,5,q\n")
    assert each(found) == {"b": [[1], [3]], "a": [[2], [5]], "c": [[4]]}
    assert found.targets.tolist() == [0, 1, 0]
    assert len(found.info.notes) == 1


def test_rows_out_of_order_are_sorted_with_a_note(read):
    found = read(LONG + "b,3,1,p\na,10,2,q\nb,1,3,p\na,9,4,q\nc,1,5,q\nb,2,6,p\n")
    assert each(found) == {"b": [[3], [6], [1]], "a": [[4], [2]], "c": [[5]]}
    assert found.info.notes[1].endswith("ours.csv: 2 of 3 sequences were not sorted by time: sorted")


def test_where_nothing_is_guessed_sorting_alone_is_told(read):
    said = {"shape": "long", "id_column": "id", "time_column": "time", "label_column": "label"}
    (note,) = read(LONG + "b,3,1,p\nb,1,3,p\n", **said).info.notes
    assert note.endswith("ours.csv: 1 of 1 sequences were not sorted by time: sorted")
    assert read(LONG + "b,1,1,p\nb,3,3,p\n", **said).info.notes == ()


def test_without_a_time_column_rows_are_in_order_of_time_and_that_is_told(read):
    found = read("id,x,label\nb,3,p\na,1,q\nb,2,p\n")
    assert each(found) == {"b": [[3], [2]], "a": [[1]]}
    (note,) = found.info.notes
    assert note.endswith(
        "a long table, a row for each step; label column label; id column id; rows in order of time"
    )


def test_a_place_is_the_line_of_the_step_also_where_rows_were_sorted(read):
    found = read(LONG + "b,3,1,p\n\na,10,2,q\nb,1,,p\na,9,,q\n")
    assert [found.info.locate(0, 0), found.info.locate(0, 1)] == ["line 5", "line 2"]
    assert [found.info.locate(1), found.info.locate(1, 1)] == ["line 6", "line 4"]
    with pytest.raises(DataError, match="line 5, column x: expected a finite number, found a missing value"):
        check_values(found, missing=False)


def test_times_may_be_of_any_size_and_sign(read):
    # The differences between these do not fit into what holds them.
    rows = ((1.7e308, 3), (-1.7e308, 1), (0, 2))
    part = read(LONG + "".join(f"s,{time},{x},p\n" for time, x in rows))
    assert part.concatenated.ravel().tolist() == [1, 2, 3]


def test_groups_and_parts_are_those_of_the_sequences(read):
    content = "id,time,x,label,subject,split\na,1,1,p,ann,train\na,2,2,p,ann,train\nb,1,3,q,bob,Testing\n"
    found = read(content + "c,1,1,p,ann, VAL \n")
    assert found.groups.tolist() == ["ann", "bob", "ann"]
    assert found.info.assigned_splits.tolist() == ["train", "test", "validation"]


def test_a_table_of_one_sequence_and_one_of_steps_that_say_they_are_long(read):
    assert read(LONG + "a,1,1,p\n", shape="long").lengths.tolist() == [1]
    assert read(LONG + "a,1,1,p\nb,1,1,p\n", shape="long").lengths.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,1,1,p\n\na,2,1,q\n",
            "line 4, column label: expected one label for a sequence, 'p' as in line 2, found 'q'",
        ),
        ("a,1,1,p\nb,1,1,p\nb,2,1,q\na,2,1,q\n", "line 5, column label: .* 'p' as in line 2, found 'q'"),
        ("a,1,1,p\nb,1,1,p\nb,2,1,q\n", "line 4, column label: .* 'p' as in line 3, found 'q'"),
        ("a,2,1,p\na,1,1,q\n", "line 2, column label: .* 'q' as in line 3, found 'p'"),
        ("a,1,1,p\na,2,1,\n", "line 3, column label: .* 'p' as in line 2, found ''"),
        ("a,1,1,\na,2,1,\n", "line 2: expected a label, an integer or text, found nothing"),
        ("a,1,1,0.5\na,2,1,0.5\n", "line 2: expected a label, an integer or text, found 0.5"),
        ("a,1,1,p\n,2,1,p\na,3,1,p\n", "line 3, column id: expected the name of a sequence, found nothing"),
        (
            "a,1,1,p\na,1,2,p\n",
            "line 3: expected one row of sequence a at each time, found another of the same time in",
        ),
        ("a,2,1,p\nb,2,1,p\na,1,1,p\na,2,1,p\n", r"line 5: expected one row of sequence a .* in line 2$"),
        ("a,1,1,p\na,1.0,1,p\nb,3,1,p\nb,3,1,p\nb,3,1,p\n", r"line 3: .* in line 2 \(3 such pairs\)$"),
    ],
)
def test_a_fault_of_a_long_table_has_its_line(read, content, message):
    with pytest.raises(DataError, match=r"ours\.csv: " + message) as caught:
        read(LONG + content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("role", "column"), [("group", "subject"), ("split", "split")])
def test_a_sequence_has_one_group_and_one_part(read, role, column):
    with pytest.raises(
        DataError, match=f"line 3, column {column}: expected one {role} for a sequence, 'test' as in"
    ):
        read(f"id,time,x,label,{column}\na,1,1,p,test\na,2,1,p,train\n")


def test_a_group_without_a_name_is_refused(read):
    with pytest.raises(DataError, match="line 3, column user: expected the name of a group, found nothing"):
        read("id,time,x,label,user\na,1,1,p,ann\na,2,1,p,\n")


@pytest.mark.parametrize("word", ["", "foo", "train test"])
def test_a_split_column_holds_train_validation_or_test(read, word):
    with pytest.raises(
        DataError, match=f"line 4, column split: expected train, validation or test, found '{word}'"
    ):
        read(f"id,time,x,label,split\na,1,1,p,train\na,2,1,p,train\nb,1,1,q,{word}\n")


def test_a_long_table_has_no_length_column(read):
    with pytest.raises(UsageError, match=r"a long table has no length column.*: got --length-column n"):
        read("id,time,x,label,n\na,1,1,p,1\na,2,2,p,1\n", length_column="n")


# --- wide


def test_a_wide_table_has_a_sequence_of_one_feature_in_each_row(read):
    found = read("t1,t2,t3,class\n1,2,3,b\n4,5,6,a\n")
    assert found.values.tolist() == [[[1], [2], [3]], [[4], [5], [6]]]
    assert found.targets.tolist() == [1, 0]
    assert found.ids is None
    assert found.info.feature_names == ("t1", "t2", "t3")


def test_a_length_column_says_how_much_of_a_row_is_real_and_the_rest_is_not_looked_at(read):
    found = read("n,t1,t2,t3,class\n2,1,2,,b\n3,4,5,6,a\n1.0,7,inf,nan,a\n", length_column="n")
    check_values(found, missing=False)
    assert found.concatenated.ravel().tolist() == [1, 2, 4, 5, 6, 7]
    assert found.lengths.tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("0", "expected a length of 1 to 2, found 0"),
        ("-1", "expected a length of 1 to 2, found -1"),
        ("3", "expected a length of 1 to 2, found 3"),
        ("1.5", "expected a length of 1 to 2, found 1.5"),
        ("", "expected a value, found none"),
        ("inf", "expected a value, found inf"),
        ("two", "expected a number, found 'two'"),
    ],
)
def test_a_length_out_of_range_has_its_line(read, length, message):
    with pytest.raises(DataError, match=f"line 4, column n: {message}"):
        read(f"n,t1,t2,class\n2,1,2,a\n\n{length},1,2,b\n", length_column="n")


def test_a_name_that_comes_again_has_both_lines(read):
    with pytest.raises(DataError, match="line 5: expected a row for each id, found 'b' as in line 3"):
        read("id,t1,class\na,1,p\nb,1,p\nc,1,p\nb,1,p\na,1,p\n", shape="wide")


def test_a_missing_value_has_its_column(read):
    found = read("t1,t2,class\n1,2,a\n3,,b\n")
    with pytest.raises(DataError, match="line 3, column t2: expected a finite number, found a missing value"):
        check_values(found, missing=False)
    check_values(found, missing=True)


def test_columns_with_usual_pixel_names_are_a_picture_with_a_note(read):
    names = ",".join(f"{row}x{column}" for row in (1, 2) for column in (1, 2, 3))
    found = read(f"label,{names}\n7,0,1,2,3,4,255\n")
    assert found.values.tolist() == [[[0, 1, 2], [3, 4, 255]]]
    assert found.concatenated.dtype == np.uint8
    assert "; pictures of 2 x 3 pixels, by the names of the columns" in found.info.notes[0]
    assert found.info.settings.picture == "2x3"
    assert read(f"label,{names}\n7,0,1,2,3,4,255\n", picture="none").shape == (1, 6, 1)


@pytest.mark.parametrize("names", ["pixel0,pixel1,pixel2,pixel3", "pixel_1,pixel_2,pixel_3,pixel_4"])
def test_numbered_pixels_are_a_square(read, names):
    assert read(f"label,{names}\n7,0,1,2,3\n").shape == (1, 2, 2)


@pytest.mark.parametrize(
    "names", ["pixel0,pixel1", "pixel0,pixel1,pixel2,pixel4", "x,y1,1x1", "a,b,99999x99999"]
)
def test_other_names_are_no_picture(read, names):
    width = len(names.split(","))
    assert read(f"label,{names}\n7{',1' * width}\n").shape == (1, width, 1)


def test_a_picture_of_a_given_size(read):
    content = "label,a,b,c,d\n7,0,1,2,{}\n"
    assert read(content.format(3), picture="4x1").values.tolist() == [[[0], [1], [2], [3]]]
    with pytest.raises(DataError, match=r"line 2, column d: expected a grey level, .* found 256"):
        read(content.format(256), picture="4x1")


# --- which of the two


def test_names_that_repeat_are_those_of_a_long_table(read):
    assert "a long table, a row for each step; " in read("id,x,label\na,1,p\na,2,p\n").info.notes[0]


def test_no_names_or_names_that_do_not_repeat_are_those_of_a_wide_table(read):
    for content in ("x1,x2,label\n1,2,p\n", "id,x,label\na,1,p\nb,2,p\n"):
        assert "a wide table, a row for each sequence; " in read(content).info.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "time,x,label\n1,1,p\n",
            "which column identifies the sequence .*, or give --shape wide",
        ),
        (
            LONG + "a,1,1,p\nb,1,1,p\n",
            "is each row a step, or a sequence. There is a time .* each id has a single row",
        ),
    ],
)
def test_where_it_can_be_both_it_has_to_be_said(read, content, message):
    with pytest.raises(UsageError, match=message):
        read(content)
    assert read(content, shape="wide").lengths.tolist() == [1] * content.count("p\n")


def test_a_long_table_needs_names(read):
    with pytest.raises(
        UsageError, match="a long table needs a column that identifies the sequence of a row: give it with"
    ):
        read("x,label\n1,p\n", shape="long")


def test_labels_may_be_absent_where_they_are_optional(tmp_path):
    path = tmp_path / "ours.csv"
    path.write_text("id,time,x\na,1,1\na,2,2\n")
    with pytest.raises(UsageError, match="which column has the labels"):
        read_table_sequences(path, DEFAULT_DATA)
    part = read_table_sequences(path, DEFAULT_DATA, ("label",))
    assert (part.classes, part.targets.tolist()) == ((), [0])


def test_guessed_columns_read_the_same_when_given(read, tmp_path):
    for content in (LONG + "b,3,1,p\na,10,2,q\nb,1,3,p\n", "id,x1,x2,label\nb,3,1,p\na,10,2,q\n"):
        first = read(content)
        again = read_table_sequences(tmp_path / "ours.csv", first.info.settings)
        assert again.fingerprint() == first.fingerprint()
        assert again.info.settings == first.info.settings
        assert all("taken for" not in note for note in again.info.notes)


# --- against pandas

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    lengths=st.dictionaries(names, st.integers(1, 6), min_size=1, max_size=6),
    random=st.randoms(use_true_random=False),
    timed=st.booleans(),
    ending=st.sampled_from(["csv", "tsv", "csv.gz", "parquet"]),
)
def test_any_order_of_rows_reads_as_pandas_groups_it(tmp_path, lengths, random, timed, ending):
    rows = []
    for name, length in lengths.items():
        label = f"class {random.randrange(3)}"
        rows += [
            (name, time / 4, random.uniform(-9, 9), random.uniform(-1e-9, 1e9), label)
            for time in random.sample(range(-20, 20), length)
        ]
    random.shuffle(rows)
    table = pd.DataFrame(rows, columns=["id", "time", "a", "b", "label"])
    path = tmp_path / f"ours.{ending}"
    given = table if timed else table.drop(columns="time")
    if ending == "parquet":
        given.to_parquet(path, row_group_size=random.choice([1, 3, 100]))
    else:
        given.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    said = {
        "shape": "long",
        "id_column": "id",
        "label_column": "label",
        "time_column": "time" if timed else "",
    }
    part = read_table_sequences(path, DEFAULT_DATA.model_copy(update=said))

    ordered = table.sort_values("time", kind="stable") if timed else table
    groups = [ordered[ordered.id == name] for name in table.id.unique()]
    classes = sorted(table.label.unique())
    assert part.ids.tolist() == [group.id.iloc[0] for group in groups]
    assert part.lengths.tolist() == [len(group) for group in groups]
    assert part.classes == tuple(classes)
    assert part.targets.tolist() == [classes.index(group.label.iloc[0]) for group in groups]
    wanted = np.concatenate([group[["a", "b"]].to_numpy() for group in groups]).astype(np.float32)
    assert np.array_equal(part.concatenated, wanted)


def test_sorted_values_are_not_kept_twice(read, monkeypatch):
    kept = []

    def remember(*arguments):
        table = tables.read_table(*arguments)
        kept.append(weakref.ref(table))
        return table

    monkeypatch.setattr("scanline.data.readers.table_sequences.read_table", remember)
    found = read(LONG + "a,2,1,p\na,1,2,p\n")
    gc.collect()
    assert found.info.locate(0, 1) == "line 2"
    assert kept[0]() is None
