"""What `aerosweep server` refuses before anything starts, and what it keeps."""

import os
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import typer
from dotenv import dotenv_values
from ports import free_port
from typer.testing import CliRunner

from aerosweep import server_command
from search.jobs.server_folder import ServerFolder
from search.jobs.server_settings import DATABASE, server_settings
from trainable.errors import InputError

cli = typer.Typer()
cli.command()(server_command.server)


@pytest.fixture(autouse=True)
def no_database_of_the_users(monkeypatch):
    monkeypatch.delenv(DATABASE, raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tracker"


def refused(folder, *options):
    """The error of the command; it never starts anything."""
    result = CliRunner().invoke(cli, ["--folder", str(folder), *options])
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_by_default_it_is_sqlite_and_open_on_loopback_alone(folder):
    settings = server_settings(folder)
    assert settings.database == f"sqlite:///{folder}/mlflow.db"
    assert settings.artifacts == f"{folder}/mlartifacts"
    assert (settings.url, settings.auth, settings.allowed_hosts) == ("http://127.0.0.1:5000", False, ())
    assert not folder.exists()


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "::1"])
def test_no_password_is_asked_for_on_loopback_unless_wanted(folder, host):
    assert not server_settings(folder, host=host).auth
    assert server_settings(folder, host=host, auth=True).auth


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_a_password_is_asked_for_where_others_reach_it(folder, host):
    assert server_settings(folder, host=host).auth
    assert "must ask for a password" in refused(folder, "--host", host, "--no-auth")


def test_it_answers_to_its_address_its_name_and_those_that_are_given(folder):
    settings = server_settings(folder, host="192.0.2.7", allowed_hosts=["head.example", "fd00::7"])
    assert settings.allowed_hosts == ("192.0.2.7", socket.gethostname(), "head.example", "[fd00::7]")
    assert settings.url == "http://192.0.2.7:5000"


@pytest.mark.parametrize("name", ["*", "*.example", "http://head", "head:5000", "a,b", ""])
def test_a_name_that_is_none_is_refused(folder, name):
    assert "--allowed-host must be" in refused(folder, "--allowed-host", name)


def test_the_database_of_the_environment_is_used_with_its_password(folder, monkeypatch):
    uri = "postgresql://tracker:very%40secret@db.example/mlflow"
    monkeypatch.setenv(DATABASE, uri)
    settings = server_settings(folder)
    assert settings.database == uri
    assert settings.artifacts == f"{folder}/mlartifacts"
    assert "secret" not in str(settings.shown())


def test_artifacts_lie_beside_a_sqlite_file_that_is_given(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    settings = server_settings(folder, backend_store_uri="sqlite:///mine.db")
    assert settings.database == f"sqlite:///{folder.parent}/mine.db"
    assert settings.artifacts == f"{folder.parent}/mlartifacts"
    assert server_settings(folder, artifacts="s3://bucket/mlflow/").artifacts == "s3://bucket/mlflow"


def test_a_password_on_the_command_line_is_refused_and_not_repeated(folder):
    error = refused(folder, "--backend-store-uri", "postgresql://tracker:very-secret@127.0.0.1/mlflow")
    assert "must be without a password" in error
    assert DATABASE in error
    assert "very-secret" not in error


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("postgresql://tracker:***@127.0.0.1/mlflow", "must have its password"),
        ("postgres://tracker@127.0.0.1/mlflow", "must be a PostgreSQL database or a file of SQLite"),
        ("mysql://127.0.0.1/mlflow", "must be a PostgreSQL database or a file of SQLite"),
        ("sqlite://", "must be a PostgreSQL database or a file of SQLite"),
        ("mlflow.db", "must be a URI"),
        ("postgresql+nodriver://127.0.0.1/mlflow", "must be a URI"),
    ],
)
def test_a_database_that_is_none_is_refused(folder, monkeypatch, uri, rule):
    monkeypatch.setenv(DATABASE, uri)
    assert rule in refused(folder, "--port", str(free_port()))


def test_a_database_out_of_reach_is_named_without_its_password(folder, monkeypatch):
    monkeypatch.setenv(DATABASE, f"postgresql://tracker:very-secret@127.0.0.1:{free_port()}/mlflow")
    error = refused(folder, "--port", str(free_port()))
    assert "must be reachable" in error
    assert "Connection refused" in error
    assert "very-secret" not in error


def test_a_sqlite_file_in_a_folder_that_does_not_exist_is_refused(folder):
    error = refused(folder, "--port", str(free_port()), "--backend-store-uri", f"sqlite:///{folder}/no/mlflow.db")
    assert "unable to open database file" in error


def test_a_driver_that_is_missing_is_named_with_the_command_that_installs_it(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)  # as where it is not installed
    monkeypatch.setenv(DATABASE, "postgresql://127.0.0.1/mlflow")
    assert "pip install 'aerosweep[postgresql]'" in refused(folder, "--port", str(free_port()))


def test_a_port_that_is_taken_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert f"127.0.0.1:{taken} (Address already in use)" in refused(folder, "--port", str(taken))


def test_an_address_of_another_machine_is_refused(folder):
    assert "Cannot assign requested address" in refused(folder, "--host", "198.51.100.7")
    assert "--host must be an address" in refused(folder, "--host", "nowhere.invalid")


def test_artifacts_that_nobody_can_write_are_refused(folder, tmp_path):
    (tmp_path / "file").touch()
    port = str(free_port())
    assert "--artifacts must be writable" in refused(
        folder, "--port", port, "--artifacts", str(tmp_path / "file" / "x")
    )
    assert "a place on S3" in refused(folder, "--artifacts", "gs://bucket/mlflow")


def test_a_folder_that_others_can_read_is_refused(folder):
    folder.mkdir(mode=0o755)
    assert f"chmod 700 {folder}" in refused(folder)


def test_a_folder_of_another_server_is_refused_with_what_differs(folder):
    held = ServerFolder(folder)
    held.make()
    with held.lock():
        assert "another start holds" in refused(folder)
        held.write_running(server_settings(folder).shown())
        error = refused(folder, "--artifacts", "s3://bucket/mlflow")
        assert f"held by process {os.getpid()}" in error
        assert f"another artifacts, s3://bucket/mlflow where that one has {folder}/mlartifacts" in error


def test_a_second_start_while_the_first_one_starts_is_no_error(folder):
    held = ServerFolder(folder)
    held.make()
    with held.lock():
        held.write_running(server_settings(folder, port=(port := free_port())).shown())
        result = CliRunner().invoke(cli, ["--folder", str(folder), "--port", str(port)])
    assert result.exit_code == 0
    assert f"http://127.0.0.1:{port} is starting already (process {os.getpid()}" in result.stdout


def test_passwords_are_made_once_for_their_owner_alone(folder):
    server = ServerFolder(folder)
    server.make()
    first = server.auth_environment()
    assert mode_of(folder) == 0o700
    assert {mode_of(path) for path in folder.iterdir()} == {0o600}
    assert ServerFolder(folder).auth_environment() == first
    assert len(first["MLFLOW_AUTH_ADMIN_PASSWORD"]) >= 24
    assert len(first["MLFLOW_FLASK_SERVER_SECRET_KEY"]) >= 32
    assert first["MLFLOW_AUTH_ADMIN_PASSWORD"] not in Path(first["MLFLOW_AUTH_CONFIG_PATH"]).read_text()
    other = ServerFolder(folder.with_name("other"))
    other.make()
    assert other.admin() != server.admin()


def test_the_credentials_are_there_for_a_shell_that_sources_them(folder):
    server = ServerFolder(folder)
    server.make()
    script = f"source {shlex.quote(str(server.credentials))}; env"
    _, password = server.admin()
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert f"MLFLOW_TRACKING_PASSWORD={password}" in done.stdout.splitlines()
    assert "MLFLOW_TRACKING_USERNAME=admin" in done.stdout.splitlines()
    assert dotenv_values(server.credentials)["MLFLOW_TRACKING_PASSWORD"] == password


@pytest.mark.parametrize("left", [None, "export MLFLOW_TRACKING_USERNAME=admin\n"])
def test_a_password_that_is_lost_is_not_made_anew_while_mlflow_knows_the_old_one(folder, left):
    server = ServerFolder(folder)
    server.make()
    server.admin()
    (folder / "users.db").touch()
    server.credentials.unlink() if left is None else server.credentials.write_text(left)
    with pytest.raises(InputError, match=r"credentials\.env must have the password.*delete users\.db"):
        server.admin()
