"""Roles of columns: given, guessed where unambiguous, and otherwise asked for."""

from __future__ import annotations

import pytest

from scanline.data.readers.column_roles import assign, settle
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA


def say(**said):
    return DEFAULT_DATA.model_copy(update=said)


def roles(columns) -> dict[str, str]:
    """Those that a column has."""
    named = ("label", "id", "time", "length", "group", "split")
    return {role: getattr(columns, role) for role in named if getattr(columns, role)}


def test_usual_names_are_guessed_in_any_case_with_a_note():
    names = ["Series_ID", "TimeStamp", "x", "ClassLabel", "w", "Class", "Subject", "split"]
    columns = assign(names, DEFAULT_DATA, "t.csv")
    expected = {
        "label": "Class",
        "id": "Series_ID",
        "time": "TimeStamp",
        "group": "Subject",
        "split": "split",
    }
    assert roles(columns) == expected
    assert columns.features == ("x", "ClassLabel", "w")
    assert columns.notes == (
        "label column Class",
        "id column Series_ID",
        "time column TimeStamp",
        "group column Subject",
        "split column split",
    )


def test_a_length_is_never_guessed():
    assert assign(["length", "x", "label"], DEFAULT_DATA, "t.csv").features == ("length", "x")


def test_what_is_said_is_not_guessed_and_not_told():
    settings = say(label_column="mood", id_column="x", length_column="n")
    columns = assign(["label", "mood", "x", "id", "n"], settings, "t.csv")
    assert roles(columns) == {"label": "mood", "id": "x", "length": "n"}
    assert columns.features == ("label", "id")
    assert columns.notes == ()


def test_given_features_are_read_in_the_given_order_and_others_are_ignored():
    columns = assign(["a", "b", "c", "label"], say(feature_columns=("c", "a")), "t.csv")
    assert columns.features == ("c", "a")
    assert columns.named == ("label",)


def test_a_feature_that_is_said_is_no_guess_for_something_else():
    columns = assign(["t", "step", "label"], say(feature_columns=("t",)), "t.csv")
    assert (columns.time, columns.features) == ("step", ("t",))


@pytest.mark.parametrize("role", ["label", "id"])
def test_a_column_that_was_said_to_be_one_thing_is_not_guessed_to_be_another(role):
    columns = assign(["speaker", "x", "label"], say(**{f"{role}_column": "speaker"}), "t.csv")
    assert columns.group == ""
    assert getattr(columns, role) == "speaker"


def test_a_y_beside_x_or_z_is_a_coordinate_and_no_label():
    assert assign(["x1", "x2", "Y"], DEFAULT_DATA, "t.csv").label == "Y"
    with pytest.raises(UsageError, match="which column has the labels"):
        assign(["X", "y"], DEFAULT_DATA, "t.csv")
    columns = assign(["x", "y", "z", "class"], DEFAULT_DATA, "t.csv")
    assert (columns.label, columns.features) == ("class", ("x", "y", "z"))
    assert assign(["x", "y"], say(label_column="y"), "t.csv").features == ("x",)


def test_the_sequences_may_be_the_groups():
    columns = assign(["who", "x", "label"], say(id_column="who", group_column="who"), "t.csv")
    assert columns.features == ("x",)
    assert columns.named == ("label", "who")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1", "__index_level_0__"])
def test_the_index_of_pandas_is_no_feature(name):
    columns = assign([name, "x", "label"], DEFAULT_DATA, "t.csv")
    assert columns.features == ("x",)
    assert columns.notes[1] == f"{f'column {name}' if name else 'a column without a name'} left out"


def test_several_columns_without_a_name_are_skipped_with_one_note():
    columns = assign(["", "x", "label", "", ""], DEFAULT_DATA, "t.csv")
    assert columns.features == ("x",)
    assert columns.notes[1:] == ("a column without a name left out",)


def test_an_index_that_is_named_as_a_feature_is_one():
    assert assign(["Unnamed: 0", "label"], say(feature_columns=("Unnamed: 0",)), "t.csv").features


def test_a_guessed_time_column_is_ignored_for_a_wide_table():
    columns = assign(["id", "date", "x", "label"], say(shape="wide"), "t.csv")
    assert (columns.time, columns.features) == ("", ("x",))
    assert "column date left out" in columns.notes


def test_a_label_may_be_absent_where_it_is_optional():
    assert assign(["x"], DEFAULT_DATA, "t.csv", ("label",)).label == ""
    settings = say(label_column="mood", group_column="who", split_column="part")
    assert roles(assign(["x"], settings, "t.csv", ("label", "group", "split"))) == {}
    with pytest.raises(UsageError, match="unknown column 'mood'"):
        assign(["x"], settings, "t.csv", ("group", "split"))


@pytest.mark.parametrize(
    ("names", "said", "error", "message"),
    [
        (["x", "x", "label"], {}, DataError, "expected columns of different names, found 'x' twice"),
        (["label", "label"], {}, DataError, "expected columns of different names, found 'label' twice"),
        (["x", "z"], {}, UsageError, "which column has the labels. Choose one with --label-column: x, z"),
        ([], {}, UsageError, "which column has the labels"),
        (
            ["x", "label", "Target"],
            {},
            UsageError,
            "'label' and 'Target' may both be the label column: choose",
        ),
        (
            ["x", "t", "time", "label"],
            {},
            UsageError,
            "'t' and 'time' may both be the time .* with --time-column",
        ),
        (["label"], {}, DataError, "expected a column with values, found only label"),
        (["", "label"], {}, DataError, "expected a column with values, found only '', label"),
        (
            ["x", "label"],
            {"label_column": "lable"},
            UsageError,
            "unknown column 'lable'; expected one of x, label; did you mean 'label'.$",
        ),
        (
            ["x", "label"],
            {"feature_columns": ("q",)},
            UsageError,
            "unknown column 'q'; expected one of x, label",
        ),
        (["x", "label"], {"length_column": "n"}, UsageError, "unknown column 'n'; expected one of x, label"),
        (
            ["x", "label"],
            {"feature_columns": ("x", "label"), "label_column": "label"},
            UsageError,
            "the label column 'label' cannot be a feature too",
        ),
        (
            ["x", "label"],
            {"feature_columns": ("x", "x")},
            UsageError,
            "the feature column 'x' is named twice",
        ),
        (
            ["x", "label", "a"],
            {"id_column": "a", "time_column": "a"},
            UsageError,
            "the id column 'a' cannot be the time column too",
        ),
        (
            ["x", "a"],
            {"label_column": "a", "group_column": "a"},
            UsageError,
            "'a' cannot be the group column too",
        ),
    ],
)
def test_an_impossible_explanation_is_one_line(names, said, error, message):
    with pytest.raises(error, match=message) as caught:
        assign(names, say(**said), "t.csv")
    assert str(caught.value).startswith("t.csv: ")
    assert "\n" not in str(caught.value)


def test_a_message_lists_twenty_columns_each_cut_to_a_line():
    names = [f"x{index}\n" + "y" * 1000 for index in range(25)]
    with pytest.raises(UsageError, match=r"--label-column: x0 yyy.* and 5 more$") as caught:
        assign(names, DEFAULT_DATA, "t.csv")
    assert len(str(caught.value)) < 1500


def test_a_hundred_thousand_columns_are_not_compared_each_with_each():
    names = [f"x{index}" for index in range(100_000)] + ["label"]  # it would take minutes
    assert assign(names, DEFAULT_DATA, "t.csv").features == tuple(names[:-1])


def test_what_was_guessed_is_settled():
    columns = assign(["id", "t", "x", "label"], DEFAULT_DATA, "t.csv")
    settled = settle(say(name="here.csv", group_column="lost"), columns, "long")
    assert settled == say(
        name="here.csv",
        shape="long",
        id_column="id",
        time_column="t",
        label_column="label",
        feature_columns=("x",),
    )


def test_the_columns_of_a_wide_table_are_its_steps_unless_the_user_chose_features():
    columns = assign(["x1", "x2", "label"], DEFAULT_DATA, "t.csv")
    settled = say(shape="wide", label_column="label", step_columns=("x1", "x2"))
    assert settle(DEFAULT_DATA, columns, "wide") == settled
    assert settle(settled, columns, "wide") == settled
    assert settle(say(feature_columns=("x2",)), columns, "wide").feature_columns == ("x2",)
