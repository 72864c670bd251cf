"""`aerosweep server`: the tracking server, on the head of a cluster or for a team."""

from pathlib import Path
from typing import Annotated, Final

import typer

from aerosweep.user_errors import without_traceback

HELP: Final = (
    "Run an MLflow server that records searches, until it is stopped.\n\n"
    "Its database is PostgreSQL where MLFLOW_BACKEND_STORE_URI names one, else SQLite in the folder; clients reach the "
    "artifacts through it and need no keys of their own. Where other machines reach it, it asks for a password, which "
    "is made once and kept in FOLDER/credentials.env. Started twice, it says so and exits with 0."
)
EXAMPLE: Final = "Example: aerosweep server --artifacts s3://my-bucket/mlflow"


@without_traceback
def server(
    backend_store_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="The database, without a password: with one, set MLFLOW_BACKEND_STORE_URI to postgresql://... By "
            "default SQLite in the folder.",
            show_default=False,
        ),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where artifacts are kept, a path or s3://... By default beside the SQLite file.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where it listens; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 5000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name that clients call it by, beside its address and this machine's name. Repeatable.",
        ),
    ] = None,
    auth: Annotated[
        bool | None,
        typer.Option(
            "--auth/--no-auth",
            help="Ask for a password. By default where ADDRESS is not loopback, and not to be left out there.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="What it keeps: SQLite files, passwords, its log. Yours alone.")
    ] = Path("~/.aerosweep/tracker"),
) -> None:
    """Run a tracking server."""
    from search.jobs.server_settings import server_settings
    from search.jobs.tracking_server import serve

    settings = server_settings(
        folder,
        backend_store_uri=backend_store_uri,
        artifacts=artifacts,
        host=host,
        port=port,
        allowed_hosts=allowed_host or (),
        auth=auth,
    )
    # At once, because its output goes to a file on the head of a cluster.
    raise typer.Exit(serve(settings, lambda line: print(line, flush=True)))
