"""The overview stage, beside a DVC cache."""

import os
from pathlib import Path

from pipeline.stages import overview


def test_a_page_that_is_linked_to_dvcs_cache_is_replaced_not_written_to(
    here: Path,
) -> None:
    cached = here / "cached"
    cached.write_text("an older page", encoding="utf-8")
    cached.chmod(0o444)
    overview.PAGE.parent.mkdir()
    os.link(cached, overview.PAGE)
    overview.main([])
    assert cached.read_text(encoding="utf-8") == "an older page"
    assert "<html" in overview.PAGE.read_text(encoding="utf-8")
