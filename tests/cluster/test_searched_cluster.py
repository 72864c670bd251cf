"""A search that is submitted to a cluster of three hosts, of which one is unplugged while a fourth joins."""

import socket

import pytest
from waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

TRIALS, EPOCHS = 7, 16


def test_submit_returns_the_exit_code_of_the_job(searched):
    assert searched.exit_code == 0, searched.printed[-2000:]


def test_trials_run_on_every_host(searched, record):
    assert set(record.starts_by_node()) >= {"head", "worker1", "worker2"}


def test_every_trial_has_all_of_its_epochs_once(searched, record):
    epochs = record.files("epochs")
    assert len(epochs) == TRIALS
    for trial, recorded in epochs.items():
        assert [epoch["epoch"] for epoch in recorded] == list(range(1, EPOCHS + 1)), trial
        end = record.end(trial)
        assert end["reason"] == "completed", trial
        assert end["history"] == [{key: epoch[key] for key in epoch if key != "format"} for epoch in recorded]


def test_checkpoints_and_weights_are_on_s3(searched, record):
    for trial, epochs in searched.lost.items():
        assert any(f"/checkpoints/{epochs:04d}-" in key for key in searched.checkpoints[trial])
    assert any(key.endswith("/weights.pt") for keys in record.keys("best").values() for key in keys)


def test_trials_of_a_lost_host_continue_elsewhere_from_their_checkpoints(searched, record):
    assert searched.lost
    for trial, epochs in searched.lost.items():
        starts = record.files("attempts")[trial]
        moved = [start["node"] for start in starts].index(searched.unplugged) + 1
        assert starts[moved]["node"] != searched.unplugged
        assert starts[moved]["continued_from"] == epochs


def test_a_lost_host_counts_as_no_attempt(searched, record, database):
    starts, failures = record.files("attempts"), record.files("failures")
    for trial in searched.lost:
        assert [failure["counted"] for failure in failures[trial]] == [False]
        assert record.end(trial)["attempts"] == len(starts[trial]) - 1
    tags = dict(rows(database, "aerosweep.attempts"))
    assert tags == {trial: str(record.end(trial)["attempts"]) for trial in starts}


def test_nothing_else_failed(searched, record):
    assert set(record.files("failures")) == set(searched.lost)


def test_a_killed_driver_comes_back(searched):
    killed, again = searched.drivers
    assert killed != again
    assert "was ended by SIGKILL" in searched.printed


def test_a_joined_host_gets_work(searched, record):
    assert record.starts_by_node()[searched.joined] > 0


def test_the_tracker_on_postgresql_has_one_run_a_trial(searched, record, database):
    runs = rows(database, "aerosweep.trial")
    assert sorted(trial for _, trial in runs) == sorted(record.keys("epochs"))
    states = dict(rows(database, "aerosweep.state"))
    assert {states[trial] for trial in record.keys("epochs")} == {"completed"}


def test_the_tracker_has_one_point_a_metric_and_epoch(database):
    query = "select run_uuid, array_agg(step order by step) from metrics where key = 'objective' group by run_uuid"
    steps = dict(database.execute(query).fetchall())
    assert list(steps.values()) == [list(range(1, EPOCHS + 1))] * TRIALS
    assert not database.execute("select 1 from metrics group by run_uuid, key, step having count(*) > 1").fetchall()


def test_the_tracker_says_where_trials_ran(searched, record, database):
    nodes = dict(rows(database, "aerosweep.node"))
    assert nodes == {trial: epochs[-1]["node"] for trial, epochs in record.files("epochs").items()}


def test_nobody_gets_into_ray_without_the_token(cluster, searched):
    status = ["ray", "status", "--address", f"{cluster.head.address}:6379"]
    for mode in ("token", "disabled"):
        refused = cluster.store.run(*status, check=False, RAY_AUTH_MODE=mode)
        assert refused.returncode != 0
        assert "token" in refused.stdout
        assert "CPU" not in refused.stdout
    # Nothing else kept it out.
    assert "CPU" in cluster.store.run(*status, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=cluster.token).stdout


def test_nobody_submits_a_job_without_the_token(cluster, searched):
    marker = "/tmp/was-here"
    job = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "touch", marker]
    refused = cluster.head.run(*job, check=False, RAY_AUTH_MODE="disabled")
    assert refused.returncode != 0
    assert "token" in refused.stdout
    assert not (cluster.head.folder / marker.lstrip("/")).exists()
    cluster.head.run(*job, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=cluster.token)
    assert (cluster.head.folder / marker.lstrip("/")).exists()


@pytest.mark.parametrize("port", [8265, 5000], ids=["dashboard", "tracker"])
def test_dashboard_and_tracker_are_reached_on_the_head_alone(cluster, searched, port):
    with cluster.head.network():
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with cluster.store.network(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((cluster.head.address, port), timeout=10)


def test_ray_down_leaves_no_process(cluster, searched):
    cluster.down()
    ours = ("sshd: ", "sleep ", "/usr/lib/postgresql/", "postgres: ", "python -m moto.server", "bash ")

    def left():
        return [(host.name, line) for host in cluster.alive() for line in host.processes() if not line.startswith(ours)]

    # Workers find that their head is gone within a minute, and end what they run.
    try:
        wait_until(lambda: not left(), "the end of all processes", every=2)
    finally:
        print("left:", left())


def rows(database, tag):
    """(trial id, value) of a tag of all runs that are trials."""
    query = (
        "select trial.value, tag.value from tags trial join tags tag on trial.run_uuid = tag.run_uuid"
        " where trial.key = 'aerosweep.trial' and tag.key = %s"
    )
    return database.execute(query, [tag]).fetchall()
