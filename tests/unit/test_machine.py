from pathlib import Path

import pytest

from harvester.settings.machine import MIB, read_limits

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
UNLIMITED_V1 = "9223372036854771712"


def machine(root: Path, *, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A folder that looks as a machine of 8 GiB does."""
    everything = {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": mounts,
        "proc/meminfo": "MemTotal:        8388608 kB\nMemFree:  1 kB\n",
    } | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("name", ["memory.max", "memory.high"])
def test_the_limit_of_version_2_counts(tmp_path: Path, name: str) -> None:
    root = machine(tmp_path, groups="0::/a\n", mounts=V2_MOUNT, files={f"a/{name}": f"{128 * MIB}\n"})

    assert read_limits(root).memory_bytes == 128 * MIB
    assert name in read_limits(root).memory_limit


def test_the_smallest_limit_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {"memory.max": "max\n", "a/memory.max": f"{100 * MIB}\n", "a/b/memory.max": "max\n"}
    root = machine(tmp_path, groups="0::/a/b\n", mounts=V2_MOUNT, files=files)

    assert read_limits(root).memory_bytes == 100 * MIB


def test_the_limit_of_version_1_counts(tmp_path: Path) -> None:
    groups = "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n"
    files = {
        "memory/docker/1/memory.limit_in_bytes": f"{64 * MIB}\n",
        "memory/memory.limit_in_bytes": UNLIMITED_V1,
        "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
    }
    limits = read_limits(machine(tmp_path, groups=groups, mounts=V1_MOUNTS, files=files))

    assert (limits.memory_bytes, limits.processors) == (64 * MIB, 1)


def test_a_container_that_sees_only_its_own_group_finds_it_at_the_mount(tmp_path: Path) -> None:
    mounts = "35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    files = {"memory/memory.limit_in_bytes": f"{64 * MIB}\n"}
    for groups in ("5:memory:/docker/1\n", "5:memory:/../../other\n"):
        root = machine(tmp_path, groups=groups, mounts=mounts, files=files)
        assert read_limits(root).memory_bytes == 64 * MIB


def test_a_limit_of_a_group_above_that_cannot_be_seen_counts(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": UNLIMITED_V1,
        "memory/memory.stat": f"cache 1\nhierarchical_memory_limit {96 * MIB}\n",
    }
    root = machine(tmp_path, groups="5:memory:/\n", mounts=V1_MOUNTS, files=files)

    assert read_limits(root).memory_bytes == 96 * MIB


def test_a_quota_of_processors_is_rounded_up(tmp_path: Path) -> None:
    root = machine(tmp_path, groups="0::/\n", mounts=V2_MOUNT, files={"cpu.max": "20000 100000\n"})

    assert read_limits(root).processors == 1


@pytest.mark.parametrize(
    "files", [{"memory.max": "max", "cpu.max": "max 100000"}, {"memory.max": "odd", "cpu.max": "1"}, {}]
)
def test_without_a_limit_the_memory_of_the_machine_is_it(tmp_path: Path, files: dict[str, str]) -> None:
    limits = read_limits(machine(tmp_path, groups="0::/\n", mounts=V2_MOUNT, files=files))

    assert (limits.memory_bytes, limits.memory_limit) == (8192 * MIB, "the memory of this machine")
    assert limits.processors >= 1


def test_a_machine_that_tells_nothing_limits_nothing(tmp_path: Path) -> None:
    assert read_limits(tmp_path).memory_bytes is None
