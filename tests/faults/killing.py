"""Stages that are killed at random moments, and what must be the same after it."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import psutil
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.clone import Clone

STUDY = "circles"
STAGES = ("tune", "train", "report", "publish")
MADE = ("results", "models", "mlartifacts", "logs", f".journal/{STUDY}")
OWN = ("seconds", "mlflow_run_id")  # what differs between two times
PATIENCE = 900  # seconds that a stage may take on a busy machine

Victim = Literal["parent", "group", "worker"]
VICTIMS: tuple[Victim, ...] = ("parent", "group", "worker")


def small(params: dict[str, Any]) -> dict[str, Any]:
    """One study of two techniques, in two workers."""
    circles = params["studies"][STUDY]
    circles["data"] |= {"test": 200, "draws": 5}
    circles["techniques"] = {name: circles["techniques"].get(name, {}) for name in ("none", "l2")}
    params["engine"]["workers"] = 2
    return params | {"studies": {STUDY: circles}}


@dataclass
class Project:
    """A copy of the project that is killed, with a temporary folder and an MLflow store."""

    clone: Clone
    empty_database: Path
    started: "subprocess.Popen[str] | None" = None  # the last one
    took: dict[str, float] = field(default_factory=dict)  # seconds of each stage, undisturbed

    @classmethod
    def made(cls, folder: Path, empty_database: Path) -> "Project":
        """With prepared data."""
        (folder / "project").mkdir()
        project = cls(Clone(folder / "project"), empty_database)
        project.temporary.mkdir()
        project.clone.edit(small)
        for stage in ("fetch", "prepare"):
            project.finish(stage)
        return project

    @property
    def folder(self) -> Path:
        return self.clone.folder

    @property
    def temporary(self) -> Path:
        return self.folder.parent / "tmp"

    def afresh(self) -> None:
        """Removes everything that the stages made, but compiled programs."""
        for name in MADE:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for path in self.folder.glob("mlflow.db*"):
            path.unlink()
        shutil.copy(self.empty_database, self.folder / "mlflow.db")

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Starts a command in a process group of its own; its words go to a file."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "TMPDIR": str(self.temporary),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
        }
        with (self.folder.parent / "told.txt").open("w", encoding="utf-8") as told:
            self.started = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=told,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return self.started

    def close(self) -> None:
        """Kills what a failed test left running."""
        if self.started is not None and self.started.poll() is None:
            os.killpg(self.started.pid, signal.SIGKILL)
            self.started.wait()

    @property
    def told(self) -> str:
        return (self.folder.parent / "told.txt").read_text(encoding="utf-8")

    def stage(self, name: str) -> "subprocess.Popen[str]":
        return self.start(sys.executable, "-m", "pipeline", name, STUDY)

    def finish(self, name: str) -> None:
        """Runs a stage to its end, and notes its time if it is the first."""
        began = time.monotonic()
        assert self.stage(name).wait(PATIENCE) == 0, self.told
        self.took.setdefault(name, time.monotonic() - began)

    def kill(self, stage: str, victim: Victim, chance: random.Random) -> bool:
        """Kills a stage or a part of it amid its work; whether it lived until then."""
        process = self.stage(stage)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.9) * self.took[stage])
        if process.poll() is not None:
            return False
        if victim == "worker":
            workers = psutil.Process(process.pid).children(recursive=True)
            if not workers:
                victim = "parent"
            else:
                with suppress(psutil.NoSuchProcess):
                    chance.choice(workers).kill()
                process.wait(PATIENCE)  # whether it replaces the worker or gives up
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif victim == "parent":
            process.kill()
        process.wait(PATIENCE)
        return True

    def runs(self) -> list[Run]:
        """The runs of the store that are not deleted."""
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(ids, max_results=10_000))

    def strays(self) -> list[str]:
        """The command lines of processes that still work in the project."""
        return [" ".join(process.cmdline()) for process in self._processes()]

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()) == self.folder and process.status() != "zombie":
                    yield process

    def results(self) -> dict[str, Any]:
        """What must be the same, whatever was killed."""
        home = self.folder / "results" / STUDY
        tables = {
            name: pd.read_csv(home / name).drop(columns=[*OWN], errors="ignore").to_csv()
            for name in ("trials.csv", "trial_runs.csv", "runs.csv", "choices.csv")
        }
        summary = pd.read_csv(home / "summary.csv")
        tables["summary.csv"] = summary[~summary["outcome"].isin(OWN)].to_csv()
        texts = {
            name: (home / name).read_text(encoding="utf-8")
            for name in ("tuned.json", "advice.json", "metrics.json")
        }
        with np.load(home / "predictions.npz") as arrays:
            predicted = {name: arrays[name].tobytes() for name in arrays.files}
        return {**tables, **texts, **predicted}

    def shown(self) -> list[tuple[str, ...]]:
        """MLflow's runs, without their ids: what each is, and its status."""
        names = ("technique", "phase", "setting", "search", "trial", "seed", "unit_key")
        return sorted(
            (run.info.status, *(run.data.tags.get(name, "") for name in names))
            for run in self.runs()
        )
