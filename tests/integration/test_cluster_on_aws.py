"""cluster.yaml on a simulated AWS: what `ray up` and the autoscaler ask for is valid, and is what the file promises."""

import copy
import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
import yaml
from ray.autoscaler._private import commands
from ray.autoscaler._private.aws import config as aws_config
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.providers import _clear_provider_cache, _get_node_provider
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter

pytestmark = pytest.mark.filterwarnings("default")

_ROOT = Path(__file__).parents[2]
_REGION = "us-east-1"
_GUIDE = (_ROOT / "docs" / "cluster.md").read_text()


class RecordingRunner:
    """The interface of `subprocess` that Ray reaches nodes by; notes the commands, for there is no node to run them."""

    DEVNULL = subprocess.DEVNULL
    CalledProcessError = subprocess.CalledProcessError

    def __init__(self):
        self.commands = []

    def check_call(self, command, **_):
        self.commands.append(command)
        return 0

    def check_output(self, command, **_):
        self.commands.append(command)
        return b""


def policies():
    """The documents of the guide's heredocs, as its shell would write them for the simulated account."""
    found = re.findall(r"cat > ([\w-]+)\.json <<'?END'?\n(.*?)\nEND\n", _GUIDE, flags=re.DOTALL)
    account = boto3.client("sts").get_caller_identity()["Account"]
    return {name: json.loads(text.replace("$BUCKET", "searches").replace("$ACCOUNT", account)) for name, text in found}


def make_roles():
    """What the guide has an administrator make once."""
    iam = boto3.client("iam")
    documents = policies()
    for name in ("aerosweep-head", "aerosweep-worker"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(documents["trust"]))
        document = json.dumps(documents["storage-policy"])
        iam.put_role_policy(RoleName=name, PolicyName="storage", PolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    document = json.dumps(documents["head-policy"])
    iam.put_role_policy(RoleName="aerosweep-head", PolicyName="workers", PolicyDocument=document)


def forget_clients():
    """Ray and boto3 keep clients, and with them the credentials and the endpoint that they were made with."""
    boto3.DEFAULT_SESSION = None
    for cache in (resource_cache, client_cache, aws_config._get_subnets_or_die):
        cache.cache_clear()
    _clear_provider_cache()


@pytest.fixture(scope="module")
def place(s3, tmp_path_factory):
    """The folder and the home that `ray up` runs in, with all that it copies."""
    folder = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        for name in ("cluster.yaml", "constraints.txt"):
            shutil.copy(_ROOT / name, folder)
        mounts = yaml.safe_load((folder / "cluster.yaml").read_text())["file_mounts"]
        for path in (Path(local).expanduser() for local in mounts.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        forget_clients()
        make_roles()
        yield folder
        forget_clients()


@pytest.fixture(scope="module")
def up(place):
    """`ray up cluster.yaml`: the bootstrapped config, and the commands that the head was sent."""
    config = commands._bootstrap_config(yaml.safe_load(Path("cluster.yaml").read_text()), no_config_cache=True)
    commands.try_logging_config(config)
    runner = RecordingRunner()
    commands.get_or_create_head_node(config, "cluster.yaml", False, False, True, None, _runner=runner)
    return config, runner.commands


@pytest.fixture(scope="module")
def grown(up):
    """The autoscaler's part: a worker of each type, started from the config that the head was sent."""
    config, _ = up
    bootstrap = Path("ray_bootstrap_config.yaml")
    bootstrap.write_text(json.dumps({key: value for key, value in config.items() if key != "head_node"}))
    adapter = NodeProviderAdapter(provider(config), FileConfigReader(str(bootstrap)))
    launch(adapter, {"g5": 1, "g6": 1})
    return config


def provider(config):
    return _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)


def launch(adapter, shape):
    adapter.launch(shape=shape, request_id="1")
    adapter._main_executor.shutdown(wait=True)
    adapter._node_launcher_executors.shutdown(wait=True)
    errors = adapter.poll_errors()
    assert not errors, [error.__cause__ for error in errors]


def instances(node_type, *states):
    """What the simulated AWS has of a node type."""
    filters = [
        {"Name": "tag:ray-user-node-type", "Values": [node_type]},
        {"Name": "instance-state-name", "Values": list(states or ("pending", "running"))},
    ]
    found = boto3.client("ec2", _REGION).describe_instances(Filters=filters)
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


def tags(instance):
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def profile(instance):
    return instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]


def test_the_head_is_one_small_instance_on_demand_with_the_role_that_starts_workers(up):
    [head] = instances("head")

    assert head["InstanceType"] == "m7i.xlarge"
    assert head.get("InstanceLifecycle") != "spot"
    assert "SpotInstanceRequestId" not in head
    assert profile(head) == "aerosweep-head"
    assert (
        tags(head).items() >= {"ray-cluster-name": "aerosweep", "ray-node-type": "head", "project": "aerosweep"}.items()
    )
    assert head["ImageId"] == "ami-028357be7d5b15c53"
    assert tags(head)["ray-node-status"] == "up-to-date"


def test_workers_of_both_types_are_spot_with_the_role_that_only_reaches_the_bucket(grown):
    for node_type, kind in (("g5", "g5.2xlarge"), ("g6", "g6.2xlarge")):
        [worker] = instances(node_type)

        assert worker["InstanceType"] == kind
        assert worker["InstanceLifecycle"] == "spot"
        assert profile(worker) == "aerosweep-worker"
        assert tags(worker).items() >= {"project": "aerosweep", "ray-node-type": "worker"}.items()


def test_ray_makes_no_role_of_its_own(grown):
    roles = {role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]}

    assert roles >= {"aerosweep-head", "aerosweep-worker"}
    assert not [role for role in roles if role.startswith("ray-")]


def test_one_security_group_opens_ssh_alone(grown):
    groups = {
        group["GroupId"] for kind in ("head", "g5", "g6") for i in instances(kind) for group in i["SecurityGroups"]
    }
    [group] = boto3.client("ec2", _REGION).describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    from_outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    among_nodes = [rule for rule in group["IpPermissions"] if rule["UserIdGroupPairs"]]

    assert group["GroupName"] == "aerosweep"
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in from_outside] == [("tcp", 22, 22)]
    assert {pair["GroupId"] for rule in among_nodes for pair in rule["UserIdGroupPairs"]} == groups


def test_disks_are_encrypted_and_end_with_their_instance(grown):
    ec2 = boto3.client("ec2", _REGION)
    for kind in ("head", "g5", "g6"):
        for instance in instances(kind):
            [mapping] = instance["BlockDeviceMappings"]
            [volume] = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
            assert mapping["DeviceName"] == "/dev/sda1"
            assert mapping["Ebs"]["DeleteOnTermination"]
            assert volume["Encrypted"]
            assert (volume["Size"], volume["VolumeType"]) == (100, "gp3")


def test_the_head_is_sent_the_files_then_the_setup_then_the_start(up):
    config, sent = up
    texts = [" ".join(command) for command in sent]
    order = [
        next(number for number, text in enumerate(texts) if mark in text)
        for mark in ("uptime", "auth_token", "uv pip install", "aerosweep server", "ray start --head")
    ]

    assert order == sorted(order)
    assert '"CPU":0' in texts[order[-1]]  # Ray's own override: the head offers no CPU to trials
    key = Path(config["auth"]["ssh_private_key"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert all(str(key) in text for text in texts if text.startswith("ssh"))


def test_a_misspelled_parameter_of_an_instance_is_refused_before_it_is_sent(up):
    config = copy.deepcopy(up[0])
    node_config = config["available_node_types"]["g5"]["node_config"]
    node_config["InstanceMarketOption"] = node_config.pop("InstanceMarketOptions")

    with pytest.raises(botocore.exceptions.ParamValidationError, match="InstanceMarketOption"):
        provider(config).create_node(node_config, {"ray-node-type": "worker"}, 1)


@pytest.fixture
def as_the_head(grown):
    """Credentials that may do what the head's policy says, enforced.

    The simulated AWS enforces actions; it knows neither resources nor conditions, which are taken out.
    """
    iam = boto3.client("iam")
    given = policies()["head-policy"]
    actions = [{"Effect": s["Effect"], "Action": s["Action"], "Resource": "*"} for s in given["Statement"]]
    iam.create_user(UserName="head")
    document = json.dumps(given | {"Statement": actions})
    iam.put_user_policy(UserName="head", PolicyName="workers", PolicyDocument=document)
    key = iam.create_access_key(UserName="head")["AccessKey"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        enforce_after(0)
        forget_clients()
        try:
            yield grown
        finally:
            enforce_after("inf")
    forget_clients()


def enforce_after(calls):
    url = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    plain = {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(url, str(calls).encode(), plain, method="POST")) as answer:
        assert answer.status == 200


def test_the_guides_policy_lets_the_head_start_tag_and_end_workers_and_no_more(as_the_head):
    nodes = provider(as_the_head)
    before = set(nodes.non_terminated_nodes({}))
    adapter = NodeProviderAdapter(nodes, FileConfigReader("ray_bootstrap_config.yaml"))

    launch(adapter, {"g6": 1})
    [started] = set(nodes.non_terminated_nodes({})) - before
    nodes.set_node_tags(started, {"ray-node-status": "up-to-date"})
    nodes.terminate_nodes([started])

    assert set(nodes.non_terminated_nodes({})) == before
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: ec2:StopInstances"):
        boto3.client("ec2", _REGION).stop_instances(InstanceIds=[started])


def test_down_ends_the_head_and_the_workers_instead_of_stopping_them(grown):
    nodes = provider(grown)

    nodes.terminate_nodes(nodes.non_terminated_nodes({}))

    assert nodes.non_terminated_nodes({}) == []
    assert len(instances("head", "terminated")) == 1
    assert not instances("head", "stopped", "stopping")
