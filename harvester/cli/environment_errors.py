"""Turns errors of the environment into a sentence with a remedy: limits of this machine, files, variables.

This is the last place for errors that no layer below has translated. An error that is not listed here is a bug.
"""

import errno
import os
from collections.abc import Iterator

from harvester.cli.streams import STDOUT
from harvester.domain.errors import HarvesterError, MachineError, UsageError

_MEMORY = MachineError(
    "This machine has no more memory for the program.",
    remedy="Raise the limit (of the container, MemoryMax=, `ulimit -v`), or lower harvest.memory_budget_bytes and "
    "harvest.concurrency; `harvester doctor` compares them.",
)
_THREADS = MachineError(
    "This machine refuses to start more threads or processes.",
    remedy="Raise the limit (of the container's processes, TasksMax=, `ulimit -u`).",
)
_FILES = MachineError("This machine refuses to open more files.", remedy="Raise the limit (`ulimit -n`, LimitNOFILE=).")
_FREE_SPACE = "Free some space there, or write to another place."
_PERMISSIONS = "Check its permissions, and which user this program runs as."

_LIMITS = {errno.ENOMEM: _MEMORY, errno.EMFILE: _FILES, errno.ENFILE: _FILES, errno.EAGAIN: _THREADS}

_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: "Raise the limit on file size (`ulimit -f`, LimitFSIZE=).",
    errno.EROFS: "Write to another place.",
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EIO: "Check the disk or the terminal behind it.",
}

# Messages of the loader of shared libraries when memory or descriptors run out; Python has only this text.
_LOADER_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "cannot map zero-fill pages",
    "cannot create shared",
)


def environment_error(error: BaseException) -> HarvesterError | None:
    """Return the translation of the error, or of the first one in its group; None if any of them may be a bug."""
    if possible_bugs(error):
        return None
    return next((found for one in _leaves(error) if (found := _translated(one)) is not None), None)


def possible_bugs(error: BaseException) -> list[BaseException]:
    """Return the error, or those in its group, that no trouble of the environment explains."""
    return [one for one in _leaves(error) if _translated(one) is None]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _translated(error: BaseException) -> HarvesterError | None:
    text = str(error)
    match error:
        case HarvesterError():
            return error
        case MemoryError():
            return _MEMORY
        case ImportError() if any(sign in text.lower() for sign in _LOADER_MEMORY):
            return _MEMORY
        case ImportError() if "too many open files" in text.lower():
            return _FILES
        case RuntimeError() if "can't start new thread" in text:
            return _THREADS
        case RuntimeError() if "home directory" in text:
            return UsageError(
                "A path begins with ~, but this user has no home folder here.",
                remedy="Write the whole path, or set HOME.",
            )
        case UnicodeEncodeError():
            return UsageError(
                f"The encoding of this environment, {error.encoding}, cannot express {error.object[:80]!a}.",
                remedy="Set LC_ALL=C.UTF-8 or another UTF-8 locale.",
            )
        case OSError():
            return _of_the_system(error)
    return None


def _of_the_system(error: OSError) -> HarvesterError:
    if error.filename is None and _is_folder_gone():
        return UsageError(
            "The current folder does not exist any more, or cannot be read.",
            remedy="Go to another folder, or write paths in full.",
        )
    if error.errno in _LIMITS and error.filename != STDOUT:
        return _LIMITS[error.errno]
    name = "A file or stream" if error.filename is None else str(error.filename)
    said = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    number = error.errno or 0
    code = f" ({errno.errorcode[number]})" if number in errno.errorcode else ""
    remedy = _REMEDIES.get(number, "Run again with --debug to see where.")
    if "temporary directory" in said:
        remedy = "Let TMPDIR name a folder that this user may write to."
    return MachineError(f"{name} cannot be used: {said}{code}.", remedy=remedy)


def _is_folder_gone() -> bool:
    try:
        os.stat(os.getcwd())  # noqa: PTH109, PTH116  # the calls that fail
    except OSError:
        return True
    return False
