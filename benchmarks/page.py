"""Measure the time from a stroke on the page of `scanline serve` to the updated panels, in Chromium.

    python benchmarks/page.py RUN

RUN is a run on pictures. Draws strokes with the mouse and reads the performance marks of the page: from the
pointer event to the frame in which all panels show the prediction, including the time of the server.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys

from playwright.sync_api import sync_playwright

STROKES = 60


def main() -> None:
    """Serve, draw and print."""
    command = [sys.executable, "-m", "scanline", "serve", sys.argv[1], "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    while (found := re.search(r"http://\S+", server.stderr.readline())) is None:
        pass
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(found[0])
        page.wait_for_selector("#board:visible")
        box = page.locator("#board").bounding_box()
        assert box is not None
        for stroke in range(STROKES):
            if stroke % 6 == 0:
                page.click("#clear")
            share = 0.3 + 0.4 * (stroke % 6) / 5
            page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.25 * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + (1 - share) * box["width"], box["y"] + 0.75 * box["height"], steps=4)
            page.mouse.up()
            page.wait_for_timeout(150)
        times = page.evaluate("performance.getEntriesByName('scanline:redraw').map(each => each.duration)")
        browser.close()
    server.terminate()
    server.wait(30)
    ninety = sorted(times)[int(0.9 * len(times))]
    print(f"{len(times)} redraws: median {statistics.median(times):.1f} ms, 90th percentile {ninety:.1f} ms")


if __name__ == "__main__":
    main()
