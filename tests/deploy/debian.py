"""A bare Debian 12 with systemd as its first process, and a page of the documentation to type in.

It has a network of its own: what it does to its firewall and its ports is nobody else's business.
slirp4netns connects it to the package mirrors and to PyPI.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.harness import until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deployment.md"
#: The machine's name, and where it finds what stands for the clone.
HOST, _ORIGIN = "push.example.net", "/srv/origin"
#: What stands in the page, and what a person would write there instead.
_NAMES = {
    "sms.example.com": HOST,
    "you@example.com": f"me@{HOST}",
    "https://git.example.com/sms-receiver.git": _ORIGIN,
}
_PROGRAMS = ("debootstrap", "systemd-nspawn", "slirp4netns", "nsenter", "openssl", "git")
#: Where this machine's certificates are; a mirror may answer with one that only it knows.
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
#: Seconds for one block of the page: packages and the program are downloaded in it.
_LONGEST = 300


class Machine(msgspec.Struct, frozen=True):
    """A running Debian."""

    root: Path
    leader: int
    """Its first process, as we number it."""

    def type(self, script: str, *, fails: bool = False) -> str:
        """What root sees who types this; stops at the first command that fails."""
        command = [*self._enter("--all"), "bash", "-euo", "pipefail", "-c", f"cd; {script}"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{script}\n{done.stdout}"
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program of this machine in the network of that one."""
        return subprocess.Popen(
            [*self._enter("--net"), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.type(f"systemctl show --value --property {what} {unit}").strip()

    def path(self, name: str) -> Path:
        """A file of it, as we see it."""
        return self.root / name.lstrip("/")

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", "--target", str(self.leader), *namespaces, "--"]


def blocks(heading: str, page: Path = PAGE) -> list[str]:
    """What a page says to type below a heading."""
    text = page.read_text("utf-8")
    below = rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)"
    found = re.search(below, text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    typed = re.findall(r"^```sh\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL)
    assert typed, f"{heading!r} of {page} has nothing to type"
    return typed


def names() -> str:
    """The page's first block, with values of our own."""
    [block] = blocks("Names")
    for theirs, ours in _NAMES.items():
        assert theirs in block
        block = block.replace(theirs, ours)
    return block


@contextmanager
def debian(folder: Path, like: Machine | None = None) -> Iterator[Machine]:
    """An empty one, with what stands for the rest of the world: a clone, a name, a certificate.

    `like`: is copied, which takes less time.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing or _PROGRAMS)}")
    root = folder / "debian"
    try:
        if like is None:
            _make(root)
        else:
            _run("cp", "--archive", str(like.root), str(root))
        with _booted(root) as machine:
            yield machine
    finally:
        # debootstrap mounts /proc and /sys below it; one that was interrupted leaves them there.
        subprocess.run(
            ["rm", "--recursive", "--force", "--one-file-system", str(root)], check=False
        )


def connected(one: Machine, one_is: str, other: Machine, other_is: str) -> None:
    """Lays a cable between two, at whose ends they have these addresses."""
    ends = [("netns", str(machine.leader)) for machine in (one, other)]
    _run("ip", "link", "add", "cable", *ends[0], "type", "veth", "peer", "name", "cable", *ends[1])
    for machine, address in ((one, one_is), (other, other_is)):
        machine.type(f"ip address add {address}/24 dev cable; ip link set cable up")


def commit(root: Path, message: str) -> None:
    """Commits everything in what stands for the clone."""
    git = ["git", "-C", str(root / _ORIGIN.lstrip("/")), "-c", "user.name=Test"]
    git += ["-c", "user.email=test@example.com"]
    subprocess.run([*git, "add", "--all", "--force"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", message], check=True)


def _make(root: Path) -> None:
    included = "--include=dbus,ca-certificates"
    _run("debootstrap", included, "bookworm", str(root), "http://deb.debian.org/debian")
    shutil.copy(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))
    (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")  # slirp4netns
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {HOST}\n")
    origin = root / _ORIGIN.lstrip("/")
    listed = _run("git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard")
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, origin / name)
    _run("git", "init", "--quiet", str(origin))
    commit(root, "What is tested")


@contextmanager
def _booted(root: Path) -> Iterator[Machine]:
    name = f"receiver-{os.getpid()}-{root.parent.name}"
    options = ["--register=no", "--keep-unit", "--private-network", "--resolv-conf=off"]
    options += [f"--machine={name}", f"--directory={root}", "--console=pipe", "--boot"]
    # The container's systemd has no use for the old hierarchies that this machine may have.
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with _own_cgroups(name) as enter, (root.parent / "console.log").open("w") as console:
        command = [*enter, "systemd-nspawn", *options]
        begin = partial(
            subprocess.Popen[bytes], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
        nspawn = begin(command, env=environment)
        network = None
        try:
            leader = until(lambda: _leader(nspawn.pid), "the first process")
            machine = Machine(root, leader)
            connect = ["slirp4netns", "--configure", "--disable-host-loopback"]
            network = begin([*connect, str(leader), "tap0"])
            until(lambda: _is_up(machine), "systemd is up and has a network")
            yield machine
        finally:
            for process in filter(None, (network, nspawn)):
                process.terminate()  # nspawn shuts the machine down
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def _own_cgroups(name: str) -> Iterator[list[str]]:
    """What starts a program in control groups of its own: two machines must not share theirs."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    folders = [
        Path(mount[1]) / name
        for mount in mounts
        if mount[2] == "cgroup2" or (mount[2] == "cgroup" and "name=systemd" in mount[3])
    ]
    for folder in folders:
        folder.mkdir()
    script = 'for procs in $0; do echo $$ > $procs; done; exec "$@"'
    try:
        yield ["sh", "-c", script, " ".join(f"{folder}/cgroup.procs" for folder in folders)]
    finally:
        for folder in folders:
            for inner, _, _ in os.walk(folder, topdown=False):
                Path(inner).rmdir()


def _leader(nspawn: int) -> int | None:
    """The child that is the first of its own process namespace."""
    for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
        try:
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:  # one on the way there, gone already
            continue
        if re.match(r"Name:\s+systemd\n", status) and re.search(r"\nNSpid:.*\s1\n", status):
            return int(child)
    return None


def _is_up(machine: Machine) -> bool:
    return "yes" in machine.type(
        "if systemctl is-system-running --wait && ip route | grep -q default; then echo yes; fi"
    )


def _environment() -> dict[str, str]:
    """That of a login, and how pip reaches its index from here."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    pip.pop("PIP_FIND_LINKS", None)  # a folder of this machine
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}
    return {"PATH": path, "HOME": "/root", **noninteractive, **pip}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr}"
    return done.stdout
