"""Intervals and tests of proportions, by hand, as printed in the papers, or by another program."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from scanline.metrics import intervals
from scanline.metrics.intervals import (
    PairedCounts,
    mcnemar,
    paired_interval,
    wilson_interval,
)


def class_intervals(*arguments, **options) -> dict:
    return intervals.class_intervals(*arguments, **options)._asdict()


KINDS = ("precision", "recall", "f1")
counts = st.integers(0, 300)
tables = st.builds(PairedCounts, counts, counts, counts, counts).filter(lambda pairs: pairs.total > 0)


def wilson(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval as statsmodels computes it."""
    return proportion_confint(correct, total, 1 - level, method="wilson")


def test_wilsons_interval_computed_by_hand():
    """z = 1.959964: for 9 of 10 the centre is (0.9 + z^2/20) / (1 + z^2/10), z^2 = 3.841459."""
    z2 = 3.841459
    centre = (0.9 + z2 / 20) / (1 + z2 / 10)
    half = math.sqrt(z2) / (1 + z2 / 10) * math.sqrt(0.9 * 0.1 / 10 + z2 / 400)
    assert wilson_interval(9, 10) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("correct", "expected"), [(0, (0, 0.0370)), (100, (0.9630, 1))])
def test_wilsons_interval_stays_between_0_and_1(correct, expected):
    assert wilson_interval(correct, 100) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_make_no_sense_are_refused(correct, total):
    with pytest.raises(ValueError, match=f"got {correct} and {total}"):
        wilson_interval(correct, total)


@settings(deadline=None)
@given(
    fractions=st.tuples(st.integers(0, 10_000), st.integers(1, 10_000)).filter(
        lambda pair: pair[0] <= pair[1]
    ),
    level=st.sampled_from([0.8, 0.95, 0.99]),
)
def test_wilsons_interval_is_that_of_statsmodels(fractions, level):
    assert wilson_interval(*fractions, level) == pytest.approx(wilson(*fractions, level), abs=1e-12)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((0, 30, 0, 0), 0.8395, 1.0),
    ],
)
def test_the_interval_of_a_paired_difference_is_the_one_that_newcombe_printed(table, low, high):
    """Newcombe 1998, Stat. Med. 17:2635-2650: the table of examples, method 10."""
    assert paired_interval(PairedCounts(*table)) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_paired_difference_computed_by_hand():
    """Both right 18, one alone 12, the other alone 2, neither 18: shares 30/50 and 20/50.

    Wilson: 30 of 50 gives 0.461815 to 0.723917; 20 of 50, its mirror image, 0.276083 to 0.538185.
    phi = (18*18 - 12*2 - 50/2) / sqrt(30*20 * 20*30) = (300 - 25) / 600 = 0.458333.
    Below: both distances are 0.6 - 0.461815 = 0.538185 - 0.4 = 0.138185, so the lower limit is
    0.2 - 0.138185 * sqrt(2 - 2*0.458333) = 0.2 - 0.143828. Above: 0.123917 twice, so 0.2 + 0.128977.
    """
    pairs = PairedCounts(both=18, first=12, second=2, neither=18)
    assert pairs.difference == 0.2
    assert paired_interval(pairs) == pytest.approx((0.2 - 0.143828, 0.2 + 0.128977), abs=2e-6)


def test_two_models_that_are_right_about_opposites_are_negatively_correlated():
    """Both 0, alone 30 and 20, neither 0: phi = (0 - 30*20) / sqrt(30*20*20*30) = -1, uncorrected.

    With phi = -1 the distances add up: 0.6 - 0.461815 and 0.538185 - 0.4 below, 0.123917 twice above.
    """
    assert paired_interval(PairedCounts(0, 30, 20, 0)) == pytest.approx(
        (0.2 - 0.276370, 0.2 + 0.247834), abs=2e-6
    )


def newcombe(e: int, f: int, g: int, h: int, level: float) -> tuple[float, float]:
    """Method 10, written anew: limits by the cosine rule on Wilson's distances of both shares."""
    n = e + f + g + h
    margins = (e + f, g + h, e + g, f + h)
    cross = e * h - f * g
    corrected = cross if cross <= 0 else max(0, cross - n / 2)
    phi = 0.0 if 0 in margins else corrected / np.prod(np.sqrt(margins))
    fractions = np.array([e + f, e + g]) / n
    limits = np.array([wilson(e + f, n, level), wilson(e + g, n, level)])
    (down_1, up_1), (down_2, up_2) = np.abs(limits - fractions[:, None])
    cosine = [down_1**2 + up_2**2 - 2 * phi * down_1 * up_2, up_1**2 + down_2**2 - 2 * phi * up_1 * down_2]
    width = np.sqrt(np.maximum(cosine, 0))
    return (f - g) / n - width[0], (f - g) / n + width[1]


@settings(deadline=None)
@given(pairs=tables, level=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_of_a_paired_difference_equals_the_formula(pairs, level):
    expected = newcombe(pairs.both, pairs.first, pairs.second, pairs.neither, level)
    # A root of what is nearly 0 keeps half of the digits.
    assert paired_interval(pairs, level) == pytest.approx(expected, abs=1e-7)


@settings(deadline=None)
@given(pairs=tables)
def test_the_interval_of_a_paired_difference_holds_it_and_turns_round_with_the_models(pairs):
    low, high = paired_interval(pairs)
    assert -1 - 1e-9 <= low <= pairs.difference <= high <= 1 + 1e-9
    turned = paired_interval(PairedCounts(pairs.both, pairs.second, pairs.first, pairs.neither))
    assert turned == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "fractions"),
    [(100, (0.8, 0.08, 0.04, 0.08)), (360, (0.9, 0.03, 0.02, 0.05)), (40, (0.3, 0.3, 0.2, 0.2))],
)
def test_about_95_of_100_intervals_contain_the_true_difference(n, fractions):
    """Two models of known accuracies on 1,000 samples of n sequences; 0.95 +- 4.4 deviations of 0.0069."""
    truth = fractions[1] - fractions[2]
    drawn = np.random.default_rng(n).multinomial(n, fractions, size=1000)
    held = 0
    for table in drawn:
        low, high = paired_interval(PairedCounts(*map(int, table)))
        held += low <= truth <= high
    assert 0.92 <= held / 1000 <= 0.98


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1, 5, 2 * (1 + 6) / 2**6),  # of 6 coins at most 1 head: 1 + 6 ways, and as many of at most 1 tail
        (5, 1, 2 * (1 + 6) / 2**6),
        (0, 5, 2 / 2**5),
        (3, 3, 1.0),
        (0, 0, 1.0),
        (0, 1, 1.0),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_the_exact_mcnemar_test_computed_by_hand(first, second, expected):
    assert mcnemar(PairedCounts(both=70, first=first, second=second, neither=3)) == pytest.approx(expected)


@settings(deadline=None)
@given(pairs=tables)
def test_the_exact_mcnemar_test_is_that_of_statsmodels(pairs):
    table = [[pairs.both, pairs.first], [pairs.second, pairs.neither]]
    expected = statsmodels_mcnemar(table, exact=True).pvalue if pairs.first + pairs.second else 1.0
    assert mcnemar(pairs) == pytest.approx(expected, rel=1e-9)


def cells(confusion: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """True and given class of each sequence of a confusion matrix."""
    matrix = np.array(confusion)
    true, given_ = np.indices(matrix.shape).reshape(2, -1)
    return np.repeat(true, matrix.ravel()), np.repeat(given_, matrix.ravel())


def figures(true: np.ndarray, answered: np.ndarray, label: int) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 of one class over the last axis; NaN where undefined."""
    own, given_ = true == label, answered == label
    hit, n, m = (own & given_).sum(-1), own.sum(-1), given_.sum(-1)
    with np.errstate(invalid="ignore"):
        return hit / m, hit / n, 2 * hit / (n + m)


CONFUSION = [[150, 20, 10], [30, 120, 6], [4, 40, 220]]


@pytest.mark.parametrize("label", range(3))
def test_the_intervals_of_a_class_are_those_of_scipys_bootstrap_of_the_sequences(label):
    """600 sequences drawn anew 9,999 times. Of 2,000 resamples a 2.5 % limit is off by 0.06 deviations, that
    is 0.016 of the interval's width; 4 times that are allowed, and 90 % intervals would be off by 0.08."""
    result = class_intervals(np.array(CONFUSION))
    expected = bootstrap(
        cells(CONFUSION),
        lambda true, answered, axis: np.stack(figures(true, answered, label)),
        n_resamples=9999, paired=True, vectorized=True, axis=-1, method="percentile", batch=1000,
        rng=np.random.default_rng(label),
    ).confidence_interval  # fmt: skip
    for index, kind in enumerate(KINDS):
        low, high = expected.low[index], expected.high[index]
        assert result[kind][label] == pytest.approx((low, high), abs=0.064 * (high - low)), kind


@pytest.mark.parametrize("seed", range(3))
def test_resamples_without_a_rare_class_are_left_out_of_its_intervals(seed):
    """Class 1 has 4 of 60 sequences: in 1 of 60 resamples it has none, and its recall is undefined there."""
    confusion = [[50, 6], [2, 2]]
    true, answered = cells(confusion)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(true), size=(20_000, len(true)))
    limits = [np.nanquantile(figure, (0.025, 0.975)) for figure in figures(true[drawn], answered[drawn], 1)]
    result = class_intervals(np.array(confusion), seed=seed)
    for kind, expected in zip(KINDS, limits, strict=True):
        assert result[kind][1] == pytest.approx(expected, abs=0.04), kind


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_in_which_a_figure_is_undefined_does_not_count_as_0(seed):
    """Class 1 has 2 of 58 sequences, 1 of them right: hits and misses are drawn about once each (Poisson).

    No hit but a miss: e^-1 (1 - e^-1) = 0.233; neither: e^-2 = 0.135. Where recall is defined it is 0 in
    0.233 / 0.865 = 0.27 of the resamples, so percentile 30 is above 0; with the others as 0 it would be 0.
    """
    low, high = class_intervals(np.array([[50, 6], [1, 1]]), level=0.4, seed=seed)["recall"][1]
    assert 0 < low <= 0.5 <= high


def test_a_lower_level_gives_narrower_intervals_between_the_percentiles_of_the_same_resamples():
    wide, narrow = (class_intervals(np.array(CONFUSION), level) for level in (0.95, 0.5))
    for kind in KINDS:
        for (low, high), (inner_low, inner_high) in zip(wide[kind], narrow[kind], strict=True):
            assert low < inner_low < inner_high < high


def test_the_resamples_are_those_of_the_seed():
    confusion = np.array(CONFUSION)
    assert class_intervals(confusion) == class_intervals(confusion.copy())
    assert class_intervals(confusion, seed=1) != class_intervals(confusion)


def test_proportions_of_0_or_1_have_wilsons_interval():
    """Class 0 is always right; class 1 never, of 3 true and 2 given: its F1 rests on the smaller count."""
    result = class_intervals(np.array([[5, 0, 0], [0, 0, 3], [0, 2, 4]]))
    for kind in KINDS:
        assert result[kind][0] == pytest.approx(wilson(5, 5))
    assert result["precision"][1] == pytest.approx(wilson(0, 2))
    assert result["recall"][1] == pytest.approx(wilson(0, 3))
    assert result["f1"][1] == pytest.approx(wilson(0, 2))
    for kind in KINDS:
        low, high = result[kind][2]
        assert 0 <= low < high <= 1


def test_an_undefined_metric_has_no_interval():
    """Class 1 never comes and is never given, class 2 never comes but is given twice, class 3 comes three
    times and is never given."""
    result = class_intervals(np.array([[6, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]]))
    assert [result[kind][1] for kind in KINDS] == [None, None, None]
    assert result["recall"][2] is None
    assert result["precision"][2] == pytest.approx(wilson(0, 2))
    assert result["f1"][2] == pytest.approx(wilson(0, 2))  # the count that is not 0
    assert result["precision"][3] is None
    assert result["recall"][3] == pytest.approx(wilson(0, 3))
    assert result["f1"][3] == pytest.approx(wilson(0, 3))


def test_a_single_sequence_has_intervals():
    result = class_intervals(np.array([[1, 0], [0, 0]]))
    assert result["recall"] == [pytest.approx(wilson(1, 1)), None]


def test_many_classes_are_counted_in_portions():
    """100 classes in 10,000 cells: what is drawn at once is fewer than all resamples. 9 of 10 right."""
    K = 100
    confusion = np.ones((K, K), np.int64) + np.eye(K, dtype=np.int64) * (9 * (K - 1) - 1)
    result = class_intervals(confusion)
    own = 9 * (K - 1)
    for kind in KINDS:
        low, high = np.array(result[kind]).T
        deviation = math.sqrt(0.9 * 0.1 / (own / 0.9))  # of a share of 0.9, about
        assert (low + high) / 2 == pytest.approx(0.9, abs=deviation)
        expected = 2 * 1.96 * deviation * (1 / math.sqrt(2) if kind == "f1" else 1)
        assert high - low == pytest.approx(expected, rel=0.2)
