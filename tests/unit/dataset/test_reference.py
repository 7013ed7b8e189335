"""docs/reference/python.md names what programs may use, and nothing else."""

import re
from pathlib import Path

import pytest

import harvester
from harvester.dataset.arguments import Filters

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "python.md").read_text("utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> set[str]:
    cells = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(?:await )?(\w+)", cell)}


def parts(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    "kind",
    [harvester.Dataset, harvester.VectorTable, harvester.StoredVideo, harvester.Harvester, harvester.HarvestSummary],
)
def test_the_page_has_every_part_of_a_class(kind: type) -> None:
    assert first_cells(kind.__name__) == parts(kind)


def test_the_page_has_every_filter_function_and_field() -> None:
    assert first_cells("Filters") == set(Filters.__annotations__)
    assert first_cells("Functions") == {"open", "aopen"}
    assert set(re.findall(r"`(\w+)`", section("Segment"))) == parts(harvester.Segment)
    assert parts(harvester.AsyncDataset) == parts(harvester.Dataset)
