"""A model of recordings, from a folder of WAV files to predictions, and what it refuses by name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.io import wavfile

import scanline as api
from scanline.data.readers.recordings import read_recording
from scanline.errors import DataError, ModelError, UsageError
from scanline.model.description import SCHEMA

RATE = 4_000
SMALL = {
    "train.steps": 40,
    "train.validate_every": 20,
    "model.hidden_size": 12,
    "input.mels": 8,
    "data.group_pattern": "_([a-z]+)_",
    "data.test_pattern": "_ann_",
}


def tone(frequency: float, samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * frequency * np.arange(samples) / RATE + seed) + rng.normal(0, 0.05, samples)
    return (8_000 * wave).astype(np.int16)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Return a folder of high and low tones of 0.1 to 0.4 s by ann, bob and carl."""
    folder = tmp_path_factory.mktemp("audio") / "tones"
    for label, frequency in (("low", 300), ("high", 1_200)):
        (folder / label).mkdir(parents=True)
        for number, name in enumerate(["ann", "bob", "carl"] * 6):
            samples = 400 + 67 * number
            wavfile.write(folder / label / f"x_{name}_{number}.wav", RATE, tone(frequency, samples, number))
    return folder


@pytest.fixture(scope="module")
def run(tones, tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "run"
    return api.train(str(tones), settings=SMALL, run=path, log=None)


def failure(scanline, *arguments: object) -> str:
    code, _, found = scanline(*arguments)
    assert code in (1, 2, 3, 4), found
    assert "Traceback" not in found
    return found.strip().splitlines()[-1]


def test_the_recipe_audio_is_taken_and_the_test_speaker_is_recognised(run):
    assert run.result["test"]["n"] == 12
    assert run.result["test"]["accuracy"] == 1
    recipe = (run.path / "recipe.toml").read_text()
    assert 'name = "audio"' in recipe
    assert f"sample_rate = {RATE}" in recipe
    split = json.loads((run.path / "split.json").read_text())["parts"]
    assert split["train"]["groups"] + split["validation"]["groups"] in (["bob", "carl"], ["carl", "bob"])
    assert split["test"]["groups"] == ["ann"]


def test_a_recording_has_the_same_bits_alone_in_a_batch_and_from_its_file(run, tones):
    model, files = run.model, sorted(tones.glob("*/x_ann_*.wav"))
    waves = [wavfile.read(file)[1].astype(np.float32) / 2**15 for file in files]
    together = model.predict_proba(waves)
    for file, wave, row in zip(files, waves, together, strict=True):
        np.testing.assert_array_equal(model.predict_proba(wave[None])[0], row)
        np.testing.assert_array_equal(model.predict_proba([wave])[0], row)
        np.testing.assert_array_equal(model.predict_proba(wave)[0], row)
        steps = model.prepare(file)
        assert steps.shape[1] == 8
        np.testing.assert_array_equal(model.predict_proba(steps)[0], row)
    # Padding is not read.
    padded = np.full((1, 3_000, 1), 7.0, np.float32)
    padded[0, : len(waves[3]), 0] = waves[3]
    np.testing.assert_array_equal(model.predict_proba(padded, [len(waves[3])])[0], together[3])


def test_the_saved_model_knows_its_steps(run, tones):
    description = json.loads((run.path / "model" / "model.json").read_text())
    assert description["schema"] == SCHEMA >= 6
    assert description["input"]["log_mel"]["rate"] == RATE
    assert description["input"]["settings"]["test_pattern"] == ""
    assert (
        "recordings of any length, 4,000 samples a second, as 8 log-mel features of 0 to 2000 Hz"
        in (run.path / "model" / "README.md").read_text()
    )
    assert "input: recordings of 4,000 samples a second" in repr(run.model)
    assert run.model.evaluate(str(tones)).to_json()["accuracy"] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("rate", 8_000), ("mels", 9), ("hop", 0.0), ("window", 1e9), ("rate", 10**12), ("level", "x")],
)
def test_a_changed_description_is_refused(run, tmp_path, key, value):
    shutil.copytree(run.path / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    description["input"]["log_mel"][key] = value
    path.write_text(json.dumps(description))
    with pytest.raises(ModelError) as caught:
        api.load(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_files_are_predicted_explained_and_evaluated_by_the_commands(run, tones, scanline, tmp_path):
    def output(*arguments: object) -> str:
        code, out, err = scanline(*arguments)
        assert code == 0, err
        return out

    file = tones / "low" / "x_ann_0.wav"
    (found,) = json.loads(output("predict", run.path, file, "--json"))["predictions"]
    assert found["label"] == "low"
    assert "sequence" not in found
    assert len(output("predict", run.path, tones).splitlines()) == 36
    assert json.loads(output("explain", run.path, file, "--json"))["label"] == "low"
    assert json.loads(output("evaluate", run.path, "--json"))["test"]["accuracy"] == 1
    assert "36 sequences" in output("score", run.path, tones, "--to", tmp_path / "scores")
    shown = output("data", "show", tones)
    assert "recordings, 4,000 samples a second, 0.1 to 0.385 s" in shown
    assert "recordings" in output("report", run.path) or (run.path / "report.html").exists()


def test_another_rate_is_refused_or_resampled(run, tones, scanline, tmp_path):
    file = tmp_path / "fast.wav"
    wavfile.write(file, 2 * RATE, np.repeat(tone(300, 800, 1), 2))
    assert "expected 4,000 samples a second, found 8,000" in failure(scanline, "predict", run.path, file)
    _, out, _ = scanline("predict", run.path, file, "--resample", "--json")
    assert json.loads(out)["predictions"][0]["label"] == "low"
    other = read_recording(file, run.model.preprocessing.settings.model_copy(update={"sample_rate": 0}))
    with pytest.raises(DataError, match="expected recordings of 4,000 samples a second, as in training"):
        run.model.probabilities(other)


def test_what_does_not_apply_is_refused_by_name(run, tones, scanline, tmp_path):
    for target in ("a.onnx", "a.keras"):
        found = failure(scanline, "export", run.path, "--output", tmp_path / target)
        assert "computes log-mel steps of recordings" in found
    assert "computes log-mel steps of whole recordings" in failure(
        scanline, "predict", run.path, "-", "--stream"
    )
    assert "expected data to pack, got WAV files" in failure(
        scanline, "data", "pack", tones, "--to", tmp_path / "packed"
    )
    with pytest.raises(UsageError, match=r'input\.missing must be "error" for recordings'):
        api.train(str(tones), settings=SMALL | {"input.missing": "zero"}, log=None)
    with pytest.raises(UsageError, match=r"input\.features must be 0 or input\.mels"):
        api.train(str(tones), settings=SMALL | {"input.features": 3}, log=None)
    with pytest.raises(UsageError, match=r"input\.lowest_hz and input\.highest_hz must be ascending"):
        api.train(str(tones), settings=SMALL | {"input.highest_hz": 2_001.0}, log=None)


def test_a_model_of_other_sequences_refuses_recordings(tones, scanline, tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 9, 1)).astype(np.float32)
    data = api.Arrays(values, np.arange(20) % 2)
    made = api.train(data, settings={"train.steps": 2}, run=tmp_path / "run", log=None)
    found = failure(scanline, "predict", made.path, tones / "low" / "x_ann_0.wav")
    assert "expected no recordings, as in training, found recordings of 4,000 samples a second" in found


def test_an_ensemble_reads_recordings_with_the_steps_of_each_member(run, tones, tmp_path):
    other = api.train(
        str(tones), settings=SMALL | {"seed": 1, "input.mels": 6}, run=tmp_path / "other", log=None
    )
    both = api.ensemble([run.path, other.path], tmp_path / "both", log=None)
    file = tones / "high" / "x_ann_3.wav"
    probabilities = both.predict_proba(both.prepare(file))
    members = [made.model.predict_proba(made.model.prepare(file)) for made in (run, other)]
    np.testing.assert_allclose(probabilities, np.mean(members, 0), atol=1e-12)
    assert both.evaluate(str(tones)).to_json()["accuracy"] == 1
