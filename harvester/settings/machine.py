"""Reads how much memory and how many processors this process may use, by the limits of its container and its user.

Control groups nest, in two versions: the smallest limit from this process's group up to the root counts.
https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

import math
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024

_UNLIMITED_BYTES = 1 << 60
"""Bytes from which a limit means "unlimited": version 1 has no word for it and gives the largest multiple of a page."""

_ADDRESS_SPACE_BYTES = 400 * MIB
"""Bytes of address space that this program takes beyond memory: libraries, stacks of threads, the allocator."""


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """`memory_bytes`: the limit for all processes of this program together, set by `memory_limit`; None if unknown.

    `processors`: how many processors they may use at the same time, at least 1.
    """

    memory_bytes: int | None
    memory_limit: str
    processors: int


@dataclass(frozen=True, slots=True)
class _Mount:
    folder: Path
    within: str
    """Which group of the hierarchy the folder shows: a container often sees only its own."""


def read_limits(root: Path = Path("/")) -> MachineLimits:
    """Return the limits, with `proc` and `sys` below `root`. A file that cannot be read sets no limit."""
    limits = [*_memory_limits(root), *_process_limits()]
    memory_bytes, memory_limit = min(limits, default=(None, "unknown"))
    quotas = [max(1, math.ceil(quota)) for quota in _processor_quotas(root)]
    return MachineLimits(memory_bytes, memory_limit, min([*quotas, _processors()]))


def _memory_limits(root: Path) -> Iterator[tuple[int, str]]:
    """Yield each limit in bytes, and its name."""
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            number = _number(_text(folder / name))
            if number is not None and number < _UNLIMITED_BYTES:
                yield number, f"{name} of the control group"
        for line in _text(folder / "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            number = _number(value) if name == "hierarchical_memory_limit" else None
            if number is not None and number < _UNLIMITED_BYTES:
                # The limit of groups above, which this container does not see.
                yield number, f"{name} of the control group"
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            yield int(value.split()[0]) * 1024, "the memory of this machine"


def _process_limits() -> Iterator[tuple[int, str]]:
    for name, kind, spare in (
        ("RLIMIT_AS", resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES),
        ("RLIMIT_DATA", resource.RLIMIT_DATA, 0),
    ):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield max(0, soft - spare), f"{name} of this process"


def _processor_quotas(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        pairs = [(quota, period), (_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))]
        for given, per in pairs:
            microseconds, of = _number(given), _number(per)
            if microseconds and of:
                yield microseconds / of


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups for a controller, each followed by those above it."""
    mounts = dict(_mounts(root))
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        key = controllers.split(",") if controllers else [""]
        mount = mounts.get("" if not controllers else controller)
        if mount is None or (controllers and controller not in key):
            continue
        folder = mount.folder / _below(group, mount.within)
        while True:
            yield folder
            if folder == mount.folder or mount.folder not in folder.parents:
                break
            folder = folder.parent


def _mounts(root: Path) -> Iterator[tuple[str, _Mount]]:
    """Yield the mount of each controller of version 1, and that of version 2 under an empty name."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        parts, kind = fields.split(" "), rest.split(" ")
        if len(parts) < 5 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        mount = _Mount(root / _unescaped(parts[4]).lstrip("/"), _unescaped(parts[3]))
        if kind[0] == "cgroup2":
            yield "", mount
            continue
        for controller in kind[-1].split(","):
            yield controller, mount


def _below(group: str, within: str) -> str:
    """Return the path of a group relative to the mounted one; empty if the mount does not show the group."""
    if within != "/" and (group == within or group.startswith(f"{within}/")):
        group = group[len(within) :]
    elif within != "/":
        return ""
    return "" if ".." in group.split("/") else group.lstrip("/")


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """Return the number of a limit; None for "max", -1 and a missing text."""
    return int(text) if text.isascii() and text.isdigit() else None


def _processors() -> int:
    count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    return max(1, count)
