"""Overview and reports in a real browser: at a glance, for everybody, on paper.

Needs Debian's packages chromium and chromium-driver.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import pandas as pd
import pytest
from selenium import webdriver

from pipeline.report import overview_page, pages

from .browser import chromium, needed
from .synthetic import make_runs, write_results

AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
STUDIES = ("circles", "digits")
EFFECTS = {"none": 0.0, "l1": -0.02, "l2": 0.03, "dropout": 0.001, "early_stopping": 0.0}
SIMPLE = {"constant": -0.3, "linear": 0.0, "trees": 0.05}  # yardsticks
OWN = {  # what only pages of people's own data have
    "classes": ("benign", "malignant"),
    "balance": {"benign": 200, "malignant": 100},
    "target": "diagnosis",
    "columns": [(f"column_{number}", "a number, scaled") for number in range(20)],
}
LARGEST, FIRST_SIGHT, LEAST_TEXT = 6, 700, 11  # pages on paper; pixels

pytestmark = [pytest.mark.slow, needed]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The overview and the report of circles, of planted results."""
    root = tmp_path_factory.mktemp("site")
    for name in STUDIES:
        settings = [
            make_runs(EFFECTS, dataset=name, setting=setting, leaks=setting == "article")
            for setting in ("tuned", "article")
        ]
        runs = pd.concat(settings, ignore_index=True)
        more: Any = {"yardsticks": SIMPLE, "own": OWN} if name == "circles" else {}
        pages.write(write_results(root / "results" / name, runs, **more))
    index = root / "reports" / "index.html"
    found = overview_page.read_overview(root / "results", index, [*STUDIES, "features"])
    overview_page.write_overview(found, index)
    return {"overview": index, "report": root / "results" / "circles" / pages.PAGE}


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium({}, size=(1200, 900)) as driver:
        driver.set_script_timeout(300)  # seconds; other tests keep the processors busy
        yield driver


def show(browser: Any, page: Path, width: int = 1200, scheme: str = "light") -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened", [False, True], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", ["overview", "report"])
def test_everybody_can_use_it(
    name: str, opened: bool, scheme: str, site: dict[str, Path], browser: Any
) -> None:
    """axe-core finds no violation, contrast of text included."""
    show(browser, site[name], scheme=scheme)
    if opened:
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.execute_script(AXE)
    found = browser.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    told = [
        f"{rule['id']}: {rule['help']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"][:3]
    ]
    assert not told, "\n".join(told)
    assert found["passes"]


@pytest.mark.parametrize("width", [1200, 390])
def test_the_first_finding_is_seen_without_scrolling(
    width: int, site: dict[str, Path], browser: Any
) -> None:
    show(browser, site["overview"], width)
    bottom = browser.execute_script(
        "return document.querySelector('#studies tbody tr').getBoundingClientRect().bottom"
    )
    assert 0 < bottom <= FIRST_SIGHT


@pytest.mark.parametrize("name", ["overview", "report"])
def test_a_phone_shows_it_without_scrolling_aside(
    name: str, site: dict[str, Path], browser: Any
) -> None:
    show(browser, site[name], 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["overview", "report"])
def test_text_in_figures_can_be_read(name: str, site: dict[str, Path], browser: Any) -> None:
    show(browser, site[name])
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    small = browser.execute_script(
        """
        return [...document.querySelectorAll("svg text")].map(text => {
          const svg = text.ownerSVGElement, box = svg.getBoundingClientRect();
          const scale = box.width / svg.viewBox.baseVal.width;
          return [parseFloat(getComputedStyle(text).fontSize) * scale, text.textContent];
        }).filter(([size]) => size > 0 && size < arguments[0]);
        """,
        LEAST_TEXT,
    )
    assert not small


@pytest.mark.parametrize("name", ["overview", "report"])
def test_it_prints_on_few_pages(name: str, site: dict[str, Path], browser: Any) -> None:
    show(browser, site[name])
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    count = len(re.findall(rb"/Type\s*/Page[^s]", base64.b64decode(printed["data"])))
    assert 1 <= count <= LARGEST


def test_a_link_into_a_folded_part_opens_it(site: dict[str, Path], browser: Any) -> None:
    show(browser, site["report"])
    browser.get(f"{site['report'].as_uri()}#values")
    assert browser.execute_script(
        "return document.querySelector('#values').closest('details').open"
    )
