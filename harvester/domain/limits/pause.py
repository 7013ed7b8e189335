"""A pause of all requests that a person has asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """When it began and ends, in Unix milliseconds; without an end it lasts until `harvester resume`."""

    since_ms: int
    until_ms: int | None = None
