"""The disk of a VM as a cloud hands it out, made from Debian's archive: cloud-init, an ssh server, the cloud kernel, and nothing of ours."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from images import HERE as HOSTS
from images import PLATFORMS, authorities, bootstrap, debian_mirror, digest

PACKAGES = (
    "ca-certificates cloud-init curl dbus e2fsprogs initramfs-tools iproute2 linux-image-cloud-amd64 netbase netplan.io openssh-server procps python3 sudo"
    " systemd systemd-resolved systemd-sysv udev zstd"
)
SIZE = "6G"
# What an image of a cloud has set as well: where user-data comes from, and which disk is the root.
SET_UP = """
    /usr/local/sbin/test-host-trust
    echo 'datasource_list: [NoCloud, None]' > /etc/cloud/cloud.cfg.d/90-datasource.cfg
    echo '/dev/vda / ext4 defaults 0 1' > /etc/fstab
    : > /etc/machine-id
    rm -f /etc/hostname
"""


class Disk(NamedTuple):
    image: Path
    kernel: Path
    initrd: Path


def make(platform: str, folder: Path) -> Disk:
    """Make the disk, or take the one that was made of the same before."""
    made_of = digest(Path(__file__).read_bytes(), debian_mirror().encode(), authorities())
    made = folder / f"{platform}-{made_of[:12]}"
    disk = Disk(made / "disk.raw", made / "vmlinuz", made / "initrd.img")
    if made.exists():
        return disk
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        root, aside = Path(work, "root"), Path(work, "made")
        aside.mkdir()
        fill(root, PLATFORMS[platform]["suite"])
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(next((root / "boot").glob(f"{name}-*")), aside / name)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, aside / "disk.raw", SIZE], check=True)
        aside.rename(made)
    return disk


def fill(root: Path, suite: str) -> None:
    with tempfile.NamedTemporaryFile() as trust:
        trust.write(authorities())
        trust.flush()
        hooks = [
            f"--customize-hook=sync-in {HOSTS / 'context'} /",
            f"--customize-hook=upload {trust.name} /usr/local/share/test-host-machine.pem",
            f'--customize-hook=chroot "$1" sh -eu -c {shlex.quote(SET_UP)}',
        ]
        bootstrap(suite, root, "--format=directory", f"--include={','.join(PACKAGES.split())}", *hooks)
