"""The registered model of a study: `@champion` is a run of the technique that its report advises.

Which technique that is says `analysis.summary.Finding`, the same for headline, advice and model. It
rests on test data, as every comparison of the report does. Which of its runs it is follows from
validation data alone, and so do the values and epochs of that run.
"""

import json
import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.datasets.task import named
from pipeline.techniques.registry import BASELINE
from pipeline.tracking.opening import visit
from pipeline.tracking.records import Row, finite
from pipeline.tracking.store import model_name
from pipeline.tracking.view import slug

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"  # the alias

_log = logging.getLogger(__name__)


def alias(asked: str) -> str:
    """The alias of a study's champion: `champion` for the study of params.yaml alone.

    >>> alias("seeds=2")
    'champion-seeds-2'
    """
    return f"{CHAMPION}-{slug(asked)}" if asked else CHAMPION


def crown(
    study: str, runs: pd.DataFrame, technique: str | None, advice: str, asked: str = ""
) -> bool:
    """Gives the alias to the best kept run of the advised technique, and says why in its note.

    Args:
        runs: final runs, as read by `results.read_runs`.
        technique: see `Finding.registered`; None: no model of the study is one to use.
        advice: the report's text, with which the note begins.
        asked: what was asked for beside params.yaml; such a study has an alias of its own.

    Nothing is written that is there already; a run that has a version keeps it. Without a technique
    or a kept model of it, the study has no champion. A store without the study stays as it is.
    Returns whether the store works; if not, a warning is logged.
    """
    kept = ranked(runs, technique) if technique else []
    best = kept[0] if kept else None
    write = partial(_crown, study=study, best=best, note=note(kept, advice), alias=alias(asked))
    return visit(study, write)


def ranked(runs: pd.DataFrame, technique: str) -> list[Row]:
    """A technique's tuned runs whose models are kept: best validation score first, then loss."""
    own = runs.reindex(columns=list(dict.fromkeys((*runs.columns, "model"))))
    own = own[(own["technique"] == technique) & (own["setting"] == "tuned") & own["model"].notna()]
    rows = [{str(name): value for name, value in row.items()} for row in own.to_dict("records")]
    return sorted(rows, key=lambda run: (*_rank(run), run["search"], run["seed"]))


def _rank(run: Row) -> tuple[float, float]:
    """`Task.rank` of a run; a diverged run has the worst rank."""
    return named(run["task"]).rank({} if run["diverged"] else _finite(run))


def _finite(run: Row) -> dict[str, Any]:
    return {name: value for name, value in run.items() if finite(value)}


def note(kept: list[Row], advice: str) -> str:
    """The advice, and which of the kept runs, best first, the champion is; empty if none is."""
    if not kept:
        return ""
    best, measure = kept[0], named(kept[0]["task"]).val
    technique = f"`{best['technique']}`"
    if best["technique"] == BASELINE:
        technique += ", the baseline"
    score = measure.told(None if best["diverged"] else best[measure.name])
    models = f"{len(kept)} models that are" if len(kept) > 1 else "the one model that is"
    stops = " It stopped early, at its best epoch." if best.get("stops_early") is True else ""
    return (
        f"{advice}\n\nThis model is {technique}, tuned: search {best['search']},"
        f" seed {best['seed']}, with the {measure.best} {measure.title} ({score}) of {models}"
        f" kept.{stops}"
    )


def _crown(
    client: "MlflowClient",
    experiment_id: str,
    study: str,
    best: Row | None,
    note: str,
    alias: str,
) -> None:
    """Moves the alias to a run's version, or removes it without a run."""
    name = model_name(study)
    if best is None:
        if alias in _aliases(client, name):
            client.delete_registered_model_alias(name, alias)
        return
    version = _version(client, experiment_id, study, best["key"])
    if version is None:
        _log.warning(
            "%s: the model of %s is not in MLflow, so the champion is not named; run `python -m "
            "pipeline publish %s`",
            study,
            f"{best['technique']}, search {best['search']}, seed {best['seed']}",
            study,
        )
        return
    if version.description != note:
        client.update_model_version(name, version.version, note)
    if str(_aliases(client, name).get(alias)) != str(version.version):
        client.set_registered_model_alias(name, alias, version.version)


def _aliases(client: "MlflowClient", name: str) -> Mapping[str, str]:
    """The aliases of a registered model, alias → version; none if there is no such model."""
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        return {}
    aliases: Mapping[str, str] = client.get_registered_model(name).aliases  # searches have none
    return aliases


def _version(
    client: "MlflowClient", experiment_id: str, study: str, key: str
) -> "ModelVersion | None":
    """The version of a run's model, created if necessary; None if MLflow lacks the model."""
    query = f"tags.unit_key = '{key}' and attributes.status = 'FINISHED'"
    name = model_name(study)
    for run in client.search_runs([experiment_id], query):
        run_id = run.info.run_id
        for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
            return version
        for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
            _describe(client, name, study)
            # The location, since MLflow would look up `models:/<id>` in another store than this.
            version = client.create_model_version(
                name, model.artifact_location, run_id, model_id=model.model_id, await_creation_for=0
            )
            link = json.dumps([{"name": name, "version": int(version.version)}])
            client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": link})
            return version
    return None


def _describe(client: "MlflowClient", name: str, study: str) -> None:
    """Creates the registered model if necessary, and says what its champion is."""
    description = (
        f"The model to use on {study}, `models:/{name}@{CHAMPION}`: a run of the technique that"
        " the report advises, or of the baseline if no technique is shown to help."
    )
    found = client.search_registered_models(f"name = '{name}'", max_results=1)
    if not found:
        client.create_registered_model(name, description=description)
    elif found[0].description != description:
        client.update_registered_model(name, description)
