"""WAV files sent to a server: alone, in a form, as samples in JSON, and refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from scipy.io import wavfile

import scanline
from tests.serving.client import in_thread, problem

RATE = 4_000


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def noise(seed: int, samples: int = 900) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, samples).astype(np.int16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for seed in range(12):
        path = folder / "data" / "ab"[seed % 2] / f"{seed}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(noise(seed)))
    settings = {"train.steps": 3, "model.hidden_size": 6, "input.mels": 5}
    return scanline.train(str(folder / "data"), settings=settings, run=folder / "run", log=None).model


@pytest.fixture(scope="module")
def server(model):
    with in_thread(model) as found:
        yield found


def test_a_recording_gets_the_probabilities_of_the_model(server, model):
    samples = noise(99)
    expected = model.predict_proba([samples.astype(np.float32) / 2**15])[0].tolist()
    (found,) = server.post(wav(samples), "audio/wav").json()["predictions"]
    assert list(found["probabilities"].values()) == expected
    assert np.shape(found["seen"]) == (21, 5)
    body = json.dumps({"inputs": [(samples / 2**15).tolist()]}).encode()
    (found,) = server.post(body).json()["predictions"]
    assert list(found["probabilities"].values()) == expected


def test_a_trace_has_a_step_for_each_window(server):
    (found,) = server.post(wav(noise(1)), "audio/wav", query="?trace=true").json()["predictions"]
    assert np.shape(found["trace"]["probabilities"]) == (21, 2)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            wav(noise(1), 8_000),
            "the recording: expected 4,000 samples a second, found 8,000;",
        ),
        (
            wav(noise(1))[:-1],
            "the recording: expected 1,800 bytes of samples, as its header says,",
        ),
        (b"ID3", "the recording: expected a WAV file, found an MP3 file"),
    ],
)
def test_unreadable_recordings_are_refused(server, body, detail):
    assert problem(server.post(body, "audio/wav"), "wrong-values")["detail"].startswith(detail)


def test_the_steps_that_the_network_reads_are_limited(server):
    assert server.post(wav(np.zeros(400_000, np.int16)), "audio/wav").status == 200
    found = problem(server.post(wav(np.zeros(500_000, np.int16)), "audio/wav"), "too-large")
    assert found["detail"] == "expected at most 10,000 steps a sequence, found 12,499"


def test_the_description_names_the_rate(server):
    found = server.get("/v1/model").json()["input"]
    assert (found["kind"], found["features"], found["sample_rate"]) == ("sequence", 5, RATE)
