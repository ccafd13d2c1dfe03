"""A study that is added to params.yaml leaves every other byte of the file as it is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.writing import added, checked
from pipeline.errors import UserError

OWN = Path("params.yaml").read_text("utf-8")
SECTION = {"data": {"classes": ["yes", "no", "1"], "draws": 5}, "techniques": {"none": {}}}
LAST = "seed: 1\n\nstudies: # by name\n  one:\n    data: {a: 1,\n      b: 2}\n    # the end\n"
FILES = {
    "the project's": OWN,
    "comments at the end": LAST,
    "no line end": LAST.rstrip("\n"),
    "another key after the studies": f"{LAST}\n# of the engine\nengine:\n  workers: 2\n",
    "four spaces": "studies:\n    one:\n        data: {a: 1}\n",
}


@pytest.mark.parametrize("before", FILES.values(), ids=FILES)
def test_nothing_else_changes(before: Any) -> None:
    after = added(before, "mine", SECTION, "data.csv: 900 examples")
    lines = iter(after.splitlines())
    assert all(line in lines for line in before.splitlines()), "a line was lost or moved"
    expected = yaml.safe_load(before)
    expected["studies"]["mine"] = SECTION
    assert yaml.safe_load(after) == expected


@pytest.mark.parametrize("before", FILES.values(), ids=FILES)
def test_a_replaced_study_leaves_nothing_behind(before: Any) -> None:
    once = added(before, "mine", SECTION, "the first one")
    twice = added(once, "mine", {"data": {"draws": 9}}, "second", replaces=True)
    assert yaml.safe_load(twice)["studies"]["mine"] == {"data": {"draws": 9}}
    assert "the first one" not in twice
    assert added(once, "mine", SECTION, "the first one", replaces=True) == once


def test_a_study_that_is_there_is_kept_unless_it_may_be_replaced() -> None:
    with pytest.raises(UserError, match="has a study 'one' already; `--replace`"):
        added(LAST, "one", SECTION, "")


@pytest.mark.parametrize(
    "text", ["seed: 1\n", "studies: {}\n", "studies: {one: {a: 1}}\n", "- 1\n", ""]
)
def test_a_file_without_a_block_of_studies_is_refused(text: Any) -> None:
    with pytest.raises(UserError, match="`studies` must have at least one study"):
        added(text, "mine", SECTION, "")


@given(names=st.lists(st.text(max_size=12), max_size=4))
def test_odd_names_are_read_back_as_they_were(names: Any) -> None:
    section = {"data": {"drop": names, "classes": [*names, "true", "0", "null"]}}
    after = added(LAST, "mine", section, "odd")
    assert yaml.safe_load(after)["studies"]["mine"] == section


def test_an_invalid_study_is_refused_and_the_file_kept(tmp_path: Any) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(OWN, "utf-8")
    with pytest.raises(UserError, match="mine"):
        checked(path, {"mine": {"data": {"source": "digits"}}}, "")
    assert path.read_text("utf-8") == OWN
