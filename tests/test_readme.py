"""What code writes into README.md, and that it is current."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.report import readme
from pipeline.stages import techniques
from pipeline.techniques.registry import TECHNIQUES


def test_a_block_replaces_the_one_before() -> None:
    new = r"with \1 and \g<2> in it" + "\n"
    text = "before\n<!-- claims -->\nold\n<!-- /claims -->\nafter\n"
    once = readme.update(text, "claims", new)
    assert once == f"before\n<!-- claims -->\n{new}<!-- /claims -->\nafter\n"
    assert readme.update(once, "claims", new) == once
    assert readme.block(once, "claims") == new
    with pytest.raises(UserError, match="must have the lines <!-- claims -->"):
        readme.update("no markers", "claims", new)


def test_the_table_of_techniques_is_current() -> None:
    text = Path("README.md").read_text("utf-8")
    told = "; `python -m pipeline techniques --readme` writes it"
    assert readme.block(text, "techniques") == techniques.markdown(), told


def test_the_table_has_a_row_for_each_technique_and_its_cells_have_no_bars() -> None:
    rows = techniques.markdown().splitlines()[2:]
    assert len(rows) == len(TECHNIQUES)
    assert all(row.count("|") == 5 for row in rows)
    assert all(row.split("|")[-2].strip() for row in rows)  # each fits some architecture
