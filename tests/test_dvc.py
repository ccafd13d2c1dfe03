"""dvc.yaml says what the code does, and a real `dvc repro` does what dvc.yaml says."""

import ast
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipeline.training.runs import CODE

from .clone import Clone

STAGES: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]

TIMED = STAGES["timing"]["matrix"]["dataset"]


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
    """The files that importing these modules reads, packages included."""
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = module_file(name)
        if path is None or name in found:
            continue
        found[name] = path
        todo += imports(path)
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return {path.as_posix() for path in found.values()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_deps_are_its_import_closure(stage: str) -> None:
    code = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert code == import_closure("pipeline.__main__", f"pipeline.stages.{stage}")


def test_a_units_key_holds_all_code_that_trains_it() -> None:
    package = Path("pipeline")
    held = {path.as_posix() for pattern in CODE for path in package.glob(pattern)}
    # What a technique does is in the key as a value; the others decide no number.
    other = {"__init__", "errors", "files", "techniques", "texts"}
    trains = import_closure("pipeline.training.trainer") - {f"pipeline/{name}.py" for name in other}
    assert held == trains


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_exists_or_is_made(stage: str) -> None:
    made = {
        out if isinstance(out, str) else next(iter(out))
        for other in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for out in other.get(kind, [])
    }
    for dep in STAGES[stage]["deps"]:
        generic = dep
        for name in ("circles", "digits", "features", "mnist", "fashion_mnist"):
            generic = generic.replace(f"/{name}/", "/${item.dataset}/")
        assert Path(dep).exists() or generic in made, dep


def only(clone: Clone, names: list[str]) -> None:
    """Leaves other data sets out of the clone: of params.yaml, and of what dvc.yaml lists."""
    clone.edit(lambda params: params | {"studies": {n: params["studies"][n] for n in names}})
    path = clone.folder / "dvc.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for stage in content["stages"].values():
        if matrix := stage.get("matrix"):
            matrix["dataset"] = [name for name in matrix["dataset"] if name in names]
    overview = content["stages"]["overview"]
    studies = [
        dep.split("/")[1] if dep.startswith("results/") else None for dep in overview["deps"]
    ]
    overview["deps"] = [
        dep
        for dep, name in zip(overview["deps"], studies, strict=True)
        if name is None or name in names
    ]
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@pytest.mark.slow
def test_a_real_repro_twice_and_after_changes(tmp_path: Path) -> None:
    images = "mnist" if os.environ.get("DATA_MIRROR") else "digits"
    clone, names = Clone(tmp_path), ["circles", images]
    only(clone, names)
    stages = {f"{s}@{n}" for s in ("fetch", "prepare", "tune", "train", "report") for n in names}
    assert clone.ran() == stages | {f"timing@{images}", "overview"}
    assert clone.ran() == set()

    for name in names:
        runs = pd.read_csv(clone.folder / "results" / name / "runs.csv")
        assert runs["mlflow_run_id"].notna().all()
        assert all((clone.folder / path).exists() for path in runs["model"])
        assert (runs.groupby(["technique", "setting"])["seed"].nunique() == 2).all()
        page = (clone.folder / "results" / name / "report.html").read_text(encoding="utf-8")
        assert all(technique in page for technique in runs["technique"].unique())

    def more_seeds(params: dict[str, Any]) -> dict[str, Any]:
        params["studies"][images]["final"]["seeds"] = 3
        return params

    path = clone.folder / "results" / images / "runs.csv"
    before = pd.read_csv(path).set_index("key")
    clone.edit(more_seeds)
    assert clone.ran() == {f"train@{images}", f"report@{images}", f"timing@{images}", "overview"}
    after = pd.read_csv(path).set_index("key")
    pd.testing.assert_frame_equal(after.loc[before.index], before)  # taken from the journal

    tables = [clone.folder / "results/circles" / name for name in ("trials.csv", "runs.csv")]
    of_one_worker = [decided(table) for table in tables]
    clone.edit(lambda params: params | {"engine": params["engine"] | {"workers": 2}})
    shutil.rmtree(clone.folder / ".journal/circles")
    for stage in ("tune", "train"):
        clone.run("python", "-m", "pipeline", stage, "circles")
    for table, one in zip(tables, of_one_worker, strict=True):
        pd.testing.assert_frame_equal(decided(table), one)

    assert "test_accuracy" in clone.run("dvc", "metrics", "show")
    assert "vega" in (clone.folder / plots_page(clone)).read_text(encoding="utf-8")


def decided(table: Path) -> pd.DataFrame:
    """A result table without what a run's time and its record in MLflow add."""
    return pd.read_csv(table).drop(columns=["seconds", "mlflow_run_id"], errors="ignore")


def plots_page(clone: Clone) -> str:
    """Renders the DVC plots of circles and gives the page's path."""
    clone.run("dvc", "plots", "show", "results/circles/plots/curves.csv")
    return "dvc_plots/index.html"
