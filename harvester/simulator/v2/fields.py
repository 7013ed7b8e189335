"""Reads the fields of a JSON request; whatever is wrong is a 400 that names the field."""

from collections.abc import Collection
from typing import Any

import orjson

from harvester.simulator.problems import ApiProblem, invalid_parameter, missing_parameter, unknown_parameter


class Fields:
    """One JSON object of a request; null counts as absent."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise invalid_parameter(path, "The value must be an object.")
        self._values = {name: one for name, one in value.items() if one is not None}
        self._path = path

    @classmethod
    def of_body(cls, body: bytes) -> "Fields":
        """Read the body of a request."""
        try:
            value = orjson.loads(body)
        except ValueError as error:
            raise ApiProblem(400, "generic_error", f"The request body is not JSON: {error}.") from None
        if not isinstance(value, dict):
            raise ApiProblem(400, "generic_error", "The request body must be a JSON object.")
        return cls(value)

    def name(self, field: str) -> str:
        """Return the name of a field with those of the objects around it."""
        return f"{self._path}.{field}" if self._path else field

    def wrong(self, field: str, reason: str) -> ApiProblem:
        """Return the 400 for a field; `reason` is a sentence."""
        return invalid_parameter(self.name(field), reason)

    def __contains__(self, field: str) -> bool:
        return field in self._values

    def only(self, *fields: str) -> None:
        """Refuse all other fields."""
        for field in self._values:
            if field not in fields:
                raise unknown_parameter(self.name(field))

    def require(self, field: str) -> None:
        """Refuse an object without the field."""
        if field not in self._values:
            raise missing_parameter(self.name(field))

    def text(self, field: str) -> str:
        """Return a text; the empty one where it is absent."""
        value = self._values.get(field, "")
        if not isinstance(value, str):
            raise self.wrong(field, "The value must be a string.")
        return value

    def choice(self, field: str, choices: Collection[str]) -> str:
        """Return a text, which is required and must be one of `choices`."""
        self.require(field)
        value = self.text(field)
        if value not in choices:
            raise self.wrong(field, f"The value must be one of {', '.join(choices)}.")
        return value

    def choices(self, field: str, choices: Collection[str], default: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts of a list in the order of `choices`; `default` where it is absent."""
        if field not in self._values:
            return default
        values = self._values[field]
        if not isinstance(values, list) or not values:
            raise self.wrong(field, "The value must be a list with one value or more.")
        if any(value not in choices for value in values):
            raise self.wrong(field, f"Each value must be one of {', '.join(choices)}.")
        return tuple(choice for choice in choices if choice in values)

    def number(self, field: str, least: float = 0, most: float = float("inf")) -> float | None:
        """Return a number between two bounds; None where it is absent."""
        value = self._values.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            bounds = f"of {least:g} or more" if most == float("inf") else f"from {least:g} to {most:g}"
            raise self.wrong(field, f"The value must be a number {bounds}.")
        return float(value)

    def whole(self, field: str, least: int = 0, most: float = float("inf")) -> int | None:
        """Return a whole number between two bounds; None where it is absent."""
        value = self.number(field, least, most)
        if value is not None and not value.is_integer():
            raise self.wrong(field, "The value must be a whole number.")
        return None if value is None else int(value)

    def flag(self, field: str) -> bool:
        """Return a boolean; False where it is absent."""
        value = self._values.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, "The value must be true or false.")
        return value

    def inner(self, field: str) -> "Fields":
        """Return an object, which is required."""
        self.require(field)
        return Fields(self._values[field], self.name(field))

    def objects(self, field: str) -> list["Fields"]:
        """Return the objects of a list; none where it is absent."""
        values = self._values.get(field, [])
        if not isinstance(values, list):
            raise self.wrong(field, "The value must be a list.")
        return [Fields(value, f"{self.name(field)}[{number}]") for number, value in enumerate(values)]
