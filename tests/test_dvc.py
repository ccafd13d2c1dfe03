"""dvc.yaml says what the code does, and a real `dvc repro` does what dvc.yaml says."""

import ast
import copy
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from pipeline.config import loading
from pipeline.config.sections import Study

from .clone import Clone

STAGES: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
SHOWN = "pipeline.tracking"  # shows results in MLflow, and decides none


def module_file(name: str) -> Path | None:
    """The file of a module of this package."""
    base = Path(*name.split("."))
    found = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()]
    return found[0] if found and name.startswith("pipeline") else None


def imports(path: Path) -> Iterator[str]:
    """The names that a file imports, inside its functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def import_closure(*modules: str) -> set[str]:
    """The files that importing these modules reads, packages included, but for what only shows."""
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = module_file(name)
        if path is None or name in found or name.startswith(SHOWN):
            continue
        found[name] = path
        todo += imports(path)
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return {path.as_posix() for path in found.values()}


def body(stage: str) -> dict[str, Any]:
    """What a stage runs and needs, of one study where it is of each."""
    found: dict[str, Any] = STAGES[stage].get("do", STAGES[stage])
    return found


def code_deps(stage: str) -> set[str]:
    """The files and folders of the package among a stage's deps."""
    return {dep for dep in body(stage)["deps"] if dep.startswith("pipeline/")}


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_deps_cover_its_import_closure_and_nothing_else(stage: str) -> None:
    closure = import_closure("pipeline.__main__", f"pipeline.stages.{stage}")
    deps = code_deps(stage)
    assert [path for path in sorted(closure) if not any(covers(dep, path) for dep in deps)] == []
    assert [dep for dep in sorted(deps) if not any(covers(dep, path) for path in closure)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_code_is_named_by_rooms_so_that_a_new_file_is_no_change_of_dvc_yaml(stage: str) -> None:
    of_stages = {"pipeline/stages/__init__.py", f"pipeline/stages/{stage}.py"}
    assert all(dep.count("/") == 1 for dep in code_deps(stage) - of_stages)
    assert "pipeline/stages" not in code_deps(stage)  # another stage's code is not its own


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_exists_or_is_made(stage: str) -> None:
    made = {
        out if isinstance(out, str) else next(iter(out))
        for other in STAGES
        for kind in ("outs", "metrics", "plots")
        for out in body(other).get(kind, [])
    }
    for dep in body(stage)["deps"]:
        exists = Path(dep).exists() or dep == "${item.data.input}"
        assert exists or any(covers(dep, path) for path in made), dep


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_no_key_that_a_study_may_lack(stage: str) -> None:
    """DVC fails where params.yaml does not have a key, whatever it means then."""
    required = {
        field.name
        for field in dataclasses.fields(Study)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    own = [param.split(".") for param in body(stage).get("params", []) if "${key}." in param]
    assert {param[2] for param in own} <= required


def test_dvc_yaml_names_no_study_and_stays_short() -> None:
    text = Path("dvc.yaml").read_text(encoding="utf-8")
    assert not [name for name in loading.load().studies if re.search(rf"\b{name}\b", text)]
    assert len(text.splitlines()) <= 150
    assert {stage for stage in STAGES if "do" not in STAGES[stage]} == {"overview"}


def two_circles(params: dict[str, Any]) -> dict[str, Any]:
    """Two studies of one source, with the smallest budgets."""
    circles = params["studies"]["circles"]
    circles["data"] |= {"test": 200, "draws": 5}
    circles["techniques"] = {name: circles["techniques"][name] for name in ("none", "l2")}
    noisy = copy.deepcopy(circles)
    noisy["data"]["noise"] = 0.3
    del noisy["outcomes"]  # it is optional
    return params | {"studies": {"circles": circles, "noisy-circles": noisy}}


@pytest.mark.slow
@pytest.mark.timeout(1200)  # some thirty stages
def test_a_study_that_is_added_to_params_yaml_alone_goes_through_everything(
    tmp_path: Path, empty_database: Path
) -> None:
    clone = Clone(tmp_path)
    shutil.copy(empty_database, clone.folder / "mlflow.db")
    clone.edit(two_circles)
    names, stages = ("circles", "noisy-circles"), [stage for stage in STAGES if stage != "overview"]
    assert clone.ran() == {f"{stage}@{name}" for stage in stages for name in names} | {"overview"}
    assert clone.ran() == set()

    about = json.loads((clone.folder / "results/noisy-circles/about.json").read_text("utf-8"))
    assert (about["study"], about["source"], about["title"]) == (
        "noisy-circles",
        "circles",
        "Circles (noisy-circles)",
    )
    assert about["sizes"]["leak_free"] == {"train": 30, "val": 70, "test": 200}
    index = (clone.folder / "reports/index.html").read_text(encoding="utf-8")
    for name in names:
        assert f'href="../results/{name}/report.html"' in index
        assert (clone.folder / f"logs/train-{name}.log").exists()
    client = MlflowClient(f"sqlite:///{clone.folder}/mlflow.db")
    assert client.get_experiment_by_name("regularization/noisy-circles") is not None

    for name in names:
        of_its_own(clone, name)

    # What changes in one study makes it and the overview stale, and nothing else.
    path = clone.folder / "results/noisy-circles/runs.csv"
    before = pd.read_csv(path).set_index("key")
    clone.edit(lambda params: more_seeds(params, "noisy-circles"))
    assert stale(clone) == {"tune@noisy-circles", "train@noisy-circles", "overview"}
    changed = {f"{stage}@noisy-circles" for stage in ("tune", "train", "report", "timing")}
    assert clone.ran() == changed | {"overview"}
    after = pd.read_csv(path).set_index("key")
    pd.testing.assert_frame_equal(after.loc[before.index], before)  # taken from the journal

    path = clone.folder / "data/sources/circles.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("title: Circles", "title: Rings"), encoding="utf-8")
    inputs = {f"{stage}@{name}" for stage in ("fetch", "prepare") for name in names}
    assert stale(clone) == inputs
    path.write_text(text, encoding="utf-8")

    clone.run("python", "-m", "pipeline", "study", "--studies", "noisy-circles", "--seeds", "2")
    own = clone.folder / "studies/studies=noisy-circles_seeds=2/results"
    assert [path.name for path in own.iterdir()] == ["noisy-circles"]

    clone.edit(lambda params: params | {"studies": {"circles": params["studies"]["circles"]}})
    assert clone.ran() == {"overview"}  # a study that is gone leaves the page
    index = (clone.folder / "reports/index.html").read_text(encoding="utf-8")
    assert "noisy-circles" not in index

    assert "gain_low" in clone.run("dvc", "metrics", "show")
    assert "vega" in (clone.folder / plots_page(clone)).read_text(encoding="utf-8")

    tables = [clone.folder / "results/circles" / name for name in ("trials.csv", "runs.csv")]
    of_one_worker = [decided(table) for table in tables]
    clone.edit(lambda params: params | {"engine": params["engine"] | {"workers": 2}})
    shutil.rmtree(clone.folder / ".journal/circles")
    for stage in ("tune", "train"):
        clone.run("python", "-m", "pipeline", stage, "circles")
    for table, one in zip(tables, of_one_worker, strict=True):
        pd.testing.assert_frame_equal(decided(table), one)


def stale(clone: Clone) -> set[str]:
    """The stages that have changed deps; those that depend on them follow."""
    return set(json.loads(clone.run("dvc", "status", "--json")))


def more_seeds(params: dict[str, Any], name: str) -> dict[str, Any]:
    """One replicate more of a study's final runs."""
    params["studies"][name]["final"]["replicates"] = 3
    return params


@pytest.mark.slow
def test_a_real_repro_of_images_runs_each_stage_once(tmp_path: Path) -> None:
    images = "mnist" if os.environ.get("DATA_MIRROR") else "digits"
    clone = Clone(tmp_path)
    clone.edit(lambda params: params | {"studies": {images: params["studies"][images]}})
    stages = {f"{stage}@{images}" for stage in STAGES if stage != "overview"}
    assert clone.ran() == stages | {"overview"}
    assert clone.ran() == set()
    of_its_own(clone, images)


def small(studies: dict[str, Any]) -> dict[str, Any]:
    """All studies with all their techniques: small networks, two replicates, a few epochs."""
    studies = copy.deepcopy(studies)
    for study in studies.values():
        study["model"]["hidden"] = [8] * len(study["model"]["hidden"])
        study["training"]["epochs"] = epochs = 4
        study["tuning"] |= {"trials": 2, "seeds": 1, "round": 2, "epochs": epochs, "race": []}
        if study["tuning"].get("pruning"):
            study["tuning"]["pruning"] = {"first": 1, "factor": 2}
        few = {name: 2 for name in ("replicates", "article_seeds") if name in study["final"]}
        study["final"] |= few | ({"searches": 1} if "searches" in study["final"] else {})
        for technique in study["techniques"].values():
            technique.pop("final", None)
            if "patience" in technique.get("search", {}):
                technique["search"]["patience"] = {"low": 1, "high": 3, "integer": True}
    return studies


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="needs images: DATA_MIRROR")
def test_one_repro_makes_every_study_of_params_yaml(tmp_path: Path) -> None:
    studies = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))["studies"]
    clone = Clone(tmp_path)
    clone.edit(lambda params: params | {"studies": small(studies)})
    each = {f"{stage}@{name}" for stage in STAGES if stage != "overview" for name in studies}
    assert clone.ran() == each | {"overview"}
    clone.run("python", "-m", "pipeline", "overview", "--docs")
    assert not_run(clone.folder) == not_run(Path())
    assert "not finite" not in (clone.folder / "docs/claims.md").read_text(encoding="utf-8")


def not_run(folder: Path) -> list[list[str]]:
    """Claim and place of those that the page of claims says have no runs."""
    lines = (folder / "docs/claims.md").read_text(encoding="utf-8").splitlines()
    return [line.split("|")[1:4:2] for line in lines if "**not run**" in line]


def of_its_own(clone: Clone, study: str) -> None:
    """The study has runs of two seeds, all in MLflow, models of its first search, and a page."""
    runs = pd.read_csv(clone.folder / "results" / study / "runs.csv")
    assert runs["mlflow_run_id"].notna().all()
    kept = runs["model"].dropna()
    assert len(kept)
    assert all((clone.folder / path).exists() for path in kept)
    assert (runs.groupby(["technique", "setting"])["seed"].nunique() == 2).all()
    page = (clone.folder / "results" / study / "report.html").read_text(encoding="utf-8")
    assert all(technique in page for technique in runs["technique"].unique())


def decided(table: Path) -> pd.DataFrame:
    """A result table without what a run's time and its record in MLflow add."""
    return pd.read_csv(table).drop(columns=["seconds", "mlflow_run_id"], errors="ignore")


def plots_page(clone: Clone) -> str:
    """Renders the DVC plots of circles and gives the page's path."""
    clone.run("dvc", "plots", "show", "results/circles/plots/curves.csv")
    return "dvc_plots/index.html"
