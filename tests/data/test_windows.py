"""Windows of recordings: where they are, what they share with the recordings, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline import recipe
from scanline.data.loader import Loader
from scanline.data.memory import MemorySource
from scanline.data.order import BatchOrder
from scanline.data.windows import Windows
from scanline.errors import DataError, UsageError
from scanline.recipe import parse_extent


def recordings(lengths, features=2, by_step=False, **fields) -> MemorySource:
    total = sum(lengths)
    values = np.arange(total * features, dtype=np.float32).reshape(total, features)
    targets = np.arange(len(lengths)) % 3
    steps = np.arange(total) % 4 - 1 if by_step else None
    return MemorySource(
        values, np.array(lengths), targets, ("a", "b", "c"), "made up", step_targets=steps, **fields
    )


def by_hand(length, windows):
    """(start, end) of each window, found by walking along the recording."""
    found, start = [], 0
    while start + windows.length < length:
        found.append((start, start + windows.length))
        start += windows.stride
    return [*found, (max(0, length - windows.length), length)]


@st.composite
def some_windows(draw):
    length = draw(st.integers(1, 9))
    return Windows(length, draw(st.integers(1, length)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), some_windows())
@settings(max_examples=60, deadline=None)
def test_windows_are_where_walking_along_each_recording_finds_them(lengths, windows):
    source = recordings(lengths)
    view = windows.view(source)
    expected = [(index, *each) for index, length in enumerate(lengths) for each in by_hand(length, windows)]
    firsts = source.starts[view.recording]
    found = zip(view.recording, view.starts - firsts, view.starts - firsts + view.lengths, strict=True)
    assert [tuple(map(int, each)) for each in found] == expected
    assert windows.counts(source.lengths).tolist() == np.bincount(view.recording).tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), some_windows())
@settings(max_examples=30, deadline=None)
def test_every_step_is_in_a_window_of_its_own_recording(lengths, windows):
    source = recordings(lengths)
    view = windows.view(source)
    covered = np.zeros(source.total_steps, int)
    for index, start in enumerate(view.starts):
        covered[start : start + view.lengths[index]] += 1
        first = source.starts[view.recording[index]]
        assert first <= start <= start + view.lengths[index] <= first + lengths[view.recording[index]]
    assert (covered > 0).all()
    read = [windows.steps_read(length) for length in lengths]
    assert covered.sum() == sum(read)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_windows_hold_the_steps_of_their_recordings(dtype):
    source = recordings([7, 3, 12])
    source = MemorySource(source.concatenated.astype(dtype), source.lengths, source.targets, source.classes)
    view = Windows(4, 3).view(source)
    spans = zip(view.starts, view.lengths, strict=True)
    steps = [source.concatenated[start : start + size] for start, size in spans]
    assert [len(each) for each in steps] == [4, 4, 3, 4, 4, 4, 4]
    for index, own in enumerate(steps):
        np.testing.assert_array_equal(view.steps_of(index), own)
    np.testing.assert_array_equal(view.steps_between(1, 5), np.concatenate(steps[1:5]))
    chosen = np.array([6, 2, 0, 2])
    batch = view.gather(chosen)
    assert batch.values.dtype == dtype
    assert batch.lengths.tolist() == [4, 3, 4, 3]
    assert batch.targets.tolist() == [2, 1, 0, 1]
    for row, index in enumerate(chosen):
        np.testing.assert_array_equal(batch.values[row, : len(steps[index])], steps[index])
    assert not batch.values[1, 3:].any()
    taken = view.take(chosen)
    np.testing.assert_array_equal(taken.gather(np.arange(4)).values, batch.values)
    assert view.gather(np.array([0, 1])).lengths is None


def test_windows_share_the_memory_of_the_recordings():
    view = Windows(100, 1).view(recordings([1_000], features=3))
    assert len(view) == 901
    assert view.steps_of(450).base is not None
    assert np.shares_memory(view.steps_of(450), view.recordings.concatenated)


def test_windows_have_targets_groups_ids_and_weights_of_their_recordings():
    source = recordings(
        [5, 8],
        ids=np.array(["r1", "r2"]),
        groups=np.array(["g", "h"]),
        weights=np.array([0.5, 1.5], np.float32),
    )
    view = Windows(4, 4).view(source)
    assert view.ids.tolist() == ["r1", "r1", "r2", "r2"]
    assert view.groups.tolist() == ["g", "g", "h", "h"]
    assert view.weights.tolist() == [0.5, 0.5, 1.5, 1.5]
    assert view.gather(np.array([0, 3])).weights.tolist() == [0.5, 1.5]
    assert view.targets.tolist() == [0, 0, 1, 1]
    assert view.fingerprint() != Windows(4, 3).view(source).fingerprint()


def test_batches_have_the_labels_of_the_steps_of_their_windows():
    source = recordings([7, 6], by_step=True)
    view = Windows(4, 2).view(source)
    loader = Loader(view, BatchOrder(len(view), 3, seed=1))
    for step in range(3):
        batch, chosen = loader.batch(step), loader.order.at(step)
        expected = [source.step_targets[start : start + 4].tolist() for start in view.starts[chosen]]
        assert batch.targets.tolist() == expected
        assert batch.labelled_steps == sum(target >= 0 for row in expected for target in row)


def test_a_recording_shorter_than_the_window_is_named():
    source = recordings([9, 3, 2], ids=np.array(["long", "short", "shorter"]))
    with pytest.raises(DataError) as caught:
        Windows(4, 2).check(source)
    error = caught.value
    assert error.where == "made up: sequence short"
    assert error.expected == "at least 4 steps, as a window has (input.window)"
    assert error.found == "3 (2 of 3 recordings are shorter)"
    assert error.remedy == "remove it, or use --window 2 or less"


@pytest.mark.parametrize(
    ("text", "extent"),
    [("250", 250), ("5s", 5.0), ("200ms", 0.2), ("1.5min", 90.0), ("2h", 7200.0)],
)
def test_extents_are_steps_or_times(text, extent):
    parsed = parse_extent(text)
    assert parsed == pytest.approx(extent)
    assert type(parsed) is type(extent)


@pytest.mark.parametrize("text", ["0", "0s", "2.5", "-3", "5 s", "5d", "s", "1e3"])
def test_other_extents_are_refused(text):
    with pytest.raises(UsageError, match=r"expected a number of steps, such as 250, or a time, such as 5s"):
        recipe.load("sequences", {"input.window": text})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input.stride": "50"}, "input.stride needs input.window"),
        ({"input.window": 50, "input.stride": 51}, r"at most input.window \(50\), or steps would be left"),
        ({"input.window": "1s", "input.stride": "1001ms"}, r"at most input.window \(1s\)"),
    ],
)
def test_strides_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        recipe.load("sequences", changes)


def test_times_become_steps():
    def of(step_seconds, **changes):
        settings = {f"input.{key}": value for key, value in changes.items()}
        return Windows.of(recipe.load("sequences", settings).input, step_seconds, "mine")

    assert of(0.0) is None
    assert of(0.0, window=9) == Windows(9, 9)
    assert of(0.02, window="5s", stride="1s") == Windows(250, 50)
    assert of(0.02, window="5s", stride="25") == Windows(250, 25)
    with pytest.raises(UsageError, match=r"input.window must be a number of steps for mine, which has"):
        of(0.0, window="5s")
    with pytest.raises(UsageError, match=r"which has 100 steps of mine, got 101"):
        of(0.02, window="2s", stride="101")
