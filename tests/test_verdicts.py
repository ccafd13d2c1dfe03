"""Verdicts as tables: the same words and numbers everywhere, and none that was not measured."""

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline import verdicts
from pipeline.claims import CLAIMS, WORDS
from pipeline.errors import UserError
from pipeline.stages import overview

from .synthetic import make_runs

EFFECTS = {"none": 0.0, "activity_l1_before": 0.03, "activity_l1_after": -0.04}
ROW = re.compile(r"\| ([^|]+) \| ([^|]+) \| \*\*([^|]+)\*\* \| ([^|]*) \| (\d*) \|")


@pytest.fixture(scope="module")
def judged() -> list[verdicts.Judged]:
    runs = [make_runs(EFFECTS, setting="article", leaks=True), make_runs(EFFECTS)]
    return verdicts.judge_all({"circles": pd.concat(runs)})


def rows_of(block: str) -> list[tuple[str, ...]]:
    found = [ROW.fullmatch(line) for line in block.splitlines() if line.startswith("| ")]
    return [row.groups() for row in found[1:] if row]


def assert_form(block: str) -> None:
    rows = rows_of(block)
    assert [row[:2] for row in rows] == [(claim.id, claim.sentence) for claim in CLAIMS]
    for _, _, word, shows, pairs in rows:
        assert word in WORDS
        assert shows
        assert (word == "not run") == (pairs == "")
        assert (word == "not run") == ("[" not in shows)


def test_the_block_has_a_row_for_each_claim(judged: list[verdicts.Judged]) -> None:
    block = verdicts.markdown(judged, "2026-01-02 on 2 cores")
    assert block.startswith("Judged 2026-01-02 on 2 cores.\n")
    assert_form(block)


def test_the_readme_has_the_form_that_the_code_gives() -> None:
    found = verdicts.BLOCK.search(Path("README.md").read_text("utf-8"))
    assert found is not None
    assert re.search(r"^Judged \d{4}-\d\d-\d\d on \d+ cores, ", found[0], re.MULTILINE)
    assert_form(found[0])


def test_the_block_replaces_the_one_before(judged: list[verdicts.Judged]) -> None:
    block = verdicts.markdown(judged, r"2026 with \1 and \g<2> in it")
    text = "before\n<!-- claims -->\nold\n<!-- /claims -->\nafter\n"
    once = verdicts.update(text, block)
    assert once == f"before\n<!-- claims -->\n{block}<!-- /claims -->\nafter\n"
    assert verdicts.update(once, block) == once
    with pytest.raises(UserError, match="must have the lines <!-- claims -->"):
        verdicts.update("no markers", block)


def test_csv_terminal_and_readme_tell_the_same(
    judged: list[verdicts.Judged], tmp_path: Path
) -> None:
    path = tmp_path / "results" / "claims.csv"
    verdicts.write(judged, path)
    table = pd.read_csv(path, keep_default_na=False)
    shown = table[table["role"] == "verdict"].drop_duplicates("id")
    told = dict(zip(shown["id"], shown["verdict"], strict=True))
    assert told == {row[0]: row[2] for row in rows_of(verdicts.markdown(judged, "now"))}
    lines = verdicts.table(judged).splitlines()
    for claim, word in told.items():
        assert any(re.match(rf"{claim} +{word} ", line) for line in lines)
    assert max(map(len, lines)) <= verdicts.WIDTH
    not_run = table[table["verdict"] == "not run"]
    assert (not_run[["difference", "p", "p_matters"]] == "").all(axis=None)
    assert not_run["notes"].all()


def test_what_was_ruled_out_is_told_where_the_verdict_rests_on_it(
    judged: list[verdicts.Judged],
) -> None:
    texts = {
        each.claim.id: [verdicts.result(found) for found in each.verdict.found] for each in judged
    }
    assert "ruled out" not in texts["A3"][0]  # shown to be worse: nothing needs ruling out
    assert texts["A2"][0].endswith("\N{MINUS SIGN}1 points ruled out")  # equal train accuracies
    assert texts["A4"][0].endswith("+1 points ruled out")
    assert texts["D4"][0].startswith("0.00 % [0.00, 0.00]")


def test_the_stage_writes_page_csv_and_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    readme = Path("README.md")
    readme.write_text("<!-- claims -->\n<!-- /claims -->\n", encoding="utf-8")
    overview.main([])
    assert readme.read_text("utf-8") == "<!-- claims -->\n<!-- /claims -->\n"
    overview.main(["--readme"])
    assert_form(readme.read_text("utf-8"))
    assert Path("results/claims.csv").is_file()
    assert "A1" in capsys.readouterr().out
    page = Path("reports/index.html").read_text("utf-8")
    assert page.index('id="claims"') < page.index('id="more"')
    for claim in CLAIMS:
        assert f'<span class="id">{claim.id}</span>' in page
    assert page.count('<strong class="verdict">not run</strong>') == len(CLAIMS)
    assert 'href="../results/claims.csv"' in page
