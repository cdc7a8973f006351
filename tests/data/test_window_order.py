"""The order of stored sequences: windows of row groups, dealt to the slices of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.data.window_order import WindowOrder
from scanline.training.tree import bounds

SIZES = np.array([7, 3, 12, 1, 9, 9, 4, 11, 5, 8])
N = int(SIZES.sum())
GROUP_OF = np.repeat(np.arange(len(SIZES)), SIZES)


def shares(batch: int, slices: int) -> list[int]:
    return [end - first for first, end in (bounds(batch, slices, index) for index in range(slices))]


def order(batch=6, slices=1, seed=3, window=3, **changes) -> WindowOrder:
    return WindowOrder(SIZES, shares(batch, slices), seed, window, **changes)


@pytest.mark.parametrize("slices", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [4, 6, 13])
def test_an_epoch_visits_every_sequence_once(batch, slices):
    made = order(batch, slices)
    sizes = shares(batch, slices)
    ends = np.cumsum(sizes)
    batches = np.stack([made.at(step) for step in range(2 * N // batch + 2)])
    for epoch in range(2):
        seen = []
        for end, size in zip(ends, sizes, strict=True):
            # The share of a slice in an epoch is as large as its share in a batch.
            run = N * int(end) // batch - N * int(end - size) // batch
            seen.append(batches[:, end - size : end].reshape(-1)[epoch * run : (epoch + 1) * run])
        assert sorted(np.concatenate(seen)) == list(range(N))


def test_a_batch_depends_on_its_step_alone():
    forward, made = order(slices=3), order(slices=3)
    batches = [forward.at(step) for step in range(60)]
    for step in (59, 0, 31, 30, 7):
        assert (made.at(step) == batches[step]).all()


def test_epochs_and_seeds_differ_in_order():
    made, whole = order(batch=N), np.arange(N)
    first, second, other = made.at(0), made.at(1), order(batch=N, seed=4).at(0)
    assert (np.sort(first) == whole).all()
    assert (first != second).any()
    assert (first != other).any()
    assert (first != whole).any()


def test_the_sequences_of_a_window_are_from_as_many_row_groups_as_asked_for():
    made = order(batch=1, window=3)
    groups = GROUP_OF[[int(made.at(step)[0]) for step in range(N)]]
    # Windows are disjoint: each row group occurs between the first and the last place of its window only.
    windows, start = [], 0
    while start < N:
        now = made.groups(start)[0]
        assert len(now) == min(3, len(SIZES) - 3 * len(windows))
        size = int(SIZES[now].sum())
        assert sorted(groups[start : start + size]) == sorted(GROUP_OF[np.isin(GROUP_OF, now)])
        windows.append(now)
        start += size
    assert sorted(group for window in windows for group in window) == list(range(len(SIZES)))


def test_a_window_has_row_groups_from_all_parts_of_the_data():
    # 40 row groups of data sorted by class: 8 windows of 5, each with one row group of each fifth.
    made = WindowOrder(np.full(40, 10), [10], 1, 5)
    for window in range(8):
        now, _ = made.groups(window * 5)
        assert len(now) == 5
        assert len({group * 5 // 40 for group in now}) >= 4
    # The order of the parts is random: slices, whose windows are parts of these, get any of them.
    firsts = [
        [made.groups(epoch * 40 + window * 5)[0][0] * 5 // 40 for window in range(8)] for epoch in range(6)
    ]
    assert len({tuple(each) for each in firsts}) > 1


def test_a_window_of_all_row_groups_mixes_everything():
    # 69 sequences in the order of the file have 9 changes of the row group; in random order about 60.
    groups = GROUP_OF[order(batch=N, window=len(SIZES)).at(0)]
    assert (groups[1:] != groups[:-1]).sum() > 40


@pytest.mark.parametrize("slices", [1, 3])
def test_row_groups_to_read_are_those_of_the_batch_and_some_of_the_next_window(slices):
    made = order(slices=slices, window=6)
    for step in range(40):
        now, ahead = made.groups(step)
        assert not set(now) & set(ahead)
        assert len(ahead) <= -(-len(now) // 4)
        following = {group for later in range(step, step + 60) for group in GROUP_OF[made.at(later)]}
        assert set(ahead) <= following
        # At the end of a window, a batch has sequences of the next one.
        missing = set(GROUP_OF[made.at(step)]) - set(now)
        assert missing <= set(made.groups(step + 1)[0])


def test_the_slice_that_is_done_first_is_read_ahead_first():
    made = WindowOrder(np.full(40, 12), [8, 4], 0, 2)  # windows of one row group each
    for step in range(30):
        now, ahead = made.groups(step)
        assert len(now) <= 2
        assert len(ahead) == 1
        if step % 3 == 0:  # the second slice has 12 sequences left, the first 12 or 4
            after = [made.groups(step + 1, part)[0][0] for part in (slice(0, 8), slice(8, 12))]
            if after[0] not in now:
                assert ahead == [after[0]]


def test_a_part_of_the_batch_needs_the_row_groups_of_its_slices_only():
    made = order(batch=12, slices=4, window=4)
    for step in range(20):
        now, _ = made.groups(step, slice(3, 6))  # the second of four slices of 3
        assert len(now) == 1
        assert GROUP_OF[made.at(step)[3]] == now[0]


def test_two_processes_read_half_of_the_row_groups_each():
    big = np.full(64, 10)
    made = WindowOrder(big, [5, 5, 5, 5], 1, 4)
    steps = 64 * 10 // 20
    read = [set(), set()]
    for step in range(steps):
        for rank, part in enumerate((slice(0, 10), slice(10, 20))):
            read[rank] |= set(made.groups(step, part)[0])
    # A row group at the border of two runs is read by both.
    assert len(read[0]) <= 33
    assert len(read[1]) <= 33
    assert read[0] | read[1] == set(range(64))


def test_bucketing_puts_similar_lengths_into_a_batch_and_visits_every_sequence_once():
    lengths = np.random.default_rng(0).integers(1, 100, N)
    plain = order(batch=4, window=10)
    sorted_ = order(batch=4, window=10, bucket=5, lengths=lengths)
    steps = N // 4

    def spread(made: WindowOrder) -> float:
        return float(np.mean([np.ptp(lengths[made.at(step)]) for step in range(steps)]))

    assert spread(sorted_) < spread(plain) / 2
    seen = np.concatenate([sorted_.at(step) for step in range(steps + 1)])[:N]
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("sizes", [[1], [2], [1, 1]])
def test_fewer_sequences_than_slices_are_repeated(sizes):
    made = WindowOrder(np.array(sizes), [2, 2, 2, 2], 0, 8)
    for step in range(5):
        batch = made.at(step)
        assert len(batch) == 8
        assert set(batch) <= set(range(sum(sizes)))
