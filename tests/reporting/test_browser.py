"""The report in a real browser."""

from __future__ import annotations

import pytest

from scanline.reporting.report import report
from tests.browser import watched


@pytest.fixture(scope="module")
def page_of(trained, tmp_path_factory):
    """A report as a file's address."""
    return report(trained, tmp_path_factory.mktemp("report") / "report.html", data="digits").as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
def test_the_report_is_accessible(browser, page_of, width, scheme):
    with watched(browser, width, scheme, offline=True) as seen:
        seen.page.goto(page_of)
        seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert seen.violations() == []
        seen.check(page_of)


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_report_fits_the_window_and_makes_no_requests(browser, page_of, width):
    with watched(browser, width, offline=True) as seen:
        seen.page.goto(page_of)
        assert seen.sideways() <= 0
        seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert seen.sideways() <= 0
        seen.check(page_of)


def test_a_count_of_the_confusion_matrix_leads_to_the_pictures_behind_it(browser, page_of):
    with watched(browser) as seen:
        seen.page.goto(page_of)
        link = seen.page.locator("table.confusion td.correct a").first
        sheet = seen.page.locator(link.get_attribute("href"))
        assert not sheet.is_visible()
        link.click()
        assert sheet.is_visible()
        assert sheet.locator("img").count() >= 1
        seen.check(page_of)
