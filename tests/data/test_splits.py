"""Which sequences train, validate and test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from scanline.data.memory import MemorySource
from scanline.data.splits import balanced, hold_out, stratified
from scanline.errors import DataError


def labelled(labels, groups=None, classes=None) -> MemorySource:
    labels = np.array(labels)
    classes = tuple(range(labels.max() + 1)) if classes is None else classes
    part = MemorySource.from_array(np.zeros((len(labels), 1, 1), np.uint8), labels, classes, "x.csv")
    return part if groups is None else replace(part, groups=np.array(groups, dtype=object))


def check_whole(kept, held, count):
    """Nothing is lost, nothing doubled, both in order."""
    assert np.sort(np.concatenate([kept, held])).tolist() == list(range(count))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()


# --- by class


def test_a_stratified_split_keeps_proportions_and_loses_nothing():
    labels = np.array([0] * 80 + [1] * 20)
    kept, held = stratified(labelled(labels), 0.1, seed=0)
    check_whole(kept, held, 100)
    assert np.bincount(labels[held]).tolist() == [8, 2]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_each_of_two_sequences_of_a_class_goes_to_another_side(share):
    labels = np.array([0] * 98 + [1] * 2)
    kept, held = stratified(labelled(labels), share, seed=1)
    assert (labels[kept] == 1).sum() == (labels[held] == 1).sum() == 1
    assert abs(len(held) - max(100 * share, 2)) <= 1


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    share=st.floats(0.01, 0.95),
    seed=st.integers(0, 2**40),
)
def test_any_split_by_class_has_every_class_on_both_sides(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    part, n, k = labelled(labels), len(labels), len(counts)
    wanted = max(round(n * share), k)
    if n - wanted < k:
        with pytest.raises(DataError, match=f"{n} sequences of {k} classes are too few to split"):
            hold_out(part, share, seed)
        return
    kept, held = hold_out(part, share, seed)
    check_whole(kept, held, n)
    assert set(labels[kept]) == set(labels[held]) == set(range(k))
    assert abs(len(held) - wanted) < k
    again = hold_out(part, share, seed)
    assert kept.tolist() == again[0].tolist()
    for label, count in enumerate(counts):
        assert abs((labels[held] == label).sum() - count * wanted / n) <= 1


def test_another_seed_draws_another_part():
    part = labelled([0, 1] * 20)
    assert hold_out(part, 0.2, 0)[1].tolist() != hold_out(part, 0.2, 1)[1].tolist()


@pytest.mark.parametrize("groups", [None, range(40)])
def test_a_seed_may_be_as_large_as_the_recipe_allows(groups):
    kept, held = hold_out(labelled([0, 1] * 20, groups), 0.2, 2**63)
    check_whole(kept, held, 40)


def test_a_class_of_one_cannot_be_split():
    message = (
        "^x.csv: class dog has a single sequence, at least 2 are needed to split the data; add sequences of "
        "that class, remove it, or set split.validation and split.test to 0$"
    )
    with pytest.raises(DataError, match=message):
        stratified(labelled([0, 0, 1], classes=("cat", "dog")), 0.3, seed=0)


def test_a_class_that_no_sequence_has_is_in_nobodys_way():
    kept, held = stratified(labelled([0, 0, 2, 2] * 3, classes=("a", "b", "c")), 0.5, seed=0)
    check_whole(kept, held, 12)


def test_fewer_sequences_than_two_of_each_class_are_too_few():
    with pytest.raises(DataError, match="5 sequences of 2 classes are too few to split; add sequences"):
        stratified(labelled([0, 0, 1, 1, 1]), 0.8, seed=0)


# --- by group


def test_one_persons_sequences_stay_on_one_side():
    groups = ["anna", "bert", "cleo", "dora", "emil"] * 6
    labels = [0, 1, 0, 1, 1, 1, 0, 1, 0, 0] * 3
    kept, held = hold_out(labelled(labels, groups), 0.2, seed=0)
    check_whole(kept, held, 30)
    assert len({groups[index] for index in held}) == 1
    assert not {groups[index] for index in held} & {groups[index] for index in kept}
    assert len(held) == 6


@pytest.mark.parametrize("share", [0.01, 0.04, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98])
def test_as_much_is_held_out_as_was_asked_for_where_groups_allow(share):
    groups = np.repeat(np.arange(100), 2)
    _, held = hold_out(labelled([0, 1] * 100, groups), share, seed=0)
    assert abs(len(held) / 200 - share) <= min(0.02, share / 2)


def test_groups_are_distinguished_by_name_for_any_type():
    part = labelled([0, 1] * 10)
    numbers = hold_out(replace(part, groups=np.arange(20) // 4), 0.2, 0)
    texts = hold_out(replace(part, groups=np.array([str(i // 4) for i in range(20)], dtype=object)), 0.2, 0)
    assert numbers[1].tolist() == texts[1].tolist()


def test_as_many_groups_as_sequences_are_split_too():
    kept, held = hold_out(labelled([0, 1] * 5, range(10)), 0.1, seed=0)
    check_whole(kept, held, 10)


def test_a_class_of_one_may_be_split_by_group_and_trains():
    labels = [0] * 9 + [1]
    kept, _ = hold_out(labelled(labels, range(10)), 0.2, seed=0)
    assert 9 in kept


def test_a_class_of_one_group_trains_though_folds_would_hold_it_out():
    """Two groups: the only fold that leaves both classes to train is the one without class 1."""
    for seed in range(5):
        kept, held = hold_out(labelled([0, 0, 0, 1], ["a", "a", "b", "b"]), 0.5, seed)
        assert (kept.tolist(), held.tolist()) == ([2, 3], [0, 1])


def test_one_group_cannot_be_split():
    message = (
        "^x.csv: all sequences are in one group, at least 2 are needed to split by group; "
        "remove the group column, or set split.validation and split.test to 0$"
    )
    with pytest.raises(DataError, match=message):
        hold_out(labelled([0, 1, 0, 1], ["a"] * 4), 0.3, seed=0)


def test_classes_that_stand_in_one_group_each_cannot_be_split_by_group():
    message = (
        "^x.csv: class cat is in one group only, so that groups cannot be held out; add groups with that "
        "class, remove the group column, or set split.validation and split.test to 0$"
    )
    with pytest.raises(DataError, match=message):
        hold_out(labelled([0, 0, 1, 1], ["a", "a", "b", "b"], ("cat", "dog")), 0.3, seed=0)


@settings(deadline=None)
@given(
    members=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), min_size=2, max_size=50),
    share=st.floats(0.01, 0.95),
    seed=st.integers(0, 2**40),
)
def test_any_split_by_group_keeps_groups_whole_and_trains_every_class(members, share, seed):
    labels, groups = (np.array(column) for column in zip(*members, strict=True))
    part = labelled(labels, groups, classes=tuple(range(4)))
    own = [set(groups[labels == label]) for label in set(labels)]
    needed = set().union(*(each for each in own if len(each) == 1))
    if len(set(groups)) == 1 or needed == set(groups):  # no group can be spared
        with pytest.raises(DataError, match=r"at least 2 are needed|is in one group only"):
            hold_out(part, share, seed)
        return
    kept, held = hold_out(part, share, seed)
    check_whole(kept, held, len(members))
    assert len(held)
    assert not set(groups[kept]) & set(groups[held])
    assert set(labels[kept]) == set(labels)
    assert hold_out(part, share, seed)[1].tolist() == held.tolist()


# --- weights


def test_balanced_weights_make_each_class_count_alike():
    # three of class 0, one of class 1: 4 / (2 * 3) and 4 / (2 * 1)
    weights = balanced(labelled([0, 1, 0, 0]))
    np.testing.assert_allclose(weights, [2 / 3, 2, 2 / 3, 2 / 3], rtol=1e-6)
    assert weights.dtype == np.float32


@settings(deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_are_scikit_learns_with_mean_1(labels):
    labels = np.array(labels)
    weights = balanced(labelled(labels, classes=tuple(range(5))))
    present = np.unique(labels)
    expected = dict(zip(present, compute_class_weight("balanced", classes=present, y=labels), strict=True))
    np.testing.assert_allclose(weights, [expected[label] for label in labels], rtol=1e-6)
    assert abs(weights.mean() - 1) < 1e-5


# --- what is told of a split
