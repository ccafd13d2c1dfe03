"""Overrides of values in params.yaml on the command line, for one run of `study`.

Reads and writes no files: takes the content of params.yaml and returns a changed copy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from pydantic.dataclasses import dataclass

from pipeline.config import loading
from pipeline.config.sections import Address, Auto, Executors, Trials, Workers
from pipeline.datasets.section import FROZEN, Draws
from pipeline.errors import UserError, nearest
from pipeline.techniques.registry import TECHNIQUES
from pipeline.techniques.training import ValidationToo

LISTS = ("studies", "techniques")
OF_ENGINE = ("workers", "executor", "address")
NAMES = (*LISTS, "trials", "seeds", *OF_ENGINE)


@dataclass(frozen=True, config=FROZEN)
class Request:
    """The values on a command line; None means the value in params.yaml.

    >>> request = Request.of({"studies": "circles,digits", "seeds": "10", "trials": "params.yaml"})
    >>> print(request)
    studies=circles,digits seeds=10
    """

    studies: tuple[str, ...] | None = None  # the studies to run
    techniques: tuple[str, ...] | None = None  # of every study, beside the baseline
    trials: Trials | None = None  # per search
    seeds: Draws | None = None  # replicates of the final runs
    workers: Workers | Auto | None = None
    executor: Executors | None = None
    address: Address | None = None  # of the cluster; no part of the study's name

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Self:
        """The request of a command line, option → text; the word `params.yaml` means None.

        Raises UserError that names the invalid options.
        """
        values: dict[str, Any] = {
            name: word for name, word in words.items() if word != loading.FILE
        }
        for name in LISTS:
            if name in values:
                values[name] = [word.strip() for word in values[name].split(",")]
        return loading.validate(cls, values, "command line")

    @property
    def replaces(self) -> bool:
        """Whether values of params.yaml are replaced, beyond a choice of studies."""
        return any(getattr(self, name) for name in NAMES if name != "studies")

    @property
    def name(self) -> str:
        """As the text, without the address: a study goes on in another cluster."""
        return str(replace(self, address=None)) or "address"

    def __str__(self) -> str:
        """As on the command line, such as `studies=circles,digits seeds=10`."""
        values = {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}
        shown = {
            name: ",".join(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }
        return " ".join(f"{name}={value}" for name, value in shown.items())

    def chosen(self, raw: Mapping[str, Any]) -> list[str]:
        """The studies to run, in the order of params.yaml. Raises UserError for unknown ones."""
        present = list(raw["studies"])
        wanted = present if self.studies is None else self.studies
        _check_names("studies", wanted, present)
        return [name for name in present if name in wanted]

    def applied(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the valid content of params.yaml with the chosen studies and values.

        The result must still be checked with `loading.parse`. Raises UserError for an unknown study
        or technique.
        """
        in_studies = [study["techniques"] for study in raw["studies"].values()]
        known = dict.fromkeys(
            [*TECHNIQUES, *(name for techniques in in_studies for name in techniques)]
        )
        _check_names("techniques", self.techniques or (), known)
        studies = {name: self._study(raw["studies"][name]) for name in self.chosen(raw)}
        engine = dict(raw.get("engine", {}))
        given = {name: getattr(self, name) for name in OF_ENGINE}
        engine |= {name: value for name, value in given.items() if value is not None}
        return {**raw, "engine": engine, "studies": studies}

    def _study(self, study: Mapping[str, Any]) -> dict[str, Any]:
        tuning, final, techniques = (
            dict(study[section]) for section in ("tuning", "final", "techniques")
        )
        if self.trials is not None:
            tuning |= {"trials": self.trials, "round": min(tuning["round"], self.trials)}
            tuning["race"] = _race(tuning.get("race", []), self.trials)
        if self.seeds is not None:
            numbers = {"replicates": self.seeds, "article_seeds": self.seeds}
            final |= numbers
            techniques = {name: _without_own(given, numbers) for name, given in techniques.items()}
        if self.techniques is not None:
            given = {name: techniques.get(name) or {} for name in self.techniques}
            sources = {each["values_of"] for each in given.values() if each.get("values_of")}
            wanted = {"none", *self.techniques, *sources}
            # Every comparison needs `none`. A technique that the study does not have gets the
            # default ranges and no article setting. A technique that is asked for is tuned, and so
            # is one whose values another one has.
            techniques = {
                name: {**techniques.get(name, _default(name)), "tuned": True}
                for name in {**TECHNIQUES, **techniques}
                if name in wanted
            }
        return {**study, "tuning": tuning, "final": final, "techniques": techniques}


def _race(heats: Iterable[Mapping[str, int]], trials: int) -> list[dict[str, int]]:
    """The rounds of a race that has no more candidates than there are trials."""
    return [{**heat, "candidates": min(heat["candidates"], trials)} for heat in heats]


def _without_own(technique: Mapping[str, Any], numbers: Iterable[str]) -> Mapping[str, Any]:
    """A technique without these numbers of final runs, which the command line sets for all."""
    if "final" not in technique:
        return technique
    kept = {name: value for name, value in technique["final"].items() if name not in numbers}
    return {**technique, "final": kept}


def _default(name: str) -> dict[str, str]:
    """The section of a technique that a study does not have."""
    trains_on_validation = TECHNIQUES[name].lowest.get(ValidationToo) is not None
    return {"values_of": "none"} if trains_on_validation else {}


def _check_names(parameter: str, words: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for word in words:
        if word not in known:
            hint = nearest(word, known)
            raise UserError(f"command line:{parameter}: unknown name {word!r}{hint}")
