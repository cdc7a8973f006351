"""Windows of recordings: samples of a fixed number of steps, cut from longer sequences.

A window is a view: however much windows overlap, the steps of the recordings are in memory once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.data.memory import MemorySource
from scanline.data.source import Batch, ClassName, Indices, Layout, SequenceSource
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError
from scanline.recipe import InputSettings, parse_extent

Steps = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Windows:
    """How recordings are cut into windows.

    Windows begin every `stride` steps. If the last of them ends before the recording does, one more window
    ends with it. All windows have `length` steps, and every step is in at least one window. A recording that
    is shorter is one window as it is.

    Attributes:
        length: Steps of a window.
        stride: Steps from the beginning of a window to that of the next one, at most `length`.
    """

    length: Steps
    stride: Steps

    def __post_init__(self) -> None:
        if self.stride > self.length:
            raise ValueError(f"expected a stride of at most {self.length} steps, got {self.stride}")

    @classmethod
    def of(cls, settings: InputSettings, step_seconds: float, name: str) -> Self | None:
        """Return the windows that a recipe asks for, None if it asks for none.

        Args:
            settings: The section "input" of the recipe.
            step_seconds: Time from one step to the next; 0 if it is unknown.
            name: Name of the data, for messages.

        Raises:
            UsageError: If a time is given and that of a step is unknown, or steps would be left out.
        """
        if not settings.window:
            return None
        length = _steps("input.window", settings.window, step_seconds, name)
        stride = _steps("input.stride", settings.stride or settings.window, step_seconds, name)
        if stride > length:
            raise UsageError(
                f"input.stride must be at most input.window, which has {length:,} steps of {name}, "
                f"got {stride:,} ({settings.stride})"
            )
        return cls(length, stride)

    def counts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of windows of recordings of these lengths, (N,)."""
        rest = np.maximum(lengths - self.length, 0)
        counts: NDArray[np.int64] = 1 - (-rest // self.stride)  # rounded up
        return counts

    def steps_read(self, length: int) -> int:
        """Return how many steps the windows of a recording of `length` steps have together."""
        return int(self.counts(np.array([length]))[0]) * min(length, self.length)

    def describe(self) -> str:
        """Return as "windows of 250 steps, one every 50"."""
        return f"windows of {self.length:,} steps, one every {self.stride:,}"

    def require_one(self, length: int, what: str) -> None:
        """Check that a sequence is one window, as the network reads it.

        Args:
            length: Its number of steps.
            what: What needs that, for the message: "an explanation".

        Raises:
            UsageError: If the predictions of several windows are joined.
        """
        if length > self.length:
            raise UsageError(
                f"{what} is of one window of this model: expected at most {self.length:,} steps, got "
                f"{length:,}; give the steps of a window"
            )

    def check(self, source: SequenceSource) -> None:
        """Check that no recording is shorter than a window.

        Raises:
            DataError: Names the first that is.
        """
        short = np.flatnonzero(source.lengths < self.length)
        if short.size:
            first = int(short[0])
            more = f" ({short.size:,} of {len(source):,} recordings are shorter)" if short.size > 1 else ""
            raise DataError(
                where=f"{source.name}: {source.describe(first)}",
                expected=f"at least {self.length:,} steps, as a window has (input.window)",
                found=f"{source.lengths[first]:,}{more}",
                remedy=f"remove it, or use --window {source.lengths.min()} or less",
            )

    def view(self, recordings: SequenceSource) -> WindowSource:
        """Return the windows of recordings in memory, those of one recording after those of another."""
        assert isinstance(recordings, MemorySource)
        counts = self.counts(recordings.lengths)
        recording = np.repeat(np.arange(len(recordings)), counts)
        number = np.arange(len(recording)) - np.repeat(np.cumsum(counts) - counts, counts)
        lengths = np.minimum(recordings.lengths, self.length)
        latest = (recordings.lengths - lengths)[recording]
        starts = recordings.starts[recording] + np.minimum(number * self.stride, latest)
        return WindowSource(recordings, recording, starts, lengths[recording])


@dataclass(frozen=True, eq=False)
class WindowSource(SequenceSource):
    """W windows of recordings in memory; made by `Windows.view`.

    Attributes:
        recordings: The recordings, whose memory the windows share.
        recording: (W,) which recording each window is of.
        starts: (W,) row of the recordings' steps, and of their targets, at which each window starts.
        lengths: (W,) number of steps of each window.
    """

    recordings: MemorySource
    recording: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    layout: Layout | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """Where the recordings come from."""
        return self.recordings.name

    @property
    def targets(self) -> NDArray[np.int64]:  # type: ignore[override]
        """(W,) encoded targets: those of the recordings."""
        return self.recordings.targets[self.recording]

    @property
    def classes(self) -> tuple[ClassName, ...]:  # type: ignore[override]
        """The K class names."""
        return self.recordings.classes

    @property
    def ids(self) -> NDArray[Any] | None:  # type: ignore[override]
        """(W,) identifiers of the recordings, or None."""
        ids = self.recordings.ids
        return None if ids is None else ids[self.recording]

    @property
    def groups(self) -> NDArray[Any] | None:  # type: ignore[override]
        """(W,) groups of the recordings, or None."""
        groups = self.recordings.groups
        return None if groups is None else groups[self.recording]

    @property
    def weights(self) -> NDArray[np.float32] | None:  # type: ignore[override]
        """(W,) weights of the recordings, or None."""
        weights = self.recordings.weights
        return None if weights is None else weights[self.recording]

    @property
    def info(self) -> SourceInfo:  # type: ignore[override]
        """What the reader knows about the recordings."""
        return self.recordings.info

    @property
    def step_targets(self) -> NDArray[np.int64] | None:  # type: ignore[override]
        """(S,) targets of the recordings' steps, of which a window has those from its start on; or None."""
        return self.recordings.step_targets

    @property
    def features(self) -> int:
        """F, the number of values of one step."""
        return self.recordings.features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values, uint8 or float32."""
        return self.recordings.dtype

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Batch:
        """Return the windows at `indices` as one batch, in that order; see `SequenceSource.gather`."""
        lengths, recording = self.lengths[indices], self.recording[indices]
        longest, features = int(lengths.max()), self.features
        shape = len(indices), longest, features
        values = np.empty(shape, self.dtype) if out is None else out[: math.prod(shape)].reshape(shape)
        steps = np.arange(longest)
        # As in memory: padding repeats the last row of its window, which keeps every index valid.
        rows = self.starts[indices][:, None] + np.minimum(steps, lengths[:, None] - 1)
        self.recordings.concatenated.take(rows.reshape(-1), 0, values.reshape(-1, features), "clip")
        uniform = (lengths == longest).all()
        if not uniform:
            values[steps >= lengths[:, None]] = 0
        weights = self.recordings.weights
        return Batch(
            values,
            None if uniform else lengths,
            self.recordings.targets[recording],
            None if weights is None else weights[recording],
        )

    def windows(self, indices: Indices, offsets: Indices, width: int) -> NDArray[Any]:
        """Raise DataError: this is for pictures, which have no windows."""
        raise DataError(f"{self.name}: expected pictures to shift, found windows of recordings")

    def take(self, indices: slice | Indices) -> Self:
        """Return a source of the windows at `indices`, in that order."""
        taken = replace(
            self,
            recording=self.recording[indices],
            starts=self.starts[indices],
            lengths=self.lengths[indices],
        )
        if not len(taken):
            raise DataError(f"{self.name}: no window is left")
        return taken

    def with_targets(self, targets: NDArray[np.int64], classes: tuple[ClassName, ...]) -> Self:
        """Raise DataError: windows have the targets of their recordings."""
        raise DataError(f"{self.name}: windows have the targets of their recordings")

    def with_weights(self, weights: NDArray[np.float32]) -> Self:
        """Raise DataError: windows have the weights of their recordings."""
        raise DataError(f"{self.name}: windows have the weights of their recordings")

    def parts(self) -> Iterator[Self]:
        """Yield all windows: the recordings are in memory."""
        yield self

    def steps_between(self, first: int, end: int) -> NDArray[Any]:
        """Return the steps of the windows `first` to `end` - 1 one after another, (S, F), as a copy."""
        lengths = self.lengths[first:end]
        own = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        steps: NDArray[Any] = self.recordings.concatenated[np.repeat(self.starts[first:end], lengths) + own]
        return steps

    def steps_of(self, index: int) -> NDArray[Any]:
        """Return the steps of one window, (T_i, F), a view."""
        start = self.starts[index]
        own: NDArray[Any] = self.recordings.concatenated[start : start + self.lengths[index]]
        return own

    def value_range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (lowest, highest) value of each feature of the recordings, (F,) each."""
        return self.recordings.value_range()

    def fingerprint(self) -> str:
        """Return a SHA-256 of the recordings' fingerprint, and of where windows are."""
        sha = hashlib.sha256(self.recordings.fingerprint().encode())
        for array in (self.starts, self.lengths):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def _steps(key: str, text: str, step_seconds: float, name: str) -> int:
    """Return an extent in steps. Raises UsageError if it is a time, and not known how many steps that is."""
    extent = parse_extent(text)
    if isinstance(extent, int):
        return extent
    if not step_seconds:
        raise UsageError(
            f"{key} must be a number of steps for {name}, which has neither a time column nor WAV files, "
            f"got {text}"
        )
    return max(1, round(extent / step_seconds))
