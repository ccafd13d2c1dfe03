"""Each source has a section, and each committed input tells what it must."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from pipeline.config import loading
from pipeline.datasets import idx, origins, sources
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.sources import SOURCES
from pipeline.errors import UserError

INPUTS = sorted(Path("data/sources").glob("*.yaml"))
PUBLISHED = [path for path in INPUTS if origins.read(path).files]


@pytest.mark.parametrize("name", SOURCES)
def test_a_section_is_chosen_by_the_name_of_its_source(name: str) -> None:
    section = SOURCES[name].section
    assert get_args(get_type_hints(section)["source"]) == (name,)
    assert isinstance(section.images, bool | property)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_origin_tells_title_maker_licence_and_citation(path: Path) -> None:
    origin = origins.read(path)
    assert all((origin.title, origin.description, origin.origin, origin.licence))
    assert origin.citation.startswith(("http://", "https://"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_file_has_a_checksum_and_two_mirrors(path: Path) -> None:
    origin = origins.read(path)
    assert set(origin.files) == {
        idx.TRAIN_IMAGES,
        idx.TRAIN_LABELS,
        idx.TEST_IMAGES,
        idx.TEST_LABELS,
    }
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in origin.files.values())
    assert len(set(origin.mirrors)) >= 2


@pytest.mark.parametrize("name", loading.load().studies)
def test_the_input_of_every_study_is_committed(name: str) -> None:
    assert Path(loading.load().study(name).data.input) in INPUTS


@pytest.fixture
def own_input(tmp_path: Path) -> Path:
    """An input that tells no title."""
    path = tmp_path / "own.yaml"
    path.write_text("origin: me\nlicence: none\ncitation: none\n", encoding="utf-8")
    return path


def test_a_data_set_bears_its_studys_name_and_its_inputs_words(own_input: Path) -> None:
    data = CirclesData(input="data/sources/circles.yaml", draws=1)
    dataset = sources.prepare("noisy-circles", data, 1, Path("nowhere"))
    assert (dataset.name, dataset.source, dataset.title) == (
        "noisy-circles",
        "circles",
        "Circles (noisy-circles)",  # beside circles on the overview
    )
    assert sources.prepare("circles", data, 1, Path("nowhere")).title == "Circles"
    untitled = sources.prepare(
        "noisy-circles", CirclesData(input=str(own_input), draws=1), 1, own_input
    )
    assert untitled.title == "noisy-circles"
    assert untitled.digest == dataset.digest  # what the data are called trains nothing again


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"titel": "Mine"}, "own.yaml:titel: Unexpected keyword argument"),
        ({"files": 3}, "own.yaml:files: "),
        ({"licence": None}, "own.yaml:licence: "),
    ],
)
def test_a_mistake_in_an_input_is_named(own_input: Path, content: object, expected: str) -> None:
    written = yaml.safe_load(own_input.read_text(encoding="utf-8"))
    own_input.write_text(yaml.safe_dump(written | content), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(expected)):
        origins.read(own_input)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere\.yaml cannot be read: No such file.*named by `data.input`"
    ):
        origins.read(tmp_path / "nowhere.yaml")
