"""The code in docs/techniques.md is the project's, and README's pictures are those of a test."""

import re
from pathlib import Path

EXAMPLE = Path("docs/techniques.md")


def test_the_example_of_a_technique_is_the_source() -> None:
    text = EXAMPLE.read_text("utf-8")
    blocks = re.findall(
        r"`(pipeline/[^`]*\.py)`(?:(?!`pipeline/).)*?```python\n(.*?)```", text, re.S
    )
    assert len(blocks) == text.count("```python") == 6
    assert sum(len(code.splitlines()) for _, code in blocks) <= 20
    for path, code in blocks:
        assert code in Path(path).read_text("utf-8"), path


def test_mlflows_pictures_are_two_that_the_browser_test_makes() -> None:
    shown = re.findall(
        r"!\[[^]]+\]\(docs/(mlflow-\w+\.png)\)", Path("README.md").read_text("utf-8")
    )
    made = re.findall(r'shoot\("(\w+)"\)', Path("tests/test_mlflow_pages.py").read_text("utf-8"))
    assert len(shown) == 2
    assert set(shown) <= {f"mlflow-{name}.png" for name in made}
    assert all(Path("docs", name).exists() for name in shown)
