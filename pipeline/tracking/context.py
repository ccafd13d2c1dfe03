"""What all runs of a study share, and the digest of its values and data."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pipeline.config.loading import FILE
from pipeline.config.sections import Params, Study
from pipeline.techniques.ranges import Range
from pipeline.tracking.packages import Inputs
from pipeline.tracking.records import Phase, Record, as_text
from pipeline.tracking.store import project


def asked() -> str:
    """What was asked for beside params.yaml, such as `seeds=2`; empty for the study of params.yaml.

    `mlflow run` with other values works in a folder of that name under studies/. DVC runs a queued
    or temporary experiment in a copy of the project, whose params.yaml is not the project's own; it
    is called by the experiment's name.
    """
    folder = Path.cwd()
    if folder != project():
        return os.environ.get("DVC_EXP_NAME", "")
    own = folder.parent.name == "studies" and (folder.parent.parent / FILE).is_file()
    return folder.name if own else ""


def location(page: Path) -> Path:
    """A page's path as a terminal can open it: in a copy by DVC, where it will be in the project.

    A study of `mlflow run` has a folder of its own, so the whole path.
    """
    return page.resolve() if asked() and Path.cwd() == project() else page


@dataclass(frozen=True)
class Context:
    """What all runs of a study share."""

    study: str
    data_digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)  # of the parents
    ranges: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)  # by technique
    points: int = 100  # of a learning curve; >= 3
    inputs: Inputs | None = field(default=None, compare=False)  # what models take and return
    asked: str = ""  # see `asked`

    @classmethod
    def of_study(
        cls, study: str, settings: Params, data_digest: str, inputs: Inputs | None = None
    ) -> Self:
        """The context of a study of params.yaml; without `inputs` models take prepared values."""
        section = settings.study(study)
        tags = {"params_digest": sha256(repr(section).encode()).hexdigest()[:16]}
        engine = settings.engine
        params = {
            "seed": settings.seed,
            "engine.program": engine.program,
            "engine.population": engine.population,
            "engine.deterministic": engine.deterministic,
            **study_params(section),
        }
        return cls(
            study,
            data_digest,
            tags | git_tags(),
            params,
            {name: section.search(name) for name in section.techniques},
            settings.tracking.curve_points,
            inputs,
            asked(),
        )

    def study_digest(self, technique: str, phase: Phase, size: int | None = None) -> str:
        """A digest of what determines a technique's runs: of its params, a hyphen, of its data.

        If something was asked for beside params.yaml, a hyphen and a digest of that follow.

        The numbers of final runs are left out, so more of them continue the same parents, unless
        another study than that of params.yaml asks for them; so are the outcomes, by which runs are
        compared. `size`: of what the study varies, if it does.
        """
        ignored = ["final.", f"techniques.{technique}.final.", "outcomes"]
        ignored.append("data.input")  # the data have their own digest
        ignored += ["data.title", "data.origin", "data.licence"]  # which no result depends on
        if phase == "tune":
            ignored.append(f"techniques.{technique}.article")
        params = {
            name: as_text(value)
            for name, value in self.parent_params(technique).items()
            if not name.startswith(tuple(ignored))
        }
        ranges = {
            name: asdict(search_range)
            for name, search_range in self.ranges.get(technique, {}).items()
        }
        at = [size] if size else []
        parts = [[technique, params, ranges, *at], self.data_digest]
        return "-".join(_digest(part) for part in [*parts, *([self.asked] if self.asked else [])])

    def describes(self, record: Record) -> bool:
        """Whether the record was made with these params; result files can be older."""
        digest = self.study_digest(record.technique, record.phase, record.size)
        params, _, _ = digest.partition("-")
        return not record.study_digest or record.study_digest.startswith(params)

    def parent_params(self, technique: str) -> dict[str, object]:
        """The study's params, without those of other techniques."""
        own_prefix = f"techniques.{technique}."
        return {
            name: value
            for name, value in self.params.items()
            if not name.startswith("techniques.") or name.startswith(own_prefix)
        }


def _digest(content: object) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def study_params(study: Study) -> dict[str, object]:
    """A study as flat names and values, such as `training.batch_size`, without defaults."""
    return dict(_flat(study, ""))


def _flat(value: Any, name: str) -> Iterator[tuple[str, object]]:
    if is_dataclass(value):
        kind: Any = type(value)
        for each in fields(value):
            known, own = kind.__pydantic_fields__[each.name], getattr(value, each.name)
            if known.is_required() or own != known.get_default(call_default_factory=True):
                yield from _flat(own, f"{name}.{each.name}" if name else each.name)
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield from _flat(own, f"{name}.{key}")
    elif value is not None:
        yield name, value


def git_tags() -> dict[str, str]:
    """The current commit as our tag and as MLflow's; empty outside a git repository."""
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    commit = finished.stdout.strip()
    return {"git_commit": commit, "mlflow.source.git.commit": commit}
