"""The settings of a rehearsal: number of tasks, processing times, limits."""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from harvester.domain.errors import UsageError
from harvester.simulator.failures import FAILURES
from harvester.simulator.models import (
    MARENGO_35,
    MAX_CLIP_S,
    MEDIA,
    MIN_CLIP_S,
    V1_MODELS,
    V2_MODELS,
    Medium,
    Model,
)

HeaderScheme = Literal["older", "newer", "tokens"]
SeededApi = Literal["v1", "v2", "both"]
CrossVersion = Literal["none", "lists", "all"]
Expiry = Literal["gone", "failed", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One rehearsal; UsageError names an invalid setting.

    `duration_s` is (shortest, longest): the videos' lengths are uniform between them. The processing time is
    log-normal. The seeded tasks are spread evenly over `spread_s`, the newest being `age_s` old. A limit of 0
    is no limit. Without `options`, the model computes its default options; without `key`, any key is accepted.

    `api` says which version has made the seeded tasks; both answer. `model_name`, `options` and `clip_length_s` are
    about those of version 1. Those of version 2 take turns in all `media` of all `models`, with `dimension` numbers
    and `uncertainty` where the model has them, and with `fused` vectors. `failures` names the messages of failed ones
    (none: every one). A task past its retention is unknown, or, by `expiry`, failed in version 2. `cross_version` says
    what a version tells about tasks of the other: nothing, its lists, or all that it can express. `unknown_status` is
    the HTTP status with which version 1 answers for an unknown id.
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
    api: SeededApi = "v1"
    media: tuple[Medium, ...] = ("video",)
    models: tuple[str, ...] = ("marengo3.0", "marengo3.5")
    dimension: int = 512
    uncertainty: bool = False
    fused: bool = False
    failures: tuple[str, ...] = ()
    truncated_ratio: float = 0.0
    expiry: Expiry = "gone"
    cross_version: CrossVersion = "lists"
    unknown_status: int = 404

    def __post_init__(self) -> None:
        self._check_ranges()
        shortest, longest = self.duration_s
        if not MIN_CLIP_S <= shortest <= longest < inf:
            raise UsageError(
                f"Videos of {shortest:g} to {longest:g} s cannot be simulated.",
                remedy=f"Give one length, or the shortest and the longest, of {MIN_CLIP_S:g} s or more.",
            )
        _check_known("model", self.model_name, V1_MODELS)
        self._check_options()
        self._check_names()
        if not any(medium in V2_MODELS[name].media for medium in self.media for name in self.models):
            raise UsageError(
                f"No model of {', '.join(self.models)} embeds {', '.join(self.media) or 'nothing'}.",
                remedy="Documents and images need marengo3.5.",
            )

    @property
    def model(self) -> Model:
        """The model that computes the seeded tasks."""
        return V1_MODELS[self.model_name]

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
            ("ratio of truncated results", self.truncated_ratio, 0, 1),
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

    def _check_names(self) -> None:
        for medium in self.media:
            _check_known("medium", medium, MEDIA)
        for name in self.models:
            _check_known("model", name, V2_MODELS)
        for name in self.failures:
            _check_known("failure", name, FAILURES)
        _check_known("header scheme", self.header_scheme, get_args(HeaderScheme))
        _check_known("API", self.api, get_args(SeededApi))
        _check_known("expiry", self.expiry, get_args(Expiry))
        _check_known("cross-version answer", self.cross_version, get_args(CrossVersion))
        _check_known("dimension", self.dimension, MARENGO_35.dims)
        _check_known("status of an unknown id", self.unknown_status, (404, 400))


def _check_known(what: str, value: object, known: Collection[object]) -> None:
    if value not in known:
        raise UsageError(f"The {what} {value!a} is unknown.", remedy=f"Choose one of {', '.join(map(str, known))}.")
