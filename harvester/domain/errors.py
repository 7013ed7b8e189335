"""Every error that the program raises on purpose.

HarvesterError            exit code, one sentence, a remedy
├── UsageError            2  settings, arguments, files the user named
│   ├── InvalidTaskId     2  an id that can never be asked about
│   └── MixedModelsError  2  vectors that cannot be compared were asked for as one matrix
├── PausedError           1  a person has paused all requests; none was sent
├── KeyRefusedError       3  the API does not accept the key
├── MachineError          4  this machine refuses what the program needs
└── StoreError            4  the database cannot be used
    ├── StoreBusyError    4  it cannot be used at the moment: locked, full disk, I/O error
    ├── MovedFileError    4  the file is gone from its path, or another is there
    ├── NewerSchemaError  4  it was written by a newer program
    └── NotOursError      4  not SQLite, or the database of another program
"""

from typing import ClassVar


class HarvesterError(Exception):
    """An error with a sentence for the user, a remedy, and the exit code of the command."""

    exit_code: ClassVar[int] = 70

    def __init__(self, sentence: str, *, remedy: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()


class UsageError(HarvesterError):
    """Settings, arguments or input files that cannot be used."""

    exit_code = 2


class InvalidTaskId(UsageError):  # noqa: N818  # it reads as a sentence: "this id is invalid"
    """A task id that cannot exist; see `harvester.domain.tasks.task_id`."""


class MixedModelsError(UsageError):
    """The wanted vectors are of several models or lengths; the message names them and the filter to use."""


class KeyRefusedError(HarvesterError):
    """401 or 403: the API refuses the key; no task was changed."""

    exit_code = 3


class PausedError(HarvesterError):
    """A person has paused the requests of all processes on the database: a command that needs them has not begun."""

    exit_code = 1


class MachineError(HarvesterError):
    """This machine refuses memory, threads, descriptors, space or a stream: a later start may succeed."""

    exit_code = 4


class StoreError(HarvesterError):
    """The database cannot be used."""

    exit_code = 4


class StoreBusyError(StoreError):
    """The database cannot be used at the moment: another program locks it, the disk is full, or the disk fails.

    A running harvest tries again. `reason` is the database's own message, without file name and remedy.
    """

    def __init__(self, sentence: str, *, reason: str, remedy: str = "") -> None:
        super().__init__(sentence, remedy=remedy)
        self.reason = reason


class MovedFileError(StoreError):
    """The file at the path is not the file that was opened: writes would be lost."""


class NewerSchemaError(StoreError):
    """The database was written by a newer version of the program."""


class NotOursError(StoreError):
    """The file is not SQLite, or is the database of another program."""
