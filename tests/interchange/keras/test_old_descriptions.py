"""Descriptions that current versions of Keras do not write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.interchange.keras_models import (
    QUIET,
    F,
    members,
    packed,
    read_or_refused,
    refused,
)

pytestmark = pytest.mark.filterwarnings(QUIET)

# --- descriptions that no Keras of today writes


@pytest.fixture
def described(saved, tmp_path):
    """The model, with its description changed: described(edit) -> path."""

    def change(edit: Callable[[dict[str, Any], list[dict[str, Any]]], Any]) -> Path:
        parts = members(saved["keras"])
        config = json.loads(parts["config.json"])
        edit(config, config["config"]["layers"])  # input, normalization, gru, dense
        parts["config.json"] = json.dumps(config).encode()
        return packed(parts, tmp_path / "it.keras")

    return change


def settings_of(described: dict[str, Any], **own: Any) -> None:
    described["config"].update(own)


def call(layer: dict[str, Any]) -> Any:
    return layer["inbound_nodes"][0]


DESCRIPTIONS: list[tuple[Callable[[Any, Any], Any], str]] = [
    (
        lambda c, n: c.update(class_name="Mine", module="mine.models"),
        "expected Keras' own classes, found 'Mine' of 'mine.models'; nothing in a file is run, so rebuild it",
    ),
    (
        lambda c, n: c.update(class_name="Mine", registered_name=None),
        "expected a Sequential or functional model, found 'Mine'; rebuild it as one of them, and save that",
    ),
    (lambda c, n: c.update(class_name=["Functional"]), "expected Keras' own classes"),
    (lambda c, n: c.update(config=7), "found 'Functional' without a list of layers"),
    (lambda c, n: c.update(config=n), r"expected a model with one input, found None"),
    (lambda c, n: c["config"].update(layers="none"), "found 'Functional' without a list of layers"),
    (lambda c, n: n.append(7), "found 'Functional' without a list of layers"),
    (lambda c, n: n.append({}), "expected a layer to have a class, settings and a name, found '{}'"),
    (lambda c, n: n.append(n[2]), "two layers have the same name"),
    (
        lambda c, n: c.update(module="evil.package"),
        "expected Keras' own classes, found 'Functional' of 'evil",
    ),
    (
        lambda c, n: n[2].update(module="kerasx.layers"),
        "found 'GRU' of 'kerasx.layers'; nothing in a file is",
    ),
    (lambda c, n: n[2].update(registered_name="x>GRU"), "found 'GRU' of 'x>GRU'"),
    (lambda c, n: n[2].update(module=["keras"]), "expected Keras' own classes"),
    (lambda c, n: c["config"].update(input_layers=[]), r"expected a model with one input, found \[\]"),
    (lambda c, n: c["config"].update(output_layers={"a": 1}), "expected a model with one output"),
    (lambda c, n: c["config"].update(output_layers=["gone", 0, 0]), "found that it begins with 'gone'"),
    (lambda c, n: n[2].update(inbound_nodes=[]), "expected it to be used once in the chain, found 0 times"),
    (lambda c, n: n[2].update(inbound_nodes=7), "expected it to be used once in the chain, found no times"),
    (lambda c, n: n[2].update(inbound_nodes=[7]), "expected it to read the one output of one other layer"),
    (lambda c, n: n[2].update(inbound_nodes=[[["a", 0]]]), "expected it to read the one output"),
    (lambda c, n: n[2].update(inbound_nodes=[[["a", 0, 1, {}]]]), "expected it to read the one output"),
    (lambda c, n: call(n[2]).update(args=[]), "expected it to read the one output of one other layer"),
    (lambda c, n: call(n[2]).update(kwargs=[]), "expected it to read the one output of one other layer"),
    (
        lambda c, n: call(n[2])["args"].append(0.5),
        "expected no argument but its input, such as an initial st",
    ),
    (lambda c, n: call(n[2])["kwargs"].update(mask=call(n[3])["args"][0]), "expected no mask but that of a"),
    (lambda c, n: call(n[2])["kwargs"].update(mask=True), "expected no mask but that of a Masking layer"),
    # A ring: the normalization reads the GRU, which reads it.
    (lambda c, n: n[1].update(inbound_nodes=n[3]["inbound_nodes"]), "expected a chain of layers from 'inp"),
    (
        lambda c, n: settings_of(n[0], batch_shape=[None, None, 7]),
        r"expected an input \(batch, steps, 3\), as",
    ),
    (lambda c, n: settings_of(n[0], batch_shape=[None, 4, 4, F]), r"found \[None, 4, 4, 3\]"),
    (lambda c, n: settings_of(n[0], ragged=True), "expected a plain input, found a ragged or sparse one"),
    (lambda c, n: settings_of(n[1], mean="high"), "expected mean to be one number or one for each of 3 feat"),
    (lambda c, n: settings_of(n[1], mean=[1, 2]), r"expected mean to be one number .* found \[1, 2\]"),
    (lambda c, n: settings_of(n[1], mean=[1, True, 3]), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], mean=10**400), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], mean=float("nan")), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], variance=[1, -1, 3]), "expected values to be scaled by finite numbers"),
    (lambda c, n: settings_of(n[1], mean=1e300), "expected values to be scaled by finite numbers"),
    (
        lambda c, n: settings_of(n[1], axis="last"),
        "axis must be -1, that of the features, or None, found las",
    ),
    (
        lambda c, n: settings_of(n[2], time_major=True),
        "time_major must be False, found 'True': ",
    ),
    (lambda c, n: settings_of(n[2], reset_after=1), "reset_after must be True, found '1'"),
    (lambda c, n: settings_of(n[2], activation={"class_name": "f"}), "activation must be 'tanh', found \"{"),
    (lambda c, n: settings_of(n[2], units=0), "expected 1 to 65,536 units, found 0"),
    (lambda c, n: settings_of(n[2], units=10**9), "expected 1 to 65,536 units, found 1,000,000,000"),
    (
        lambda c, n: settings_of(n[2], units="4"),
        "expected units to be a number, use_bias and",
    ),
    (
        lambda c, n: settings_of(n[2], use_bias=None),
        "expected units to be a number, use_bias and",
    ),
    (lambda c, n: settings_of(n[2], units=5), r"kernel: expected shape \(any, 15\), found \(3, 12\)"),
    (
        lambda c, n: settings_of(n[2], use_bias=False),
        "expected kernel, recurrent_kernel as 2 variables, found",
    ),
    (lambda c, n: settings_of(n[2], dtype="int8"), "dtype must be one of float32, .*, found 'int8'"),
    (lambda c, n: settings_of(n[2], dtype={"class_name": "DTypePolicyMap"}), "dtype must be one of float32"),
    (lambda c, n: settings_of(n[3], units=True), "expected units to be 1 to 65,536, found T"),
    (lambda c, n: settings_of(n[3], units=4), r"kernel: expected shape \(4, 4\), found \(4, 5\)"),
    (lambda c, n: n[2].update(class_name="Bidirectional"), "merge_mode must be 'concat', found 'None'"),
    (
        lambda c, n: n[2].update(class_name="CuDNNGRU"),
        "its weights have another layout; with the Keras",
    ),
    (lambda c, n: n[3].update(class_name="Lambda\n\x1b[31m"), r"\(Lambda \\?.*\): cannot be mapped"),
]


@pytest.mark.parametrize(("edit", "message"), DESCRIPTIONS)
def test_a_description_that_means_something_else_is_refused(described, edit, message):
    refused(described(edit), message)


def test_a_bidirectional_layer_of_anything_is_refused(described):
    def edit(config, layers_):
        for inner in (None, 7, {"class_name": ["GRU"]}, {"class_name": "ConvLSTM1D", "config": {}}):
            layers_[2] |= {"class_name": "Bidirectional"}
            settings_of(layers_[2], merge_mode="concat", layer=inner)

    refused(
        described(edit), r"\(Bidirectional\): expected layer to be one of LSTM, GRU, SimpleRNN, found 'ConvL"
    )


@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@hypothesis.given(data=st.data())
def test_any_value_in_a_description_is_read_or_refused(described, data):
    def edit(config: Any, _: Any) -> None:
        places: list[tuple[Any, Any]] = []

        def walk(value: Any) -> None:
            for key in value if isinstance(value, dict) else range(len(value)):
                places.append((value, key))
                if isinstance(value[key], dict | list):
                    walk(value[key])

        walk(config)
        for _ in range(data.draw(st.integers(1, 3), label="changes")):
            value, key = places[data.draw(st.integers(0, len(places) - 1), label="at")]
            value[key] = data.draw(
                st.sampled_from(
                    [None, True, 0, -1, 10**30, 0.5, "x", "GRU", [], [[]], {}, {"class_name": "GRU"}]
                )
            )

    read_or_refused(described(edit))
