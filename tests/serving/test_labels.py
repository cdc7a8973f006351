"""Labels keep their type and text over HTTP and on the page; padding is what it is for `Model.predict`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from tests.browser import watched
from tests.serving.client import in_thread, problem

F = 2


def made(labels=("a", "b"), folder: Path | None = None, bidirectional=False, **settings) -> Model:
    K = len(labels)
    network = Network(Architecture("lstm", F, 4, 1, bidirectional, 0.0, "between", "last", K)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.uniform_(-2, 2, generator=torch.Generator().manual_seed(weight.numel()))
    chosen = DEFAULT_DATA.model_copy(update=settings)
    form = Preprocessing(None, "rows", 0, F, F, "error", (), chosen)
    model = Model(network, Classification(tuple(labels)), form, "random steps")
    if folder is None:
        return model
    model.save(folder, "0")  # labels of a served model come from a file
    return load(folder)


def steps(n=6, T=5):
    return np.random.default_rng(2).normal(0, 2, (n, T, F)).round(3)


@pytest.mark.parametrize(
    ("labels", "texts", "names"),
    [
        ((False, True), ("false", "true"), ("False", "True")),
        ((0, 1), ("0", "1"), ("0", "1")),
        ((0.0, 1.0), ("0.0", "1.0"), ("0.0", "1.0")),
        ((-1.5, 2.0), ("-1.5", "2.0"), ("-1.5", "2.0")),
        (("0", "1"), ('"0"', '"1"'), ("0", "1")),
        ((" a", "a"), ('" a"', '"a"'), (" a", "a")),
    ],
)
def test_labels_have_their_type_and_text(tmp_path, labels, texts, names):
    values = steps()
    with in_thread(made(labels, tmp_path / "m")) as server:
        plain = server.predict(values.tolist()).body.decode()
        one = server.predict(values[:1].tolist(), trace=True).body.decode()
        described = server.get("/v1/model").json()
    own = server.model.predict(values).tolist()
    predictions = json.loads(plain)["predictions"]
    assert [each["label"] for each in predictions] == own
    assert [type(each["label"]) for each in predictions] == [type(labels[0])] * len(values)
    assert tuple(predictions[0]["probabilities"]) == names
    compact = plain.replace(" :", ":").replace(": ", ":")
    for label in own:
        assert f'"label":{texts[labels.index(label)]}' in compact
    assert f'"classes":[{texts[0]},{texts[1]}]' in one.replace(", ", ",").replace(": ", ":")
    assert described["class_names"] == list(names)
    assert described["classes"] == list(labels)


@pytest.mark.parametrize(("pad_value", "filler"), [("nan", None), ("0", 0.0), ("-1", -1.0)])
def test_padding_is_left_out_as_by_predict(pad_value, filler):
    model, values = made(pad_value=pad_value), steps(2, 3).tolist()
    padded = [values[0] + [[filler] * F] * 4, values[1]]
    with in_thread(model) as server:
        found = server.predict(padded).json()["predictions"]
        only = server.predict(values).json()["predictions"]
        nothing = server.predict([values[0], [[filler] * F] * 2])
    assert found == only
    detail = problem(nothing, "wrong-values")["detail"]
    assert detail == f"inputs[1]: expected values before the padding {pad_value}, found none"


def test_the_page_shows_labels_as_text_and_why_there_are_no_streams(browser):
    values = steps(1)[0]
    with in_thread(made((0.0, 1.0), bidirectional=True)) as server, watched(browser) as seen:
        page, address = seen.page, f"http://127.0.0.1:{server.port}/"
        page.goto(address)
        page.wait_for_selector("#app:not([hidden])")
        about = page.locator("#about").inner_text()
        assert "No streams: this model reads in both directions" in about
        page.fill("#paste", "\n".join(",".join(map(str, row)) for row in values))
        page.click("#read-paste")
        page.wait_for_selector("body[data-state=ready]")
        label = server.model.predict(values).item()
        assert page.locator("#prediction strong").inner_text() == str(label)
        assert "0.0" in page.locator("#bars").inner_text()
        assert "1.0" in page.locator("#bars").inner_text()
        seen.check(address)
