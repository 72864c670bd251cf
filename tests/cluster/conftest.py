"""A Ray cluster on hosts made of namespaces, and one search on it that all tests look at."""

import os
import sys
from pathlib import Path

import pytest

# Their modules import each other, as those of a package do; tests have none.
sys.path.insert(0, str(Path(__file__).parent))

from cluster import TOKEN, Cluster, postgresql_programs
from hosts import why_impossible
from scenario import Bucket, Record, play
from waiting import wait_until

_CLUSTER = pytest.StashKey[Cluster]()


@pytest.fixture(scope="session")
def cluster(request, tmp_path_factory):
    """A cluster that is up: three hosts, an S3 server beside them, a laptop.

    Skipped where there can be none, or a failure if AEROSWEEP_REQUIRE_CLUSTER=1 is set.
    """
    why = why_impossible()
    if why is None and postgresql_programs() is None:
        why = "no PostgreSQL; on Debian: apt-get install postgresql"
    if why is not None:
        if os.environ.get("AEROSWEEP_REQUIRE_CLUSTER") == "1":
            pytest.fail(why)
        pytest.skip(why)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    request.config.stash[_CLUSTER] = cluster
    try:
        cluster.start_store()
        cluster.bucket = Bucket(cluster)
        cluster.bucket.create()
        cluster.start_database()
        cluster.up()
        wait_until(lambda: len(cluster.nodes()) == 3, "three nodes", every=1)
        yield cluster
    finally:
        cluster.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure says where the logs are."""
    report = yield
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster is not None:
        report.sections.append(("the cluster", cluster.account()))
    return report


@pytest.fixture(scope="session")
def searched(cluster):
    """What was seen of a search while a host was unplugged, its driver was killed and another host joined."""
    made = cluster.laptop.home / "made"
    cluster.laptop.run("aerosweep", "data", "synthesize", "made", "--images", "40", "--scenes", "20", "--size", "64x64")
    cluster.bucket.upload(made, "made")
    return play(cluster, cluster.bucket)


@pytest.fixture(scope="session")
def record(cluster, searched):
    """The record of that search on S3."""
    return Record(cluster.bucket)


@pytest.fixture(scope="session")
def database(cluster, searched):
    """A connection to the tracker's database on the head."""
    psycopg = pytest.importorskip("psycopg")
    with cluster.head.network(), psycopg.connect(cluster.database_uri) as connection:
        yield connection


@pytest.fixture(scope="session")
def token():
    """Environment variables of a command that has the token at hand."""
    return TOKEN
