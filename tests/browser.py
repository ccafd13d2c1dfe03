"""Debian's Chromium without a window, for tests of what people look at."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SHOTS = Path(__file__).parents[1] / "test-artifacts"  # of screenshots

needed = pytest.mark.skipif(
    not (BROWSER and DRIVER) and not os.environ.get("CI"),
    reason="needs a browser: apt-get install chromium chromium-driver",
)


def chromium(logs: Mapping[str, str], size: tuple[int, int]) -> webdriver.Chrome:
    """A browser, to be used in a `with` block; `logs`: kind of log → least level that is kept."""
    assert BROWSER, "CI needs chromium; .ci/run installs it"
    assert DRIVER, "CI needs chromium-driver; .ci/run installs it"
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", dict(logs))
    # A container's root has no sandbox, and little shared memory.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    return webdriver.Chrome(options, Service(DRIVER))
