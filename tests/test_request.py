"""A command line replaces what it names in a copy of params.yaml, and nothing else."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import loading, sections
from pipeline.config.overrides import NAMES, Request
from pipeline.errors import UserError
from pipeline.techniques.fit import misfit
from pipeline.techniques.registry import TECHNIQUES

RAW: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
STUDIES = loading.parse(RAW).studies
FIT_ALL = [
    name
    for name, technique in TECHNIQUES.items()
    if not any(
        misfit(technique.lowest, study.model, study.data.images) for study in STUDIES.values()
    )
]


def applied(**words: str) -> sections.Params:
    return loading.parse(Request.of(words).applied(RAW))


def test_the_word_params_yaml_leaves_everything_as_it_is() -> None:
    request = Request.of(dict.fromkeys(NAMES, loading.FILE))
    assert request == Request()
    assert not request.replaces
    assert request.applied(RAW) == RAW


@pytest.mark.slow
@given(
    studies=st.none() | st.lists(st.sampled_from([*STUDIES]), min_size=1),
    techniques=st.none() | st.lists(st.sampled_from(FIT_ALL), min_size=1),
    trials=st.none() | st.integers(1, 50),
    seeds=st.none() | st.integers(1, 5),  # some studies have five draws
    workers=st.none() | st.integers(1, 8),
)
def test_every_request_gives_a_valid_study_and_leaves_its_source_alone(
    studies: list[str] | None,
    techniques: list[str] | None,
    trials: int | None,
    seeds: int | None,
    workers: int | None,
) -> None:
    lists = {"studies": studies, "techniques": techniques}
    numbers = {"trials": trials, "seeds": seeds, "workers": workers}
    words = {name: ", ".join(value) for name, value in lists.items() if value}
    words |= {name: str(value) for name, value in numbers.items() if value}
    before = copy.deepcopy(RAW)
    settings = applied(**words)
    assert before == RAW
    assert list(settings.studies) == [n for n in STUDIES if studies is None or n in studies]
    for name, found in settings.studies.items():
        own = STUDIES[name]
        assert found.tuning.trials == (trials or own.tuning.trials)
        heats = own.tuning.heats
        assert [heat.candidates for heat in found.tuning.heats] == [
            min(heat.candidates, trials or heat.candidates) if index else found.tuning.trials
            for index, heat in enumerate(heats)
        ]
        assert [heat.draws for heat in found.tuning.heats] == [heat.draws for heat in heats]
        assert found.final.replicates == (seeds or own.final.replicates)
        assert found.final.article == (seeds or own.final.article)
        assert (found.final.searches, found.final.seeds) == (own.final.searches, own.final.seeds)
        expected = {*own.techniques}
        if techniques is not None:
            known = [own.techniques[each] for each in techniques if each in own.techniques]
            sources = {each.values_of for each in known if each.values_of}
            expected = {"none", *techniques, *sources}
        assert found.techniques.keys() == expected
        for technique in found.techniques.keys() & own.techniques.keys():
            asked = techniques is not None  # and is then searched, whatever params.yaml says
            given = own.techniques[technique]
            if seeds:
                given = replace(
                    given, final=replace(given.final, replicates=None, article_seeds=None)
                )
            assert found.techniques[technique] == replace(given, tuned=given.tuned or asked)
        assert (found.data, found.model, found.training) == (own.data, own.model, own.training)
    assert settings.engine.workers == (workers or "auto")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"studies": "circles,cirles"}, "studies: unknown name 'cirles'; did you mean 'circles'"),
        ({"studies": ""}, "studies: unknown name ''; expected one of circles, digits"),
        ({"techniques": "l1l2"}, "techniques: unknown name 'l1l2'; did you mean 'l1_l2'?"),
        ({"trials": "many"}, "trials: input should be a valid integer"),
        ({"trials": "2.5"}, "trials: input should be a valid integer"),
        ({"trials": "0"}, "trials: input should be greater than or equal to 1, but got '0'"),
        ({"seeds": "-3"}, "seeds: input should be greater than or equal to 1, but got '-3'"),
        ({"workers": "all"}, "workers: input should be 'auto', but got 'all'"),
        ({"executor": "slurm"}, "executor: input should be 'local' or 'ray', but got 'slurm'"),
        ({"address": "auto"}, "address: needs executor: ray, but got address: 'auto'"),
        ({"executor": "ray", "address": "head"}, "address: expected host:port or auto"),
        (
            {"techniques": "mixed_penalties", "studies": "digits"},
            "digits.techniques.mixed_penalties: needs 3 hidden layers, but got 2",
        ),
        (
            {"seeds": "63", "studies": "circles"},
            "circles.data.draws: must be at least 108, 63 for the final runs and 45 for the "
            "searches, but got 75",
        ),
    ],
)
def test_a_wrong_value_is_named(words: dict[str, str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        applied(**words)
    assert expected in str(caught.value)


def test_the_seeds_of_a_command_line_are_those_of_every_technique() -> None:
    raw = copy.deepcopy(RAW)
    own = {"replicates": 20, "article_seeds": 15, "searches": 2}
    raw["studies"]["circles"]["techniques"]["l2"] = {"final": own}
    study = loading.parse(Request.of({"seeds": "4"}).applied(raw)).study("circles")
    assert study.final_of("l2") == replace(study.final, searches=2)
    for name in study.techniques:
        final = study.final_of(name)
        assert (final.replicates, final.article) == (4, 4)


def test_a_technique_that_trains_on_validation_data_takes_the_baselines_values() -> None:
    digits = applied(studies="digits", techniques="train_and_validation").study("digits")
    assert digits.techniques["train_and_validation"].values_of == "none"
    assert digits.searched == ["none"]


def test_a_request_spells_what_was_asked() -> None:
    request = Request.of({"seeds": "10", "studies": "circles, digits", "workers": "auto"})
    assert str(request) == "studies=circles,digits seeds=10 workers=auto"
    assert request.replaces
    assert not Request.of({"studies": "digits"}).replaces


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "[fd00::1]:6379", "head-0.lan:6379"])
def test_a_cluster_is_asked_for_and_its_address_names_no_study(address: str) -> None:
    words = {"executor": "ray", "address": address}
    settings, request = applied(**words), Request.of(words)
    assert (settings.engine.executor, settings.engine.address) == ("ray", address)
    assert request.replaces
    assert request.name == "executor=ray"
