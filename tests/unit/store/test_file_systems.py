import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harvester.domain.errors import StoreError
from harvester.store.sqlite.connection import _switch_to_wal, open_for_reading, open_for_writing
from harvester.store.sqlite.maintenance import file_systems
from harvester.store.sqlite.maintenance.file_systems import mount_of, refuse_network
from tests.support.machine import needs_mounts

ROOT = "22 1 4095:7 / / rw,relatime shared:1 - ext4 /dev/disk rw"
"""A device that no machine has: the test says what is where."""


def line(point: str | Path, kind: str, device: str = "0:99") -> str:
    return f"36 22 {device} / {point} rw,noatime master:1 shared:7 - {kind} server:/export rw,vers=4.2"


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's list, to be written by the test."""
    path = tmp_path / "mountinfo"
    monkeypatch.setattr(file_systems, "MOUNTINFO", path)
    return path


def kind_of(path: Path) -> str | None:
    mount = mount_of(path)
    return None if mount is None else mount.kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/nas/harvester.db", "nfs4"),
        ("/srv/nas/deep/er/harvester.db", "nfs4"),
        ("/srv/nas-local/harvester.db", "ext4"),
        ("/srv/harvester.db", "ext4"),
        ("/srv/nas/local/harvester.db", "xfs"),
        ("/srv/two words/harvester.db", "cifs"),
    ],
)
def test_a_path_is_on_the_nearest_mount_above_it(mounts: Path, path: str, kind: str) -> None:
    lines = [ROOT, line("/srv/nas/local", "xfs"), line("/srv/nas", "nfs4"), line(r"/srv/two\040words", "cifs")]
    mounts.write_text("\n".join(lines) + "\n")
    assert kind == kind_of(Path(path))


def test_of_two_mounts_at_one_point_the_later_one_counts(mounts: Path) -> None:
    mounts.write_text("\n".join([ROOT, line("/srv", "nfs"), line("/srv", "tmpfs")]))
    assert kind_of(Path("/srv/harvester.db")) == "tmpfs"


def test_a_mount_that_a_later_one_further_up_hides_does_not_count(mounts: Path, tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    here = f"{os.major(number)}:{os.minor(number)}"
    mounts.write_text("\n".join([ROOT, line(tmp_path, "nfs"), line(tmp_path.parent, "xfs", here)]))
    assert kind_of(tmp_path / "harvester.db") == "xfs"


def test_a_link_is_followed_to_where_the_file_will_be(mounts: Path, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "harvester.db").symlink_to(tmp_path / "nas" / "harvester.db")
    mounts.write_text("\n".join([ROOT, line(tmp_path / "nas", "nfs4")]))
    assert kind_of(tmp_path / "harvester.db") == "nfs4"


@pytest.mark.parametrize("text", ["", "nonsense\n\n - \n", line("/elsewhere", "nfs")])
def test_a_list_that_says_nothing_of_the_path_is_no_error(mounts: Path, text: str) -> None:
    mounts.write_text(text)
    refuse_network(Path("/srv/harvester.db"))
    assert kind_of(Path("/srv/harvester.db")) is None


def test_a_system_without_the_list_is_no_error(mounts: Path, path: Path) -> None:
    assert not mounts.exists()
    open_for_writing(path).close()


@needs_mounts
def test_this_machine_tells_where_the_database_is(tmp_path: Path) -> None:
    mount = mount_of(tmp_path / "harvester.db")
    assert mount is not None
    assert (mount.kind != "", mount.is_network) == (True, False)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs", "lustre"]
)
def test_a_network_file_system_is_refused_with_the_remedy(mounts: Path, path: Path, kind: str) -> None:
    mounts.write_text("\n".join([ROOT, line(path.parent, kind)]))
    with pytest.raises(StoreError) as caught:
        open_for_writing(path)
    assert (caught.value.exit_code, path.exists()) == (4, False)
    assert f"on a network file system ({kind} at '{path.parent}')" in caught.value.sentence
    assert "Put the database on a local disk (--db or store.path)" in caught.value.remedy


def test_what_has_got_onto_one_can_still_be_read_and_so_moved(mounts: Path, path: Path) -> None:
    open_for_writing(path).close()
    mounts.write_text("\n".join([ROOT, line(path.parent, "nfs4")]))
    open_for_reading(path).close()


@pytest.mark.parametrize("kind", ["fuse.mergerfs", "fuse", "virtiofs", "fakeowner"])
def test_a_type_that_tells_nothing_is_allowed_and_known_as_such(mounts: Path, path: Path, kind: str) -> None:
    mounts.write_text("\n".join([ROOT, line(path.parent, kind)]))
    refuse_network(path)
    mount = mount_of(path)
    assert mount is not None
    assert mount.is_opaque


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuse.fuse-overlayfs"])
def test_a_local_disk_is_neither(mounts: Path, path: Path, kind: str) -> None:
    mounts.write_text("\n".join([ROOT, line(path.parent, kind)]))
    mount = mount_of(path)
    assert mount is not None
    assert (mount.is_network, mount.is_opaque) == (False, False)


def test_where_memory_cannot_be_shared_the_log_is_missed(path: Path) -> None:
    # This way of locking has no shared memory, like the file systems that the list does not know.
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?vfs=unix-dotfile", uri=True)) as connection,
        pytest.raises(StoreError, match=r"cannot hold SQLite's write-ahead log\. Put the database on a local disk"),
    ):
        _switch_to_wal(connection, path)
