"""Reads a WAV file as a sequence of samples at the rate of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source_info import SourceInfo
from scanline.data.transforms.resampling import resample
from scanline.errors import DataError, printable
from scanline.formats.wav import Recording, read_wav
from scanline.recipe import DataSettings

ENDINGS = (".wav", ".wave")


def is_recording(path: Path) -> bool:
    """Whether `path` is named like a WAV file."""
    return path.name.lower().endswith(ENDINGS)


def read_recording(path: Path, settings: DataSettings) -> MemorySource:
    """Read one WAV file as a sequence without a label.

    Args:
        path: The file.
        settings: `sample_rate` is the wanted rate, 0 for that of the file; `resample` allows another one.

    Raises:
        DataError: If it is no WAV file, or has another rate; names the file.
    """
    recording = read_wav(path)
    rate = settings.sample_rate or recording.rate
    samples = at_rate(recording, rate, settings.resample, str(path))
    return MemorySource(
        samples[:, None],
        np.array([len(samples)], np.int64),
        np.zeros(1, np.int64),
        (),
        str(path),
        ids=np.array([printable(path.name)], object),
        info=SourceInfo(
            settled(settings, rate),
            lambda index, step=0, /: f"sample {step:,}",
            notes=mixing_note(str(path), recording.channels - 1, 1),
            sample_rate=rate,
        ),
    )


def at_rate(
    recording: Recording, rate: int, change: bool, source: str, like: str = ""
) -> NDArray[np.float32]:
    """Return the samples of a recording at `rate`.

    Args:
        recording: The recording.
        rate: The wanted number of samples a second.
        change: Whether a recording of another rate is resampled.
        source: Name of the recording for messages.
        like: What has the wanted rate, for the message.

    Raises:
        DataError: If it has another rate and `change` is false; names both.
    """
    if recording.rate != rate and not change:
        raise DataError(
            where=source,
            expected=f"{rate:,} samples a second" + (f" as {like}" if like else ""),
            found=f"{recording.rate:,}",
            remedy="resample the file, or give --resample (data.resample = true)",
        )
    return resample(recording.samples, recording.rate, rate, source)


def settled(settings: DataSettings, rate: int) -> DataSettings:
    """Return `settings` with the rate of the recordings, so that others are read like them."""
    return settings.model_copy(update={"sample_rate": rate, "pad_value": "none"})


def mixing_note(source: str, mixed: int, count: int) -> tuple[str, ...]:
    """Return the note that `mixed` of `count` recordings had two channels; empty if none had."""
    if not mixed:
        return ()
    which = "two channels mixed down" if count == 1 else f"two channels of {mixed:,} of {count:,} recordings"
    return (f"{source}: {which}" + ("" if count == 1 else " mixed down"),)
