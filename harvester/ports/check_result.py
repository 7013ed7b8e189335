"""One line of the report of `harvester doctor`."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The result of a check; only a failure stops the harvester from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the report."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The line for people."""
        return f"{self.verdict:8} {self.name}: {self.text} {self.remedy}".rstrip()
