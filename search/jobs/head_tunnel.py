"""An SSH tunnel from this machine to the dashboard of a cluster's head, found and entered as `ray up` does it."""

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from trainable.errors import InputError
from trainable.redaction import in_short

_DASHBOARD_PORT: Final = 8265
_CONNECT_SECONDS: Final = 30
_OPEN_SECONDS: Final = 90
_TICK_SECONDS: Final = 0.1


class TunnelError(InputError):
    """The head cannot be reached through SSH; a little later it perhaps can."""


class HeadTunnel:
    """Forwards a free port of this machine's loopback to the head's dashboard; a context manager.

    Args:
        cluster_file: The YAML that `ray up` was given.
    """

    def __init__(self, cluster_file: Path) -> None:
        self._cluster = read_cluster(cluster_file)
        self._file = cluster_file
        self._ssh: subprocess.Popen[bytes] | None = None
        self._said = Path()
        self._port = 0

    def __enter__(self) -> Self:
        """Open the tunnel.

        Raises:
            InputError: There is no head, or it lets nobody in.
        """
        if shutil.which("ssh") is None:
            raise InputError(
                "--cluster needs the program ssh",
                "none on PATH",
                "Install OpenSSH's client, or open the way by other means and give --address http://127.0.0.1:PORT",
            )
        self._options = ssh_options(self._cluster, self._file)
        self.address()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the ssh process."""
        self._close()

    def address(self) -> str:
        """Where the dashboard can be reached: `http://127.0.0.1:PORT`; opens the tunnel again if it is gone.

        Raises:
            TunnelError: It cannot be opened.
        """
        if self._ssh is None or self._ssh.poll() is not None:
            self._close()
            try:
                self._open()
            except BaseException:
                self._close()  # a process that never came to listen must not pass for a tunnel later
                raise
        return f"http://127.0.0.1:{self._port}"

    def _open(self) -> None:
        self._port = _free_port()
        forward = f"127.0.0.1:{self._port}:127.0.0.1:{dashboard_port(self._cluster)}"
        # `cat` ends with its input: when we are killed, ssh goes too.
        command = ["ssh", "-T", "-L", forward, *self._options, "cat"]
        errors, said = tempfile.mkstemp(prefix="aerosweep-ssh-")
        self._said = Path(said)
        self._ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        os.close(errors)
        deadline = time.monotonic() + _OPEN_SECONDS
        # ssh listens when the head has let it in.
        while not _listens(self._port):
            if self._ssh.poll() is not None:
                raise self._refused(_last_lines(self._said))
            if time.monotonic() >= deadline:
                raise self._refused(f"no answer within {_OPEN_SECONDS} s")
            time.sleep(_TICK_SECONDS)

    def _refused(self, said: str) -> TunnelError:
        return TunnelError(
            f"the head of {self._file} must let ssh in ({self._options[-1]})",
            said,
            f"Look whether `ray attach {self._file}` enters it: if not, mend auth in the file, start the cluster with "
            f"`ray up {self._file}`, or open the network's port 22 to this machine",
        )

    def _close(self) -> None:
        if self._ssh is None:
            return
        self._ssh.terminate()
        try:
            self._ssh.communicate(timeout=5)  # closes its stdin too
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.communicate()
        self._ssh = None
        self._said.unlink(missing_ok=True)


def read_cluster(path: Path) -> dict[str, Any]:
    """Read a cluster's YAML.

    Raises:
        InputError: There is no such file, or it is none that `ray up` takes.
    """
    rule = "--cluster must be the YAML file of a Ray cluster"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(rule, f"{path}: {error.strerror}", "Give the file that `ray up` was given") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(rule, f"{path}: {' '.join(str(error).split())}", "Mend the file") from error
    if not isinstance(values, dict):
        raise InputError(rule, f"{path}, which holds no mapping", "Give the file that `ray up` was given")
    needed = {"cluster_name": str, "provider": dict, "auth": dict}
    missing = [key for key, kind in needed.items() if not isinstance(values.get(key), kind)]
    missing += [key for key, part in (("type", "provider"), ("ssh_user", "auth")) if not _has(values.get(part), key)]
    if missing:
        remedy = "Give the file that `ray up` was given, not the search's"
        raise InputError(rule, f"{path} without {', '.join(missing)}", remedy)
    return values


def _has(section: Any, key: str) -> bool:
    return not isinstance(section, dict) or bool(section.get(key))  # a section that is missing has been named


def dashboard_port(cluster: dict[str, Any]) -> int:
    """The port of the head's dashboard, as its start commands say."""
    commands = " ".join(map(str, cluster.get("head_start_ray_commands") or ()))
    given = re.search(r"--dashboard-port[= ](\d+)", commands)
    return int(given[1]) if given else _DASHBOARD_PORT


def ssh_options(cluster: dict[str, Any], path: Path) -> list[str]:
    """Options of ssh for the head, and the head itself at the end, as Ray's own commands have them.

    Args:
        cluster: Of `read_cluster`.
        path: Its file, for messages.

    Raises:
        InputError: The cluster has no head.
    """
    # A list of hosts names its head; any machine that has the file can go there.
    head, auth = cluster["provider"].get("head_ip"), cluster["auth"]
    if cluster["provider"]["type"] != "local" or not head:
        head, auth = _asked_of_the_provider(cluster, path)
    from ray.autoscaler._private.command_runner import SSHOptions

    key = auth.get("ssh_private_key")
    # Not through the connection that Ray's commands share: it would hold the port after we are gone.
    options = SSHOptions(
        str(Path(key).expanduser()) if key else None, control_path=None, ProxyCommand=auth.get("ssh_proxy_command")
    )
    listed: list[str] = options.to_ssh_options_list(timeout=_CONNECT_SECONDS)
    return [*listed, f"{auth['ssh_user']}@{head}"]


def _asked_of_the_provider(cluster: dict[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """The head's address (or id, where a proxy wants that) and the resolved `auth` section."""
    from ray.autoscaler._private import commands
    from ray.autoscaler._private.providers import _get_node_provider

    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            provider = _get_node_provider(cluster["provider"], cluster["cluster_name"])
            node = commands._get_running_head_node(cluster, str(path), None, _provider=provider)
            # Only now, as it makes keys and roles where there are none. Those of `ray up` are remembered here.
            auth: dict[str, Any] = commands._bootstrap_config(cluster)["auth"]
            internal = cluster["provider"].get("use_internal_ips") and not cluster["provider"].get(
                "use_external_head_ip"
            )
            head: str = provider.internal_ip(node) if internal else provider.external_ip(node)
    except Exception as error:  # whatever the cloud's library raises
        said = " ".join(told.getvalue().split())[-300:]
        raise InputError(
            f"the cluster of {path} must be up, and this machine allowed to ask for it",
            in_short(error) + (f" ({said})" if said else ""),
            f"Start it with `ray up {path}`, and see to the credentials and the library of its provider (for aws: "
            "`aws sts get-caller-identity`, `pip install boto3`); or give --address",
        ) from error
    return str(node) if auth.get("ssh_proxy_use_node_id") else head, auth


def _last_lines(said: Path) -> str:
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines()]
    told = [line.rstrip(".") for line in lines if line and not line.startswith("Warning: Permanently added")]
    return "; ".join(told[-2:]) or "nothing said"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
