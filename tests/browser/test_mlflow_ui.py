"""The real MLflow UI and Optuna Dashboard on the store of a small smoke search: what its user looks at."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect
from ports import free_port
from waiting import PATIENCE, has_ended, wait_until

pytestmark = pytest.mark.filterwarnings("default")

MILLISECONDS = 1000 * PATIENCE


@pytest.fixture(scope="module")
def runs(smoke):
    """The folder of the searches, and of the store."""
    return smoke / "runs"


def serve(command, log):
    """Start a server on a free port; `command` takes the port last."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen([*command, str(port)], stdout=output, stderr=output, start_new_session=True)

    def listens():
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "a listener", unless=has_ended(process, log.read_text))
    return process, f"http://127.0.0.1:{port}"


def stop(process):
    os.killpg(process.pid, signal.SIGKILL)  # it only reads
    process.wait()


@pytest.fixture(scope="module")
def mlflow_ui(runs):
    program = Path(sys.executable).with_name("mlflow")
    store = f"sqlite:///{runs}/mlflow.db"
    command = [program, "ui", "--workers", "1", "--host", "127.0.0.1", "--backend-store-uri", store, "--port"]
    process, url = serve(command, runs / "ui.log")
    yield url
    stop(process)


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(MILLISECONDS)
    yield context.new_page()
    context.close()


def row_of(page, name):
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True)).first


def show_trials(page, url):
    page.goto(f"{url}/#/experiments/1/runs")
    row = row_of(page, "smoke")
    row.wait_for()
    row.get_by_role("button").first.click()
    page.get_by_role("link", name="t0002", exact=True).wait_for()


def test_two_trials_are_compared(mlflow_ui, page):
    show_trials(page, mlflow_ui)
    for name in ("t0000", "t0002"):
        place = row_of(page, name).get_attribute("row-index")
        page.locator(f'[row-index="{place}"] input[type=checkbox]').first.check(force=True)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("Comparing 2 Runs")).to_be_visible(timeout=MILLISECONDS)
    for row in (r"Run Name:? t0000 t0002", r"loss\.name cross_entropy focal"):
        expect(page.get_by_role("row", name=re.compile(row)).first).to_be_attached(timeout=MILLISECONDS)
    expect(page.get_by_text("train_loss").first).to_be_visible(timeout=MILLISECONDS)


def test_the_report_opens_inside_the_ui(mlflow_ui, page):
    show_trials(page, mlflow_ui)
    page.get_by_role("link", name="smoke", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{32}"))
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_role("link", name="Artifacts")).first.click()
    page.get_by_text("report", exact=True).first.click()
    page.get_by_text("report.html").first.click()
    report = page.frame_locator("iframe").first
    expect(report.locator("h1")).to_have_text("smoke: 5 trials", timeout=MILLISECONDS)
    images = report.locator("figure img:visible")
    images.nth(9).wait_for()
    assert images.first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_optuna_dashboard_opens_the_study(runs, page):
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [program, str(runs / "smoke" / "optuna.journal"), "--host", "127.0.0.1", "--port"]
    process, url = serve(command, runs / "dashboard.log")
    try:
        page.goto(f"{url}/dashboard/")
        page.get_by_role("link", name=re.compile("smoke")).click()
        page.wait_for_url(re.compile(r"/studies/0"))
        page.goto(f"{url}/dashboard/studies/0/trials")
        expect(page.get_by_text(re.compile(r"Trial 2\b")).first).to_be_visible(timeout=MILLISECONDS)
    finally:
        stop(process)
