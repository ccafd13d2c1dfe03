"""Which executor params.yaml asks for. It starts with the first job."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution.executor import Answer, Executor, LocalExecutor, Work, devices_of
from pipeline.execution.journal import Journal
from pipeline.execution.worker import Job

NO_RAY = (
    "engine.executor: ray needs the package ray, which is not installed; "
    "run `.venv/bin/uv sync --frozen --extra ray` (see docs/cluster.md)"
)


class OnDemand:
    """An executor that is made when it is needed: a stage that the journal answers needs none."""

    def __init__(self, prepared: Path, engine: Engine, journal: Journal) -> None:
        self._prepared, self._engine, self._journal = prepared, engine, journal
        self._made: Executor | None = None

    @property
    def slots(self) -> Sequence[int]:
        """See `Executor`. Connects to a cluster, of which nothing is known before."""
        if self._made is None and self._engine.executor == "local":
            return range(len(devices_of(self._engine)))
        return self._executor.slots

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """See `Executor`."""
        return self._executor.submit(slot, job)

    def close(self) -> None:
        """See `Executor`."""
        if self._made is not None:
            self._made.close()

    @property
    def _executor(self) -> Executor:
        if self._made is None:
            self._made = _make(self._prepared, self._engine, self._journal)
        return self._made


def _make(prepared: Path, engine: Engine, journal: Journal) -> Executor:
    """Raises UserError if Ray is asked for and is not installed, or has no cluster."""
    if engine.executor == "local":
        return LocalExecutor(prepared, engine, journal)
    _set_up_ray()
    try:
        from pipeline.execution.ray_executor import RayExecutor
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UserError(NO_RAY) from None
    return RayExecutor(prepared, engine)


def _set_up_ray() -> None:
    """What Ray reads when it is imported, unless the user has set it.

    Ray's usage statistics stay off. A token that the user has is used: with the address of a
    cluster Ray would not do so by itself, and one without tokens does not mind.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or kept.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
