"""The prepare stage as a user calls it."""

from pathlib import Path

import pytest

from pipeline.config import loading
from pipeline.datasets import load
from pipeline.datasets.circles import CirclesData
from pipeline.errors import UserError
from pipeline.stages import prepare


@pytest.mark.parametrize("name", ["circles", "digits", "features"])
def test_the_prepared_file_is_the_same_each_time(here: Path, name: str) -> None:
    path = here / "data" / "prepared" / f"{name}.npz"
    prepare.main([name])
    first = path.read_bytes()
    prepare.main([name])
    assert path.read_bytes() == first
    assert load(path).name == name


def test_circles_have_the_draws_of_params(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.main(["circles"])
    data = loading.load().study("circles").data
    assert isinstance(data, CirclesData)
    dataset = load(here / "data" / "prepared" / "circles.npz")
    assert dataset.splits["leak_free"]["test"].shape == (data.draws, data.test)
    article, fresh = capsys.readouterr().out.splitlines()[1:]
    assert article.endswith("1 draw(s) of 30 train, 70 val, 70 test; leaks")
    assert fresh.endswith(f"{data.draws} draw(s) of 30 train, 70 val, {data.test} test")


def test_images_that_were_not_fetched_are_named(here: Path) -> None:
    with pytest.raises(UserError, match=r"train-images.* is missing.*pipeline fetch mnist"):
        prepare.main(["mnist"])
    assert not (here / "data" / "prepared").exists()
