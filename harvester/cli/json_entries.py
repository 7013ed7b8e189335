"""Objects of JSON that name a task: its id, and the other keys as labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from harvester.cli.console import print_error
from harvester.domain.errors import UsageError
from harvester.domain.tasks.labels import check_label_key

_OF_THE_API = frozenset({"status", "created_at"})
"""Keys of every task object of the API. Its fields are no labels: they change, and the API is asked for them."""


class JsonEntries:
    """Reads the entries of one source, and names on stderr each key once that cannot be a label."""

    def __init__(self, names: Sequence[str], source: str, *, with_labels: bool) -> None:
        """`names` are those that the field of the id may have, the first one that is there counts."""
        self.names = either(names)
        self._wanted = names
        self._source = source
        self._with_labels = with_labels
        self._left_out: set[str] = set()

    def read(self, entry: Any) -> tuple[str, Mapping[str, str]] | None:
        """Return the text of the id and the labels of an object; None if it is none, or has no such text."""
        if not isinstance(entry, dict):
            return None
        name = next((name for name in self._wanted if name in entry), None)
        if name is None or not isinstance(entry[name], str):
            return None
        is_labelled = self._with_labels and not entry.keys() >= _OF_THE_API
        return entry[name].strip(), self._labels(entry, name) if is_labelled else {}

    def _labels(self, entry: Mapping[str, Any], id_name: str) -> dict[str, str]:
        labels: dict[str, str] = {}
        for name, value in entry.items():
            text = None if name == id_name else _text(value)
            if not text or name in self._left_out:
                continue
            try:
                labels.setdefault(check_label_key(name), text)
            except UsageError as error:
                self._left_out.add(name)
                print_error(f"{self._source}: a key is left out of the labels. {error.sentence}")
        return labels


def either(names: Sequence[str]) -> str:
    """Return names as words of a sentence."""
    return " or ".join(map(repr, names))


def _text(value: Any) -> str | None:
    """Return a plain value as the text of a label; None for null, objects and lists."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, str | int | float) else None
