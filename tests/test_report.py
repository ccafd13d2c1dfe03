"""The page of a data set, the overview, and the files beside them."""

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from pipeline import formatting, results
from pipeline.analysis import summary
from pipeline.datasets import about
from pipeline.datasets.task import CLASSIFICATION
from pipeline.errors import UserError
from pipeline.report import blocks, overview_page, pages, rendering, sentences
from pipeline.stages import overview as overview_stage
from pipeline.stages import report as report_stage

from .documents import write_empty_docs
from .synthetic import make_runs, write_results

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout_l2": 0.0, "l1": -0.05}
NULL = dict.fromkeys(EFFECTS, 0.0)
GALLERIES = ("boundary", "weights", "filters", "whitening", "noise")
RUNS = ["about.json", "runs.csv", "curves.parquet", "predictions.npz", "inspections.npz"]
INPUTS = [*RUNS, "choices.csv", "yardsticks.csv", "tuned.json", "trials.csv"]
OUTCOMES = ("test_loss", "noise_accuracy")
COSTS = 1  # cost figures of a setting: all techniques run the same number of epochs
MIXED = "Runs were trained on 2 kinds of machine."
STUDIES = ["circles", "digits", "features", "my-own"]


def text_of(page: str) -> str:
    """What a reader of the page sees, on one line."""
    shown = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    shown = html.unescape(re.sub(r"<(?!br)[^>]+>", " ", shown.replace("<wbr>", "")))
    return re.sub(r"\s+", " ", shown)


def section(page: str, name: str) -> str:
    """The HTML of one section."""
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study with a planted improvement, its article's setting leaking."""
    article = make_runs({"none": 0.0, "l2": 0.03}, setting="article", leaks=True)
    runs = pd.concat([article, make_runs(EFFECTS)], ignore_index=True)
    runs.loc[runs["key"].isin(["tuned-l1-0", "tuned-l1-1"]), "collapsed"] = True
    folder = tmp_path_factory.mktemp("results") / "circles"
    write_results(folder, runs, at_edge=["l1"], outcomes=OUTCOMES)
    about.write(replace(about.read(folder), hosts=MIXED), folder / about.FILE)
    pages.write(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def assert_stands_alone(page: str) -> None:
    assert "<script" not in page
    assert "@import" not in page
    loaded = re.sub(r"<a [^>]*>", "", page)  # a link waits for a click
    assert not re.search(r"""(src|href|url\()\s*=?\s*["'(]?\s*(https?:)?//""", loaded)
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']


def test_page_holds_every_technique_of_every_setting(page: str) -> None:
    for technique in EFFECTS:
        header = f'<th scope="row">{technique.replace("_", "_<wbr>")}'
        settings = 2 if technique in ("none", "l2") else 1
        tables = 1 + len(OUTCOMES) + 1 + (technique != "none")  # numbers, costs, components
        given = settings == 2  # a row in the values of the article's setting
        assert page.count(header) == settings * tables + 2 + given  # twice among the tuned values
        assert page.count(f"<figcaption>{technique.replace('_', '_<wbr>')}: strength<") == 1


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert_stands_alone(page)


def test_numbers_on_the_page_are_those_of_the_summary(folder: Path, page: str) -> None:
    text = text_of(page)
    table = results.read_summary(folder)
    for row in table[table["role"] != "described"].to_dict("records"):
        measure = summary.measure_of(row)
        mean = formatting.interval(measure.value, row, "mean")
        name = row["technique"]
        if name == "none":
            assert f"{name} {mean} baseline" in text
        elif name != "l1":  # whose name is followed by a remark
            difference, p = summary.difference_text(row), summary.corrected_p(row)
            assert f"{name} {mean} {difference} {p}" in text
            assert f"{formatting.p_text(row['p_flips'])} " in text


def test_techniques_stand_in_the_order_of_the_runs_in_every_table(page: str) -> None:
    rows = re.findall(r'<th scope="row">([\w<>]+)', section(page, "tuned"))
    names = [row.replace("<wbr>", "").split("<")[0] for row in rows]
    compared = [*EFFECTS] * (1 + len(OUTCOMES) + 1) + [name for name in EFFECTS if name != "none"]
    assert names[: len(compared)] == compared


def test_a_planted_improvement_is_named(page: str) -> None:
    text = text_of(page)
    assert "On Circles (tuned setting), test accuracy rises by 3." in text
    assert "with l2, against no regularization, over 10 replicates. l2 is shown to be" in text
    assert "Better than no regularization l2 Worse than no regularization l1 " in text
    assert "Better in noise accuracy l2 " in text


def test_how_sure_each_choice_was_is_told(page: str) -> None:
    text = text_of(section(page, "values")).split("How sure the choices are")[1]
    assert "l2 1 1.10 0.71 [0.33, 0.89] +1.23 0 of 1 \N{EN DASH}" in text
    assert "l1 1 1.10 0.25 [-0.50, 0.80] \N{EN DASH} 0 of 1 strength" in text
    assert "dropout_l2 1 1.10 \N{EN DASH} \N{EN DASH} 0 of 1 \N{EN DASH}" in text


def test_trials_that_were_too_large_to_keep_leave_choices_without_their_worth(
    tmp_path: Path,
) -> None:
    folder = write_results(tmp_path / "circles", make_runs(EFFECTS))
    table = folder / "choices.csv"
    table.write_text(table.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    made = pages.choices_of(results.read_tuned(folder), results.read_choices(folder))
    assert "l2" in made
    assert {(each.rank, each.lost) for each in made.values()} == {(None, None)}


@pytest.mark.slow
def test_seeds_and_replicates_have_their_share_of_the_variance(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS, seeds=20, per_replicate=2, overlap=0.3)
    pages.write(write_results(tmp_path / "circles", runs))
    text = text_of((tmp_path / "circles" / pages.PAGE).read_text(encoding="utf-8"))
    assert "technique draw or split, with its search seed l2 " in text


@pytest.mark.slow
def test_no_improvement_is_claimed_where_there_is_none(tmp_path: Path) -> None:
    pages.write(write_results(tmp_path / "digits", make_runs(NULL, dataset="digits")))
    text = text_of((tmp_path / "digits" / "report.html").read_text(encoding="utf-8"))
    assert "no technique is shown to improve test accuracy over 10 replicates. Gains in" in text
    assert "are ruled out." in text
    assert "Better than no regularization" not in text
    assert "Worse than no regularization" not in text


def test_what_forbids_a_comparison_is_told() -> None:
    one, enough, unequal = (
        sentences.caution(summary.find(summary.summarize(runs)))
        for runs in (
            make_runs(EFFECTS, seeds=1),
            make_runs(EFFECTS),
            make_runs({"none": 0.0, "early_stopping": 0.0}),
        )
    )
    assert "With a single replicate or technique, no difference can be shown." in one
    assert enough == ""
    assert "early_stopping trained other epochs than no regularization" in unequal


def test_different_kinds_of_machine_are_told_with_the_finding(page: str) -> None:
    finding = page.split('<section class="finding"')[1].split("</section>")[0]
    assert MIXED in finding


def test_a_leak_is_told_where_the_setting_leaks_and_only_there(page: str) -> None:
    tuned, article = page.split('<section id="article">')
    assert "This setting leaks." not in tuned
    assert "This setting leaks." in article
    assert "The article&#39;s test points validate." in article


def test_collapsed_runs_are_told_beside_their_technique(page: str) -> None:
    assert "l1 2 of 10 runs predict the same for every example" in text_of(page)


def test_extreme_numbers_and_a_figure_that_fails_cost_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs = make_runs(EFFECTS, seeds=4)
    runs.loc[runs["technique"] == "l1", "diverged"] = True
    folder = write_results(tmp_path / "circles", runs)
    tuned = json.loads((folder / "tuned.json").read_text("utf-8"))
    del tuned["techniques"]["dropout_l2"]
    tuned["failed"] = {"dropout_l2": {"why": "every trial of dropout_l2 failed or diverged"}}
    (folder / "tuned.json").write_text(json.dumps(tuned), encoding="utf-8")
    with np.load(folder / "inspections.npz") as arrays:
        large = dict(arrays)
    for name, value in (("weights", np.inf), ("filters", -np.inf), ("plane", np.nan)):
        large[f"tuned/l2/{name}"] = np.full_like(large[f"tuned/l2/{name}"], value)
    np.savez(folder / "inspections.npz", **large)

    def broken(*given: object) -> None:
        raise ValueError("no room")

    monkeypatch.setattr("pipeline.report.figures._draw_cost", broken)
    pages.write(folder)
    text = text_of(page := (folder / "report.html").read_text(encoding="utf-8"))
    assert {record.getMessage() for record in caplog.records} == {
        "cost_panel cannot be drawn: ValueError: no room"
    }
    assert page.count("cannot be drawn") == COSTS
    assert "l1 4 of 4 runs diverged; no rank" in text
    assert "Every trial of dropout_l2 failed or diverged: no tuned setting." in text
    assert "Every trial of dropout_l2 failed or diverged" in sentences.told(folder)[1]


def test_tuned_values_are_shown_with_their_range_and_edge(page: str) -> None:
    text = text_of(section(page, "values"))
    assert "l2 strength 0.00031 (1e-5 to 0.1, log scale) learning rate 0.002 (held fixed)" in text
    assert text.count("strength lies at the edge of its range") == 1
    raced = "raced over more and more draws or seeds: 8 candidates on 2, 2 candidates on 6."
    assert f"Each search had 8 trials of 12 epochs, {raced}" in text


def test_every_figure_says_what_it_shows_and_over_how_many_seeds(page: str) -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    # Of both settings: forests and activations, costs, and panels of each technique. Of the
    # search: strengths and tuning curves.
    wide_and_narrow, panels = 2 * 2, 2 + len(GALLERIES)
    expected = 2 * wide_and_narrow + 2 * COSTS + panels * (4 + 2) + 4 + 4
    assert len(labels) == page.count("<svg") == expected
    told = r"10 replicates|in 8 trials\.|1 to 8 trials\.|seed 0( of replicate 0)?\.$"
    for label in labels:
        assert label.startswith("Circles, ")
        assert re.search(told, label)


@pytest.mark.slow
def test_epochs_are_set_against_accuracy_where_they_differ(page: str, tmp_path: Path) -> None:
    assert "Epochs run and test accuracy" not in page
    pages.write(
        write_results(tmp_path / "circles", make_runs({"none": 0.0, "early_stopping": 0.0}))
    )
    page = (tmp_path / "circles" / pages.PAGE).read_text(encoding="utf-8")
    assert "<figcaption>Epochs run and test accuracy in %<" in page


def test_tags_are_closed_in_order(page: str) -> None:
    void = {"meta", "link", "wbr", "br", "!doctype"}
    stack: list[str] = []
    for closing, name, ending in re.findall(r"<(/?)([a-z!]+)[^>]*?(/?)>", page, flags=re.I):
        if closing:
            assert stack.pop() == name
        elif name not in void and not ending:
            stack.append(name)
    assert stack == []


def test_a_setting_of_the_baseline_alone_has_no_comparison(tmp_path: Path) -> None:
    pages.write(write_results(tmp_path / "circles", make_runs({"none": 0.0})))
    page = (tmp_path / "circles" / "report.html").read_text(encoding="utf-8")
    assert "nothing was compared; without regularization test accuracy is 80.01 %" in page
    assert "Differences to no regularization" not in page


def test_names_are_escaped() -> None:
    assert rendering.breakable("<b>_1") == "&lt;b&gt;_<wbr>1"


def test_metrics_are_one_short_row_of_the_finding(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    finding = summary.find(results.read_summary(folder))
    row = next(row for row in finding.compared if row["technique"] == finding.champion)
    assert metrics == {
        "baseline": round(finding.baseline["mean"], 6),
        "gain": round(row["difference"], 6),
        "gain_low": round(row["simultaneous_low"], 6),
        "gain_high": round(row["simultaneous_high"], 6),
    }


def test_plot_data_hold_one_thinned_curve_for_each_technique_and_setting(folder: Path) -> None:
    curves = pd.read_csv(folder / "plots" / "curves.csv")
    expected = ["epoch", "technique", "setting", *CLASSIFICATION.curves, "validation"]
    assert list(curves.columns) == expected
    assert (curves["validation"] == curves["val_accuracy"]).all()
    assert (curves.groupby(["setting", "technique"])["epoch"].max() == 12).all()
    assert not curves.duplicated(["setting", "technique", "epoch"]).any()


def test_figures_are_also_written_as_files(folder: Path) -> None:
    assert {path.name for path in (folder / "figures").iterdir() if path.is_file()} == {
        *("forest-tuned.png", "accuracy-tuned.png", "loss-tuned.png", "active-tuned.svg"),
        *("forest-article.png", "accuracy-article.png", "loss-article.png", "active-article.svg"),
        "curve.svg",
    }


@pytest.mark.parametrize("name", INPUTS)
def test_a_missing_input_is_told_with_the_command_that_makes_it(name: str, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "digits", make_runs(EFFECTS, dataset="digits"))
    (folder / name).unlink()
    stage = "tune" if name in ("tuned.json", "trials.csv") else "train"
    with pytest.raises(
        UserError, match=f"{name} is missing; run `python -m pipeline {stage} digits`"
    ):
        pages.write(folder)


def overview(results: Path, page: Path) -> overview_page.Overview:
    found = overview_page.read_overview(results, page, STUDIES)
    overview_page.write_overview(found, page)
    return found


@pytest.mark.slow
def test_overview_joins_the_data_sets_and_names_those_without_results(tmp_path: Path) -> None:
    results, index = tmp_path / "results", tmp_path / "reports" / "index.html"
    for name in ("digits", "circles"):
        pages.write(write_results(results / name, make_runs(EFFECTS, dataset=name)))
    missing = overview(results, index).missing
    page = index.read_text(encoding="utf-8")
    assert missing == ["features", "my-own"]
    assert_stands_alone(page)
    text = text_of(page)
    assert "On Circles (tuned setting), test accuracy rises by 3." in text
    assert "On Digits (tuned setting), test accuracy rises by 3." in text
    assert "No results yet: features, my-own; dvc repro report@features" in text
    assert page.count("<svg") == 2
    links = re.findall(r'href="([^"#]*\.html)"', page)
    assert set(links) == {"../results/circles/report.html", "../results/digits/report.html"}
    studies = page.index('id="studies"')
    assert studies < page.index('id="claims"') < page.index('id="details"')


def test_overview_without_results_says_what_makes_them(tmp_path: Path) -> None:
    index = tmp_path / "reports" / "index.html"
    assert overview(tmp_path / "results", index).missing == STUDIES
    text = text_of(index.read_text(encoding="utf-8"))
    for name in STUDIES:
        assert name in text
    assert f"dvc repro report@{STUDIES[0]}" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [pages.THUMBNAIL, results.ADVICE])
def test_a_report_of_which_a_file_is_gone_is_told(name: str, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "results" / "circles", make_runs(EFFECTS))
    pages.write(folder)
    (folder / name).unlink()
    with pytest.raises(
        UserError, match=f"{name} is missing; run `python -m pipeline report circles`"
    ):
        overview(tmp_path / "results", tmp_path / "index.html")


@pytest.mark.slow
def test_stages_print_the_table_and_link_their_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_results(Path("results/circles"), make_runs(EFFECTS))
    report_stage.main(["circles", "--ui", "http://elsewhere:80/"])
    printed = capsys.readouterr().out
    assert summary.table(results.read_summary(Path("results/circles"))) in printed
    assert printed.endswith("report: results/circles/report.html\n")
    assert "\nOn Circles with 30 training points and up to 12 epochs: use l2, at" in printed
    write_empty_docs()
    overview_stage.main(["--docs"])
    for part in sentences.told(Path("results/circles")):
        assert part in blocks.read(Path("docs/results.md"), "results")
    assert "| A1 |" in blocks.read(Path("docs/claims.md"), "claims")
    printed = capsys.readouterr().out
    assert "No results yet: digits, digits_autoencoder, features, mnist" in printed
    assert printed.endswith("overview: reports/index.html\n")
    there = Path("reports/index.html").read_text(encoding="utf-8")
    assert 'href="../results/circles/report.html"' in there
    back = Path("results/circles/report.html").read_text(encoding="utf-8")
    assert 'href="../../reports/index.html"' in back
    assert 'href="http://elsewhere:80/#/runs/id-tuned-l2-0"' in back


@pytest.mark.slow
def test_table_alone_is_printed_without_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = Path("results/circles")
    pages.write(write_results(folder, make_runs(EFFECTS)))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    report_stage.main(["circles", "--table"])
    assert "circles, tuned setting" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.slow
def test_what_is_chosen_does_not_depend_on_the_test_data(folder: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(folder / "runs.csv")
    of_test = ["test_accuracy", "test_loss", "gap", "calibration_error", "noise_accuracy"]
    runs[of_test] = np.random.default_rng(0).random((len(runs), len(of_test)))
    other = write_results(tmp_path / "circles", runs, at_edge=["l1"])
    pages.write(other)
    texts = [(each / pages.PAGE).read_text(encoding="utf-8") for each in (folder, other)]
    one, another = (re.sub(r'id="[^"]*"|#[^")]*', "", section(page, "values")) for page in texts)
    assert one == another
    given = [json.loads((each / results.ADVICE).read_text()) for each in (folder, other)]
    assert given[0]["by_validation"] == given[1]["by_validation"]
    tuned = results.read_tuned(folder)["techniques"]
    for each in given:
        if each["technique"] is not None:
            assert each["values"] == tuned[each["technique"]]["searches"][0]["values"]


def test_drawings_are_whole_files_by_technique(folder: Path) -> None:
    drawings = pages.drawings(folder)
    assert set(drawings) == set(EFFECTS)
    kinds = {path.name for path in drawings["l2"]}
    assert kinds == {f"{kind}-{each}.svg" for kind in GALLERIES for each in ("article", "tuned")}
    assert {path.name for path in drawings["none"]} > kinds | {"forest-tuned.png"}
    for path in drawings["l1"]:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.get("style") == "background: #fff"
    table = pd.read_csv(folder / "plots" / "noise.csv")
    assert set(table["technique"]) == set(EFFECTS)
    assert table["accuracy"].between(0, 1).all()


@pytest.mark.slow
def test_pruned_trials_are_told(tmp_path: Path, page: str) -> None:
    assert "pruned" not in text_of(section(page, "values"))
    folder = write_results(tmp_path / "circles", make_runs(EFFECTS))
    table = pd.read_csv(folder / "trials.csv")
    table.loc[[0, 9], "state"] = "pruned"
    table.to_csv(folder / "trials.csv", index=False)
    pages.write(folder)
    text = text_of(section((folder / pages.PAGE).read_text(encoding="utf-8"), "values"))
    assert "2 trials were pruned: small and grey" in text
    assert "A pruned trial counts with the accuracy it had when it was pruned." in text


def test_every_ensemble_is_on_the_page(folder: Path, page: str) -> None:
    table = pd.read_csv(folder / "ensembles.csv")
    assert set(table["setting"]) == {"tuned", "article"}
    for row in table.to_dict("records"):
        shown = text_of(section(page, row["setting"])).split("Ensembles:")[1]
        name = f"5 seeds of {row['techniques']}" if row["kind"] == "seeds" else "all 4 techniques"
        assert f"{name} {row['n']} {formatting.percent(row['test_accuracy'])}" in shown


def test_every_run_is_listed_with_its_mlflow_run(folder: Path, page: str) -> None:
    table = section(page, "runs")
    runs = results.read_runs(folder)
    assert table.count("<tr>") == 1 + len(runs)
    for run in runs.to_dict("records"):
        link = f'<a href="{pages.UI}/#/runs/{run["mlflow_run_id"]}">'
        score = formatting.percent(run["test_accuracy"])
        row = f"<td>{run['replicate']}</td><td>{run['seed']}</td><td>{score}</td><td>{link}"
        assert row in table


@pytest.mark.slow
def test_a_run_that_mlflow_lacks_says_what_creates_it(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0, "l2": 0.0}).assign(mlflow_run_id=None)
    pages.write(write_results(tmp_path / "circles", runs))
    page = (tmp_path / "circles" / pages.PAGE).read_text(encoding="utf-8")
    assert "not in MLflow; run python -m pipeline publish circles" in text_of(section(page, "runs"))
    assert "/#/runs/" not in page


def test_a_page_is_far_below_12_megabytes(page: str) -> None:
    assert len(page.encode()) < 2_000_000


@pytest.mark.parametrize("stage", ["report", "overview"])
def test_stage_starts_without_the_heavy_packages(stage: str) -> None:
    code = (
        f"import sys, pipeline.stages.{stage};"
        "print({'tensorflow', 'keras', 'mlflow', 'optuna'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
