"""Studies in which nothing is searched: the page opens what was compared, and tells no tuning."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import results
from pipeline.report import pages, sentences
from pipeline.tracking.findings import note
from pipeline.tracking.records import final_record

from .synthetic import make_runs, write_results
from .test_report import section, text_of

EFFECTS = {"none": 0.0, "visible": 0.0, "max_norm": 0.0}
MADE_OF = "input_dropout + max_norm"
OWN = {"origin": "https://example.org/echoes", "licence": "CC BY 4.0"}
ONE = re.compile(r"\b1 (replicate|trial|run|search|draw|epoch|technique|seed|final run)(s|es)\b")


def planted(folder: Path, seeds: int = 1) -> Path:
    """Values of an article on splits of one file, and the baseline where values would be tuned."""
    article = make_runs(EFFECTS, setting="article", overlap=0.3, noise=0.02)
    alone = make_runs({"none": 0.0}, seeds=seeds, overlap=0.3)
    runs = pd.concat([article, alone], ignore_index=True).assign(study="sonar")
    visible = runs["technique"] == "visible"
    runs.loc[visible, "made_of"] = MADE_OF
    runs.loc[visible, "params.input_dropout.rate"] = 0.2
    runs["params.learning_rate"] = visible.map({True: 0.1, False: 0.01})
    runs["params.momentum"] = 0.9
    return write_results(folder / "sonar", runs, own=OWN, searched=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = planted(tmp_path_factory.mktemp("untuned"))
    pages.write(home)
    return home


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / pages.PAGE).read_text(encoding="utf-8")


def test_what_the_finding_is_about_is_open(page: str) -> None:
    before, after = page.split('<section id="article">')
    assert before.count("<details") == before.count("</details>")
    assert "Differences to no regularization" in after.split("<details")[0]
    assert page.index('<section id="article">') < page.index('<section id="tuned">')


def test_nothing_is_called_tuned_where_nothing_was(folder: Path, page: str) -> None:
    told = "\n".join(sentences.told(folder))
    shown = text_of(page).split(" Every run ")[0]  # whose table has the names of runs.csv
    for text in (shown, told, *re.findall('aria-label="([^"]*)"', page)):
        assert not re.search(r"(?<!was )\btuned\b", text, re.IGNORECASE)
    assert "Strengths, rates and the learning rate were chosen" not in page
    assert "Untuned setting Nothing was tuned:" in text_of(section(page, "tuned"))
    assert "sonar, untuned setting" in told
    assert 'href="#values"' not in page


def test_why_there_is_no_advice(folder: Path) -> None:
    advised = json.loads((folder / results.ADVICE).read_text(encoding="utf-8"))
    assert advised["text"].endswith(": no advice, because no technique was tuned.")
    assert "epochs" not in advised["text"]  # of a search, which there was not
    assert advised["technique"] is None


def test_the_reason_why_no_number_of_replicates_suffices_is_the_one_that_holds(
    page: str,
) -> None:
    assert "would show a difference of 0.50 points: splits of one file share rows." in text_of(page)
    assert "few searches" not in text_of(page).split("How to read this")[0]


def test_one_of_a_kind_is_no_plural(folder: Path, page: str, tmp_path: Path) -> None:
    tuned = write_results(tmp_path / "circles", make_runs({"none": 0.0, "l2": 0.0}, seeds=1))
    pages.write(tuned)
    other = (tuned / pages.PAGE).read_text(encoding="utf-8")
    for text in (page, other, *sentences.told(folder), *sentences.told(tuned)):
        assert not ONE.search(re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
    assert "trained in 1 replicate." in page


def test_values_and_parts_of_a_combination_are_told_beside_what_was_published(page: str) -> None:
    text = text_of(section(page, "article"))
    visible = "zeroes a random share of the inputs while training; a bound on the norm of each"
    assert f"visible input_dropout and max_norm together: {visible}" in text
    assert "input dropout.rate 0.2, learning rate 0.1, momentum 0.9" in text
    rows = re.findall(r"(none|visible|max_norm) [^%]*?momentum 0\.9 \S+ \[[^]]*\] (\S+)", text)
    assert rows == [("none", "86.04"), ("visible", "83.52"), ("max_norm", "\N{EN DASH}")]
    assert "published" not in text_of(section(page, "tuned"))


def test_more_epochs_are_told_beside_their_values_and_not_as_what_is_better(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0, "dropout": 0.0, "longer": 0.08}, setting="article", noise=0.001)
    longer = runs["technique"] == "longer"
    runs = runs.assign(made_of=longer.map({True: "none", False: None}), reference=longer)
    runs["params.epochs"] = longer.map({True: 30.0, False: 10.0})
    runs = runs.assign(**{"params.learning_rate": 0.001})
    home = write_results(tmp_path / "circles", runs, searched=False)
    pages.write(home)
    article = text_of(section((home / pages.PAGE).read_text("utf-8"), "article"))
    assert "learning rate 0.001, epochs 30" in article
    assert "epochs 10" not in article
    told = "\n".join(sentences.told(home))
    assert "For reference, over another number of epochs: longer +" in told
    assert "no technique is shown to improve test accuracy" in told


def test_mlflow_says_what_a_combination_does(folder: Path) -> None:
    runs = results.read_runs(folder)
    row: Any = runs[runs["technique"] == "visible"].iloc[0].to_dict()
    described = note([final_record(row | {"architecture": "mlp"}, None, None)])
    assert "`visible` (input_dropout and max_norm together: zeroes a random share" in described


def test_origin_and_licence_of_own_data_are_told(page: str) -> None:
    assert f'<a href="{OWN["origin"]}">' in section(page, "data")
    assert "Licence: CC BY 4.0." in text_of(section(page, "data"))
