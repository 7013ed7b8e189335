"""Labels: what the owner of a task says about it, one value for each key, such as `show=x`."""

from collections.abc import Iterable, Mapping

from harvester.domain.errors import UsageError

MAX_KEY_LENGTH = 100

Labels = Mapping[str, str]
"""Values by key. In a change, an empty value removes the label."""


def check_label_key(key: str) -> str:
    """Return `key` without surrounding space. Raises UsageError if it is empty or too long, or cannot be given back."""
    name = key.strip()
    if not name or not name.isprintable() or "=" in name:
        raise UsageError(
            f"The label key {key!a} is empty, or has '=' or a character that cannot be shown.",
            remedy="Write labels as key=value, such as show=x.",
        )
    if len(name) > MAX_KEY_LENGTH:
        raise UsageError(
            f"The label key starting with {name[:24]!a} has {len(name)} characters; {MAX_KEY_LENGTH} is the most.",
            remedy="Give it a shorter name.",
        )
    return name


def parse_label(text: str) -> tuple[str, str]:
    """Return key and value of `key=value`, both without surrounding space. Raises UsageError."""
    key, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"The label {text!a} has no '='.", remedy="Write labels as key=value, such as show=x.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UsageError(
            f"The value of the label {key!a} has a character that is no text.", remedy="Give it as UTF-8 text."
        )
    return check_label_key(key), value.strip()


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Return the labels of several `key=value`. Raises UsageError, also for a key with two values."""
    labels: dict[str, str] = {}
    for text in texts:
        key, value = parse_label(text)
        if labels.setdefault(key, value) != value:
            raise UsageError(f"The label {key!a} is given two values.", remedy="Give one value for each key.")
    return labels
