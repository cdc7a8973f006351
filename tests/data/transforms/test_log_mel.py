"""Log-mel steps: equal to librosa's, the same bits alone and in a batch, and settings that are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.data.transforms.log_mel import LogMel
from scanline.errors import UsageError

PLAIN = LogMel(8_000, 0.025, 0.01, 20, 50.0, 3_800.0, 0.0, "none", 0.0)
# librosa 0.11: log of librosa.filters.mel(sr=8000, n_fft=512, n_mels=20, fmin=50, fmax=3800, htk=True,
# norm=None) @ abs(librosa.stft(n_fft=512, hop_length=80, win_length=200, center=False)) ** 2, for the
# first, the fifth and the ninth window of `chirp`; energies below 1e-10 are raised to it.
LIBROSA = {
    0: "-4.743869 -2.395102 0.529062 3.497092 5.738109 6.830690 6.796784 5.414451 2.217376 -2.339625 "
    "-6.532948 -9.404305 -11.435108 -13.027146 -14.357879 -15.511699 -16.533003 -17.440730 -18.217486 "
    "-18.818422",
    4: "-16.617730 -15.911841 -15.162189 -14.380841 -13.507601 -12.514962 -11.304144 -9.698707 -7.335033 "
    "-3.305554 2.357439 6.275553 7.325377 5.822030 0.679904 -6.324083 -10.371038 -12.783771 -14.577082 "
    "-16.155252",
    8: "-4.561264 -4.457142 -4.360847 -4.253596 -4.135747 -4.007184 -3.865458 -3.701456 -3.518505 "
    "-3.300993 -3.044776 -2.734507 -2.347395 -1.844337 -0.701977 5.468535 7.473289 5.896689 1.126014 "
    "-0.091229",
}


def chirp(samples: int = 800) -> np.ndarray:
    n = np.arange(samples)
    return 0.5 * np.sin(2 * np.pi * (300 + n * 1.5) * n / 8_000)


def test_the_steps_are_those_of_librosa():
    found = PLAIN.steps(chirp())
    assert found.shape == (9, 20)
    assert found.dtype == np.float32
    for step, row in LIBROSA.items():
        np.testing.assert_allclose(found[step], np.array(row.split(), float), atol=2e-5)


@pytest.mark.parametrize(("samples", "steps"), [(1, 1), (199, 1), (200, 1), (201, 2), (280, 2), (281, 3)])
def test_every_sample_is_in_a_window(samples, steps):
    assert PLAIN.steps(np.ones(samples, np.float32)).shape == (steps, 20)
    assert PLAIN.count(samples) == steps


def test_a_recording_has_the_same_bits_alone_and_in_any_batch():
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, (n, 1)).astype(np.float32) for n in (1, 700, 163_841, 2, 5_000)]
    for steps in (PLAIN, replace(PLAIN, pre_emphasis=0.97, level="peak", range_db=50.0)):
        batch = steps.apply(MemorySource.from_list(waves, np.zeros(5, np.int64), (), "waves"))
        for index, each in enumerate(waves):
            alone = steps.apply(MemorySource.from_list([each], np.zeros(1, np.int64), (), "wave"))
            assert batch.steps_of(index).tobytes() == alone.concatenated.tobytes()


def test_pre_emphasis_subtracts_a_fraction_of_the_sample_before():
    wave = chirp()
    by_hand = np.array([wave[0], *(wave[1:] - 0.97 * wave[:-1])])
    np.testing.assert_array_equal(replace(PLAIN, pre_emphasis=0.97).steps(wave), PLAIN.steps(by_hand))


def test_the_level_of_the_peak_does_not_depend_on_the_gain():
    steps = replace(PLAIN, level="peak", range_db=30.0)
    loud, quiet = steps.steps(chirp()), steps.steps(chirp() / 64)
    np.testing.assert_allclose(loud, quiet, atol=1e-5)
    # The loudest window has the energy 1 in all bands together, and 30 dB below are a factor of 1,000.
    assert np.exp(loud.astype(float)).sum(1).max() == pytest.approx(1, abs=0.02)
    assert loud.min() == pytest.approx(-np.log(1_000), abs=1e-5)


def test_the_mean_of_each_band_is_removed():
    found = replace(PLAIN, level="mean").steps(chirp())
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    plain = PLAIN.steps(chirp())
    np.testing.assert_allclose(found, plain - plain.mean(0), atol=1e-5)


def test_silence_has_finite_steps():
    found = replace(PLAIN, level="peak", range_db=60.0).steps(np.zeros(1_000))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"window": 0.0001}, "input.window_seconds and input.hop_seconds must be two samples"),
        ({"hop": 0.00001}, "input.window_seconds and input.hop_seconds must be two samples"),
        ({"window": 5.0}, "input.window_seconds must be at most 4.096 (32,768 samples), got 5"),
        ({"highest": 4_001.0}, "must be ascending and at most 4000, half the 8,000 samples a second"),
        ({"lowest": 3_900.0}, "must be ascending"),
        ({"mels": 250}, "input.mels must be low enough that each band has a frequency"),
    ],
)
def test_settings_without_such_steps_are_refused(change, expected):
    PLAIN.check()
    with pytest.raises(UsageError) as caught:
        replace(PLAIN, **change).check()
    assert expected in str(caught.value)
