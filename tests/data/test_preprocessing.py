"""How data that were read become the input of the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, InputSettings

NAN = np.nan
PLAIN = InputSettings(view="rows", permutation_seed=0, features=0, missing="error", scaling="none")


def wanted(**settings) -> InputSettings:
    return PLAIN.model_copy(update=settings)


def sequences(*parts) -> MemorySource:
    """Each part is a list of steps, a step a list of values."""
    arrays = [np.array(part, np.float32) for part in parts]
    lengths = np.array([len(array) for array in arrays])
    return MemorySource(np.concatenate(arrays), lengths, np.zeros(len(parts), np.int64), (0,), "x.ts")


def data_set(train: MemorySource, **others) -> Dataset:
    splits = {name: others.pop(name) for name in ("validation", "test") if name in others}
    info = {name: others.pop(name) for name in ("picture", "full_scale", "settings") if name in others}
    train = replace(train, info=replace(train.info, **info))
    return replace(Dataset("mine", {"train": train, **splits}), **others)


def pictures(height=2, width=3, channels=1, n=2, **others) -> Dataset:
    values = np.arange(n * height * width * channels, dtype=np.uint8).reshape(n, height, width * channels)
    form = PictureFormat(height, width, 1, 255, "mass", channels, "contain")
    train = MemorySource.from_array(values, np.zeros(n, np.int64), (0,), "pets")
    return data_set(train, **({"picture": form, "full_scale": 255.0, "settings": DEFAULT_DATA} | others))


# --- missing values


def test_missing_values_are_left_where_nothing_stands_in_for_them():
    train = sequences([[1], [NAN]])
    form = Preprocessing.fit(data_set(train), PLAIN)
    assert form.means == ()
    np.testing.assert_array_equal(form.prepare(train).concatenated.ravel(), [1, NAN])


@pytest.mark.parametrize(
    ("missing", "filled"), [("zero", [0, 5, 0, 7]), ("mean", [2, 5, 2, 7]), ("forward-fill", [2, 5, 5, 7])]
)
def test_each_way_puts_its_own_value_there(missing, filled):
    form = Preprocessing.fit(data_set(sequences([[1], [3]], [[NAN], [2]])), wanted(missing=missing))
    prepared = form.prepare(sequences([[NAN], [5], [NAN], [7]]))
    assert prepared.concatenated.ravel().tolist() == filled
    assert prepared.concatenated.dtype == np.float32


def test_the_mean_is_that_of_the_training_steps_alone():
    train, test = sequences([[1, NAN], [3, 8]]), sequences([[NAN, NAN], [900, 900]])
    data = data_set(train, test=test, validation=test)
    form = Preprocessing.fit(data, wanted(missing="mean"))
    assert form.means == (2.0, 8.0)
    prepared = form.prepare_all(data)
    assert prepared.train.concatenated.tolist() == [[1, 8], [3, 8]]
    assert (
        prepared.test.concatenated.tolist()
        == prepared.validation.concatenated.tolist()
        == [[2, 8], [900, 900]]
    )


def test_filling_forward_stops_at_the_end_of_a_sequence():
    form = Preprocessing.fit(data_set(sequences([[4]])), wanted(missing="forward-fill"))
    assert form.prepare(sequences([[1], [NAN]], [[NAN], [2]])).concatenated.ravel().tolist() == [1, 1, 4, 2]


def test_filling_forward_goes_by_the_order_of_time_also_where_steps_are_cut():
    """Four values are two steps of two: before the missing one stands 1, in the same step."""
    form = Preprocessing.fit(
        data_set(sequences([[1], [2], [3], [4]])), wanted(missing="forward-fill", features=2)
    )
    prepared = form.prepare(sequences([[1], [NAN], [NAN], [4]]))
    assert prepared.concatenated.tolist() == [[1, 1], [1, 4]]


def test_means_are_those_of_the_steps_that_the_network_reads():
    form = Preprocessing.fit(data_set(sequences([[1], [2], [3], [4]])), wanted(missing="mean", features=2))
    assert form.means == (2.0, 3.0)
    assert form.prepare(sequences([[NAN], [NAN]])).concatenated.tolist() == [[2, 3]]


# --- views and widths


@pytest.mark.parametrize(
    ("view", "steps"),
    [
        ("rows", [[0, 1, 2], [3, 4, 5]]),
        ("columns", [[0, 3], [1, 4], [2, 5]]),
        ("pixels", [[0], [1], [2], [3], [4], [5]]),
    ],
)
def test_pictures_are_cut_by_their_view(view, steps):
    data = pictures()
    form = Preprocessing.fit(data, wanted(view=view))
    prepared = form.prepare_all(data)
    assert prepared.train.values[0].tolist() == steps
    assert prepared.train.concatenated.dtype == np.uint8
    assert form.features == len(steps[0])
    assert form.source_features == 3
    assert prepared.view == form.picture_view


def test_a_view_may_be_cut_to_another_width():
    data = pictures()
    form = Preprocessing.fit(data, wanted(view="columns", features=3))
    assert form.prepare(data.train).values[0].tolist() == [[0, 3, 1], [4, 2, 5]]


def test_the_seed_of_the_permutation_is_part_of_the_form():
    data = pictures(5, 5)
    one, other = (Preprocessing.fit(data, wanted(view="permuted", permutation_seed=seed)) for seed in (0, 1))
    assert (
        one.prepare(data.train).fingerprint()
        == replace(other, permutation_seed=0).prepare(data.train).fingerprint()
    )
    assert one.prepare(data.train).fingerprint() != other.prepare(data.train).fingerprint()


def test_a_view_is_for_pictures():
    message = "^input.view must be rows for mine, which has no pictures, got pixels$"
    with pytest.raises(UsageError, match=message):
        Preprocessing.fit(data_set(sequences([[1]])), wanted(view="pixels"))


def test_patches_that_do_not_come_out_even_are_refused():
    with pytest.raises(UsageError, match=r"input\.view patches:2 needs .* got pictures of 2 x 3"):
        Preprocessing.fit(pictures(), wanted(view="patches:2"))


def test_a_width_that_does_not_come_out_even_is_refused():
    data = pictures()
    with pytest.raises(
        UsageError, match=r"input.features must divide the 6 values \(2 steps of 3\).*, got 4"
    ):
        Preprocessing.fit(data, wanted(features=4)).prepare_all(data)


def test_steps_wider_than_a_model_may_read_are_refused_before_training():
    train = MemorySource(
        np.zeros((1, 65_537), np.float32), np.ones(1, np.int64), np.zeros(1, np.int64), (0,), "x"
    )
    with pytest.raises(UsageError, match="mine: expected at most 65,536 values a step, found 65,537"):
        Preprocessing.fit(data_set(train), PLAIN)
    narrow = data_set(sequences([[1], [2]]))
    with pytest.raises(UsageError, match="mine: expected at most 65,536 values a step, found 70,000"):
        Preprocessing.fit(narrow, wanted(features=70_000))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5), features=st.integers(1, 4), data=st.data()
)
def test_any_sequence_is_prepared_alike_alone_and_among_others(lengths, features, data):
    cells = st.one_of(st.just(NAN), st.integers(-9, 9).map(float))
    steps = data.draw(
        st.lists(
            st.lists(cells, min_size=features, max_size=features),
            min_size=sum(lengths),
            max_size=sum(lengths),
        )
    )
    ends = np.cumsum(lengths)
    parts = [steps[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    how = data.draw(st.sampled_from(["zero", "mean", "forward-fill"]))
    form = Preprocessing.fit(data_set(sequences(*parts)), wanted(missing=how))
    together = form.prepare(sequences(*parts))
    assert not np.isnan(together.concatenated).any()
    for index, part in enumerate(parts):
        alone = form.prepare(sequences(part))
        assert alone.concatenated.tolist() == together.take(np.array([index])).concatenated.tolist()


# --- what does not fit


def plain_form(features=3) -> Preprocessing:
    return Preprocessing.fit(data_set(sequences([[0.0] * features] * 5)), PLAIN)


def test_sequences_of_any_number_and_length_fit():
    plain_form().check((1, 1, 3), "x")
    plain_form().check((900, 700, 3), "x")


def test_steps_of_another_width_are_refused_with_both_shapes():
    message = r"^new\.csv: expected shape \(N, steps, 3\), found \(7, 9, 4\); the model was trained on mine$"
    with pytest.raises(DataError, match=message):
        plain_form().check((7, 9, 4), "new.csv", "mine")


def test_steps_and_features_that_changed_places_are_seen():
    message = (
        r"^new\.csv: expected shape \(N, steps, 3\), found \(7, 3, 9\); "
        "steps and features seem to be swapped$"
    )
    with pytest.raises(DataError, match=message):
        plain_form().check((7, 3, 9), "new.csv")


def test_pictures_of_another_size_are_refused_with_both_shapes():
    form = Preprocessing.fit(pictures(), PLAIN)
    form.check((9, 2, 3), "x")
    with pytest.raises(DataError, match=r"^x: expected shape \(N, 2, 3\), found \(1, 2, 4\)$"):
        form.check((1, 2, 4), "x")
    with pytest.raises(DataError, match=r"found \(1, 3, 2\); steps and features seem to be swapped$"):
        form.check((1, 3, 2), "x")
    coloured = Preprocessing.fit(pictures(channels=3), PLAIN)
    with pytest.raises(DataError, match=r"^x: expected shape \(N, 2, 9\), found \(1, 2, 3\)$"):
        coloured.check((1, 2, 3), "x")


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (4, 3), (1, 2, 3, 3), ()])
def test_nothing_and_other_dimensions_are_refused(shape):
    with pytest.raises(DataError, match=r"expected shape \(N, steps, 3\), found \("):
        plain_form().check(shape, "x")


def test_what_does_not_fit_is_not_prepared():
    with pytest.raises(DataError, match=r"^x\.ts: expected shape \(N, steps, 3\), found \(1, 2, 1\)$"):
        plain_form().prepare(sequences([[1], [2]]))


def test_steps_that_are_cut_already_fit_too():
    form = Preprocessing.fit(data_set(sequences([[1], [2], [3], [4]])), wanted(features=2))
    assert form.prepare(sequences([[5, 6], [7, 8]])).concatenated.tolist() == [[5, 6], [7, 8]]


# --- how to read more of the kind


def test_a_form_names_no_file():
    settings = DEFAULT_DATA.model_copy(
        update={"name": "/home/anna/x.csv", "test": "t.csv", "validation": "v.csv", "label_column": "y"}
    )
    form = Preprocessing.fit(data_set(sequences([[1]]), settings=settings, path=Path("x.csv")), PLAIN)
    assert form.settings == DEFAULT_DATA.model_copy(update={"label_column": "y"})


def test_a_form_chooses_how_pictures_are_fitted():
    ink = PictureFormat(28, 28, 20, 255, "mass", 1, "ink")
    form = Preprocessing.fit(pictures(28, 28, picture=ink, settings=None), PLAIN)
    assert (form.settings.picture, form.settings.fit, form.settings.colour) == ("28x28", "ink", False)
    colour = PictureFormat(28, 28, 20, 255, "mass", 3, "cover")
    form = Preprocessing.fit(pictures(28, 28, 3, picture=colour), PLAIN)
    assert (form.settings.picture, form.settings.fit, form.settings.colour) == ("28x28", "cover", True)


def test_pictures_of_sixteen_levels_are_not_taken_from_files_of_256():
    digits = PictureFormat(8, 8, 8, 16, "box")
    form = Preprocessing.fit(pictures(8, 8, picture=digits), PLAIN)
    assert form.settings.picture == "none"
