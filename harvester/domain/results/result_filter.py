"""Which stored vectors a program asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

_SAME_SCOPES = dict.fromkeys(("asset", "video"), ("asset", "video"))


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Conditions that a vector meets all of; an empty one lets everything through."""

    models: tuple[str, ...] = ()
    """One of these model names, as the API writes them."""
    options: tuple[str, ...] = ()
    """One of these embedding options, such as `visual`."""
    scopes: tuple[str, ...] = ()
    """One of these scopes; `asset` and `video` match each other: version 1 of the API says `video` for `asset`."""
    input_types: tuple[str, ...] = ()
    """One of these media: `video`, `audio`, `image`, `document`."""
    task_ids: tuple[str, ...] = ()
    """One of these tasks."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """All of these labels."""
    name: str | None = None
    """A pattern for the file's name: `*`, `?` and `[…]` as in a shell; upper and lower case differ."""
    since_ms: int | None = None
    """Harvested at this time or later; Unix milliseconds."""
    latest: bool = False
    """Of several tasks with one file name only the one that the API created last."""

    @property
    def stored_scopes(self) -> tuple[str, ...]:
        """The scopes as the answers of both API versions write them."""
        return tuple(dict.fromkeys(chain.from_iterable(_SAME_SCOPES.get(scope, (scope,)) for scope in self.scopes)))
