"""The cluster files and their guide: valid for Ray, no key that Ray would drop in silence, commands that run."""

import copy
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import ray.autoscaler
import yaml
from ports import free_port
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_commands
from waiting import PATIENCE, has_ended, wait_until

_ROOT = Path(__file__).parents[2]
AWS, LOCAL = "cluster.yaml", "cluster-onprem.yaml"
_GUIDE = (_ROOT / "docs" / "cluster.md").read_text()
_AUTOSCALER = Path(ray.autoscaler.__file__).parent

_PROVIDER_KEYS = {
    "aws": {
        "type",
        "region",
        "availability_zone",
        "aws_credentials",
        "cache_stopped_nodes",
        "cloudwatch",
        "key_pair",
        "security_group",
        "use_internal_ips",
        "use_external_head_ip",
    },
    "local": {
        "type",
        "head_ip",
        "worker_ips",
        "external_head_ip",
        "coordinator_address",
        "use_internal_ips",
        "use_external_head_ip",
    },
}
"""What Ray reads of `provider`, whose keys its schema does not check."""

_OF_WORKERS_ALONE = {"initialization_commands", "worker_setup_commands", "min_workers", "idle_timeout_s", "priority"}
"""Keys of a node type that Ray reads of workers only."""


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key given twice, of which the plain loader keeps the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {', '.join(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text):
    return yaml.load(text, Loader=_UniqueKeys)


def validated(config):
    """The config as `ray up` would use it, with Ray's defaults."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def dropped_keys(config):
    """Keys that pass Ray's schema and that Ray then ignores, dotted."""
    kind = config["provider"]["type"]
    dropped = [f"provider.{key}" for key in config["provider"].keys() - _PROVIDER_KEYS[kind]]
    if kind == "local":
        # All hosts are of one type, which Ray makes itself.
        return sorted(dropped + [key for key in ("head_node_type", "no_restart") if key in config])
    dropped += [key for key in ("min_workers", "head_node", "worker_nodes", "no_restart") if key in config]
    dropped += [f"auth.{key}" for key in ("ssh_public_key",) if key in config.get("auth", {})]
    head = config["head_node_type"]
    dropped += [f"{head}.{key}" for key in _OF_WORKERS_ALONE & config["available_node_types"][head].keys()]
    for name, node_type in config["available_node_types"].items():
        # Ray sets these itself; `resources` inside of node_config is of the time before node types.
        overwritten = {"MinCount", "MaxCount", "SubnetId", "resources"} & node_type["node_config"].keys()
        dropped += [f"{name}.node_config.{key}" for key in overwritten]
        if "worker_setup_commands" in node_type:
            dropped.append("setup_commands")  # a type's own commands take the place of all others
    return sorted(dropped)


def commands(config):
    """Every shell command, with the name of its list."""
    lists = [key for key in config if key.endswith("_commands")]
    return [(name, command) for name in lists for command in config[name]]


@pytest.fixture(params=[AWS, LOCAL])
def config(request):
    return load((_ROOT / request.param).read_text())


def test_ray_accepts_the_file_as_it_stands(config):
    prepared = validated(config)

    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]


def test_ray_drops_none_of_its_keys(config):
    assert dropped_keys(config) == []


@pytest.mark.parametrize(
    ("file", "place", "key", "value"),
    [
        (AWS, (), "min_workers", 1),
        (AWS, (), "head_node", {}),
        (AWS, (), "worker_nodes", {}),
        (AWS, (), "no_restart", True),
        (AWS, ("provider",), "cache_stoped_nodes", False),
        (AWS, ("provider",), "spot", True),
        (AWS, ("provider",), "project_id", "of Google's"),
        (AWS, ("provider",), "worker_liveness_check", False),
        (AWS, ("auth",), "ssh_public_key", "~/.ssh/id.pub"),
        (AWS, ("available_node_types", "head"), "worker_setup_commands", ["true"]),
        (AWS, ("available_node_types", "head"), "min_workers", 1),
        (AWS, ("available_node_types", "g5"), "worker_setup_commands", ["true"]),
        (AWS, ("available_node_types", "g5", "node_config"), "MaxCount", 4),
        (LOCAL, (), "head_node_type", "head"),
        (LOCAL, ("provider",), "head_node_ip", "192.0.2.1"),
        (LOCAL, ("provider",), "region", "us-east-1"),
        (LOCAL, ("provider",), "cache_stopped_nodes", False),
    ],
)
def test_a_key_that_ray_would_drop_in_silence_is_found(file, place, key, value):
    config = load((_ROOT / file).read_text())
    mapping = config
    for name in place:
        mapping = mapping[name]
    mapping[key] = value

    validated(config)  # Ray has nothing to say to it

    assert dropped_keys(config)


@pytest.mark.parametrize(
    ("file", "place", "key"),
    [
        (AWS, (), "idle_timeout"),
        (AWS, ("auth",), "user"),
        (AWS, ("available_node_types", "g5"), "spot"),
        (AWS, ("provider", "security_group"), "Ingress"),
        (LOCAL, (), "workers"),
        (LOCAL, ("auth",), "user"),
    ],
)
def test_a_key_that_ray_does_not_know_is_refused_by_its_schema(file, place, key):
    config = load((_ROOT / file).read_text())
    mapping = config
    for name in place:
        mapping = mapping[name]
    mapping[key] = "something"

    with pytest.raises(Exception, match=key):
        validated(config)


def test_a_key_given_twice_is_refused():
    text = (_ROOT / AWS).read_text().replace("max_workers: 8\n", "max_workers: 8\nmax_workers: 9\n", 1)

    with pytest.raises(yaml.constructor.ConstructorError, match="given twice: max_workers"):
        load(text)


@pytest.mark.parametrize(("provider", "keys"), _PROVIDER_KEYS.items())
def test_the_installed_ray_reads_every_key_that_counts_as_read(provider, keys):
    shared = [_AUTOSCALER / "_private" / name for name in ("util.py", "updater.py", "commands.py", "providers.py")]
    files = [*(_AUTOSCALER / "_private" / provider).rglob("*.py"), *shared]
    source = "\n".join(file.read_text() for file in files)
    reads = set(re.findall(r'(?:\[|\.get\(\s*)"(\w+)"', source)) | set(re.findall(r'"(\w+)" (?:not )?in ', source))

    assert keys <= reads


def test_every_command_is_a_command_to_a_shell(config):
    for name, command in commands(config):
        # In brackets, as Ray has it: an unfinished comment or document would swallow the closing one.
        words = ["bash", "-n", "-c", f"true && ({command})"]
        checked = subprocess.run(words, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{name}: {checked.stderr}"
        assert not checked.stderr, f"{name}: {checked.stderr}"


def test_every_node_and_every_command_has_token_authentication(config):
    starts = [command for name, command in commands(config) if "ray start" in command]
    environment = next(command for _, command in commands(config) if "~/.aerosweep/environment" in command)

    assert len(starts) == 2
    assert all("export RAY_AUTH_MODE=token" in start for start in starts)
    assert "export RAY_AUTH_MODE=token" in environment
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_dashboard_listens_on_the_heads_loopback_alone(config):
    head = config["head_start_ray_commands"][-1]

    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_the_tracker_is_started_before_ray_and_its_address_is_in_rays_environment(config):
    stop, tracker, start = config["head_start_ray_commands"]

    assert stop == "ray stop"
    assert "aerosweep server" in tracker
    assert start.index("MLFLOW_TRACKING_URI=http://127.0.0.1:5000") < start.index("ray start")


def test_what_is_copied_to_the_nodes_is_in_the_repository_and_of_its_version(config):
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    wheel = f"aerosweep-{version}-py3-none-any.whl"
    local = [path for path in config["file_mounts"].values() if not path.startswith("~")]

    assert sorted(local) == ["constraints.txt", f"dist/{wheel}"]
    assert (_ROOT / "constraints.txt").is_file()
    install = next(command for command in config["setup_commands"] if "uv pip install" in command)
    assert f"$HOME/.aerosweep/{wheel}[postgresql]" in install
    assert "--constraint ~/.aerosweep/constraints.txt" in install


def test_the_python_of_the_nodes_is_of_the_release_that_is_tested(config):
    venv = next(command for command in config["setup_commands"] if "uv venv" in command)

    assert re.findall(r"3\.11\.\d+", venv) == ["3.11.18", "3.11.18"]


def test_both_clusters_start_the_tracker_alike():
    aws, local = (load((_ROOT / file).read_text())["head_start_ray_commands"] for file in (AWS, LOCAL))

    assert aws[:-1] == local[:-1]
    assert "aerosweep server" in aws[-2]
    assert "--autoscaling-config" in aws[-1]


def test_the_head_on_aws_runs_no_trials_and_workers_start_from_none():
    config = load((_ROOT / AWS).read_text())
    types = config["available_node_types"]
    workers = [kind for name, kind in types.items() if name != config["head_node_type"]]

    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    assert [kind["min_workers"] for kind in workers] == [0, 0]
    assert all(kind["resources"]["GPU"] == 1 for kind in workers)
    assert {kind["node_config"]["ImageId"] for kind in types.values()} == {types["head"]["node_config"]["ImageId"]}
    assert config["idle_timeout_minutes"] > 0
    assert config["provider"]["cache_stopped_nodes"] is False


def run_as_ray_does(command, home, **environment):
    """Runs a command as Ray's SSH does, in a home of its own."""
    environment = {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"} | environment
    shell = f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})"
    words = ["bash", "-c", shell]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE)


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".aerosweep").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / ".bashrc").write_text("")
    return tmp_path


def plan(home, name, text):
    file = home / "bin" / name
    file.write_text(text)
    file.chmod(0o755)


def test_the_environment_is_written_once_and_found_by_every_command(config, home):
    command = next(command for _, command in commands(config) if "~/.aerosweep/environment" in command)
    command = command.replace("/var/tmp/aerosweep", str(home / "cache"))

    for _ in range(2):
        assert run_as_ray_does(command, home).returncode == 0
    seen = run_as_ray_does('echo "$RAY_AUTH_MODE $MLFLOW_TRACKING_URI $TRACKER_ARTIFACTS $PATH"', home).stdout.split()

    assert seen[:2] == ["token", "http://127.0.0.1:5000"]
    assert seen[2] in ("s3://your-bucket/mlflow", "/nfs/aerosweep/mlflow")
    assert seen[3].startswith(f"{home}/.aerosweep/venv/bin:")
    assert (home / ".bashrc").read_text().count("environment") == 1
    assert (home / ".aerosweep" / "environment").stat().st_mode & 0o777 == 0o600


def test_a_host_without_the_shared_folder_is_refused_by_name(home):
    config = load((_ROOT / LOCAL).read_text())
    command = next(command for command in config["setup_commands"] if "test -w" in command)
    assert "/nfs/aerosweep" in command

    there = run_as_ray_does(command.replace("/nfs/aerosweep", str(home)), home)
    missing = run_as_ray_does(command.replace("/nfs/aerosweep", str(home / "nowhere")), home)

    assert there.returncode == 0
    assert missing.returncode == 1
    assert "nowhere is not there or not writable on" in missing.stdout


_SERVER = f"""#!{sys.executable}
import http.server, os, pathlib, sys
pathlib.Path.home().joinpath("started").open("a").write(" ".join(sys.argv[1:]) + f" {{os.getpid()}}\\n")
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", PORT), Healthy).serve_forever()
"""
"""Stands for `aerosweep server`, which has tests of its own: what is tested is who starts and ends it."""


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def tracker(config, home, port):
    """The command that starts the tracker, on a port and with programs of the test's own; ended with the test."""
    command = next(command for _, command in commands(config) if "aerosweep server" in command)
    command = command.replace("5000", str(port))
    plan(home, "aerosweep", _SERVER.replace("PORT", str(port)))
    plan(home, "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    plan(home, "pgrep", "#!/bin/sh\ntest -e ~/ray-runs\n")
    (home / "ray-runs").touch()
    yield command
    pid = home / ".aerosweep" / "tracker.pid"
    if pid.exists() and alive(int(pid.read_text())):
        os.killpg(int(pid.read_text()), signal.SIGKILL)


def started(home):
    lines = [line.split() for line in (home / "started").read_text().splitlines()]
    return [(" ".join(words[:-1]), int(words[-1])) for words in lines]


def test_the_tracker_outlives_what_starts_it_is_renewed_by_the_next_start_and_ends_with_ray(tracker, home):
    first = run_as_ray_does(tracker, home, TRACKER_ARTIFACTS="s3://bucket/mlflow")
    assert first.returncode == 0, first.stdout + first.stderr
    [(arguments, pid)] = started(home)
    assert arguments == "server --artifacts s3://bucket/mlflow"
    assert alive(pid)

    second = run_as_ray_does(tracker, home)
    assert second.returncode == 0, second.stdout + second.stderr
    (_, pid), (arguments, renewed) = started(home)
    assert arguments == "server"
    assert not alive(pid)
    assert alive(renewed)

    (home / "ray-runs").unlink()
    wait_until(lambda: not alive(renewed), "the end of the tracker")


def test_a_tracker_that_does_not_start_fails_the_start_of_the_cluster_and_says_why(tracker, home):
    plan(home, "aerosweep", "#!/bin/sh\necho the database is out of reach\nexit 3\n")

    failed = run_as_ray_does(tracker, home)

    assert failed.returncode == 1
    assert "the database is out of reach" in failed.stdout


def test_another_program_on_the_trackers_port_is_named_and_left_alone(tracker, home, port):
    other = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    try:
        wait_until(lambda: listens(port), "the other program", unless=has_ended(other))
        failed = run_as_ray_does(tracker, home)
        assert other.poll() is None
    finally:
        other.terminate()
        other.wait()

    assert failed.returncode == 1
    assert "is taken by another program" in failed.stdout
    assert not (home / "started").exists()


def test_every_command_of_ray_in_the_guide_is_one_that_it_has():
    used = re.findall(r"(?:^|`|\$\(|token )ray ([a-z-]+)((?: [^\n`'#|]*)?)", _GUIDE, flags=re.MULTILINE)
    assert len(used) > 15

    for name, arguments in used:
        options = {option for parameter in ray_command(name, arguments).params for option in parameter.opts}
        before_its_own = arguments.split(" -- ")[0]
        assert set(re.findall(r"--[a-z-]+", before_its_own)) <= options, f"ray {name}{arguments}"


def ray_command(name, arguments):
    """Ray's command, or that of a group: `job` has `submit`."""
    command = ray_commands.commands[name]
    return command.commands[arguments.split()[0]] if hasattr(command, "commands") else command


@pytest.fixture
def slurm(home):
    """Starts the guide's script for sbatch, in an allocation of three nodes whose commands note their calls."""
    script = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", _GUIDE, flags=re.DOTALL).group(1)
    (home / "aerosweep" / ".venv" / "bin").mkdir(parents=True)
    (home / "aerosweep" / ".venv" / "bin" / "activate").write_text("")
    note = 'echo "$(basename "$0") $*" >> ~/calls\n'
    plan(home, "hostname", "#!/bin/sh\necho 192.0.2.1 192.0.2.2\n")
    plan(home, "srun", f'#!/bin/bash\n{note}while [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    plan(
        home, "ray", f"#!/bin/bash\n{note}[ $1 = status ] && exec test -e ~/head\ntouch ~/head ~/$$\nexec sleep 3600\n"
    )
    environment = {"SLURM_CPUS_PER_TASK": "8", "SLURM_GPUS_ON_NODE": "4", "SLURM_NNODES": "3", "SLURMD_NODENAME": "n1"}
    environment |= {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "USER": "me"}
    words = ["bash", "-c", script.replace("/scratch/$USER", str(home))]
    return lambda: subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def calls(home):
    return (home / "calls").read_text().splitlines()


def hears(pid, number):
    """Whether a process has a handler for a signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


def rays(home):
    return [int(file.name) for file in home.iterdir() if file.name.isdigit()]


def test_the_slurm_script_starts_ray_on_all_nodes_and_ends_it_with_the_search(slurm, home):
    # It ends when Ray runs on all nodes, which the script waits for on the head alone.
    all_run = "until [ $(ls ~ | grep -c '^[0-9]*$') = 2 ]; do sleep 0.1; done"
    plan(home, "aerosweep", f'#!/bin/sh\necho "aerosweep $*" >> ~/calls\n{all_run}\nexit 3\n')
    (home / "runs" / "people").mkdir(parents=True)

    job = slurm()
    printed, _ = job.communicate(timeout=PATIENCE)

    assert job.returncode == 3, printed
    starts = [call for call in calls(home) if call.startswith("ray start")]
    assert sorted("--head" in start for start in starts) == [False, True]
    assert all("--num-cpus=8 --num-gpus=4 --block" in start for start in starts)
    assert "srun --nodes=2 --ntasks=2 --exclude=n1 ray start --address=192.0.2.1:6379" in "\n".join(calls(home))
    [search] = [call for call in calls(home) if call.startswith("aerosweep")]
    assert search.endswith("--address 192.0.2.1:6379 --resume")
    assert len(rays(home)) == 2
    wait_until(lambda: not any(map(alive, rays(home))), "the end of Ray on all nodes")


def test_the_slurm_script_hands_the_end_of_its_time_to_the_search_and_waits_for_it(slurm, home):
    search = "import signal, sys, time, pathlib\n"
    search += (
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), pathlib.Path.home().joinpath('clean').touch(),"
    )
    search += " sys.exit(143)))\npathlib.Path.home().joinpath('runs').touch()\ntime.sleep(3600)\n"
    plan(home, "aerosweep", f"#!{sys.executable}\n{search}")

    job = slurm()
    wait_until((home / "runs").exists, "the search", unless=has_ended(job))
    wait_until(lambda: hears(job.pid, signal.SIGTERM), "the script's trap", unless=has_ended(job))
    job.terminate()
    printed, _ = job.communicate(timeout=PATIENCE)

    assert job.returncode == 143, printed
    assert (home / "clean").exists()
    wait_until(lambda: not any(map(alive, rays(home))), "the end of Ray on all nodes")
