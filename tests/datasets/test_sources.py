"""The tables of data sets agree with each other."""

import re
from pathlib import Path

import pytest

from pipeline.config import params
from pipeline.config.params import CirclesData, DigitsData
from pipeline.datasets import idx, sources
from pipeline.datasets.origins import ORIGINS
from pipeline.datasets.sources import DATASETS
from pipeline.errors import UserError


def test_every_data_set_can_be_fetched_prepared_and_studied() -> None:
    assert set(ORIGINS) == set(DATASETS) == set(params.DATASET_NAMES)


@pytest.mark.parametrize("name", ORIGINS)
def test_every_origin_tells_its_maker_licence_and_citation(name: str) -> None:
    origin = ORIGINS[name]
    assert origin.origin
    assert origin.licence
    assert origin.citation.startswith(("http://", "https://"))


@pytest.mark.parametrize("name", [name for name, origin in ORIGINS.items() if origin.files])
def test_every_file_has_a_checksum_and_two_mirrors(name: str) -> None:
    origin = ORIGINS[name]
    assert set(origin.files) == {
        idx.TRAIN_IMAGES,
        idx.TRAIN_LABELS,
        idx.TEST_IMAGES,
        idx.TEST_LABELS,
    }
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in origin.files.values())
    assert len(set(origin.mirrors)) >= 2


def test_prepared_data_sets_bear_their_names(tmp_path: Path) -> None:
    assert sources.prepare("circles", CirclesData(draws=1), 1, tmp_path).name == "circles"
    assert sources.prepare("digits", DigitsData(), 1, tmp_path).name == "digits"


def test_an_unknown_name_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown data set 'minst'; expected one of circles, "):
        sources.prepare("minst", DigitsData(), 1, tmp_path)
