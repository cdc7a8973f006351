"""An ensemble that is served: predictions, streams, the page; traces are refused."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from websockets.sync.client import connect

from scanline.model.ensemble import make_ensemble
from tests.browser import watched
from tests.model.ensembles import HEIGHT, WIDTH, member, pictures, sequences
from tests.serving.client import in_thread, problem

STREAMING = make_ensemble([member("lstm", 1), member("gru", 2, hidden=5)])
VIEWS = make_ensemble([member("gru", 1, view="rows"), member("rnn", 2, view="columns")])


@pytest.fixture(scope="module")
def of_sequences():
    with in_thread(STREAMING) as found:
        yield found


@pytest.fixture(scope="module")
def of_pictures():
    with in_thread(VIEWS) as found:
        yield found


def body_of(values, **options) -> bytes:
    return json.dumps({"inputs": [each.tolist() for each in values]} | options).encode()


def test_the_probabilities_are_those_of_the_ensemble_to_the_last_bit(of_sequences, of_pictures):
    for server, model, values in (
        (of_sequences, STREAMING, sequences(3)),
        (of_pictures, VIEWS, list(pictures(3))),
    ):
        answer = server.post(body_of(values))
        assert answer.status == 200
        found = [list(each["probabilities"].values()) for each in answer.json()["predictions"]]
        expected = np.concatenate([model.predict_proba(each[None]) for each in values])
        assert found == expected.tolist()


def test_the_description_has_the_networks_of_the_members(of_sequences, of_pictures):
    described = of_sequences.get("/v1/model").json()
    assert described["network"] is None
    members = [(each["cell"], each["hidden_size"]) for each in described["members"]]
    assert members == [("lstm", 9), ("gru", 5)]
    assert (described["streams"], described["streams_obstacle"]) == (True, None)
    described = of_pictures.get("/v1/model").json()
    assert (described["input"]["height"], described["input"]["width"]) == (HEIGHT, WIDTH)
    assert not described["streams"]
    assert described["streams_obstacle"].startswith("member 2 of this ensemble reads columns")


@pytest.mark.parametrize("option", [{"trace": True}, {"what_if": {"blank": [1]}}])
def test_what_looks_into_a_network_is_refused(of_sequences, option):
    answer = of_sequences.post(body_of(sequences(1), **option))
    found = problem(answer, "wrong-values")
    assert "a trace needs one network, and this model is an ensemble of 2" in found["detail"]


def test_a_stream_predicts_after_each_step_and_can_be_resumed(of_sequences):
    sequence = sequences(3)[2]
    address = f"ws://127.0.0.1:{of_sequences.port}/v1/stream"
    with connect(address) as stream:

        def ask(message):
            stream.send(json.dumps(message))
            return json.loads(stream.recv())

        ask({"steps": sequence[:4].tolist()})
        saved = ask({"save": True})
        assert saved["steps"] == 4
        last = ask({"steps": sequence[4:].tolist()})["predictions"][-1]
        np.testing.assert_allclose(
            list(last["probabilities"].values()), STREAMING.predict_proba(sequence[None])[0], atol=1e-6
        )
    with connect(address) as stream:
        assert ask({"resume": saved["session"]})["steps"] == 4
        assert ask({"steps": sequence[4:].tolist()})["predictions"][-1] == last
        foreign = base64.b64encode(STREAMING.members[0].stream().to_bytes()).decode()
        assert "one of an ensemble" in ask({"resume": foreign})["detail"]


def test_the_page_shows_the_prediction_without_gates(browser, of_pictures):
    address = f"http://127.0.0.1:{of_pictures.port}/"
    with watched(browser) as seen:
        page = seen.page
        page.goto(address)
        page.wait_for_selector("#app:not([hidden])")
        page.locator("#board").focus()
        with page.expect_response(lambda each: "/v1/predict" in each.url) as caught:
            page.keyboard.press("Space")
        prediction = caught.value.json()["predictions"][0]
        page.wait_for_selector(f"#prediction[data-label='{prediction['label']}']")
        assert page.locator("#prediction").get_attribute("data-probability") == str(prediction["probability"])
        assert (
            page.locator("#about").inner_text().startswith("Ensemble of 2 models (one layer of 9 GRU units;")
        )
        assert page.locator("#bars li").count() == 4
        for hidden in (".what-if", ".inside", ".player", "#strip", "#chart"):
            assert not page.locator(hidden).is_visible()
        with page.expect_download() as image:
            page.click("#download-png")
        assert image.value.suggested_filename.endswith(".png")
        assert seen.violations() == []
        seen.check(address)
