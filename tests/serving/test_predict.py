"""Answers over HTTP are those of the model, for everything that may be sent."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from scanline.data.transforms.framing import fit_picture
from scanline.formats.images import decode_pixels
from tests.model.test_session import new_model, steps
from tests.serving.client import in_thread


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Digits that nobody wrote, 0 to 16."""
    return np.random.default_rng(seed).integers(0, 17, (n, 8, 8))


def png(values: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(content, kind)
    return content.getvalue()


def stroke() -> np.ndarray:
    """A picture of another size than the training's: (20, 14)."""
    picture = np.zeros((20, 14))
    picture[3:17, 6:9] = 255
    return picture


def test_predictions_for_pictures_equal_those_of_the_model_bit_for_bit(server):
    given = pictures(5)
    np.testing.assert_array_equal(server.probabilities(given.tolist()), server.model.predict_proba(given))


def test_a_response_has_the_documented_members(server):
    given = pictures(1)
    answer = server.predict(given.tolist())
    shares = server.model.predict_proba(given)[0]
    best = int(shares.argmax())
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.json() == {
        "schema": 1,
        "model": server.get("/v1/model").json()["model"],
        "predictions": [
            {
                "label": best,
                "probability": shares[best],
                "probabilities": {str(k): share for k, share in enumerate(shares)},
            }
        ],
    }


def test_sequences_of_different_lengths_are_predicted_as_each_alone(sequences):
    given = [steps(t, seed=t) for t in (1, 9, 4, 30, 9)]
    found = sequences.probabilities([each.tolist() for each in given])
    for row, each in zip(found, given, strict=True):
        np.testing.assert_array_equal(row, sequences.model.predict_proba(each[None])[0])


def test_lengths_exclude_the_padding(sequences):
    given = steps(6, sessions=2)
    found = sequences.probabilities(given.tolist(), lengths=[6, 2])
    np.testing.assert_array_equal(found[0], sequences.model.predict_proba(given[:1])[0])
    np.testing.assert_array_equal(found[1], sequences.model.predict_proba(given[1:, :2])[0])


def test_values_in_the_padding_are_not_read(sequences):
    given = steps(6)
    padded = [*given[:3].tolist(), *[[7e5] * 5] * 3]
    assert sequences.probabilities([padded], lengths=[3]) == sequences.probabilities([given[:3].tolist()])


@pytest.mark.parametrize("missing", ["zero", "mean", "forward-fill"])
def test_null_is_a_missing_value_if_the_model_accepts_them(missing):
    model, given = new_model(missing=missing), steps(7)
    given[2, 1] = given[5, 4] = given[0, 0] = np.nan
    sent = [[None if np.isnan(each) else float(each) for each in step] for step in given]
    with in_thread(model) as server:
        np.testing.assert_array_equal(server.probabilities([sent])[0], model.predict_proba(given[None])[0])


def test_a_step_of_one_feature_may_be_a_bare_number():
    from scanline.data.preprocessing import Preprocessing
    from scanline.model.artifact import Model
    from scanline.model.network import Architecture, Network
    from scanline.recipe import DEFAULT_DATA
    from scanline.tasks.classification import Classification

    classifier = Network(Architecture("gru", 1, 4, 1, False, 0.0, "between", "mean", 2)).eval()
    model = Model(
        classifier,
        Classification(("no", "yes")),
        Preprocessing(None, "rows", 0, 1, 1, "error", (), DEFAULT_DATA),
        "made",
    )
    with in_thread(model) as server:
        assert server.probabilities([[0.5, -1, 2]]) == server.probabilities([[[0.5], [-1], [2]]])


def test_full_scale_is_the_value_of_full_ink(server):
    given = pictures(2)
    whole = server.probabilities(given.tolist())
    np.testing.assert_allclose(
        server.probabilities((given / 16).tolist(), full_scale=1), whole, rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        server.probabilities((given * 100).tolist(), full_scale=1600), whole, rtol=0, atol=1e-6
    )


def test_a_picture_of_any_size_is_fitted_as_a_file_would_be(server):
    form = server.model.preprocessing.picture
    fitted = fit_picture(stroke()[:, :, None].astype(np.uint8), form, "stroke")
    answer = server.predict([stroke().tolist()], fit=True, full_scale=255).json()["predictions"][0]
    assert answer["seen"] == fitted.tolist()
    np.testing.assert_allclose(
        list(answer["probabilities"].values()), server.model.predict_proba(fitted[None])[0], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_picture_files_of_every_format_are_read(server, kind):
    content = png(stroke(), kind)
    fitted = fit_picture(decode_pixels(content, "it", False), server.model.preprocessing.picture, "it")
    answer = server.post(content, f"image/{kind.lower()}")
    assert answer.status == 200, answer
    (found,) = answer.json()["predictions"]
    assert found["seen"] == fitted.tolist()
    assert "trace" not in found


def form(*parts: tuple[str, bytes], boundary: str = "line") -> tuple[bytes, str]:
    """A multipart form of (disposition, content), and its type."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() + content + b"\r\n"
        for name, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def test_pictures_of_a_form_are_predicted_in_order_as_one_by_one(server):
    lying = stroke().T
    body, kind = form(
        ('name="a"; filename="a.png"', png(stroke())), ('name="b"; filename="b.png"', png(lying))
    )
    alone = [server.post(png(each), "image/png").json()["predictions"][0] for each in (stroke(), lying)]
    assert server.post(body, kind).json()["predictions"] == alone


def test_a_query_parameter_requests_traces_of_pictures(server):
    (found,) = server.post(png(stroke()), "image/png", query="?trace=true").json()["predictions"]
    assert len(found["trace"]["probabilities"]) == 8
    (without,) = server.post(png(stroke()), "image/png", query="?trace=false").json()["predictions"]
    assert "trace" not in without


def test_a_trace_ends_in_the_prediction_and_has_every_value_at_every_step(server):
    given = pictures(1)
    (found,) = server.predict(given.tolist(), trace=True).json()["predictions"]
    network = server.get("/v1/model").json()["network"]
    traced, hidden = found["trace"], network["hidden_size"]
    np.testing.assert_allclose(
        traced["probabilities"][-1], server.model.predict_proba(given)[0], rtol=0, atol=1e-6
    )
    assert np.shape(traced["probabilities"]) == (8, 10)
    assert traced["classes"] == list(range(10))
    for layer in traced["layers"]:
        for part in network["parts"]:
            assert np.shape(layer[part]) == (8, hidden)
    assert found["seen"] == given[0].tolist()


def test_every_step_of_a_trace_equals_the_prediction_for_the_prefix(sequences):
    given = steps(6)
    (found,) = sequences.predict([given.tolist()], trace=True).json()["predictions"]
    for end, row in enumerate(found["trace"]["probabilities"], 1):
        np.testing.assert_allclose(
            row, sequences.model.predict_proba(given[None, :end])[0], rtol=0, atol=1e-6
        )
    np.testing.assert_allclose(found["seen"], given, rtol=0, atol=1e-6)


def test_a_blanked_step_is_read_as_an_empty_one(server):
    given = pictures(1)
    blank = given.copy()
    blank[0, [2, 3]] = 0
    (found,) = server.predict(given.tolist(), what_if={"blank": [3, 4]}).json()["predictions"]
    np.testing.assert_allclose(
        list(found["probabilities"].values()), server.model.predict_proba(blank)[0], rtol=0, atol=1e-6
    )


def test_a_silenced_network_predicts_from_the_bias_of_its_head(server):
    hidden = server.get("/v1/model").json()["network"]["hidden_size"]
    wish = {"silence": [{"unit": unit} for unit in range(hidden)]}
    (found,) = server.predict(pictures(1).tolist(), what_if=wish).json()["predictions"]
    bias = server.model.network.head.bias.detach().double().numpy()
    expected = np.exp(bias) / np.exp(bias).sum()
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, rtol=0, atol=1e-6)


def test_with_the_input_gate_clamped_at_0_the_input_has_no_effect(sequences):
    (found,) = sequences.predict(
        [steps(4).tolist()], trace=True, what_if={"clamp": [{"gate": "i", "value": 0}]}
    ).json()["predictions"]
    (layer,) = found["trace"]["layers"]
    assert not np.any(layer["i"])
    assert not np.any(layer["c"])


def test_an_empty_what_if_changes_nothing(server):
    given = pictures(1).tolist()
    for nothing in (None, {}, {"blank": [], "clamp": [], "silence": []}):
        assert server.predict(given, what_if=nothing).body == server.predict(given).body


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_a_type_is_read_without_its_parameters_and_in_any_case(server, kind):
    body = json.dumps({"inputs": pictures(1).tolist()}).encode()
    assert server.post(body, kind).status == 200


def test_a_body_may_be_compressed_with_gzip(server):
    body = json.dumps({"inputs": pictures(3).tolist()}).encode()
    packed = server.post(gzip.compress(body), headers={"content-encoding": "gzip"})
    assert packed.body == server.post(body).body
    assert server.post(body, headers={"content-encoding": "identity"}).body == packed.body


def test_a_body_may_begin_with_a_byte_order_mark(server):
    body = json.dumps({"inputs": pictures(1).tolist()}).encode()
    assert server.post(b"\xef\xbb\xbf" + body).body == server.post(body).body


def test_the_last_of_duplicate_keys_is_used(server):
    one, other = (json.dumps(each.tolist()) for each in (pictures(1, 1), pictures(1, 2)))
    twice = server.post(f'{{"inputs": {one}, "inputs": {other}}}'.encode())
    assert twice.body == server.post(f'{{"inputs": {other}}}'.encode()).body


def test_the_model_is_described(server):
    found = server.get("/v1/model").json()
    assert found["schema"] == 1
    assert found["classes"] == list(range(10))
    assert found["trained_on"] == "digits"
    assert {name: found["input"][name] for name in ("kind", "height", "width", "channels", "levels")} == {
        "kind": "picture",
        "height": 8,
        "width": 8,
        "channels": 1,
        "levels": 16,
    }
    assert found["input"]["step_of_pixel"] == [[row] * 8 for row in range(1, 9)]
    assert found["network"]["parameters"] == sum(each.numel() for each in server.model.network.parameters())
    tested = server.model.provenance.test
    assert found["accuracy"] == {"accuracy": tested.accuracy, "ci95": list(tested.ci95), "n": tested.n}


def test_the_gallery_starts_with_the_most_confident_errors(server):
    found = server.get("/v1/gallery").json()
    assert (found["schema"], found["data"]) == (1, "digits")
    right = [each["right"] for each in found["items"]]
    wrong = right.index(True)
    assert wrong > 0
    assert not any(right[:wrong])
    assert all(right[wrong:])
    sure = [each["probability"] for each in found["items"][:wrong]]
    assert sure == sorted(sure, reverse=True)
    for each in found["items"]:
        assert each["right"] == (each["true"] == each["label"])
    unsure = [each["probability"] for each in found["items"][wrong : wrong + 12]]
    assert unsure == sorted(unsure)


def test_gallery_pictures_get_the_predictions_that_the_gallery_shows(server):
    items = server.get("/v1/gallery").json()["items"]
    answers = server.predict([each["values"] for each in items]).json()["predictions"]
    assert [each["label"] for each in answers] == [each["label"] for each in items]
    np.testing.assert_allclose(
        [each["probability"] for each in answers], [each["probability"] for each in items], rtol=0, atol=1e-6
    )


def test_the_page_may_load_nothing_from_other_servers(server):
    page = server.get("/")
    assert page.status == 200
    assert page.header("content-type") == "text/html; charset=utf-8"
    policy = page.header("content-security-policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.header("x-content-type-options") == "nosniff"
    assert page.header("referrer-policy") == "no-referrer"
