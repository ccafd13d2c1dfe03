"""Verdicts as tables: the same words and numbers everywhere, and none that was not measured."""

import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from pipeline.analysis import verdicts
from pipeline.analysis.claims import CLAIMS, by_id
from pipeline.analysis.judging import WORDS
from pipeline.report import blocks
from pipeline.stages import overview

from .documents import write_empty_docs
from .synthetic import make_runs

EFFECTS = {"none": 0.0, "activity_l1_before": 0.03, "activity_l1_after": -0.04}
NUMBER = r"([+\N{MINUS SIGN}]?\d[\d,]*\.?\d*)"
SHOWN = re.compile(rf"{NUMBER}\s(?:points|%)?\s?\[{NUMBER}, {NUMBER}\], p\s(?:<\s)?(\d\.\d+)")
ROW = re.compile(r"\| ([^|]+) \| ([^|]*) \| ([^|]+) \| \*\*([^|]+)\*\* \| ([^|]*) \| (\d*) \|")


@pytest.fixture(scope="module")
def judged() -> list[verdicts.Judged]:
    runs = [
        make_runs(EFFECTS, setting="article", leaks=True),
        make_runs(dict.fromkeys(EFFECTS, 0.0), setting="article_fresh"),
        make_runs(EFFECTS),
    ]
    return verdicts.judge_all({"circles": pd.concat(runs)})


def rows_of(block: str) -> list[tuple[str, ...]]:
    found = [ROW.fullmatch(line) for line in block.splitlines() if line.startswith("| ")]
    return [row.groups() for row in found[1:] if row]


# What is judged without runs.
REFUTED = {claim.id for claim in CLAIMS if claim.refuted_by}
CASES = [(claim, case) for claim in CLAIMS for case in claim.cases]


def assert_form(block: str) -> None:
    """A row for each verdict, and a claim's words in its first row alone."""
    rows = rows_of(block)
    assert list(dict.fromkeys(row[0] for row in rows)) == [claim.id for claim in CLAIMS]
    for claim in CLAIMS:
        first, *others = [row for row in rows if row[0] == claim.id]
        assert first[1] == f"{claim.sentence}<br>{claim.explained}<br>*{claim.reading}*"
        assert {row[1] for row in others} <= {""}
        assert len(others) + 1 >= len(claim.cases)
    for identity, _, where, word, shows, n in rows:
        assert word in WORDS
        assert where.strip()
        assert shows
        assert (word == "not run" or identity in REFUTED) == (n == "") == ("[" not in shows)


def value(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", ""))


def assert_numbers(block: str) -> None:
    """Each statement has a difference inside its interval and a p-value."""
    for identity, _, _, word, shows, n in rows_of(block):
        if word == "not run" or identity in REFUTED:
            continue
        statements = [part for part in shows.split("<br>") if "[" in part]
        assert len(statements) == len(by_id(identity).statements)
        assert int(n) >= 4 or word == "cannot tell", identity  # too few tell nothing
        for statement in statements:
            found = SHOWN.search(statement)
            assert found, statement
            difference, low, high, p = map(value, found.groups())
            assert low <= difference <= high, statement
            assert 0 < p <= 1 or "p\N{NO-BREAK SPACE}<" in statement, statement


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
    shown = table[table["role"] == "verdict"]
    shown = shown.drop_duplicates(["id", "question", "study"])
    told = [tuple(row) for row in shown[["id", "verdict"]].to_numpy()]
    assert len(told) == len(CASES)
    assert told == [(row[0], row[3]) for row in rows_of(verdicts.markdown(judged, "now"))]
    not_run = table[table["verdict"] == "not run"]
    assert (not_run[["difference", "p", "p_statement", "experiment"]] == "").all(axis=None)
    assert not_run["notes"].all()
    assert (table[table["n"] > 0]["experiment"] == "regularization/circles").all()


def test_the_terminal_has_the_counts_and_a_pointer(judged: list[verdicts.Judged]) -> None:
    line = verdicts.told(judged, "reports/index.html")
    assert verdicts.counts(judged) in line
    assert line.endswith("reports/index.html#claims")
    assert "\n" not in line


def test_what_is_real_there_and_gone_beyond_is_told_so(judged: list[verdicts.Judged]) -> None:
    found = next(each for each in judged if each.claim.id == "A3")
    assert [verdict.word for verdict in found.verdicts] == ["holds", "holds"]
    runs = [
        make_runs({"none": 0.0, "activity_l1_after": gain}, setting=setting)
        for setting, gain in (("article", 0.04), ("article_fresh", 0.0))
    ]
    judged = verdicts.judge_all({"circles": pd.concat(runs)}, [found.claim])
    block = verdicts.markdown(judged, "now")
    assert [(row[2], row[3]) for row in rows_of(block)] == [
        ("circles, the article's own data", "reversed"),
        ("circles, fresh draws", "holds"),
    ]


def test_what_other_settings_show_is_told_where_none_of_a_claims_own_was_run() -> None:
    runs = make_runs({"none": 0.0, "l1": 0.0}, setting="article", dataset="digits")
    judged = verdicts.judge_all({"digits": runs}, [by_id("C2 alone")])
    assert [verdict.word for verdict in judged[0].shown] == ["not run", "does not hold"]
    row = rows_of(verdicts.markdown(judged, "now"))[1]
    assert (row[1], row[2], row[5]) == ("", "digits", "10")


def test_a_null_says_what_it_rules_out(judged: list[verdicts.Judged]) -> None:
    texts = {
        each.claim.id: [verdicts.result(evidence) for evidence in each.verdicts[0].evidence]
        for each in judged
    }
    assert texts["A3"][0].endswith("; all gains ruled out")  # it loses four points
    assert texts["A2"][0].endswith("; all falls ruled out")  # equal train accuracies
    assert texts["A4"][0].endswith("; all rises ruled out")
    assert texts["D4"][0].startswith("0.00 % [0.00, 0.00]")
    assert "ruled out" not in texts["A1"][0]


def test_what_cannot_be_told_says_how_many_replicates_would_do() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.001}, setting="article", dataset="digits", noise=0.004)
    judged = verdicts.judge_all({"digits": runs}, [by_id("B1")])
    (shown,) = judged[0].told
    assert shown.word == "cannot tell"
    text = verdicts.result(shown.evidence[0])
    needed = re.search(r"; to tell 0\.1 points from none takes ([\d,]+) replicates$", text)
    assert needed
    assert int(needed[1].replace(",", "")) > 10


def test_p_is_corrected_over_all_claims_that_were_judged(judged: list[verdicts.Judged]) -> None:
    told = [verdict for each in judged for verdict in each.verdicts if verdict.evidence]
    counted = [verdict for verdict in told if verdict.claim.standing != "by construction"]
    assert len(counted) > 5
    for verdict in counted:
        assert verdict.p_corrected >= verdict.judgement.p
    others = [each for one in judged for each in one.verdicts if each not in counted]
    assert {verdict.claim.id for verdict in others} > {"D4"}
    assert np.isnan([verdict.p_corrected for verdict in others]).all()
    assert verdicts.corrected_p(counted[:1]) == [pytest.approx(counted[0].judgement.p)]


def test_a_deviation_has_no_sign_and_names_what_it_is_of(judged: list[verdicts.Judged]) -> None:
    found = next(each for each in judged if each.claim.id == "A5").verdicts[0]
    assert verdicts.full(found.evidence[0], found).startswith(
        "standard deviation of test accuracy, none: 2."
    )


def test_what_is_no_measurement_says_so(judged: list[verdicts.Judged]) -> None:
    told = {each.claim.id: verdicts.remarks(each.verdicts[0]) for each in judged}
    assert told["D4"][0] == "true by construction"
    assert told["D6"][0].startswith("claimed by argument")
    assert "construction" not in " ".join(told["A3"])


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
    assert "not run" in capsys.readouterr().out
    page = Path("reports/index.html").read_text("utf-8")
    assert page.index('id="claims"') < page.index('id="more"')
    for claim in CLAIMS:
        assert f'<span class="id">{claim.id}</span>' in page
        if claim.id in REFUTED:
            assert escape(claim.explained) in page
    unjudged = len(CLAIMS) - len(REFUTED)
    assert f"{unjudged} claims are not judged yet" in page
    assert 'href="claims.csv"' in page
