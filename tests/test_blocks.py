"""What code writes into pages of docs/, and that it is current."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.report import blocks
from pipeline.stages import techniques
from pipeline.techniques.registry import TECHNIQUES


def test_a_block_replaces_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- claims -->\nold\n<!-- /claims -->\nafter\n", encoding="utf-8")
    new = r"with \1 and \g<2> in it" + "\n"
    for _ in range(2):
        blocks.replace(page, "claims", new)
        assert page.read_text("utf-8") == (
            f"before\n<!-- claims -->\n{new}<!-- /claims -->\nafter\n"
        )
    assert blocks.read(page, "claims") == new


def test_a_page_without_markers_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(UserError, match=r"page\.md must have the lines <!-- claims -->"):
        blocks.replace(page, "claims", "new")


def test_the_table_of_techniques_is_current() -> None:
    written = blocks.read(Path("docs/techniques.md"), "techniques")
    assert written == techniques.markdown(), "`python -m pipeline techniques --docs` writes it"


def test_the_table_has_a_row_for_each_technique_and_its_cells_have_no_bars() -> None:
    rows = techniques.markdown().splitlines()[2:]
    assert len(rows) == len(TECHNIQUES)
    assert all(row.count("|") == 5 for row in rows)
    assert all(row.split("|")[-2].strip() for row in rows)  # each fits some architecture
