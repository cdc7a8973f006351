"""WAV files: what is read, bit for bit as SciPy and the standard library write it, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from scanline import limits
from scanline.errors import FormatError
from scanline.formats.wav import decode_wav, read_wav

RATE = 8_000
SAMPLES = np.array([0, 1, -1, 12_345, 32_767, -32_768], np.int16)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def form(codec: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", codec, channels, rate, rate * frame, frame, bits))


def riff(*chunks: bytes) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def written(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def fault(content: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        decode_wav(content, "a.wav")
    assert "\n" not in str(caught.value)
    assert caught.value.file == "a.wav"
    return str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "zero", "full"),
    [("uint8", 128, 2**7), ("int16", 0, 2**15), ("int32", 0, 2**31), ("float32", 0, 1), ("float64", 0, 1)],
)
def test_samples_that_scipy_writes_are_read_at_full_scale_1(dtype, zero, full):
    rng = np.random.default_rng(0)
    samples = (rng.uniform(-0.9, 0.9, 1001) * full + zero).astype(dtype)
    found = decode_wav(written(samples), "a.wav")
    assert (found.rate, found.channels, found.samples.dtype) == (RATE, 1, np.float32)
    expected = ((samples.astype(np.float64) - zero) / full).astype(np.float32)
    np.testing.assert_array_equal(found.samples, expected)


def test_24_bits_that_the_standard_library_writes_are_read(tmp_path):
    integers = [0, 1, -1, 2**23 - 1, -(2**23)]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(44_100)
        file.writeframes(b"".join(number.to_bytes(3, "little", signed=True) for number in integers))
    found = read_wav(tmp_path / "a.wav")
    assert found.rate == 44_100
    assert found.samples.tolist() == [number / 2**23 for number in integers]


def test_two_channels_are_mixed_to_their_mean():
    found = decode_wav(written(np.array([[16_384, 0], [-16_384, -16_384]], np.int16)), "a.wav")
    assert found.samples.tolist() == [0.25, -0.5]
    assert found.channels == 2


def test_an_extensible_format_and_other_chunks_are_read():
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    extensible = form(0xFFFE)[8:] + struct.pack("<HHI", 22, 16, 4) + guid
    content = riff(chunk(b"LIST", b"odd"), chunk(b"fmt ", extensible), chunk(b"data", SAMPLES.tobytes()))
    assert decode_wav(content, "a.wav").samples.tolist() == (SAMPLES / 2**15).tolist()
    other = riff(chunk(b"fmt ", extensible[:-1] + b"\0"), chunk(b"data", SAMPLES.tobytes()))
    assert "found an unknown extensible format" in fault(other)


def test_one_sample_is_enough_and_none_is_refused():
    assert decode_wav(written(SAMPLES[:1]), "a.wav").samples.shape == (1,)
    assert fault(written(SAMPLES[:0])) == "a.wav: expected at least one sample, found none"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found an empty file (0 bytes)"),
        (b"RIFF\0\0\0\0WAV", "found something else"),
        (b"ID3\3" + bytes(20), "found an MP3 file; convert it to WAV"),
        (b"RF64" + bytes(20), "found an RF64 file, of more than 4 GiB"),
        (riff(), "expected a format (the chunk fmt), found the end of the file"),
        (riff(form()), "expected samples (the chunk data), found the end of the file"),
        (riff(chunk(b"data", b"ab")), "expected a format (the chunk fmt) before the samples"),
        (riff(form(6, bits=8), chunk(b"data", b"ab")), "found A-law; convert it to 16-bit PCM"),
        (riff(form(bits=12), chunk(b"data", b"ab")), "found PCM of 12 bits"),
        (riff(form(channels=6), chunk(b"data", bytes(12))), "expected one channel or two, found 6"),
        (riff(form(channels=0), chunk(b"data", b"ab")), "expected one channel or two, found 0"),
        (riff(form(rate=0), chunk(b"data", b"ab")), "expected 100 to 768,000 samples a second, found 0"),
        (riff(form(), chunk(b"data", b"abc")), "expected whole samples of 2 bytes, found 3 bytes"),
        (riff(chunk(b"fmt ", b"\1\0"), chunk(b"data", b"ab")), "expected a format of at least 16 bytes"),
        (riff(form(), *[chunk(b"junk", b"")] * 20_000), "expected samples within 10,000 chunks"),
    ],
)
def test_what_is_no_wav_file_is_refused_in_one_line(content, expected):
    assert expected in fault(content)


def test_a_truncated_file_is_refused_with_both_sizes():
    content = written(SAMPLES)
    found = fault(content[:-3])
    assert "expected 12 bytes of samples, as its header says, found 9, a truncated file" in found


def test_the_size_is_checked_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr("scanline.formats.wav.limit_of", lambda name: 5)
    monkeypatch.setattr(limits, "limit_of", lambda name: 5)
    assert "expected at most 5 steps in a sequence, found 6" in fault(written(SAMPLES))
    header = riff(form(), b"data" + struct.pack("<I", 2**32 - 1) + b"ab")
    assert "found 2, a truncated file" in fault(header)


def test_samples_that_are_no_numbers_are_refused_with_their_place():
    samples = np.array([0, 1, np.nan, np.inf], np.float32)
    assert "expected finite samples, found nan at sample 2" in fault(written(samples))


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.wav", tmp_path / "a\0b.wav"):
        with pytest.raises(FormatError, match="expected a WAV file"):
            read_wav(path)


def test_every_truncation_and_flipped_header_bit_is_read_or_refused():
    content = written(SAMPLES)
    damaged = [content[:size] for size in range(len(content))]
    damaged += [
        content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
        for place in range(44)
        for bit in range(8)
    ]
    for each in damaged:
        with contextlib.suppress(FormatError):
            assert len(decode_wav(each, "a.wav").samples)
