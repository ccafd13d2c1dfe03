"""MLflow's own pages show a study: in a real browser, over the store of a real one.

Needs Debian's packages chromium and chromium-driver. Screenshots are left in test-artifacts/.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from pipeline.tracking import view

from .browser import SHOTS, chromium, needed
from .clone import Clone
from .store import EXPERIMENT, Server, answers, free_port, wait_until

TRAINING = "workflowType=machine_learning"
COMPARED = ("l2", "dropout", "early_stopping")
PATIENCE = 60  # seconds until a page must show what is looked for
ALERTS = "[role=alert], [class*=notification-notice], [class*=error-boundary]"
ACCOUNT = "users/current"  # which a server without accounts does not have

pytestmark = [pytest.mark.slow, needed]


def longer(params: dict[str, Any]) -> dict[str, Any]:
    """Enough epochs for curves that can be seen, of the techniques that are compared."""
    study = params["studies"]["circles"]
    study["training"]["epochs"] = study["tuning"]["epochs"] = 400
    study["techniques"] = {name: study["techniques"][name] for name in ("none", *COMPARED)}
    return params


class Pages:
    """A browser on one experiment of one server."""

    def __init__(self, browser: webdriver.Chrome, server: Server, folder: Path) -> None:
        self.folder = folder  # of the study
        self.client = MlflowClient(server.uri)
        found = self.client.get_experiment_by_name(EXPERIMENT)
        assert found is not None
        self.id = found.experiment_id
        self.runs = {run.info.run_name: run for run in self.client.search_runs([self.id])}
        self._browser, self.server = browser, server
        self.open(f"experiments/{self.id}/runs")
        # The assistant would cover a third of every page; its header ends with a button to close.
        self.click("//*[text()='MLflow Assistant']/following::button[3]")

    def open(self, page: str) -> None:
        """Opens a page by the part of its address after the #, with nothing left of another."""
        self._browser.get("about:blank")
        self.turn_to(page)

    def turn_to(self, page: str) -> None:
        """Opens a page from another one, as a link would."""
        mark = "&" if "?" in page else "?"
        self._browser.get(f"{self.server.uri}/#/{page}{mark}{TRAINING}")

    def find(self, path: str) -> WebElement:
        """The first visible element of an XPath, once it is there."""

        def visible(browser: webdriver.Chrome) -> WebElement | None:
            found = browser.find_elements(By.XPATH, path)
            return next((each for each in found if each.is_displayed()), None)

        # An element may be drawn anew while it is looked at.
        wait: Any = WebDriverWait(
            self._browser, PATIENCE, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            element: WebElement = wait.until(visible)
        except TimeoutException:
            pytest.fail(f"nothing visible at {path}\n{self._state()}")
        return element

    def _state(self) -> str:
        """What there is instead of what was looked for."""
        shown = self._browser.find_element(By.TAG_NAME, "body").text
        return f"{self._browser.current_url}\nerrors: {self.errors()}\n{shown}"

    def click(self, path: str) -> None:
        self.find(path).click()

    def follow(self, path: str) -> None:
        """Opens what a link names; a page that is still being drawn would lose a click."""
        self.open(str(self.find(path).get_attribute("href")).partition("#/")[2])

    def text(self, text: str) -> WebElement:
        """The first visible element that holds this text."""
        return self.find(f"//*[text()[contains(., '{text}')]]")

    def errors(self) -> list[str]:
        """Toasts and banners of the page, and requests that have failed since it was last asked."""
        browser: Any = self._browser
        alerts = browser.find_elements(By.CSS_SELECTOR, ALERTS)
        shown = [alert.text for alert in alerts if alert.is_displayed() and alert.text]
        shown = [text for text in shown if not text.startswith("You're viewing a shared view")]
        told = [entry["message"] for entry in browser.get_log("browser")]
        failed = [message for message in told if "Failed to load resource" in message]
        return shown + [message for message in failed if ACCOUNT not in message]

    def visit(self, address: str) -> None:
        """Opens the page of another server."""
        self._browser.get(address)

    def shoot(self, name: str) -> None:
        """Saves what the page shows, which must be no error."""
        SHOTS.mkdir(exist_ok=True)
        self._browser.save_screenshot(str(SHOTS / f"{name}.png"))
        assert self.errors() == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Pages]:
    clone = Clone(tmp_path_factory.mktemp("study"))
    clone.edit(longer)
    shutil.copy(empty_database, clone.folder / "mlflow.db")
    project = ("mlflow", "run", ".", "--env-manager", "local", "--run-name", "circles")
    printed = clone.run(*project, "-e", "report", "-P", "studies=circles")
    assert view.link("http://127.0.0.1:5000", "1") in printed
    server = Server(clone.folder)
    try:
        server.start()
        with chromium({"browser": "SEVERE"}, size=(1440, 1000)) as browser:
            yield Pages(browser, server, clone.folder)
    finally:
        server.kill()


def printed(pages: Pages, table: bool = False) -> str:
    """The part after the # of the address that `report` prints."""
    return view.link(pages.server.uri, pages.id, table=table).partition("#/")[2]


def test_the_printed_link_shows_curves_of_all_techniques_in_one_chart(pages: Pages) -> None:
    """The first test: MLflow remembers rows that are opened, and draws their curves first."""
    pages.open(printed(pages))
    pages.text("Learning curves")
    chart = "(//*[contains(@class, 'js-plotly-plot')])[1]"
    curves = f"{chart}//*[contains(@class, 'scatterlayer')]/*[contains(@class, 'trace')]"
    pages.find(f"({curves})[{1 + len(COMPARED)}]//*")
    for technique in ("none", *COMPARED):
        pages.text(f"{technique} · train (curve")  # the legend
    pages.shoot("mlflow-comparison")


def test_the_table_of_techniques_says_score_difference_and_verdict(pages: Pages) -> None:
    pages.open(printed(pages, table=True))
    for technique in ("none", *COMPARED):
        pages.find(f"//a[.='{technique} · train']")
        told = next(
            run.data.tags[view.VERDICT]
            for name, run in pages.runs.items()
            if name == f"{technique} · train"
        )
        cell = pages.text(told[:20])
        assert cell.location["x"] + 100 < 1440
    pages.shoot("mlflow-verdicts")


def test_the_experiment_lists_parents_and_opens_to_their_children(pages: Pages) -> None:
    pages.open(f"experiments/{pages.id}/runs")
    for name in ("none · tune", "none · train", "early_stopping · train"):
        pages.text(name)
    pages.click("//a[.='l2 · train']/ancestor::*[@role='gridcell'][1]//button")
    pages.text("l2 · tuned · search 0 · seed 0")
    pages.shoot("mlflow-runs")


def test_a_run_shows_its_learning_curves_and_its_model(pages: Pages) -> None:
    run = pages.runs["l2 · tuned · search 0 · seed 0"].info.run_id
    pages.open(f"experiments/{pages.id}/runs/{run}/model-metrics")
    pages.text("val_accuracy")
    pages.find("//*[contains(@class, 'js-plotly-plot')]//*[contains(@class, 'scatterlayer')]//*")
    pages.shoot("mlflow-curves")
    pages.open(f"experiments/{pages.id}/runs/{run}")
    model = "//a[contains(., 'l2-tuned-0-0')]"
    pages.find(model)
    pages.shoot("mlflow-run")
    pages.follow(model)
    pages.text("Logged from")
    pages.text("test_accuracy")
    pages.shoot("mlflow-model")


def test_the_champion_has_a_page_that_says_why_and_links_its_run(pages: Pages) -> None:
    best = pages.client.get_model_version_by_alias("regularization-circles", "champion")
    pages.open(f"models/{best.name}/versions/{best.version}")
    pages.text("On Circles with 30 training points")  # the advice
    pages.text("with the highest validation accuracy")
    assert best.run_id is not None
    run = pages.client.get_run(best.run_id)
    pages.text(run.info.run_name)
    pages.shoot("mlflow-champion")


def test_the_run_of_a_project_shows_its_finding_and_its_files(pages: Pages) -> None:
    (run,) = pages.client.search_runs(["0"])
    pages.open(f"experiments/0/runs/{run.info.run_id}")
    pages.text("circles/test_accuracy/none")
    pages.shoot("mlflow-run-project")


def test_a_search_opens_in_optunas_dashboard(pages: Pages) -> None:
    port = str(free_port())
    command = ["optuna-dashboard", "sqlite:///results/circles/optuna.db", "--port", port]
    dashboard = subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=pages.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(address), seconds=PATIENCE)
        pages.visit(address)
        pages.click("//*[text()='l2 0']")
        pages.text("Hyperparameter Importance")
        pages.find("//*[contains(@class, 'js-plotly-plot')]//*[contains(@class, 'trace')]")
        pages.shoot("optuna-dashboard")
    finally:
        dashboard.terminate()
        dashboard.wait()


def test_three_techniques_can_be_compared(pages: Pages) -> None:
    names = [f"{technique} · tuned · search 0 · seed 0" for technique in COMPARED]
    ids = quote(json.dumps([pages.runs[name].info.run_id for name in names]))
    pages.open(f"compare-runs?runs={ids}&experiments={quote(json.dumps([pages.id]))}")
    pages.text("Comparing 3 Runs from 1 Experiment")
    for name in names:
        pages.text(name)
    pages.find("//*[contains(@class, 'parcoords')]")
    pages.shoot("mlflow-compare")


def test_an_error_would_be_seen(pages: Pages) -> None:
    """The last test: the server is gone after it."""
    assert pages.errors() == []
    pages.server.kill()
    pages.turn_to(f"experiments/{pages.id}/runs")
    pages.text("Failed to fetch")
    errors = pages.errors()
    assert "Failed to fetch" in errors
    assert any("runs/search" in error for error in errors)
