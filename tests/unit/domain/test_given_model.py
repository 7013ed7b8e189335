import pytest

from harvester.domain.errors import UsageError
from harvester.domain.tasks.given_model import given_model, makes_vectors_of, models_of


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("marengo3.0", "marengo3.0"),
        (" Marengo3.5 ", "marengo3.5"),
        ("marengo4.0", "marengo4.0"),
        ("Marengo-retrieval-2.7", "Marengo-retrieval-2.7"),
        ("twelvelabs.marengo-embed-3-0-v1:0", "marengo3.0"),
        ("us.twelvelabs.marengo-embed-2-7-v1:0", "marengo2.7"),
    ],
)
def test_a_model_has_the_name_that_the_api_gives_it(given: str, name: str) -> None:
    assert given_model(given) == name


@pytest.mark.parametrize("given", ["", "marengo", "marengo3", "pegasus1.2", "marengo3.0; DROP", "3.0"])
def test_another_text_is_no_model(given: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a model"):
        given_model(given)


@pytest.mark.parametrize(
    ("model", "dim", "is_possible"),
    [
        ("marengo3.0", 512, True),
        ("marengo3.0", 1024, False),
        ("marengo3.0", 256, False),
        ("marengo3.5", 256, True),
        ("marengo2.7", 1024, True),
        ("Marengo-retrieval-2.7", 512, False),
        ("marengo4.0", 512, True),
        ("marengo3.0", 8, True),
    ],
)
def test_a_length_that_only_other_models_make_rules_a_model_out(model: str, dim: int, is_possible: bool) -> None:  # noqa: FBT001
    assert makes_vectors_of(model, dim) is is_possible


def test_the_length_of_the_vectors_suggests_models() -> None:
    assert models_of(1024) == ["marengo2.6", "marengo2.7"]
    assert models_of(512) == ["marengo3.0", "marengo3.5"]
    assert "marengo3.0" in models_of(8)
