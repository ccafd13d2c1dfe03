"""Verdicts as tables: the same words and numbers everywhere, and none that was not measured."""

import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import verdicts
from pipeline.analysis.claims import CLAIMS
from pipeline.analysis.judging import WORDS
from pipeline.report import blocks
from pipeline.stages import overview

from .documents import write_empty_docs
from .synthetic import make_runs

EFFECTS = {"none": 0.0, "activity_l1_before": 0.03, "activity_l1_after": -0.04}
NUMBER = r"([+\N{MINUS SIGN}]?\d[\d,]*\.?\d*)"
SHOWN = re.compile(rf"{NUMBER}\s(?:points|%)?\s?\[{NUMBER}, {NUMBER}\], p\s(?:<\s)?(\d\.\d+)")
FEWEST = {"circles": 30}  # paired seeds of a committed verdict; 10 elsewhere
ROW = re.compile(r"\| ([^|]+) \| ([^|]+) \| \*\*([^|]+)\*\* \| ([^|]*) \| (\d*) \|")


@pytest.fixture(scope="module")
def judged() -> list[verdicts.Judged]:
    runs = [make_runs(EFFECTS, setting="article", leaks=True), make_runs(EFFECTS)]
    return verdicts.judge_all({"circles": pd.concat(runs)})


def rows_of(block: str) -> list[tuple[str, ...]]:
    found = [ROW.fullmatch(line) for line in block.splitlines() if line.startswith("| ")]
    return [row.groups() for row in found[1:] if row]


# What is judged without runs.
REFUTED = {claim.id for claim in CLAIMS if claim.refuted_by}


def assert_form(block: str) -> None:
    rows = rows_of(block)
    assert [row[0] for row in rows] == [claim.id for claim in CLAIMS]
    for row, claim in zip(rows, CLAIMS, strict=True):
        repeated = sum(each.sentence == claim.sentence for each in CLAIMS) > 1
        assert row[1] == claim.sentence + (f"<br>*{claim.reading}*" if repeated else "")
    for identity, _, word, shows, pairs in rows:
        assert word in WORDS
        assert shows
        assert (word == "not run" or identity in REFUTED) == (pairs == "") == ("[" not in shows)


def value(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", ""))


def assert_numbers(block: str) -> None:
    """Each statement has a difference inside its interval and a p-value."""
    for identity, _, word, shows, pairs in rows_of(block):
        if word == "not run" or identity in REFUTED:
            continue
        *statements, where = shows.split("<br>")
        assert int(pairs) >= FEWEST.get(where.split(",")[0], 10), identity
        assert statements, identity
        for statement in statements:
            found = SHOWN.search(statement)
            assert found, statement
            difference, low, high, p = map(value, found.groups())
            assert low <= difference <= high, statement
            assert 0 < p <= 1, statement


def test_the_block_has_a_row_for_each_claim(judged: list[verdicts.Judged]) -> None:
    block = verdicts.markdown(judged, "2026-01-02 on 2 cores")
    assert block.startswith("Judged 2026-01-02 on 2 cores.\n")
    assert_form(block)


def test_the_docs_have_the_form_that_the_code_gives() -> None:
    block = blocks.read(Path("docs/claims.md"), "claims")
    told = re.match(r"Judged (\S+) on \d+ cores, \w+ \w+\.\n", block)
    assert told
    assert date.fromisoformat(told[1]) <= datetime.now(tz=UTC).date()
    assert_form(block)
    assert_numbers(block)


def test_csv_terminal_and_docs_tell_the_same(judged: list[verdicts.Judged], tmp_path: Path) -> None:
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
    assert (not_run[["difference", "p", "p_statement"]] == "").all(axis=None)
    assert not_run["notes"].all()


def test_the_terminal_tells_what_other_data_show_where_a_claims_own_are_missing() -> None:
    effects = {"none": 0.0, "l2": 0.03}
    judged = verdicts.judge_all({"digits": make_runs(effects, setting="article", dataset="digits")})
    lines = verdicts.table(judged).splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"B1 +holds +10 ", line))
    assert "(digits, article setting)" in " ".join(lines[start : start + 2])
    assert any(re.match("B2 +not run +no runs of mnist", line) for line in lines)
    told = {row[0]: row[2] for row in rows_of(verdicts.markdown(judged, "now"))}
    assert told["B1"] == "not run"


def test_a_null_says_what_it_rules_out(judged: list[verdicts.Judged]) -> None:
    texts = {
        judgement.claim.id: [verdicts.result(evidence) for evidence in judgement.verdict.evidence]
        for judgement in judged
    }
    assert texts["A3"][0].endswith("; all gains ruled out")  # it loses four points
    assert texts["A2"][0].endswith("; all falls ruled out")  # equal train accuracies
    assert texts["A4"][0].endswith("; all rises ruled out")
    assert texts["D4"][0].startswith("0.00 % [0.00, 0.00]")
    assert "ruled out" not in texts["A1"][0]


def test_what_cannot_be_told_says_how_many_replicates_would_do() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.001}, setting="article", dataset="digits", noise=0.004)
    judged = verdicts.judge_all({"digits": runs})
    shown = next(each.shown for each in judged if each.claim.id == "B1")
    assert shown.word == "cannot tell"
    text = verdicts.result(shown.evidence[0])
    needed = re.search(r"; 0\.1 points would take ([\d,]+) replicates$", text)
    assert needed
    assert int(needed[1].replace(",", "")) > 10


def test_p_is_corrected_over_all_claims_that_were_judged(judged: list[verdicts.Judged]) -> None:
    told = [each for each in judged if each.verdict.evidence]
    assert len(told) > 3
    for each in told:
        assert each.p_corrected >= each.verdict.judgement.p
    assert np.isnan([each.p_corrected for each in judged if not each.verdict.evidence]).all()
    alone = [each.verdict for each in told[:1]]
    assert verdicts.corrected_p(alone) == [pytest.approx(alone[0].judgement.p)]


def test_the_stage_writes_page_csv_and_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_empty_docs()
    before = Path("docs/claims.md").read_text("utf-8")
    overview.main([])
    assert Path("docs/claims.md").read_text("utf-8") == before
    overview.main(["--docs"])
    assert_form(blocks.read(Path("docs/claims.md"), "claims"))
    assert Path("reports/claims.csv").is_file()
    assert "A1" in capsys.readouterr().out
    page = Path("reports/index.html").read_text("utf-8")
    assert page.index('id="claims"') < page.index('id="more"')
    for claim in CLAIMS:
        assert f'<span class="id">{claim.id}</span>' in page
    not_run = page.count('<strong class="verdict">not run</strong>')
    assert not_run == len(CLAIMS) - len(REFUTED)
    assert 'href="claims.csv"' in page
