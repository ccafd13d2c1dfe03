"""A copy of the project in which real commands run, for slow tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = ("circles", "digits", "digits_rows", "features", "mnist")  # a study of each kind


def tiny(params: dict[str, Any]) -> dict[str, Any]:
    """The project's params with the smallest budgets that still go through every part."""
    params["studies"] = {name: params["studies"][name] for name in KEPT}
    for study in params["studies"].values():
        images = study["data"]["source"] == "idx"
        epochs = 1 if images else 2
        study["training"]["epochs"] = epochs
        study["tuning"] |= {"trials": 2, "seeds": 1, "round": 2, "epochs": epochs}
        vary = study["final"].get("vary")
        study["tuning"]["race"] = [] if images or vary else [{"candidates": 1, "draws": 2}]
        if study["tuning"].get("pruning"):  # it needs a second epoch
            study["tuning"]["pruning"] = None if images else {"first": 1, "factor": 2}
        searches = {"searches": 1} if "searches" in study["final"] else {}
        study["final"] = {"replicates": 2, **searches}
        if vary:
            study["final"]["vary"] = {"rows": [50, 150]}
        kept = ["none"] if images else ["none", "l2", "dropout", "early_stopping"]
        given = study["techniques"]
        study["techniques"] = {name: given.get(name, {}) for name in kept}
        if "early_stopping" in kept:  # a patience within the epochs
            study["techniques"]["early_stopping"] = {}
        if not images and not vary:
            study["techniques"]["cocktail"] = {"combine": ["l2/first", "dropout"]}
        study["model"]["hidden"] = [8]
    params["engine"]["workers"] = 1  # each takes seconds to start
    return params


class Clone:
    """A copy of the work tree in a git repository of its own, with tiny budgets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, listed):
            if Path(name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, folder / name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        self.edit(tiny)

    @classmethod
    def of(cls, source: "Clone", folder: Path) -> "Clone":
        """A git clone: what is committed, and nothing else."""
        source.run("git", "clone", "--quiet", str(source.folder), str(folder))
        clone = cls.__new__(cls)
        clone.folder = folder
        return clone

    def commit(self, message: str) -> None:
        """Commits everything that git does not ignore."""
        name = ("-c", "user.name=A Tester", "-c", "user.email=tester@example.org")
        self.run("git", "add", "--all")
        self.run("git", *name, "commit", "--quiet", "--message", message)

    def edit(self, change: Any) -> None:
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(change(params)), encoding="utf-8")

    def run(self, *command: str) -> str:
        """Runs a command of the environment in the clone; gives what it printed."""
        done = self.attempt(*command)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def attempt(
        self, *command: str, folder: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the clone or in another folder, whether it fails or not."""
        scripts = str(Path(sys.executable).parent)
        clean = {"PATH": f"{scripts}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
        mirror = os.environ.get("DATA_MIRROR")
        if mirror and "://" not in mirror:
            clean["DATA_MIRROR"] = str(Path(mirror).resolve())
        own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env=own | clean | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def ran(self, *targets: str) -> set[str]:
        """The stages that `dvc repro` ran."""
        output = self.run("dvc", "repro", *targets)
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running")}
