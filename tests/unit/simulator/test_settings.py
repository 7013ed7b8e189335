import inspect
from typing import Any

import pytest

from harvester.cli.simulate import simulate
from harvester.domain.errors import UsageError
from harvester.simulator import SimulatorSettings


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tasks": -1}, "number of tasks is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"duration_s": (1.0, 5.0)}, "Videos of 1 to 5 s"),
        ({"duration_s": (9.0, 5.0)}, "Videos of 9 to 5 s"),
        ({"duration_s": (9.0, float("nan"))}, "Videos of 9 to nan s"),
        ({"processing_median_s": float("inf")}, "median processing time in seconds is inf"),
        ({"processing_sigma": float("nan")}, "sigma of the processing time is nan"),
        ({"failed_ratio": 1.5}, "ratio of failed tasks is 1.5"),
        ({"clip_length_s": 11.0}, "clip length in seconds is 11"),
        ({"model_name": "marengo9"}, "model 'marengo9' is unknown"),
        ({"options": ("visual", "smell")}, "no embedding option 'smell'"),
        ({"model_name": "Marengo-retrieval-2.7", "options": ("visual",)}, "no embedding option 'visual'"),
        ({"requests_per_minute": -5}, "limit of requests per minute is -5"),
        ({"header_scheme": "newest"}, "header scheme 'newest' is unknown"),
        ({"model_name": "marengo3.5"}, "model 'marengo3.5' is unknown"),
        ({"api": "v3"}, "API 'v3' is unknown"),
        ({"media": ("video", "smell")}, "medium 'smell' is unknown"),
        ({"media": ()}, "embeds nothing"),
        ({"models": ("Marengo-retrieval-2.7",)}, "model 'Marengo-retrieval-2.7' is unknown"),
        ({"models": ("marengo3.0",), "media": ("document", "image")}, "No model of marengo3.0 embeds document, image"),
        ({"dimension": 300}, "dimension 300 is unknown"),
        ({"failures": ("bad luck",)}, "failure 'bad luck' is unknown"),
        ({"truncated_ratio": 2}, "ratio of truncated results is 2"),
        ({"expiry": "never"}, "expiry 'never' is unknown"),
        ({"cross_version": "some"}, "cross-version answer 'some' is unknown"),
        ({"unknown_status": 410}, "status of an unknown id 410 is unknown"),
    ],
)
def test_a_setting_that_cannot_be_worked_with_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SimulatorSettings(**change)


def test_without_options_the_models_own_are_computed() -> None:
    assert SimulatorSettings().embedding_options == ("visual", "audio")
    older = SimulatorSettings(model_name="Marengo-retrieval-2.7")
    assert older.embedding_options == ("visual-text", "audio")


def test_options_come_in_the_order_of_the_models_answers() -> None:
    chosen = SimulatorSettings(options=("transcription", "visual"))
    assert chosen.embedding_options == ("visual", "transcription")


def test_the_commands_defaults_are_those_of_the_settings() -> None:
    # The command repeats them, because importing the settings would cost `harvester --help` its speed.
    defaults = {name: one.default for name, one in inspect.signature(simulate).parameters.items()}
    settings = SimulatorSettings()
    lists = {"options", "media", "models", "failures"}
    shared = defaults.keys() & set(SimulatorSettings.__slots__) - {"tasks", "duration_s"} - lists
    assert {name: defaults[name] for name in shared} == {name: getattr(settings, name) for name in shared}
    assert {name: defaults[name] for name in lists} == {name: ",".join(getattr(settings, name)) for name in lists}
    assert defaults["model"] == settings.model_name
    assert defaults["duration_s"] == "{:g},{:g}".format(*settings.duration_s)
    processing_s = f"{settings.processing_median_s:g},{settings.processing_sigma:g}"
    assert defaults["processing_s"] == processing_s
