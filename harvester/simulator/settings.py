"""The settings of a rehearsal: number of tasks, processing times, limits."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from harvester.domain.errors import UsageError
from harvester.simulator.models import MAX_CLIP_S, MIN_CLIP_S, MODELS, Model

HeaderScheme = Literal["older", "newer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One rehearsal; UsageError names an invalid setting.

    `duration_s` is (shortest, longest): the videos' lengths are uniform between them. The processing time is
    log-normal. The seeded tasks are spread evenly over `spread_s`, the newest being `age_s` old. A limit of 0
    is no limit. Without `options`, the model computes its default options; without `key`, any key is accepted.
    """

    tasks: int = 0
    seed: int = 0
    duration_s: tuple[float, float] = (20.0, 120.0)
    processing_median_s: float = 20.0
    processing_sigma: float = 0.5
    failed_ratio: float = 0.0
    clip_length_s: float = 6.0
    model_name: str = "marengo3.0"
    options: tuple[str, ...] = ()
    spread_s: float = 0.0
    age_s: float = 0.0
    requests_per_minute: int = 0
    requests_per_day: int = 0
    header_scheme: HeaderScheme = "older"
    gzip: bool = True
    key: str = ""

    def __post_init__(self) -> None:
        self._check_ranges()
        shortest, longest = self.duration_s
        if not MIN_CLIP_S <= shortest <= longest < inf:
            raise UsageError(
                f"Videos of {shortest:g} to {longest:g} s cannot be simulated.",
                remedy=f"Give one length, or the shortest and the longest, of {MIN_CLIP_S:g} s or more.",
            )
        if self.model_name not in MODELS:
            raise UsageError(f"The model {self.model_name!a} is unknown.", remedy=f"Choose one of {', '.join(MODELS)}.")
        self._check_options()
        if self.header_scheme not in {"older", "newer"}:
            raise UsageError(f"The header scheme {self.header_scheme!a} is unknown.", remedy="Choose older or newer.")

    @property
    def model(self) -> Model:
        """The model that computes the seeded tasks."""
        return MODELS[self.model_name]

    @property
    def embedding_options(self) -> tuple[str, ...]:
        """The options of each seeded task, in the order of the model's answers."""
        chosen = self.options or self.model.default_options
        return tuple(option for option in self.model.options if option in chosen)

    def options_for(self, model: Model) -> tuple[str, ...]:
        """Return the options that a task created for `model` gets."""
        return self.embedding_options if model is self.model else model.default_options

    def _check_ranges(self) -> None:
        ranges = (
            ("number of tasks", self.tasks, 0, inf),
            ("seed", self.seed, 0, inf),
            ("median processing time in seconds", self.processing_median_s, 0, inf),
            ("sigma of the processing time", self.processing_sigma, 0, 10),
            ("ratio of failed tasks", self.failed_ratio, 0, 1),
            ("clip length in seconds", self.clip_length_s, MIN_CLIP_S, MAX_CLIP_S),
            ("spread of the tasks in seconds", self.spread_s, 0, inf),
            ("age of the tasks in seconds", self.age_s, 0, inf),
            ("limit of requests per minute", self.requests_per_minute, 0, inf),
            ("limit of requests per day", self.requests_per_day, 0, inf),
        )
        for what, value, least, most in ranges:
            if least <= value <= most and value != inf:
                continue
            bounds = f"{least:g} or more" if most == inf else f"between {least:g} and {most:g}"
            raise UsageError(f"The {what} is {value:g}.", remedy=f"Give a number of {bounds}.")

    def _check_options(self) -> None:
        for option in self.options:
            if option not in self.model.options:
                raise UsageError(
                    f"The model {self.model_name} has no embedding option {option!a}.",
                    remedy=f"Choose from {', '.join(self.model.options)}.",
                )
