"""The two readings of an article's setting are those of params.yaml and of the page about them."""

import re
from pathlib import Path

import pytest

from pipeline.analysis import article, semantics
from pipeline.analysis.semantics import THEN, TODAY, Setting
from pipeline.config import loading
from pipeline.datasets.circles import ARTICLE_TRAIN

SETTINGS = semantics.settings()
PAGE = Path("docs/semantics.md").read_text("utf-8")
over_settings = pytest.mark.parametrize(
    ("name", "setting"), [pytest.param(*each, id=each[0]) for each in SETTINGS.items()]
)


@over_settings
def test_both_readings_are_the_articles_values_in_params_yaml(name: str, setting: Setting) -> None:
    techniques = loading.load().study(setting.study).techniques
    assert techniques[name].article == setting.then
    today = techniques[setting.today_technique]
    assert today.article == setting.today
    assert (today.combine, today.tuned) == ((name,), False)
    assert setting.then != setting.today


@over_settings
def test_the_page_has_the_same_numbers(name: str, setting: Setting) -> None:
    where = "before ReLU" if "before" in name else "after ReLU"
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    ((line, then, today),) = [
        cells
        for first, *cells in rows
        if first == f"| {setting.article}" and len(cells) == 3 and where in cells[0]
    ]
    assert setting.line.split("=")[1].split(",")[0] in line
    assert _numbers(then) == [*setting.then.values()]
    assert _numbers(today) == [*setting.today.values()]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+e-\d+", text)]


@over_settings
def test_the_page_has_the_lines_of_the_release(name: str, setting: Setting) -> None:
    file, lines = setting.source.split(" ", 1)
    release = setting.release.removeprefix("keras ")
    assert f"{release} {lines}" in PAGE
    assert f"`{file}`" in PAGE


@over_settings
def test_the_penalty_of_then_is_that_of_today_times_the_rows_of_the_one_batch(
    name: str, setting: Setting
) -> None:
    assert loading.load().study(setting.study).training.batch_size >= ARTICLE_TRAIN
    for key, value in setting.then.items():
        assert value == pytest.approx(ARTICLE_TRAIN * setting.today[key])


def test_a_technique_has_a_reading_only_where_two_differ() -> None:
    for name, setting in SETTINGS.items():
        assert semantics.reading(setting.study, name) == THEN
        assert semantics.reading(setting.study, setting.today_technique) == TODAY
        assert semantics.reading("digits", name) == ""
    assert semantics.reading("circles", "none") == ""


def test_what_was_published_is_what_the_page_says() -> None:
    printed = article.published()["circles"]
    told = {
        "activity_l1_before": r"published (\d+) and (\d+)\)",
        "activity_l1_after": r"100 and 73\.6 % \((\d+) and (\d+)\)",
    }
    for name, pattern in told.items():
        (found,) = re.findall(pattern, PAGE)
        train, test = (round(100 * value) for value in printed[name].values())
        assert found == (str(train), str(test))
    assert printed.keys() <= loading.load().study("circles").techniques.keys()
