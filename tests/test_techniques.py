"""Properties of the registry's entries, and of what they take."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass

import pytest

from pipeline.models.architectures import Autoencoder, Mlp
from pipeline.techniques.changes import Change, class_named
from pipeline.techniques.fit import misfit
from pipeline.techniques.noise import AlphaDropout, Dropout, GaussianDropout
from pipeline.techniques.part import Part
from pipeline.techniques.penalties import Activity, BiasPenalty, Gates, KernelPenalty, Penalty
from pipeline.techniques.registry import TECHNIQUES, combination
from pipeline.techniques.structure import BatchNorm
from pipeline.techniques.training import (
    Ema,
    ProximalGroupLasso,
    ProximalL1,
    Stopping,
    Swa,
    ValidationToo,
)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_an_entry_has_a_formula_a_source_defaults_and_ranges_that_it_takes(name: str) -> None:
    technique = TECHNIQUES[name]
    assert technique.summary
    assert technique.formula
    assert technique.source or name == "none"
    highest = technique.apply({each: found.high for each, found in technique.search.items()})
    assert (highest != technique.lowest) == bool(technique.search)
    defaults = {each: found.default for each, found in technique.search.items()}
    technique.apply({each: value for each, value in defaults.items() if value is not None})


@pytest.mark.parametrize("name", TECHNIQUES)
def test_invalid_values_are_rejected(name: str) -> None:
    technique = TECHNIQUES[name]
    values = {each: found.low for each, found in technique.search.items()}
    for each in values:
        for bad in (-1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=r"^`\w+` must .*, but got "):
                technique.apply(values | {each: bad})
    with pytest.raises(ValueError, match=r"expected the hyperparameters \[.*\], but got .*'other'"):
        technique.apply(values | {"other": 1})


def test_no_technique_imports_keras() -> None:
    script = (
        "import sys\n"
        "from pipeline.config import loading\n"
        "from pipeline.techniques.registry import TECHNIQUES\n"
        "[technique.lowest for technique in TECHNIQUES.values()]\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_order_in_which_parts_are_given_changes_nothing() -> None:
    parts = (AlphaDropout(0.1), Dropout(0.2), GaussianDropout(0.3), ProximalGroupLasso(1))
    one, other = Change(*parts, ProximalL1(1)), Change(ProximalL1(1), *parts[::-1])
    assert one == other
    assert one.identity() == other.identity()
    kinds = [Dropout, GaussianDropout, AlphaDropout]
    assert [type(part) for part in one.own if type(part) in kinds] == kinds


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (Change(BatchNorm()), Change(Ema(10)), "averaged weights lack its"),
        (Change(BatchNorm()).only("first"), Change(Swa(0.5)), "averaged weights lack its"),
        (Change(BatchNorm()), Change(Gates(0.1)), "gates cannot be combined with"),
        (Change(BatchNorm()).only("first"), Change(Gates(0.1)), "gates cannot be combined with"),
        (Change(BatchNorm()), Change(BiasPenalty(Penalty(l2=1))), "which removes the biases"),
        (Change(Ema(10)), Change(Stopping(1, "val_loss", again=True)), "continues from the last"),
        (Change(Ema(10)), Change(Swa(0.5)), "both techniques change averaging"),
        (Change(ValidationToo()), Change(Stopping(1, "val_loss")), "validation examples that are"),
    ],
)
def test_parts_that_exclude_each_other_are_rejected_in_either_order(
    one: Change, other: Change, why: str
) -> None:
    for first, second in ((one, other), (other, one)):
        with pytest.raises(ValueError, match=why):
            first | second


def test_parts_on_different_layers_do_not_exclude_each_other() -> None:
    change = Change(BatchNorm()).only("hidden_1") | Change(BiasPenalty(Penalty(l2=1))).only("first")
    assert "which removes the biases" in (misfit(change, Mlp("mlp", (4, 4))) or "")
    apart = Change(BatchNorm()).only("hidden_2") | Change(BiasPenalty(Penalty(l2=1))).only("first")
    assert misfit(apart, Mlp("mlp", (4, 4))) is None


def test_a_step_on_kernels_has_one_strength() -> None:
    steps = Change(ProximalL1(1)).only("hidden_1") | Change(ProximalL1(2)).only("hidden_2")
    assert "proximal_l1 can be set only once" in (misfit(steps, Mlp("mlp", (4, 4))) or "")


@pytest.mark.parametrize("name", TECHNIQUES)
def test_equal_changes_have_equal_identities_that_json_keeps(name: str) -> None:
    technique = TECHNIQUES[name]
    lowest, again = technique.lowest.identity(), technique.lowest.identity()
    highest = technique.apply({each: found.high for each, found in technique.search.items()})
    assert json.loads(json.dumps(lowest)) == again
    assert (highest.identity() != lowest) == bool(technique.search)


def test_an_identity_tells_on_which_layers_a_part_is() -> None:
    dropout = Change(Dropout(0.5))
    where = (dropout, dropout.only("first"), dropout.only("hidden_2"))
    assert len({json.dumps(change.identity()) for change in where}) == 3


def test_a_new_part_and_a_new_field_that_is_none_leave_identities_alone() -> None:
    @dataclass(frozen=True)
    class Longer(Part):
        slot = "dropout"
        rate: float
        since: float | None = None

    Longer.__name__ = "Dropout"
    assert Change(Longer(0.5)).identity() == Change(Dropout(0.5)).identity()
    assert Change(Longer(0.5, since=1)).identity() != Change(Dropout(0.5)).identity()
    assert Change().identity() == []


def test_the_classes_of_a_change_are_those_of_its_parts_and_of_what_they_hold() -> None:
    change = Change(Activity(Penalty(l1=1), "after")) | Change(Dropout(0.5)).only("first")
    names = {kind.__name__ for kind in change.part_classes()}
    assert {"Activity", "Penalty", "Dropout"} <= names
    assert not {"Part", "KernelPenalty", "Stopping"} & names
    assert Change().part_classes() == ()


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_classes_of_a_change_are_known_by_their_names(name: str) -> None:
    for kind in TECHNIQUES[name].lowest.part_classes():
        assert class_named(kind.__name__) is kind
    assert class_named("Nothing") is None


def test_a_part_is_gone_without_its_kind() -> None:
    change = combination(["dropout", "early_stopping"])
    found = change.apply({"dropout.rate": 0.5, "early_stopping.patience": 3})
    assert found.get(Stopping) == Stopping(3, "val_accuracy")
    assert found.without(Stopping) == Change(Dropout(0.5))
    assert found.get(KernelPenalty) is None


def test_a_whole_networks_part_cannot_be_on_single_layers() -> None:
    with pytest.raises(ValueError, match="averaging, stopping cannot be set for single layers"):
        Change(Ema(3), Stopping(1, "val_loss"), Dropout(0.1)).only("first")


def test_an_autoencoder_takes_what_needs_no_labels() -> None:
    model = Autoencoder("autoencoder", (8,), 4)
    assert misfit(Change(Stopping(1, "val_loss")), model) is None
    assert misfit(Change(Stopping(1, "val_accuracy")), model) is not None
