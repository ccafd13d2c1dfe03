"""The cost of MLflow: writing thousands of runs with long curves, and opening their page.

The records are like those of `train`: 18 metrics, five learning curves and a model.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import psutil

from pipeline.analysis import summary
from pipeline.datasets.task import CLASSIFICATION
from pipeline.techniques.registry import BASELINE, TECHNIQUES
from pipeline.tracking import comparison, drawing, view
from pipeline.tracking.comparison import Report
from pipeline.tracking.context import Context
from pipeline.tracking.records import Record, final_record
from pipeline.tracking.store import experiment_name
from pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

STUDY = "circles"
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "penalty")
# As many as the largest study of params.yaml compares.
COMPARED = [BASELINE, *[name for name in TECHNIQUES if name != BASELINE][:12]]
TIMEOUT = 300.0  # seconds until a server must answer and a page must show its runs


@dataclass(frozen=True)
class Opening:
    """The seconds until a page shows what it should, and the server's CPU time."""

    seconds: float
    server: float  # seconds of CPU time


@dataclass(frozen=True)
class Logged:
    """The seconds of writing all runs to MLflow, and the size of its database."""

    write: float
    processor: float  # seconds of CPU time of this process; others draw the figures
    again: float  # seconds of publishing the same runs once more
    database: int  # bytes


def log(folder: Path, runs: int, epochs: int, points: int) -> Logged:
    """Writes `runs` final runs with curves of `epochs` epochs, thinned to `points`, to SQLite."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    _track(folder, 1, epochs, points)  # makes the tables
    began = time.process_time()
    write = _track(folder, runs, epochs, points)
    processor = time.process_time() - began
    again = _track(folder, runs, epochs, points)
    _compare(folder, runs, epochs)
    drawing.stop()  # else the process that draws would keep this one from ending
    return Logged(write, processor, again, (folder / "mlflow.db").stat().st_size)


def _track(folder: Path, runs: int, epochs: int, points: int) -> float:
    context = Context(STUDY, "digest", points=points)
    began = time.perf_counter()
    with Tracker(context) as tracker:
        for record in records(folder, runs, epochs):
            tracker.log(record)
    assert tracker.failure is None, tracker.failure
    return time.perf_counter() - began


def model_file(folder: Path) -> Path:
    """A small .keras file."""
    path = folder / "model.keras"
    if not path.exists():
        import keras

        layers = [keras.Input((2,)), keras.layers.Dense(500), keras.layers.Dense(2)]
        keras.Sequential(layers).save(path)
    return path


def records(folder: Path, runs: int, epochs: int) -> Iterator[Record]:
    """Records like those of `train`, with curves and a model."""
    model = model_file(folder)
    rng = np.random.default_rng(2)
    for row in _rows(runs, epochs):
        curve = pd.DataFrame(rng.random((epochs, len(CURVES))), columns=pd.Index(CURVES))
        yield final_record(row, curve.assign(epoch=np.arange(1, epochs + 1)), model)


def _rows(runs: int, epochs: int) -> Iterator[dict[str, Any]]:
    """Rows as of runs.csv."""
    rng = np.random.default_rng(1)
    for run in range(runs):
        seed, index = divmod(run, len(COMPARED))
        row = {"key": f"{run:x}", "study": STUDY, "architecture": "mlp", "seed": seed}
        row |= {"task": CLASSIFICATION.name, "search": 0, "replicate": seed}
        row |= {"technique": COMPARED[index], "setting": "tuned", "protocol": "leak_free"}
        row |= {"leaks": False, "overlap": 0.0, "same_test": False, "reference": False}
        row |= {"params.learning_rate": 1e-3, "params.epochs": epochs, "seconds": 0.1}
        yield row | dict(
            zip((*CLASSIFICATION.headlines, *"abcdefghijkl"), rng.random(16), strict=True)
        )


def _compare(folder: Path, runs: int, epochs: int) -> None:
    """Shows in MLflow what a report would, with mean curves."""
    page = folder / "report.html"
    page.write_text("", encoding="utf-8")
    names, epoch = CLASSIFICATION.curves, np.arange(1, epochs + 1)
    curves = [
        pd.DataFrame({name: np.exp(-epoch / epochs) + i / 100 for name in names}).assign(
            epoch=epoch, technique=technique, setting="tuned"
        )
        for i, technique in enumerate(COMPARED)
    ]
    table = summary.summarize(pd.DataFrame(_rows(runs, epochs)))
    shown = comparison.show(
        Report(STUDY, summary.find(table), CLASSIFICATION, "", pd.concat(curves), page, {}, "")
    )
    assert shown is not None


DRAWN = f"""const plot = document.querySelector(".js-plotly-plot")
return plot && plot.querySelectorAll(".scatterlayer .trace").length >= {
    min(view.SHOWN, len(COMPARED))
}"""
LISTED = """return [...document.querySelectorAll("[role=gridcell] a")].some(
    link => link.textContent.includes(" · train"))"""
PAGES = {  # what is opened, and a script that says whether it shows what it should
    "the comparison": (view.link("", "{id}").removeprefix("/"), DRAWN),
    "the table of techniques": (view.link("", "{id}", table=True).removeprefix("/"), LISTED),
    "the list of runs": ("#/experiments/{id}/runs?workflowType=machine_learning", LISTED),
}


def opened(folder: Path, repeats: int) -> dict[str, list[Opening]]:
    """Opens each of `PAGES` in chromium, and waits until it shows what it should.

    The first opening also fills the browser's cache, and the server opens its store.
    """
    from mlflow import MlflowClient
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1300,1000"):
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    with _server(folder) as (uri, server), webdriver.Chrome(options, service) as browser:
        experiment = MlflowClient(uri).get_experiment_by_name(experiment_name(STUDY))
        assert experiment is not None
        return {
            name: [
                _open(browser, f"{uri}/{page.format(id=experiment.experiment_id)}", shown, server)
                for _ in range(repeats)
            ]
            for name, (page, shown) in PAGES.items()
        }


def _open(browser: "WebDriver", address: str, shown: str, server: int) -> Opening:
    """Opens an address until the script `shown` says so. `server`: its process id."""
    browser.get("about:blank")
    before, began = _processor(server), time.perf_counter()
    browser.get(address)
    while not browser.execute_script(shown):
        assert time.perf_counter() - began < TIMEOUT, f"{address} does not show what it should"
        time.sleep(0.1)  # looking more often would slow the page
    seconds = time.perf_counter() - began
    return Opening(seconds, _processor(server) - before)


def _processor(pid: int) -> float:
    """Seconds of CPU time of a process and its descendants."""
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return float(sum(cpu.user + cpu.system for cpu in times))


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, int]]:
    """An MLflow server for the store in a folder; yields its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | quiet, stdout=output, stderr=output, cwd=folder
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def _wait(address: str) -> None:
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            urllib.request.urlopen(address, timeout=TIMEOUT).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
