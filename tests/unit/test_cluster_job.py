"""What is checked and sent before a search goes to a cluster, and the way to its head."""

import os
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from aerosweep.cli import app
from search.config.config_file import load_search_config
from search.jobs import head_tunnel
from search.jobs.cluster_job import (
    STOPPED,
    ClusterJobs,
    DashboardUnreachableError,
    _GrowingText,
    dashboard_address,
    exit_code,
)
from search.jobs.head_tunnel import HeadTunnel, TunnelError, dashboard_port, read_cluster, ssh_options
from search.jobs.job_folder import load_for_cluster, own_modules, write_job_folder
from trainable.errors import InputError

SEARCH = {
    "name": "far",
    "dataset": {"layout": "aeroscapes", "root": "/shared/images"},
    "storage": "/shared/searches",
    "space": {"model": {"encoder_weights": "none"}, "loss": {"name": ["dice"]}},
}
CLUSTER = {
    "cluster_name": "small",
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": []},
    "auth": {"ssh_user": "ubuntu", "ssh_private_key": "~/.ssh/small.pem"},
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def config_of(*overrides, **changes):
    Path("search.yaml").write_text(yaml.safe_dump(SEARCH | changes))
    return load_for_cluster(Path("search.yaml"), overrides, None)


def sent(config):
    folder = Path("sent")
    folder.mkdir()
    names = write_job_folder(config, folder, Path.cwd())
    return folder, names


class TestWhatIsSent:
    def test_the_config_is_that_of_the_user_with_no_path_of_this_machine(self):
        folder, names = sent(config_of("budget.trials=7"))
        assert names == ["search.yaml"]
        values = yaml.safe_load((folder / "search.yaml").read_text())
        assert values["storage"] == "/shared/searches"
        assert values["dataset"]["root"] == "/shared/images"
        assert values["budget"]["trials"] == 7
        assert values["tracking"]["uri"] is None, "the head's MLFLOW_TRACKING_URI counts"
        assert values["resources"]["cache_dir"] is None
        assert str(Path.cwd()) not in (folder / "search.yaml").read_text()

    def test_what_is_sent_is_read_as_what_was_meant(self):
        config = config_of("storage=s3://bucket/searches", "tracking.uri=http://127.0.0.1:5000")
        folder, _ = sent(config)
        assert load_search_config(folder / "search.yaml", (), None) == config

    def test_no_tracker_needs_to_be_known_here_for_a_storage_that_is_remote(self):
        assert config_of("storage=s3://bucket/searches").tracking.uri is None

    def test_a_folder_of_the_cluster_needs_not_be_one_that_can_be_made_here(self):
        assert config_of("storage=/proc/nothing").storage == "/proc/nothing"

    def test_weights_may_be_where_the_trials_run(self):
        assert config_of("space.model.encoder_weights=/shared/weights.pt").space.model["encoder_weights"]

    def test_a_description_goes_along_in_the_config(self):
        values = {
            "name": "mine",
            "images": "*.jpg",
            "masks": "*.png",
            "encoding": "ids",
            "classes": [{"name": "road", "id": 0}, {"name": "car", "id": 1, "thing": True}],
            "split": {"by": "share", "val": 0.3},
        }
        Path("set.yaml").write_text(yaml.safe_dump(values))
        dataset = {"layout": "described", "description": "set.yaml", "root": "s3://bucket/images"}
        folder, names = sent(config_of(dataset=dataset))
        assert names == ["search.yaml"]
        read = yaml.safe_load((folder / "search.yaml").read_text())
        assert [each["name"] for each in read["dataset"]["description"]["classes"]] == ["road", "car"]
        assert load_search_config(folder / "search.yaml", (), None).dataset.root == "s3://bucket/images"

    def test_modules_of_ones_own_go_along_and_nothing_beside_them(self):
        Path("my_losses.py").write_text("class Mine: pass\n")
        package = Path("my_models/nets")
        package.mkdir(parents=True)
        for folder in (package.parent, package):
            (folder / "__init__.py").write_text("")
        (package / "small.py").write_text("import torch\nclass Net(torch.nn.Module): pass\n")
        (package.parent / "__pycache__").mkdir()
        (package.parent / "__pycache__" / "x.pyc").write_text("x")
        Path("images").mkdir()
        space = {"model": {"architecture": "my_models.nets.small:Net"}, "loss": {"name": ["dice", "my_losses:Mine"]}}
        folder, names = sent(config_of(space=space))
        assert names == ["my_losses.py", "my_models", "search.yaml"]
        assert (folder / "my_models/nets/small.py").exists()
        assert not (folder / "my_models/__pycache__").exists()

    def test_modules_that_are_installed_stay_here(self):
        # Of an installed package, of ours, and below here but in an environment.
        installed = Path("venv/lib/site-packages")
        installed.mkdir(parents=True)
        (installed / "bought_losses.py").write_text("class Bought: pass\n")
        sys.path.append(str(installed))
        try:
            config = config_of(space={"loss": {"name": ["dice"]}}).model_copy(
                update={"baselines": [{"loss.name": name} for name in ("bought_losses:Bought", "typer:Typer")]}
            )
            assert own_modules(config, Path.cwd()) == []
        finally:
            sys.path.remove(str(installed))
        root = Path(__file__).parents[2]
        ours = config.model_copy(update={"baselines": [{"loss.name": "trainable.losses:DiceLoss"}]})
        assert own_modules(ours, root) == []

    def test_a_module_that_is_no_code_is_refused(self):
        Path("my_big").mkdir()
        Path("my_big/__init__.py").write_text("class Mine: pass\n")
        Path("my_big/weights.bin").write_bytes(bytes(6 * 2**20))
        with pytest.raises(InputError, match=r"must be code, 5 MiB at the most; got 6 MiB with .*my_big"):
            sent(config_of(space={"loss": {"name": "my_big:Mine"}}))


REFUSED = {
    "relative storage": ("storage=runs", r"storage must be a URL or an absolute path that all nodes .*; got 'runs'"),
    "storage at home": ("storage=~/runs", r"storage must be .*; got '~/runs' .*Give for example s3://"),
    "relative images": ("dataset.root=images", r"dataset\.root must be .*; got 'images' .*Copy the images there"),
    "relative weights": (
        "space.model.encoder_weights=weights.pt",
        r"space\.model\.encoder_weights must be imagenet, none or an absolute path .*; got 'weights\.pt'",
    ),
    "relative cache": ("resources.cache_dir=cache", r"resources\.cache_dir must be an absolute path.*; got cache"),
    "password": (
        "tracking.uri=http://me:hidden@host:5000",
        r"tracking\.uri must hold no password .*; got http://me:\*\*\*@host:5000 .*MLFLOW_TRACKING_PASSWORD",
    ),
    "database of this machine": ("tracking.uri=sqlite:///mlflow.db", r"tracking\.uri must be .*; got sqlite:///mlflow"),
    "unknown key": ("budget.trails=3", r"budget\.trails is not a key"),
    "unknown encoder": ("space.model.encoder=resnet35", r"model\.encoder must be an encoder .*; got 'resnet35'"),
    "unknown class": ("space.loss.name=nobody:Loss", r"nobody:Loss must name a module that can be imported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_fail_on_the_cluster_is_refused_here(case):
    override, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        config_of(override)


def test_a_root_in_a_description_is_held_to_the_same():
    values = {"name": "mine", "root": "images", "images": "*.jpg", "masks": "*.png", "encoding": "ids"}
    values |= {"classes": [{"name": "road", "id": 0}, {"name": "car", "id": 1}], "split": {"by": "share", "val": 0.3}}
    Path("set.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"dataset\.root must be a URL or an absolute path .*; got 'images'"):
        config_of(dataset={"layout": "described", "description": "set.yaml"})


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("options", [[], ["--cluster", "cluster.yaml", "--address", "http://127.0.0.1:8265"]])
@pytest.mark.parametrize("command", [["submit", "search.yaml"], ["job", "status"], ["job", "stop", "x"]])
def test_a_cluster_is_named_once(command, options):
    result = run(*command, *options)
    assert result.exit_code == 2
    assert "error: give --cluster FILE or --address URL; got " in result.stderr


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:8265", "ray://127.0.0.1:10001", "http://", "http://a:b"])
def test_an_address_is_that_of_a_dashboard(address):
    with pytest.raises(
        InputError, match=r"--address must be the URL of a Ray dashboard; got .*http://127\.0\.0\.1:8265"
    ):
        dashboard_address(address)


def test_a_cluster_that_does_not_answer_is_named_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:2")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:3")
    with pytest.raises(DashboardUnreachableError, match=r"must answer at (\S+:9); got Failed to connect .* \1.*ray up"):
        ClusterJobs(lambda: "http://127.0.0.1:9").listed()
    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:2"


def job(status, code=None):
    return SimpleNamespace(status=status, driver_exit_code=code)


def test_the_exit_code_is_that_of_the_search():
    assert exit_code(job("SUCCEEDED", 0)) == 0
    assert exit_code(job("FAILED", 2)) == 2
    assert exit_code(job("FAILED", -9)) == 137
    assert exit_code(job("FAILED")) == 3
    assert exit_code(job("STOPPED")) == STOPPED == 143


def test_a_log_that_is_read_again_after_a_lost_connection_repeats_nothing():
    shown = []
    log = _GrowingText(shown.append)
    log.begin()
    for piece in ("one\n", "two\nth"):
        log.take(piece)
    log.begin()
    for piece in ("one\ntw", "o\n", "three\n", "four\n"):
        log.take(piece)
    assert "".join(shown) == "one\ntwo\nthree\nfour\n"


BAD_CLUSTERS = {
    "a search": (SEARCH, r"without cluster_name, provider, auth.*not the search's"),
    "no user": (CLUSTER | {"auth": {}}, r"cluster\.yaml without ssh_user"),
    "no type": (CLUSTER | {"provider": {"head_ip": "x"}}, r"cluster\.yaml without type"),
    "a list": ([1], "which holds no mapping"),
}


@pytest.mark.parametrize("case", BAD_CLUSTERS)
def test_a_file_that_is_no_cluster_is_refused(case):
    values, message = BAD_CLUSTERS[case]
    Path("cluster.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=f"--cluster must be the YAML file of a Ray cluster; got {message}|{message}"):
        read_cluster(Path("cluster.yaml"))


def test_a_cluster_file_that_is_not_there_or_no_yaml_is_refused():
    with pytest.raises(InputError, match=r"got none\.yaml: No such file"):
        read_cluster(Path("none.yaml"))
    Path("bad.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"got bad\.yaml: while parsing"):
        read_cluster(Path("bad.yaml"))


def test_ssh_is_called_as_ray_calls_it():
    options = ssh_options(CLUSTER | {"auth": CLUSTER["auth"] | {"ssh_proxy_command": "nc %h"}}, Path("cluster.yaml"))
    assert options[:2] == ["-i", str(Path("~/.ssh/small.pem").expanduser())]
    assert options[-1] == "ubuntu@10.0.0.1"
    for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes"):
        assert option in options
    assert "ProxyCommand=nc %h" in options
    assert not [option for option in options if "ControlMaster" in option], "it would outlive us"


def test_the_port_of_the_dashboard_is_that_of_the_start_commands():
    assert dashboard_port(CLUSTER) == 8265
    commands = ["ray stop", "ray start --head --dashboard-port=9265"]
    assert dashboard_port(CLUSTER | {"head_start_ray_commands": commands}) == 9265


FAKE_SSH = """#!{python}
import http.server, os, sys, threading
if {refuses}:
    sys.exit("ubuntu@10.0.0.1: Permission denied (publickey).")
port = int(sys.argv[sys.argv.index("-L") + 1].split(":")[1])
open("ssh.pid", "w").write(str(os.getpid()))
if os.path.exists("silent"):  # as a network that drops every packet
    sys.stdin.read()
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""
"""Listens where ssh would, until its input ends, as `cat` on the head would. The real one is in tests/cluster."""


def put_ssh(monkeypatch, refuses=False):
    Path("bin").mkdir()
    ssh = Path("bin/ssh")
    ssh.write_text(FAKE_SSH.format(python=sys.executable, refuses=refuses))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent.resolve()}:{os.environ['PATH']}")
    Path("cluster.yaml").write_text(yaml.safe_dump(CLUSTER))


def answers(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.status == 200


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_tunnel_is_open_within_its_context_and_its_process_gone_after(monkeypatch):
    put_ssh(monkeypatch)
    with HeadTunnel(Path("cluster.yaml")) as tunnel:
        assert answers(tunnel.address())
        pid = int(Path("ssh.pid").read_text())
        assert alive(pid)
    assert not alive(pid)


def test_a_tunnel_that_broke_is_opened_again(monkeypatch):
    put_ssh(monkeypatch)
    with HeadTunnel(Path("cluster.yaml")) as tunnel:
        first = int(Path("ssh.pid").read_text())
        os.kill(first, 9)
        tunnel._ssh.wait(timeout=30)
        assert answers(tunnel.address())
        assert int(Path("ssh.pid").read_text()) != first


def test_a_tunnel_whose_reopening_timed_out_is_none_and_is_opened_at_the_next_call(monkeypatch):
    put_ssh(monkeypatch)
    with HeadTunnel(Path("cluster.yaml")) as tunnel:
        os.kill(int(Path("ssh.pid").read_text()), 9)
        tunnel._ssh.wait(timeout=30)
        Path("silent").touch()
        with monkeypatch.context() as patch:
            patch.setattr(head_tunnel, "_OPEN_SECONDS", 0.2)
            with pytest.raises(TunnelError, match=r"no answer within 0\.2 s"):
                tunnel.address()
        Path("silent").unlink()
        assert answers(tunnel.address())


def test_a_head_that_lets_nobody_in_is_named_with_what_ssh_said(monkeypatch):
    put_ssh(monkeypatch, refuses=True)
    with pytest.raises(
        TunnelError, match=r"must let ssh in \(ubuntu@10\.0\.0\.1\); got .*Permission denied.*ray attach"
    ):
        HeadTunnel(Path("cluster.yaml")).__enter__()


def test_a_machine_without_ssh_is_told_what_to_install(monkeypatch):
    Path("cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"needs the program ssh; got none on PATH\. Install OpenSSH"):
        HeadTunnel(Path("cluster.yaml")).__enter__()


def test_a_cluster_that_is_not_up_is_named(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # or it is asked for credentials
    values = CLUSTER | {"provider": {"type": "aws", "region": "nowhere-1"}}
    with pytest.raises(InputError, match=r"the cluster of cluster\.yaml must be up.*`ray up cluster\.yaml`"):
        ssh_options(values, Path("cluster.yaml"))
