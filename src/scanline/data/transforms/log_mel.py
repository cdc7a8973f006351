"""Log-mel steps of recordings: the energy of each band of frequencies, window by window, as its logarithm.

The bands are triangles that are equally wide on the mel scale of HTK, 2595 log10(1 + f / 700), with a peak
of 1, as in `librosa.filters.mel(htk=True, norm=None)`; energies are squared magnitudes of the spectrum of a
periodic Hann window.
Windows are not centred: the first begins at the first sample, and the last is filled up with zeros.

Every recording is computed by itself, so that it has the same bits alone and in any batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.errors import UsageError
from scanline.recipe import InputSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_FLOOR = 1e-10  # of an energy before its logarithm; near that of the rounding noise of 16-bit samples
_LONGEST = 2**15  # samples of a window
_WINDOWS = 2048  # computed at a time, which bounds the memory


@dataclass(frozen=True)
class LogMel:
    """How recordings become steps; saved with the model.

    Attributes:
        rate: Samples a second.
        window: Length of a window in seconds.
        hop: Seconds from the beginning of one window to that of the next.
        mels: Number of bands, the features of a step.
        lowest: Lowest frequency in Hz.
        highest: Highest frequency in Hz, at most half the rate.
        pre_emphasis: Fraction of the sample before that is subtracted from each sample; 0: none.
        level: What is subtracted from the logarithms. "peak": that of the energy of the loudest window, all
            bands added up, which removes the gain; "mean": the mean of each band over the steps of the
            recording, which removes the frequency response of a microphone, too; "none": nothing.
        range_db: How far in decibels an energy may be below that of the loudest window; 0: no limit.
    """

    rate: int
    window: float
    hop: float
    mels: int
    lowest: float
    highest: float
    pre_emphasis: float
    level: Literal["peak", "mean", "none"]
    range_db: float

    @classmethod
    def of(cls, rate: int, settings: InputSettings) -> Self:
        """Return the steps that a recipe asks for.

        Args:
            rate: Samples a second of the recordings.
            settings: The section "input" of the recipe.
        """
        return cls(
            rate,
            settings.window_seconds,
            settings.hop_seconds,
            settings.mels,
            settings.lowest_hz,
            settings.highest_hz or rate / 2,
            settings.pre_emphasis,
            settings.level,
            settings.range_db,
        )

    def check(self) -> None:
        """Check that there are such steps.

        Raises:
            UsageError: If not; names the setting.
        """
        if self.window_samples < 2 or self.hop_samples < 1:
            raise UsageError(
                "input.window_seconds and input.hop_seconds must be two samples and one sample at least, got "
                f"{self.window:g} s and {self.hop:g} s at {self.rate:,} samples a second"
            )
        if self.window_samples > _LONGEST:
            raise UsageError(
                f"input.window_seconds must be at most {_LONGEST / self.rate:g} ({_LONGEST:,} samples), "
                f"got {self.window:g}"
            )
        if not 0 <= self.lowest < self.highest <= self.rate / 2:
            raise UsageError(
                f"input.lowest_hz and input.highest_hz must be ascending and at most {self.rate / 2:g}, half "
                f"the {self.rate:,} samples a second, got {self.lowest:g} and {self.highest:g}"
            )
        if not (self.filters.sum(1) > 0).all():
            raise UsageError(
                f"input.mels must be low enough that each band has a frequency of a window of "
                f"{self.window:g} s, got {self.mels}; lower it, or raise input.window_seconds"
            )

    @property
    def window_samples(self) -> int:
        """Samples of a window."""
        return round(self.window * self.rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop * self.rate)

    @property
    def size(self) -> int:
        """Samples of a window with the zeros that follow it: a power of 2, at least twice the window."""
        return int(2 ** math.ceil(math.log2(2 * self.window_samples)))

    def count(self, samples: int | NDArray[np.int64]) -> Any:
        """Return the number of steps of recordings of so many samples, at least 1: all samples are read."""
        return 1 + np.maximum(0, -((self.window_samples - samples) // self.hop_samples))

    @cached_property
    def filters(self) -> csr_array:
        """(mels, size / 2 + 1) weight of each frequency in each band."""
        from scipy.sparse import csr_array

        low, high = (2595 * math.log10(1 + each / 700) for each in (self.lowest, self.highest))
        borders = 700 * (10 ** (np.linspace(low, high, self.mels + 2) / 2595) - 1)
        frequencies = np.arange(self.size // 2 + 1) * (self.rate / self.size)
        left, peak, right = (each[:, None] for each in (borders[:-2], borders[1:-1], borders[2:]))
        rising, falling = (frequencies - left) / (peak - left), (right - frequencies) / (right - peak)
        return csr_array(np.maximum(0, np.minimum(rising, falling)))

    def apply(self, source: MemorySource) -> MemorySource:
        """Return recordings (S_i, 1) as steps (T_i, mels) float32."""
        steps = [self.steps(source.steps_of(index)[:, 0]) for index in range(len(source))]
        lengths = np.array([len(each) for each in steps], np.int64)
        return replace(source, concatenated=np.concatenate(steps), lengths=lengths)

    def steps(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Return one recording (S,) as steps (T, mels)."""
        from scipy.fft import rfft
        from scipy.signal import get_window

        samples = samples.astype(np.float64)
        if self.pre_emphasis:
            samples[1:] -= self.pre_emphasis * samples[:-1]
        length, hop = self.window_samples, self.hop_samples
        count = int(self.count(len(samples)))
        samples = np.concatenate([samples, np.zeros((count - 1) * hop + length - len(samples))])
        windows = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]
        shape = get_window("hann", length)
        made = np.empty((count, self.mels), np.float64)
        for first in range(0, count, _WINDOWS):
            spectrum = rfft(windows[first : first + _WINDOWS] * shape, self.size)
            # A sparse product adds in a fixed order; a dense one may add as it suits its number of rows.
            energies = self.filters @ (spectrum.real**2 + spectrum.imag**2).T
            made[first : first + _WINDOWS] = np.log(np.maximum(energies, _FLOOR)).T
        return self._levelled(made).astype(np.float32)

    def _levelled(self, logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms of energies (T, mels), limited below and with their level removed."""
        peak = float(np.log(np.exp(logarithms).sum(1).max()))
        if self.range_db:
            logarithms = np.maximum(logarithms, peak - self.range_db * (math.log(10) / 10))
        if self.level == "mean":
            logarithms = logarithms - logarithms.mean(0)
        elif self.level == "peak":
            logarithms = logarithms - peak
        return logarithms
