"""The page of `scanline serve` in a real browser, against the real server."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scanline.data import catalogue as catalog
from scanline.model.loading import load
from scanline.serving.access import Access
from scanline.serving.start import LOOPBACK
from tests.browser import watched
from tests.model.test_session import new_model
from tests.serving.client import in_thread, start_process, terminate, wait_ready
from tests.serving.test_names import _model as text_model

PAGE = resources.files("scanline.serving") / "page"
SOURCES = Path(__file__).parents[2] / "page" / "src"


@pytest.fixture(scope="module")
def address(started_with_gallery):
    return f"http://127.0.0.1:{started_with_gallery.port}/"


@pytest.fixture(scope="module")
def started_with_gallery(trained, tmp_path_factory):
    """A server of its own: a run on digits of 8 x 8, with its test digits."""
    child = start_process(tmp_path_factory.mktemp("server"), trained)
    found = wait_ready(child)
    yield found
    terminate(child)


@pytest.fixture
def seen(browser, address):
    """The page, open, in a wide window; nothing but the server can be reached."""
    with watched(browser, 1440) as found:
        found.page.route(re.compile(f"^(?!{re.escape(address)})http"), lambda route: route.abort())
        found.page.goto(address)
        found.page.wait_for_selector("body[data-state=ready], body[data-state=idle], #app:not([hidden])")
        yield found
        found.check(address)


def leading(classes: list[int], trace: dict) -> dict:
    """Return a trace in which these classes lead, one after each step."""
    rows = [[0.91 if each == leader else 0.01 for each in range(10)] for leader in classes]
    last = classes[-1]
    settled = max((at for at, each in enumerate(classes, 1) if each != last), default=0) + 1
    changes = sum(one != other for one, other in itertools.pairwise(classes))
    first = classes.index(last) + 1
    return trace | {
        "probabilities": rows,
        "label": last,
        "settled": settled,
        "first_reached": first,
        "changes": changes,
    }


def answers(page) -> int:
    return int(page.evaluate("document.body.dataset.predictions"))


def after(page, act) -> None:
    """Do `act` and wait until its answer is painted."""
    before = answers(page)
    act()
    wait(
        page,
        f"Number(document.body.dataset.predictions) > {before} && document.body.dataset.state === 'ready'",
    )


def wait(page, condition: str) -> None:
    """Until it is true; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + 15
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def draw_one(page) -> None:
    """A stroke from the top to the bottom of the board."""
    box = page.locator("#board").bounding_box()
    middle = box["x"] + box["width"] * 0.52
    page.mouse.move(middle, box["y"] + box["height"] * 0.12)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + box["height"] * 0.88, steps=8)
    page.mouse.up()


def asked(page, act) -> tuple[dict, dict]:
    """What `act` made the page send, and what it was answered."""
    with page.expect_response(lambda each: "/v1/predict" in each.url) as caught:
        after(page, act)
    return json.loads(caught.value.request.post_data), caught.value.json()


def of_page(page) -> tuple[dict, dict]:
    """The request and the answer that the page now shows, as its JSON download has them."""
    with page.expect_download() as caught:
        page.click("#download-json")
    found = json.loads(Path(caught.value.path()).read_text())
    return found["request"], found["answer"]


def prediction_text(page) -> str:
    return plain(page.locator("#prediction").inner_text())


def plain(text: str) -> str:
    """With common blanks in place of those that keep numbers and units together."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize("name", ["app.js", "app.css"])
def test_the_bundle_was_built_from_the_present_sources(name):
    digest = hashlib.sha256()
    for path in sorted(each.relative_to(SOURCES).as_posix() for each in SOURCES.rglob("*") if each.is_file()):
        digest.update(path.encode() + b"\n" + (SOURCES / path).read_bytes())
    first = (PAGE / name).read_text().partition("\n")[0]
    assert digest.hexdigest() in first, "run `make page`"


def test_the_page_is_small():
    assert sum(len((PAGE / name).read_bytes()) for name in ("index.html", "app.js", "app.css")) < 150_000


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (320, "dark"),
        (1440, "light"),
        pytest.param(768, "light", marks=pytest.mark.campaign),
        pytest.param(1440, "dark", marks=pytest.mark.campaign),
    ],
)
def test_the_page_is_accessible_and_fits(browser, address, width, scheme):
    with watched(browser, width, scheme) as seen:
        seen.page.goto(address)
        seen.page.wait_for_selector("#app:not([hidden])")
        after(seen.page, lambda: draw_one(seen.page))
        after(seen.page, lambda: seen.page.click("#what-if-hold-0"))
        seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert seen.violations() == []
        assert seen.sideways() <= 0
        seen.check(address)


def test_a_drawing_gets_the_prediction_of_the_offline_model(seen, digits):
    after(seen.page, lambda: draw_one(seen.page))
    _, answer = of_page(seen.page)
    found = answer["predictions"][0]
    offline = digits.predict_proba(np.array(found["seen"]))[0]
    np.testing.assert_allclose(list(found["probabilities"].values()), offline, atol=1e-6)
    assert prediction_text(seen.page).startswith(str(found["label"]))
    assert f"{100 * found['probability']:.2f} %" in prediction_text(seen.page)


def test_the_page_shows_the_picture_that_the_network_reads(seen):
    after(seen.page, lambda: draw_one(seen.page))
    _, answer = of_page(seen.page)
    read = np.array(answer["predictions"][0]["seen"])
    assert read.shape == (8, 8)
    shown = seen.page.evaluate(
        """() => { const c = document.querySelector("#seen");
        const copy = document.createElement("canvas"); copy.width = copy.height = 8;
        const d = copy.getContext("2d", {willReadFrequently: true}); d.imageSmoothingEnabled = false;
        d.drawImage(c, 0, 0, 8, 8); const all = d.getImageData(0, 0, 8, 8).data;
        return [...Array(64).keys()].map(n => all[4 * n]); }"""
    )
    np.testing.assert_array_equal(np.array(shown).reshape(8, 8).argmax(1), read.argmax(1))
    np.testing.assert_allclose(np.array(shown).reshape(8, 8), read * 255 / 16, atol=1)


def test_the_keyboard_draws(seen):
    page = seen.page
    page.focus("#board")
    page.keyboard.press("c")
    for _ in range(8):
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
    for _ in range(3):
        page.keyboard.press("ArrowRight")

    def stroke() -> None:
        for _ in range(8):
            page.keyboard.press("Space")
            page.keyboard.press("ArrowDown")

    after(page, stroke)
    page.wait_for_timeout(300)
    request, _ = of_page(page)
    drawn = np.array(request["inputs"][0])
    assert (drawn.argmax(1) == 3).all()
    assert (drawn.max(1) > 0).all()
    page.focus("#board")
    after(page, lambda: page.keyboard.press("Shift+Space"))
    request, _ = of_page(page)
    assert np.array(request["inputs"][0])[7, 3] == 0


def test_the_cursor_steps_through_the_rows(seen):
    page = seen.page
    after(page, lambda: draw_one(page))
    assert page.locator("#step").get_attribute("max") == "8"
    page.locator("#step").evaluate(
        "each => { each.value = 3; each.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    _, answer = of_page(page)
    trace = answer["predictions"][0]["trace"]

    def shown() -> list[str]:
        return plain(page.locator("#bars").inner_text()).split("\n")

    best = int(np.argmax(trace["probabilities"][2]))
    wait(page, "document.querySelector('#bars-title').textContent.includes('3')")
    assert any(f"{100 * trace['probabilities'][2][best]:.2f} %" in line for line in shown())
    page.click("#next")
    wait(page, "document.querySelector('#step').value === '4'")
    page.click("#prev")
    page.click("#prev")
    wait(page, "document.querySelector('#step').value === '2'")
    page.click("#play")
    wait(page, "Number(document.querySelector('#step').value) > 3")


def test_a_forget_gate_held_at_zero_is_computed_by_the_server(seen):
    page = seen.page
    after(page, lambda: draw_one(page))
    _, before = of_page(page)
    request, answer = asked(page, lambda: page.click("#what-if-hold-0"))
    assert request["what_if"]["clamp"] == [{"gate": "f", "value": 0}]
    trace = answer["predictions"][0]["trace"]
    assert np.array(trace["layers"][0]["f"]).max() == 0
    assert answer["predictions"][0]["probability"] != before["predictions"][0]["probability"]
    after(page, lambda: page.click("#what-if-reset"))
    assert of_page(page)[1] == before


def test_rows_are_blanked_and_units_silenced(seen):
    page = seen.page
    after(page, lambda: draw_one(page))
    page.fill("#what-if-from", "2")
    page.fill("#what-if-to", "4")
    request, _ = asked(page, lambda: page.click("#what-if-blank"))
    assert request["what_if"]["blank"] == [2, 3, 4]
    page.fill("#what-if-unit", "5")
    request, answer = asked(page, lambda: page.click("#what-if-silence"))
    assert request["what_if"]["silence"] == [{"unit": 5}]
    assert np.array(answer["predictions"][0]["trace"]["layers"][0]["h"])[:, 5].any() == 0


def test_an_upload_is_answered(seen, tmp_path, digits):
    values = catalog.load("digits").test.values[3].reshape(8, 8)
    path = tmp_path / "digit.png"
    Image.fromarray((values * (255 / 16)).astype(np.uint8)).save(path)
    after(seen.page, lambda: seen.page.set_input_files("#upload", path))
    assert prediction_text(seen.page).startswith(str(digits.predict(digits.prepare(path))[0]))


def test_a_file_that_is_not_a_picture_is_one_line(browser, address, tmp_path):
    path = tmp_path / "letter.png"
    path.write_text("no picture")
    with watched(browser, 1440) as seen:
        seen.page.goto(address)
        seen.page.wait_for_selector("#app:not([hidden])")
        seen.page.set_input_files("#upload", path)
        seen.page.wait_for_selector("#problem:visible")
        assert "found something else" in seen.page.locator("#problem").inner_text()


def test_a_link_holds_the_drawing_and_the_what_ifs(seen, browser, address):
    page = seen.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address.rstrip("/"))
    after(page, lambda: draw_one(page))
    after(page, lambda: page.click("#what-if-hold-1"))
    page.click("#copy-link")
    wait(page, "document.querySelector('#save-status').textContent !== ''")
    link = page.evaluate("navigator.clipboard.readText()")
    with watched(browser, 1440) as other:
        other.page.goto(link)
        wait(other.page, "document.body.dataset.state === 'ready'")
        assert of_page(other.page) == of_page(page)
        other.check(address)


@pytest.mark.parametrize("end_of_it", ["#d=garbage", "#", "#p=AAAA", "#%%%", "#" + "A" * 5000])
def test_a_bad_link_does_not_stop_the_page(browser, address, end_of_it):
    with watched(browser, 1440) as seen:
        seen.page.goto(address + end_of_it)
        seen.page.wait_for_selector("#app:not([hidden])")
        after(seen.page, lambda: draw_one(seen.page))
        seen.check(address)


def test_the_copied_command_gets_the_same_response(seen):
    after(seen.page, lambda: draw_one(seen.page))
    request, expected = of_page(seen.page)
    shown = f"document.querySelector('#curl').textContent.includes(JSON.stringify({json.dumps(request)}))"
    wait(seen.page, shown)
    command = seen.page.locator("#curl").inner_text()
    found = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=30)
    assert json.loads(found.stdout) == expected


def test_the_gallery_shows_hard_ones_first_and_reads_them(seen, digits):
    page = seen.page
    page.locator("#gallery button").first.wait_for()  # fetched after the page is ready
    assert page.locator("#gallery button").count() > 10
    after(page, lambda: page.locator("#gallery button").first.click())
    request, answer = of_page(page)
    offline = digits.predict(np.array(request["inputs"][0]))
    assert answer["predictions"][0]["label"] == offline[0]


def test_the_summary_is_saved_as_a_png(seen):
    after(seen.page, lambda: draw_one(seen.page))
    with seen.page.expect_download() as caught:
        seen.page.click("#download-png")
    with Image.open(caught.value.path()) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_the_time_of_a_redraw_is_marked(seen):
    after(seen.page, lambda: draw_one(seen.page))
    assert seen.page.evaluate("performance.getEntriesByName('scanline:redraw').length") > 0


def test_sequences_can_be_pasted(browser):
    with in_thread(new_model()) as server, watched(browser, 1440) as seen:
        address = f"http://127.0.0.1:{server.port}/"
        page = seen.page
        page.goto(address)
        page.wait_for_selector("#app:not([hidden])")
        assert not page.locator("#board").is_visible()
        values = np.random.default_rng(0).normal(size=(6, 5)).round(3)
        page.fill("#paste", "\n".join(",".join(map(str, row)) for row in values))
        after(page, lambda: page.click("#read-paste"))
        request, answer = of_page(page)
        np.testing.assert_array_equal(request["inputs"][0], values)
        assert len(answer["predictions"][0]["trace"]["probabilities"]) == 6
        page.fill("#paste", "1,2,3,4,5\n1,2,x,4,5")
        page.click("#read-paste")
        page.wait_for_selector("#problem:visible")
        assert "2" in page.locator("#problem").inner_text()
        assert seen.violations() == []
        seen.check(address)


def test_the_page_asks_for_the_token_and_sends_it(browser, digits):
    token = "a-token-of-some-length"
    with (
        in_thread(digits, Access(frozenset(LOOPBACK), token=token)) as server,
        watched(browser, 1440) as seen,
    ):
        page = seen.page
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("#token-form:visible")
        page.fill("#token", token)
        page.click("#token-form button")
        page.wait_for_selector("#app:not([hidden])")
        after(page, lambda: draw_one(page))


def test_the_page_shows_what_the_model_is(seen, trained):
    tested = load(trained).provenance.test
    assert f"{100 * tested.accuracy:.2f} %" in plain(seen.page.locator("#about").inner_text())


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (
            [8, 4, 8, 7, 4, 7, 7, 3],
            "The prediction changed 6 times (8, 4, 7): 7 from row 6 to 7, then 3 only at the last row, 8.",
        ),
        (
            [8, 3, 8, 4, 7, 3, 3, 3],
            "The prediction changed 5 times (8, 3, 4, 7): 3 first at row 2; 7 at row 5, then "
            "3 from row 6 on.",
        ),
        ([8, 8, 4, 4, 7, 3, 3, 3], "Predicted 8 up to row 2, 4 up to row 4, 7 up to row 5; 3 from row 6 on."),
    ],
)
def test_the_sentence_about_a_prediction_names_all_classes_that_led(seen, classes, sentence):
    page = seen.page

    def altered(route):
        answer = route.fetch()
        body = answer.json()
        for each in body["predictions"]:
            each["label"], each["trace"] = classes[-1], leading(classes, each["trace"])
        route.fulfill(response=answer, json=body)

    page.route("**/v1/predict", altered)
    after(page, lambda: draw_one(page))
    assert plain(page.locator("#summary").inner_text()) == sentence


@pytest.mark.parametrize("width", [390, 1440])
def test_a_text_is_predicted_while_it_is_written_and_its_tokens_are_marked(browser, width):
    with in_thread(text_model(text=True, bidirectional=True)) as server, watched(browser, width) as found:
        page, own = found.page, f"http://127.0.0.1:{server.port}/"
        page.goto(own)
        page.wait_for_selector("body[data-state=empty]")
        after(page, lambda: page.locator("#writing-text").press_sequentially("A fine new"))
        wait(page, "document.querySelectorAll('#tokens span').length === 3")
        assert page.locator("#tokens span").all_inner_texts() == ["a", "fine", "new"]
        expected = server.predict(["A fine new"], attribution=True).json()["predictions"][0]
        assert page.get_attribute("#prediction", "data-label") == expected["label"]
        assert "The model does not know one of them" in page.inner_text("#truth")
        sums = [row[0] for row in expected["attribution"]["values"]]
        strongest = max(range(3), key=lambda at: abs(sums[at]))
        colours = page.evaluate(
            "[...document.querySelectorAll('#tokens span')].map(s => s.style.backgroundColor)"
        )
        assert ["45%" in colour for colour in colours] == [at == strongest for at in range(3)]
        assert ["--warm" in colour for colour in colours] == [value < 0 for value in sums]
        page.click("#tokens span[data-step='2']")
        wait(page, "document.querySelector('#tokens .now')?.textContent === 'fine'")
        assert "word 2 “fine”" in page.inner_text("#readout")
        page.click("#copy-link")
        wait(page, "location.hash.startsWith('#t=')")
        assert (found.violations(), found.sideways()) == ([], 0)
        found.check(own)
