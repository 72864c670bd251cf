"""A browser for the tests: Debian's chromium, driven by playwright, which brings none of its own."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright
from waiting import PATIENCE


@pytest.fixture(scope="module")
def browser():
    """A browser; where there is none the test is skipped, or fails if AEROSWEEP_REQUIRE_BROWSER=1 is set."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        reason = "no chromium on the PATH; on Debian: apt-get install chromium"
        if os.environ.get("AEROSWEEP_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        # A container's root user has no sandbox to use; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=1000 * PATIENCE)
        yield browser
        browser.close()


class Visit:
    """A page of its own context, and what went wrong while it was looked at.

    Attributes:
        page: Playwright's.
        complaints: Console errors and warnings, uncaught errors, dialogs, and requests that left this machine's files.
    """

    def __init__(self, browser, **options):
        self._context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self._context.set_default_timeout(1000 * PATIENCE)
        self.complaints = []
        self._context.route("**/*", self._local_only)
        self.page = self._context.new_page()
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dismiss)

    def _local_only(self, route):
        if route.request.url.startswith(("file:", "data:")):
            route.continue_()
            return
        self.complaints.append(f"request to {route.request.url}")
        route.abort()

    def _dismiss(self, dialog):
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self):
        self._context.close()


@pytest.fixture
def visit(browser):
    """Opens a file: `visit(path, **options of playwright's new_context)` returns a `Visit`; fails if it complained."""
    visits = []

    def opened(path, fragment="", **options):
        visits.append(Visit(browser, **options))
        visits[-1].page.goto(path.resolve().as_uri() + fragment)
        return visits[-1].page

    yield opened
    complaints = [complaint for visit in visits for complaint in visit.complaints]
    for one in visits:
        one.close()
    assert complaints == []
