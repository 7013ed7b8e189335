"""Find the file system of a path, and whether SQLite's write-ahead log works there.

Every process on the database maps the log's index into memory. Hosts cannot share it over a network, and locks of
network file systems are unreliable: https://www.sqlite.org/wal.html, section 1.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harvester.domain.errors import StoreError

MOUNTINFO = Path("/proc/self/mountinfo")
"""The kernel's list of the mounts that this process sees; tests replace it."""

NETWORK_KINDS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "davfs"),
        *("ceph", "glusterfs", "lustre", "gpfs", "beegfs", "panfs", "orangefs", "pvfs2"),
        *("fuse.sshfs", "fuse.davfs2", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.cephfs", "fuse.juicefs"),
        *("fuse.s3fs", "fuse.goofys", "fuse.mountpoint-s3", "fuse.gcsfuse", "fuse.blobfuse", "fuse.blobfuse2"),
        *("fuse.rclone", "fuse.curlftpfs", "fuse.smbnetfs", "fuse.afp", "fuse.moosefs", "fuse.seaweedfs"),
    }
)
"""File system types, in the kernel's spelling, that another machine serves."""

OPAQUE_KINDS = frozenset({"fuse", "virtiofs", "fakeowner", "vboxsf", "prl_fs"})
"""Types that may or may not be local: programs, and folders that the host shares with a virtual machine."""

LOCAL_FUSE_KINDS = frozenset({"fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs"})

LOCAL_DISK = "Put the database on a local disk (--db or store.path), and copies for other machines where you like."

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its mount point, its type, and its device number (`major:minor`)."""

    point: Path
    kind: str
    device: str

    @property
    def is_network(self) -> bool:
        """Whether another machine serves it."""
        return self.kind in NETWORK_KINDS

    @property
    def is_opaque(self) -> bool:
        """Whether its type does not show if it is local."""
        return self.kind in OPAQUE_KINDS or (
            self.kind.startswith("fuse.") and self.kind not in NETWORK_KINDS | LOCAL_FUSE_KINDS
        )


def mount_of(path: Path) -> Mount | None:
    """Return the mount that `path` is on, or will be created on; None if the system has no list of mounts."""
    try:
        mounts = _parse(MOUNTINFO.read_text("utf-8", "surrogateescape"))
    except OSError:
        return None
    resolved = Path(os.path.realpath(path))  # Path.resolve raises for links in a circle
    around = [mount for mount in mounts if resolved.is_relative_to(mount.point)]
    # A later mount further up may hide this one. The device shows which is in use, except on btrfs, whose subvolumes
    # have other devices than their mounts.
    device = _device_of(resolved)
    candidates = [mount for mount in around if mount.device == device] or around
    # If several have the same mount point, the last one hides the others.
    return max(enumerate(candidates), key=lambda one: (len(one[1].point.parts), one[0]))[1] if candidates else None


def refuse_network(path: Path) -> None:
    """Raise StoreError if another machine serves the file system of `path`."""
    mount = mount_of(path)
    if mount is not None and mount.is_network:
        raise StoreError(
            f"The database {str(path)!a} would be on a network file system ({mount.kind} at {str(mount.point)!a}), "
            "where SQLite's write-ahead log does not work and damage is likely.",
            remedy=LOCAL_DISK,
        )


def _parse(text: str) -> list[Mount]:
    """Read lines as in proc_pid_mountinfo(5): `36 35 98:0 /root /point options tag:n - type source options`."""
    mounts = []
    # Names may contain other line breaks.
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 5:
            mounts.append(Mount(Path(_unescape(fields[4])), after.split(" ")[0], fields[2]))
    return mounts


def _unescape(name: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), name)


def _device_of(path: Path) -> str | None:
    """Return the device of the path, or of the nearest existing folder above it."""
    for existing in (path, *path.parents):
        try:
            number = existing.stat().st_dev
        except OSError:
            continue
        return f"{os.major(number)}:{os.minor(number)}"
    return None
