"""The code in docs/techniques.md is the project's."""

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
