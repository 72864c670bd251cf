"""A Ray cluster on hosts of a `Lan`: the shipped on-premise YAML, filled in as its user fills it in."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from hosts import DATABASE_USER, REPOSITORY, Host, Lan, address
from waiting import PATIENCE, wait_until

SHIPPED = REPOSITORY / "cluster-onprem.yaml"
PASSWORD = "quite-secret-7f3a"
_DATABASE_FOLDER = "/var/tmp/database"
_INSTALLS = re.compile(r"astral\.sh/uv|uv venv|uv pip|/nfs/")
_KEPT_MOUNTS = ("~/.ray/auth_token",)
_SMALL = "--num-cpus=1 --object-store-memory=150000000"
TOKEN = {"RAY_AUTH_MODE": "token"}


def filled_in(shipped: dict, head: str, workers: list[str], environment: Mapping[str, str]) -> dict:
    """The shipped YAML for these hosts.

    Left out is what downloads and installs, and NFS: the hosts see this machine's environment, and share S3.

    Args:
        shipped: As it is in the file.
        head: Address of the host that runs the driver and the tracker.
        workers: Addresses of the others.
        environment: Further variables of every host.
    """
    commands = [command for command in shipped["setup_commands"] if not _INSTALLS.search(command)]
    settings = [command for command in shipped["setup_commands"] if "aerosweep/environment <<" in command]
    assert len(settings) == 1, f"one setup command of {SHIPPED} writes ~/.aerosweep/environment"
    more = "".join(f"export {name}={value}\n" for name, value in environment.items())
    filled = settings[0].replace("\nEND\n", f"\n{more}END\n")
    assert filled != settings[0], "it does so with a here-document that ends with END"
    return shipped | {
        "provider": shipped["provider"] | {"head_ip": head, "worker_ips": workers},
        "auth": {"ssh_user": "root", "ssh_private_key": "~/.ssh/id_ed25519"},
        "file_mounts": {to: source for to, source in shipped["file_mounts"].items() if to in _KEPT_MOUNTS},
        "setup_commands": [filled, *(command for command in commands if command != settings[0])],
        "head_start_ray_commands": [_small(command) for command in shipped["head_start_ray_commands"]],
        "worker_start_ray_commands": [_small(command) for command in shipped["worker_start_ray_commands"]],
    }


def _small(command: str) -> str:
    return re.sub(r"\bray start\b", f"ray start {_SMALL}", command)


class Cluster:
    """Hosts, a store with an S3 server, and a laptop that commands them.

    Args:
        folder: Where everything lies.

    Attributes:
        s3: Environment variables of who uses the S3 server.
        database_uri: Of the tracker's database, on the head.
        token: What opens the cluster, once it is up.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.lan = Lan(folder)
        self.store = self.lan.add("store", 2, sshd=False)
        self.laptop = self.lan.add("laptop", 3, sshd=False)
        self.head = self._new_host("head", 10)
        self.workers = [self._new_host("worker1", 11), self._new_host("worker2", 12)]
        self._late = 13
        self.database_uri = f"postgresql://aerosweep:{PASSWORD}@127.0.0.1:5432/postgres"
        self.token = ""
        self.s3 = {
            "AWS_ENDPOINT_URL": f"http://{self.store.address}:5000",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _new_host(self, name: str, number: int) -> Host:
        host = self.lan.add(name, number)
        # What the YAML's setup commands would install.
        folder = host.home / ".aerosweep"
        folder.mkdir()
        (folder / "venv").symlink_to(sys.prefix)
        return host

    def start_store(self) -> None:
        """Starts the S3 server."""
        self.store.start(self.folder / "store.log", "python", "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000")
        self._wait_for_port(self.store, 5000)

    def start_database(self) -> None:
        """Starts PostgreSQL on the head's loopback, where nobody gets in without a password."""
        programs = postgresql_programs()
        assert programs is not None
        place = self.head.folder / _DATABASE_FOLDER.lstrip("/")
        place.mkdir()
        shutil.chown(place, int(DATABASE_USER), int(DATABASE_USER))
        (place / "password").write_text(PASSWORD)
        data = f"{_DATABASE_FOLDER}/data"
        words = ["--auth=scram-sha-256", "-U", "aerosweep", f"--pwfile={_DATABASE_FOLDER}/password", "--no-sync"]
        self.head.run(str(programs / "initdb"), "-D", data, *words, user=DATABASE_USER)
        words = ["-D", data, "-h", "127.0.0.1", "-k", _DATABASE_FOLDER, "-F"]
        self.head.start(self.folder / "database.log", str(programs / "postgres"), *words, user=DATABASE_USER)
        self._wait_for_port(self.head, 5432)

    def _wait_for_port(self, host: Host, port: int) -> None:
        probe = f": < /dev/tcp/127.0.0.1/{port}"
        wait_until(lambda: host.run("bash", "-c", probe, check=False).returncode == 0, f"port {port} of {host.name}")

    def up(self) -> str:
        """`ray up`, and what it printed."""
        tracker = {
            "TRACKER_ARTIFACTS": "s3://searches/mlflow",
            "MLFLOW_BACKEND_STORE_URI": self.database_uri,
        }
        addresses = [worker.address for worker in self.workers] + [address(self._late)]
        values = filled_in(yaml.safe_load(SHIPPED.read_text()), self.head.address, addresses, self.s3 | tracker)
        (self.laptop.home / "cluster.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        self.laptop.run("ray", "get-auth-token", "--generate")
        self.token = (self.laptop.home / ".ray" / "auth_token").read_text().strip()
        return self.laptop.run("ray", "up", "--yes", "cluster.yaml", timeout=2 * PATIENCE, **TOKEN).stdout

    def join(self) -> Host:
        """Switches on the host that the YAML lists and that was off until now."""
        host = self._new_host("worker3", self._late)
        self.workers.append(host)
        return host

    def nodes(self) -> list[str]:
        """Addresses of the nodes that Ray takes for alive."""
        words = ["ray", "list", "nodes", "--filter", "state=ALIVE", "--format", "json"]
        listed = self.head.run(*words, check=False, **TOKEN)
        found = re.search(r"^\[{.*}\]$", listed.stdout, re.MULTILINE)
        return sorted(node["node_ip"] for node in json.loads(found[0])) if found else []

    def alive(self) -> list[Host]:
        """The hosts that have not been unplugged."""
        return [host for host in self.lan.hosts.values() if host.is_up()]

    def down(self) -> str:
        """`ray down`, and what it printed."""
        return self.laptop.run("ray", "down", "--yes", "cluster.yaml", timeout=PATIENCE, **TOKEN).stdout

    def account(self) -> str:
        """Where the logs are, and the end of the job's."""
        lines = [f"logs: {self.folder}; of Ray: {self.head.folder}/tmp/ray/session_latest/logs"]
        logs = sorted(self.head.folder.glob("tmp/ray/session_2*/logs/job-driver-aerosweep-*.log"))
        for log in logs[-1:]:
            lines += [f"end of {log}:", *log.read_text(errors="replace").splitlines()[-40:]]
        return "\n".join(lines)

    def close(self) -> None:
        """Ends every host."""
        self.lan.close()


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None
