"""Ensembles in memory: the mean of the members' probabilities, for whole sequences and step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

import scanline
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.metrics.calibration import fit_temperature
from scanline.metrics.probabilities import softmax
from scanline.model.ensemble import Ensemble, make_ensemble
from tests.model.ensembles import CLASSES, FEATURES, member, pictures, sequences

MIXED = (("lstm", 1, {}), ("gru", 2, {"bidirectional": True, "hidden": 5}), ("rnn", 3, {"missing": "zero"}))
VIEWS = ("rows", "columns", "pixels", "permuted", "patches:2")


def mixed() -> Ensemble:
    return make_ensemble([member(cell, seed, **changes) for cell, seed, changes in MIXED])


def of_views() -> Ensemble:
    return make_ensemble([member("gru", seed, view=view) for seed, view in enumerate(VIEWS)])


def streaming(**changes: object) -> Ensemble:
    return make_ensemble([member("lstm", 1, **changes), member("gru", 2, hidden=5, **changes)])


def labelled(values: list[np.ndarray]) -> MemorySource:
    targets = np.arange(len(values)) % len(CLASSES)
    return MemorySource.from_list(values, targets, CLASSES, "labelled")


@pytest.mark.parametrize(("make", "values"), [(mixed, sequences()), (of_views, pictures())])
def test_probabilities_are_the_mean_of_the_members_to_the_last_bit(make, values):
    ensemble = make()
    total = np.zeros((len(values), len(CLASSES)))
    for each in ensemble.members:
        total = total + each.predict_proba(values)
    expected = total / len(ensemble.members)
    np.testing.assert_array_equal(ensemble.predict_proba(values), expected)
    assert ensemble.predict(values).tolist() == [CLASSES[index] for index in expected.argmax(1)]
    shown = ensemble.prediction(values)
    np.testing.assert_array_equal(shown.probabilities, expected)
    assert shown.labels.tolist() == ensemble.predict(values).tolist()
    assert ensemble.class_names == CLASSES


@pytest.mark.parametrize(("make", "values"), [(mixed, sequences(33)), (of_views, pictures(33))])
def test_a_sequence_has_the_same_probabilities_alone_and_in_any_batch(make, values):
    ensemble = make()
    together = ensemble.predict_proba(values)
    alone = np.concatenate([ensemble.predict_proba(values[n : n + 1]) for n in range(len(values))])
    np.testing.assert_array_equal(together, alone)
    calibrated = replace(ensemble, temperature=1.7, calibrated=True)
    np.testing.assert_array_equal(
        calibrated.predict_proba(values)[5:6], calibrated.predict_proba(values[5:6])
    )


def test_padding_never_matters():
    ensemble, values = mixed(), sequences(5)
    lengths = np.array([len(each) for each in values])
    plain = ensemble.predict_proba(values)
    for padding in (np.nan, np.inf, 1e30):
        padded = np.full((len(values), 12, FEATURES), padding, np.float32)
        for row, each in zip(padded, values, strict=True):
            row[: len(each)] = each
        np.testing.assert_array_equal(ensemble.predict_proba(padded, lengths), plain)


def test_members_may_have_the_classes_in_another_order():
    first, second = member("lstm", 1), member("gru", 2)
    turned = replace(second, task=type(second.task)(("c", "a", "d", "b")))
    ensemble, values = make_ensemble([first, turned]), sequences()
    other = turned.predict_proba(values)[:, [1, 3, 0, 2]]
    np.testing.assert_array_equal(ensemble.predict_proba(values), (first.predict_proba(values) + other) / 2)
    assert ensemble.class_names == CLASSES


def test_the_softmax_of_the_outputs_is_the_mean_even_of_tiny_probabilities():
    ensemble = mixed()
    steps = ensemble.read(sequences())
    found = softmax(ensemble.outputs(steps))
    np.testing.assert_allclose(found, ensemble.probabilities_of_steps(steps), rtol=1e-12)
    # A probability below the smallest float has a logarithm all the same.
    outputs = ensemble.combined([np.array([[0, -900, -900, 0]], np.float32)] * 3)
    np.testing.assert_allclose(outputs, [[-np.log(2), -900 - np.log(2), -900 - np.log(2), -np.log(2)]])


def test_the_temperature_is_fitted_on_the_mean_of_the_validation_sequences():
    members = [member(cell, seed) for cell, seed, _ in MIXED]
    validation = labelled(sequences(40))
    ensemble = make_ensemble(members, validation)
    mean = np.mean([softmax(each.outputs(each.steps(validation))) for each in members], axis=0)
    assert ensemble.temperature == pytest.approx(fit_temperature(np.log(mean), validation.targets), rel=1e-4)
    parts = ensemble.provenance.parts
    assert list(parts) == ["validation"]
    assert (parts["validation"].n, parts["validation"].sha256) == (40, validation.fingerprint())
    calibrated = replace(ensemble, calibrated=True)
    expected = softmax(np.log(mean) / ensemble.temperature)
    np.testing.assert_allclose(calibrated.probabilities(validation), expected, rtol=1e-9)
    outputs = [each.outputs(each.steps(validation)) for each in members]
    assert make_ensemble(members, validation, outputs).temperature == ensemble.temperature


def test_calibrated_members_are_combined_without_their_own_temperatures():
    plain = [member("lstm", 1), member("gru", 2)]
    calibrated = [replace(each, temperature=3.0, calibrated=True) for each in plain]
    values = sequences()
    expected = make_ensemble(plain).predict_proba(values)
    np.testing.assert_array_equal(make_ensemble(calibrated).predict_proba(values), expected)


def test_a_missing_value_needs_members_that_all_fill_it():
    values = sequences(3)
    values[1][0, 2] = np.nan
    filling = make_ensemble([member("lstm", 1, missing="mean"), member("gru", 2, missing="forward-fill")])
    expected = np.mean([each.predict_proba(values) for each in filling.members], axis=0)
    np.testing.assert_array_equal(filling.predict_proba(values), expected)
    for order in ((0, 1), (1, 0)):
        members = [(member("lstm", 1, missing="zero"), member("gru", 2))[index] for index in order]
        with pytest.raises(DataError, match=r"missing|NaN"):
            make_ensemble(members).predict_proba(values)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member()], "expected at least two models to combine, got 1"),
        ([member(), member(seed=1)], "members 1 and 2 have the same weights"),
        (
            [member(), member(seed=2), member(seed=3, classes=("a", "b", "c", "e"))],
            "members 1 and 3 differ in classes: a, b, c, d and a, b, c, e",
        ),
        ([member(), member(seed=2, classes=("a", "b", "c"))], "members 1 and 2 differ in classes"),
        ([member(), member(seed=2, features=6)], "differ in features a step: 5 and 6"),
        ([member(features=6), member(seed=2, view="rows")], "members 1 and 2 differ in pictures: None and"),
        (
            [member(feature_columns=("x", "y")), member(seed=2, feature_columns=("y", "x"))],
            "differ in data.feature_columns: x, y and y, x",
        ),
    ],
)
def test_members_that_do_not_fit_together_are_refused_by_the_first_difference(members, message):
    with pytest.raises(UsageError, match=message):
        make_ensemble(members)


def test_members_may_read_files_of_another_dialect():
    ensemble = make_ensemble([member(decimal=","), member(seed=2, separator=";")])
    assert ensemble.with_reading(separator="tab").preprocessing.settings.separator == "tab"


@pytest.mark.parametrize("missing", ["error", "zero", "forward-fill"])
@pytest.mark.parametrize("temperature", [None, 1.8])
def test_a_stream_predicts_as_the_prefix_read_as_a_whole(missing, temperature):
    ensemble = replace(streaming(missing=missing), temperature=temperature, calibrated=bool(temperature))
    sequence = sequences(3)[2]
    session, cut = ensemble.stream(), 3
    streamed = np.concatenate([session.feed(sequence[:cut]), [session.feed(step) for step in sequence[cut:]]])
    whole = np.concatenate(
        [ensemble.predict_proba(sequence[None, :end]) for end in range(1, len(sequence) + 1)]
    )
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-6)
    assert session.steps == len(sequence)


def test_several_sequences_are_streamed_at_once():
    ensemble, values = streaming(), sequences(2)
    session = ensemble.stream(2)
    lengths = np.array([len(each) for each in values])
    padded = np.full((2, lengths.max(), FEATURES), np.nan, np.float32)
    for row, each in zip(padded, values, strict=True):
        row[: len(each)] = each
    found = session.feed(padded, lengths)
    last = np.stack([found[n, length - 1] for n, length in enumerate(lengths)])
    np.testing.assert_allclose(last, ensemble.predict_proba(values), rtol=0, atol=1e-6)
    assert session.steps.tolist() == lengths.tolist()


def test_a_saved_session_continues_with_the_same_bits():
    ensemble = replace(streaming(missing="forward-fill"), temperature=1.5, calibrated=True)
    sequence = sequences(3)[2]
    session = ensemble.stream()
    session.feed(sequence[:4])
    resumed = ensemble.resume(session.to_bytes())
    np.testing.assert_array_equal(resumed.feed(sequence[4:]), session.feed(sequence[4:]))


def test_a_damaged_or_foreign_session_is_refused():
    ensemble, other = streaming(), make_ensemble([member("lstm", 1), member("gru", 5, hidden=5)])
    session = ensemble.stream()
    session.feed(sequences(1)[0])
    content = session.to_bytes()
    for place in range(0, len(content), 101):
        damaged = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        with pytest.raises(ModelError, match="session"):
            ensemble.resume(damaged)
    for foreign, message in ((other, "another model"), (mixed_streaming(), "does not fit")):
        with pytest.raises(ModelError, match=message):
            foreign.resume(content)
    with pytest.raises(ModelError, match="one of an ensemble"):
        ensemble.resume(ensemble.members[0].stream().to_bytes())
    assert len(safetensors.numpy.load(content)) == 2


def mixed_streaming() -> Ensemble:
    return make_ensemble([member("lstm", 1), member("gru", 2, hidden=5), member("rnn", 3)])


def test_a_refused_step_leaves_the_sessions_of_all_members_as_they_are():
    # The first member would fill the missing value, the second refuses it.
    ensemble = make_ensemble([member("lstm", 1, missing="zero"), member("gru", 2)])
    session, sequence = ensemble.stream(), sequences(2)[1]
    session.feed(sequence[:1])
    for wrong in (np.full(FEATURES, np.nan), np.zeros(FEATURES + 1), np.full((2, FEATURES), np.inf)):
        with pytest.raises(DataError, match="the steps"):
            session.feed(wrong)
    assert session.steps == 1
    undisturbed = ensemble.stream()
    undisturbed.feed(sequence[:1])
    np.testing.assert_array_equal(session.feed(sequence[1:]), undisturbed.feed(sequence[1:]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (mixed, "member 2 of this ensemble cannot stream: this model reads in both directions"),
        (of_views, "member 2 of this ensemble reads columns"),
    ],
)
def test_an_ensemble_that_cannot_stream_names_the_member(make, message):
    with pytest.raises(UsageError, match=message):
        make().stream()


def test_what_needs_one_network_names_a_member_instead(tmp_path):
    ensemble, values = streaming(), sequences(1)[0]
    needs = "needs one network, and this model is an ensemble of 2: name a member, such as members/1"
    with pytest.raises(UsageError, match=f"an explanation {needs}"):
        scanline.explain(ensemble, values)
    with pytest.raises(UsageError, match=f"a Keras file {needs}"):
        scanline.export(ensemble, tmp_path / "model.keras")
    with pytest.raises(UsageError, match=f"a graph of one step {needs}"):
        scanline.export(ensemble, tmp_path / "model.onnx", step=True)
    assert list(tmp_path.iterdir()) == []


def test_the_summary_names_the_members():
    lines = repr(mixed()).splitlines()
    assert lines[0].startswith("Ensemble of 3: 1 x lstm 9; 1 x gru 5, bidirectional; 1 x rnn 9; ")
    assert lines[1] == "Classification, 4 classes: a, b, c, d; input: 5 features a step"
    assert lines[2] == "ensemble of 3 models, made by Scanline on made up; not tested"


def test_the_summary_counts_equal_networks_and_names_eight_kinds():
    equal = make_ensemble([member("lstm", seed) for seed in range(3)])
    assert repr(equal).startswith("Ensemble of 3: 1 x lstm 9 (3 times); ")
    many = make_ensemble([member("lstm", seed, hidden=seed + 1) for seed in range(10)])
    assert "; 1 x lstm 8; 2 more; " in repr(many)


def test_the_result_on_the_test_split_can_be_recorded():
    ensemble = mixed()
    metrics = ensemble.evaluate(labelled(sequences(20)))
    tested = ensemble.with_test(metrics).provenance.test
    assert (tested.n, tested.correct, tested.accuracy) == (20, metrics.correct, metrics.accuracy)
