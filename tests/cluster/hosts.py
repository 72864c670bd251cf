"""Hosts on this machine: namespaces for network, processes, mounts and names, joined by a bridge.

Nothing of it has a name outside: a namespace ends with its processes, and they end with the process that made them,
however that ends.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from waiting import PATIENCE

HOME = "/home/pilot"
DATABASE_USER = "54321"
_CLONE_NEWNET = 0x40000000
REPOSITORY = Path(__file__).parents[2]
_UNTIL_I_END = ("setpriv", "--pdeathsig", "KILL", "--")
_NEEDED = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
    "rsync": "rsync",
    "ps": "procps",
}


def why_impossible() -> str | None:
    """Why no hosts can be made here; None where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts are made of namespaces, by root on Linux"
    missing = sorted({package for command, package in _NEEDED.items() if shutil.which(command) is None})
    if missing:
        return f"hosts need more commands; on Debian: apt-get install {' '.join(missing)}"
    tried = subprocess.run(["unshare", "-mnpu", "--fork", "true"], capture_output=True, text=True, check=False)
    return f"namespaces are not permitted here: {tried.stderr.strip()}" if tried.returncode else None


class Host:
    """A host of a `Lan`.

    Attributes:
        name: Its hostname.
        address: Its IPv4 address.
        folder: What is private to it, seen from outside: `folder / "tmp"` is its /tmp.
        log: What its first process and its sshd print.
    """

    def __init__(self, name: str, address: str, folder: Path, sshd: bool):
        self.name, self.address, self.folder, self.log = name, address, folder, folder / "log"
        keep = {str(path.resolve()) for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))}
        environment = {"PATH": os.environ["PATH"], "NAME": name, "ADDRESS": address, "FOLDER": str(folder)}
        environment |= {"KEEP": " ".join(keep), "SSHD": str(int(sshd))}
        namespaces = ("unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child")
        with self.log.open("wb") as log:
            self._outside = subprocess.Popen(
                [*_UNTIL_I_END, *namespaces, "bash", str(Path(__file__).with_name("host.sh"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                start_new_session=True,
            )
        line = self._outside.stdout.readline()
        assert line, f"host {name} did not start; its log: {self.log.read_text()}"
        self.pid = int(line)
        self._started: list[subprocess.Popen] = []

    def connect(self) -> None:
        """Tells the host that its network card is there."""
        self._outside.stdin.write("\n")
        self._outside.stdin.flush()

    @property
    def home(self) -> Path:
        """Its user's home folder, seen from outside."""
        return self.folder / HOME.lstrip("/")

    def command(self, *words: str, user: str | None = None, **environment: str) -> list[str]:
        """The command that runs `words` on this host, in its user's home folder."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--"]
        variables = {"HOME": HOME, "USER": "root", "LANG": "C.UTF-8", "PATH": path_of_hosts()}
        variables |= {"PYTHONPATH": str(REPOSITORY)} | environment
        inside += ["env", "-i", f"--chdir={HOME}", *(f"{name}={value}" for name, value in variables.items())]
        if user is not None:
            inside += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        return [*_UNTIL_I_END, *inside, *words]

    def run(
        self, *words: str, timeout: float = PATIENCE, check: bool = True, user: str | None = None, **environment: str
    ):
        """Runs a command to its end; `stdout` of what is returned has both streams."""
        done = subprocess.run(
            self.command(*words, user=user, **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        said = f"{' '.join(words)[:200]} on {self.name}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        assert not check or done.returncode == 0, said
        return done

    def start(self, log: Path, *words: str, user: str | None = None, **environment: str) -> subprocess.Popen:
        """Starts a command, which ends with the host at the latest."""
        with log.open("ab") as file:
            command = self.command(*words, user=user, **environment)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        self._started.append(process)
        return process

    def processes(self) -> list[str]:
        """The command lines of its processes, but for its first one and the listing itself."""
        listed = self.run("ps", "-eo", "pid=,ppid=,args=").stdout.splitlines()
        return [line.split(None, 2)[2] for line in listed if line.split(None, 1)[0] != "1" and "ps -eo" not in line]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Puts this thread into the host's network: its loopback and its neighbours are ours inside."""
        with Path("/proc/thread-self/ns/net").open("rb") as ours, Path(f"/proc/{self.pid}/ns/net").open("rb") as its:
            _enter_network(its.fileno())
            try:
                yield
            finally:
                _enter_network(ours.fileno())

    def is_up(self) -> bool:
        """Whether its first process runs."""
        return self._outside.poll() is None

    def kill(self) -> None:
        """Ends its first process by SIGKILL, and with it, says the kernel, all others."""
        if self.is_up():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        for process in (self._outside, *self._started):
            process.wait(timeout=30)


class Lan:
    """A bridge in a network namespace of its own, and the hosts that are plugged into it.

    Args:
        folder: Where the hosts' private folders are made.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.hosts: dict[str, Host] = {}
        self._key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        self._bridge = subprocess.Popen(
            [*_UNTIL_I_END, "unshare", "--net", "--fork", "--kill-child", "bash", "-c", "echo up; exec sleep infinity"],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._bridge.stdout.readline()
        self._on_bridge("ip", "link", "add", "bridge", "type", "bridge")
        self._on_bridge("ip", "link", "set", "bridge", "up")

    def _on_bridge(self, *words: str) -> None:
        # `unshare` itself has entered the namespace before it forked.
        subprocess.run(["nsenter", "--target", str(self._bridge.pid), "--net", "--", *words], check=True)

    def add(self, name: str, number: int, sshd: bool = True) -> Host:
        """A new host at `address(number)`; every host may log in to those with an sshd."""
        assert name not in self.hosts, f"a host has one life; {name} had its own"
        folder = self._folder / name
        self._furnish(folder, name, address(number))
        host = self.hosts[name] = Host(name, address(number), folder, sshd)
        self._on_bridge(
            *("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)),
        )
        self._on_bridge("ip", "link", "set", name, "master", "bridge", "up")
        host.connect()
        return host

    def _furnish(self, folder: Path, name: str, ip: str) -> None:
        home = folder / HOME.lstrip("/")
        for made in (home / ".ssh", folder / "etc", folder / "run", folder / "tmp"):
            made.mkdir(parents=True)
        (home / ".ssh").chmod(0o700)
        shutil.copy(self._key, home / ".ssh" / "id_ed25519")
        shutil.copy(self._key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")
        others = [f"{other.address} {other.name}" for other in self.hosts.values()]
        etc = {
            "passwd": _accounts(),
            "shadow": "root:*:::::::\n",
            "hosts": "\n".join(["127.0.0.1 localhost", f"{ip} {name}", *others, ""]),
            "resolv.conf": "",
        }
        for file, text in etc.items():
            (folder / "etc" / file).write_text(text)
        # Also read by the shells that Ray's workers are started by, as descendants of an sshd.
        path = f"export PYTHONPATH=${{PYTHONPATH:+$PYTHONPATH:}}{REPOSITORY}\n"
        (home / ".bashrc").write_text(f"{path}export RAY_USAGE_STATS_ENABLED=0\n")
        host_key = folder / "home" / "ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
        (folder / "home" / "sshd_config").write_text(
            "HostKey /home/ssh_host_ed25519_key\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        )

    def unplug(self, name: str) -> None:
        """Pulls the plug of a host: its link first, so that nobody hears of its end, then all its processes."""
        self._on_bridge("ip", "link", "set", name, "down")
        self.hosts[name].kill()

    def close(self) -> None:
        """Ends every host and the bridge."""
        for host in self.hosts.values():
            host.kill()
        self._bridge.kill()
        self._bridge.wait(timeout=30)


def _enter_network(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def address(number: int) -> str:
    """The IPv4 address of a host, by its number from 1 to 254."""
    return f"10.77.0.{number}"


def path_of_hosts() -> str:
    """The PATH of every host: this Python's folder first."""
    return f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _accounts() -> str:
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    database = f"database:x:{DATABASE_USER}:{DATABASE_USER}::/home:/bin/sh"
    return "\n".join([f"root:x:0:0:root:{HOME}:/bin/bash", *others, database, ""])
