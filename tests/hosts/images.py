#!/usr/bin/env python3
"""Build the images of the test hosts: images.py [PLATFORM ...], by default debian-13 and debian-testing.

An image is built anew only if what it is made of has changed. Mirror and authorities are those of this machine's own settings;
NOUS_VM_DEBIAN_MIRROR names another mirror.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROLES = HERE.parents[1] / "collections/ansible_collections/nous/vm/roles"
PLATFORMS: dict[str, dict[str, str]] = yaml.safe_load((HERE / "platforms.yml").read_text(encoding="utf-8"))
DEFAULT = ["debian-13", "debian-testing"]
REPOSITORY = "nous-vm-host"
LABEL = "vm.nous.made-of"


def say(message: str) -> None:
    print(f"hosts: {message}", flush=True)


def docker(*arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        sys.exit(f"hosts: docker {arguments[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def debian_mirror() -> str:
    """Return the mirror of Debian that this machine itself uses, the public one if it runs something else."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.is_file())
    found = re.search(r"^(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
    return os.environ.get("NOUS_VM_DEBIAN_MIRROR") or (found[1] if found else "http://deb.debian.org/debian")


def packages() -> list[str]:
    """Return the packages that the roles ask for, so that no list is kept twice."""
    defaults = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ROLES.glob("*/defaults/main.yml"))]
    return sorted({name for each in defaults for key, names in each.items() if key.endswith("_packages") and isinstance(names, list) for name in names})


@functools.cache
def registry_answers(image: str) -> bool:
    return docker("pull", "--quiet", image, check=False, timeout=300).returncode == 0


def base(name: str) -> str | None:
    """Return the image to start from: of a registry, or bootstrapped from the mirror; None if there is neither."""
    platform = PLATFORMS[name]
    if registry_answers(platform["image"]):
        return platform["image"]
    if "suite" not in platform:
        return None
    made = f"{REPOSITORY}-base:{name}"
    if docker("image", "inspect", made, check=False).returncode == 0:
        return made
    say(f"no registry answers; bootstrapping {platform['suite']} from the mirror")
    with tempfile.TemporaryDirectory() as directory:
        tar = Path(directory, "root.tar")
        bootstrap(platform["suite"], tar)
        docker("import", str(tar), made)
    return made


def bootstrap(suite: str, target: Path, *options: str) -> None:
    """Have mmdebstrap make a root file system: a folder or an archive, as the name of the target says."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"', *options]
    subprocess.run([*command, suite, target, debian_mirror()], check=True)


def authorities() -> bytes:
    """Return the authorities that this machine trusts, which may be more than the distribution's."""
    given = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    return Path(given).read_bytes() if Path(given).exists() else b""


def digest(*parts: bytes) -> str:
    """Return what tells a host made of these parts, and of the context that all hosts get, from any other."""
    content = [path.read_bytes() for path in sorted((HERE / "context").rglob("*")) if path.is_file()]
    return hashlib.sha256(b"\0".join([*parts, *content])).hexdigest()


def build(name: str) -> None:
    """Build both images of a platform, unless they are there and made of the same."""
    start = base(name)
    if start is None:
        sys.exit(f"hosts: {name} cannot be built: no registry answers for {PLATFORMS[name]['image']}, and its mirror is not bootstrapped")
    wanted = packages()
    tools = PLATFORMS[name].get("tools", "gnu")
    made_of = digest(start.encode(), " ".join(wanted).encode(), tools.encode(), authorities(), (HERE / "Dockerfile").read_bytes())
    for target, tag in (("bare", name), ("packages", f"{name}-packages")):
        image = f"{REPOSITORY}:{tag}"
        found = docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image, check=False).stdout.strip()
        if found == made_of:
            say(f"{image} is up to date")
            continue
        say(f"building {image}")
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(HERE, directory, dirs_exist_ok=True)
            trust = Path(directory, "context/usr/local/share/test-host-machine.pem")
            trust.parent.mkdir(parents=True)
            trust.write_bytes(authorities())
            given = {"BASE": start, "PACKAGES": " ".join(wanted), "TOOLS": tools}
            arguments = ["--target", target, "--tag", image, "--label", f"{LABEL}={made_of}"]
            arguments += [word for argument, value in given.items() for word in ("--build-arg", f"{argument}={value}")]
            docker("build", *arguments, directory, env=os.environ | {"DOCKER_BUILDKIT": "0"})


def main() -> None:
    wanted = sys.argv[1:] or DEFAULT
    if unknown := [name for name in wanted if name not in PLATFORMS]:
        sys.exit(f"hosts: {unknown[0]} is not a platform; allowed are {', '.join(PLATFORMS)}")
    with ThreadPoolExecutor() as pool:  # side by side: each installs one package at a time
        list(pool.map(build, wanted))


if __name__ == "__main__":
    main()
