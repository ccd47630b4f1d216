"""
Finding or making a RabbitMQ installation: on the PATH, from apt, or in a folder of its own.

A folder made by debootstrap holds the RabbitMQ of any Debian release and needs nothing but root:
no Docker engine, no service on the machine, nothing outside the cache folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "SUITES",
    "Installation",
    "Unavailable",
    "apt_extract",
    "apt_install",
    "build_folder",
    "existing_folder",
    "found_or_installed",
    "install_with_apt",
    "installed_on_path",
    "services_stay_down",
]

#: Debian release that carries each RabbitMQ series; sid moves, so 4.3 is only made on demand.
SUITES = {"3.10": "bookworm", "4.0": "trixie", "4.3": "sid"}

# Debian puts these outside an ordinary user's PATH, Homebrew outside a login-less shell's.
_EXTRA_PATH = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/rabbitmq/sbin")

# debootstrap and apt may wait for a slow mirror, but not for ever.
_INSTALL_SECONDS = 900.0

# RabbitMQ reads free memory and disk from /proc. Mounted for its own processes only, it needs no
# unmounting; the folder is mounted onto itself so that df finds it in the list of mounts.
_ENTER = 'mount --bind "$0" "$0" && mount -t proc proc "$0/proc"; exec chroot "$0" "$@"'


class Unavailable(Exception):
    """A broker that cannot be had here; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Installation:
    """
    One RabbitMQ's programs.

    Attributes:
        scripts: Folder of ``rabbitmq-server`` and ``rabbitmqctl``, as this process sees it.
        root: Root folder to chroot into first; ``None`` runs them on this machine directly.
    """

    scripts: Path
    root: Path | None = None

    @property
    def version(self) -> str:
        """Its version, read off the name of its main plug-in: no process is started."""
        home = (self.scripts / "rabbitmq-server").resolve().parent.parent
        for plugin in (home / "plugins").glob("rabbit-[0-9]*"):
            return plugin.name.removeprefix("rabbit-").removesuffix(".ez")
        raise Unavailable(
            f"{home} does not look like RabbitMQ: there is no plugins/rabbit-<version> in it"
        )

    def inside(self, path: Path) -> str:
        """The path as a program of this installation sees it."""
        return str(path) if self.root is None else f"/{path.relative_to(self.root)}"

    def command(self, program: str | Path, *arguments: str) -> list[str]:
        """The command line that runs a program of this installation."""
        inside = program if isinstance(program, str) else self.inside(program)
        if self.root is None:
            return [inside, *arguments]
        enter = ["chroot", str(self.root)]
        if _can_mount():
            enter = ["unshare", "--mount", "/bin/sh", "-c", _ENTER, str(self.root)]
        return [*enter, inside, *arguments]


def installed_on_path() -> Installation | None:
    """The RabbitMQ of this machine, when there is one."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_EXTRA_PATH))
    found = shutil.which("rabbitmq-server", path=path)
    if found is None:
        return None
    script = Path(found).resolve()
    if script.name == "rabbitmq-script-wrapper":
        # Debian's wrapper turns into the user "rabbitmq" and logs into /var/log: both belong to
        # the machine's own node. The scripts behind it run as whoever starts them.
        return Installation(Path("/usr/lib/rabbitmq/bin"))
    return Installation(script.parent)


def install_with_apt() -> Installation:
    """
    Install Debian's rabbitmq-server on this machine, without starting its service.

    Raises:
        Unavailable: When this is not Debian, not root, or apt failed.
    """
    if shutil.which("apt-get") is None:
        raise Unavailable("there is no rabbitmq-server, nor an apt-get to install it with")
    _require_root("installing rabbitmq-server with apt-get")
    with services_stay_down():
        apt_install("rabbitmq-server")
    found = installed_on_path()
    if found is None:
        raise Unavailable("apt-get installed rabbitmq-server, but there is none in /usr/sbin")
    return found


def existing_folder(series: str, cache: Path) -> Installation | None:
    """The finished folder with RabbitMQ ``series`` (such as ``"4.0"``), when it was made before."""
    root = cache / SUITES[series]
    scripts = root / "usr/lib/rabbitmq/bin"
    if not (scripts / "rabbitmq-server").exists():
        return None
    found = Installation(scripts, root)
    if not found.version.startswith(f"{series}."):
        raise Unavailable(
            f"{root} holds RabbitMQ {found.version}, expected {series}.x; delete that folder, or "
            "point EFFECTMQ_BROKER_CACHE to another one"
        )
    return found


def build_folder(series: str, cache: Path) -> Installation:
    """
    A folder with RabbitMQ ``series``, made when it is not there yet (about a minute).

    It is made under another name and renamed when it is complete, so an interrupted build is never
    taken for a finished one; a lock lets two sessions that start together make it once.

    Raises:
        Unavailable: When it cannot be made; the text ends with what debootstrap said.
    """
    if series not in SUITES:
        raise Unavailable(
            f"there is no recipe for RabbitMQ {series}; expected {', '.join(SUITES)} or 'default'"
        )
    found = existing_folder(series, cache)
    _require_root(f"running RabbitMQ {series} out of {cache} (chroot and debootstrap)")
    if found is not None:
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if existing_folder(series, cache) is None:
            _build(series, cache)
    built = existing_folder(series, cache)
    if built is None:
        raise Unavailable(f"debootstrap finished without a rabbitmq-server in {cache}")
    return built


def _build(series: str, cache: Path) -> None:
    if shutil.which("debootstrap") is None:
        if shutil.which("apt-get") is None:
            raise Unavailable(
                f"RabbitMQ {series} needs debootstrap, and there is no apt-get for it"
            )
        apt_install("debootstrap", "debian-archive-keyring")
    suite = SUITES[series]
    for leftover in cache.glob(f"{suite}.building-*"):
        _remove_tree(leftover)
    root = Path(tempfile.mkdtemp(prefix=f"{suite}.building-", dir=cache))
    root.chmod(0o755)
    try:
        options = ["--variant=minbase", "--include=rabbitmq-server"]
        _run("debootstrap", *options, suite, str(root), *_mirror())
        _finish(root)
        root.rename(cache / suite)
    except BaseException:
        _remove_tree(root)
        raise


def _finish(root: Path) -> None:
    """Make node names with @localhost resolve, and drop the 130 MB that apt no longer needs."""
    hosts = root / "etc/hosts"
    known = hosts.read_text() if hosts.exists() else ""
    if "localhost" not in known:
        hosts.write_text(f"127.0.0.1\tlocalhost\n{known}")
    for package in (root / "var/cache/apt").rglob("*.*"):
        package.unlink()
    for index in (root / "var/lib/apt/lists").glob("*_*"):
        index.unlink()


def _mirror() -> list[str]:
    """The Debian mirror this machine's apt uses; none leaves the choice to debootstrap."""
    query = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)"]
    if shutil.which(query[0]) is None:
        return []
    for line in subprocess.run(query, capture_output=True, text=True).stdout.splitlines():
        origin, _, rest = line.partition(" ")
        codename, _, uri = rest.partition(" ")
        if origin == "Debian" and "-" not in codename:
            return [uri]
    return []


def apt_install(*packages: str) -> None:
    """Install packages; the package lists are only fetched when apt cannot do without."""
    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
    try:
        _run(*install)
    except Unavailable:
        with contextlib.suppress(Unavailable):  # an unreachable extra source is not fatal
            _run("apt-get", "update", "-q")
        _run(*install)


def found_or_installed(
    look: Callable[[], Path | None], package: str, what: str, instead: str = ""
) -> Path:
    """
    What a look finds, before or after Debian's package is installed; no service is started.

    Args:
        look: Looks for it.
        package: The package that has it.
        what: What is missing, for a sentence that begins with "there is no".
        instead: What helps otherwise; continues the sentence.

    Raises:
        Unavailable: When it is not there and cannot be installed.
    """
    found = look()
    if found is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(
            f"there is no {what}, and installing {package} with apt-get needs Debian and root"
            f"{instead}"
        )
    with services_stay_down():
        apt_install(package)
    found = look()
    if found is None:
        raise Unavailable(f"apt-get installed {package}, and there still is no {what}")
    return found


def apt_extract(package: str, folder: Path) -> None:
    """
    Unpack Debian's package into a folder, without installing it: no service, no root needed.

    Raises:
        Unavailable: When this is not Debian, or apt failed.
    """
    if shutil.which("apt-get") is None:
        raise Unavailable(f"there is no apt-get to fetch {package} with")
    with tempfile.TemporaryDirectory() as there:
        try:
            _run("apt-get", "download", "-q", package, where=there)
        except Unavailable:
            _run("apt-get", "update", "-q")
            _run("apt-get", "download", "-q", package, where=there)
        for file in Path(there).glob("*.deb"):
            _run("dpkg", "--extract", str(file), str(folder))


@contextlib.contextmanager
def services_stay_down() -> Generator[None]:
    """Debian's documented veto: while this file says 101, installing starts no service."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


@functools.cache
def _can_mount() -> bool:
    """Whether mounts of our own are allowed; root in a container often may not."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def _require_root(purpose: str) -> None:
    if os.geteuid() != 0:
        raise Unavailable(f"{purpose} needs root, and this is user {os.geteuid()}")


def _remove_tree(root: Path) -> None:
    """Delete a build folder without ever following a mount out of it."""
    # debootstrap mounts /proc while it works; killed, it leaves the mount behind.
    subprocess.run(["umount", "--lazy", str(root / "proc")], capture_output=True)
    subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)


def _run(*command: str, where: str | None = None) -> None:
    print(f"brokers: {' '.join(command)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with tempfile.TemporaryFile("w+") as output:
        try:
            subprocess.run(
                command,
                check=True,
                cwd=where,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=_INSTALL_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            tail = "".join(output.readlines()[-15:])
            raise Unavailable(f"{error}; its last words:\n{tail}") from None
