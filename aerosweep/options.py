"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the config: dotted, the value in YAML. Repeatable. See docs/config.md for every key.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="The folder of all searches, a path or s3://...: the same as --set storage=DIR. "
        "By default what the config says, else runs.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue what is in the folder, or extend it where budget.trials has grown."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="Join a Ray cluster: `auto` or HOST:PORT. Without it, this machine alone.",
    ),
]
SearchFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The search config, a YAML file.", show_default=False)
]
RecordedSearch = Annotated[
    str,
    typer.Argument(metavar="SEARCH", help="The folder of a recorded search, or its config file.", show_default=False),
]
OptionalFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG", help="A search or train config. Not needed where --set says it all.", show_default=False
    ),
]
