"""`aerosweep data`: look at an image set before a search does."""

import os
import shlex
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from aerosweep.options import OptionalFile, Overrides
from aerosweep.terminal.image_progress import ImageProgress
from aerosweep.user_errors import without_traceback

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from search.config.data_source import DataSource
    from trainable.data.checks.split_contents import SplitContents
    from trainable.data.dataset_problem import Problem

app = typer.Typer(no_args_is_help=True, help="Look at an image set before a search does.", rich_markup_mode="rich")

_DRAWN_ALONE: Final = 200
"""Images that one process draws before others would have started."""

Description = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A data-set YAML, in place of CONFIG.", show_default=False),
]
Root = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="With --description: where the images are, if not where it says.", show_default=False
    ),
]


@app.command(
    help="List every problem of an image set in one pass, each with its file and the remedy; say what its splits can "
    "judge, and whether they share near copies.\n\n"
    "Exits with 1 if there is any; a warning is none.",
    epilog="Example: aerosweep data check --description my_set.yaml",
)
@without_traceback
def check(
    config: OptionalFile = None, overrides: Overrides = None, description: Description = None, root: Root = None
) -> None:
    """Check an image set."""
    source = _source(config, overrides, description, root)
    from trainable.data.checks.dataset_check import check_dataset

    with ImageProgress("checking", Console(stderr=True)) as on_progress:
        found = check_dataset(source.dataset, source.cache_dir, on_progress, _print)
    if found.counts is not None:
        Console().print(counts_table(found.counts))
    for problem in found.problems:
        _print(problem_line(problem))
    errors = sum(not problem.warning for problem in found.problems)
    _print(f"{_count(errors, 'problem')}, {_count(len(found.problems) - errors, 'warning')}")
    if errors:
        raise typer.Exit(1)


@app.command(
    help="Show how much of the set each class is: shares of pixels, images and scenes in train, dev and val.",
    epilog="Example: aerosweep data stats examples/aeroscapes.yaml --csv shares.csv",
)
@without_traceback
def stats(
    config: OptionalFile = None,
    overrides: Overrides = None,
    description: Description = None,
    root: Root = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write them as CSV.", show_default=False)
    ] = None,
) -> None:
    """Show class shares."""
    source = _source(config, overrides, description, root)
    if csv is not None:
        _require_writable(csv)
    from analysis.evidence.class_shares import tabulate_class_shares
    from trainable.data.trial_data import open_trial_data

    with ImageProgress("decoding", Console(stderr=True)) as on_progress:
        data = open_trial_data(source.dataset, source.cache_dir, on_progress, _print)
    frame = tabulate_class_shares(
        data.cache.pixel_counts,
        {"train": data.splits.train, "dev": data.splits.dev, "val": data.splits.val},
        [sample.scene for sample in data.image_set],
        [entry.name for entry in data.image_set.classes],
    )
    Console().print(shares_table(frame, data.image_set.name))
    for warning in data.warnings:
        _print(f"warning: {warning}")
    if csv is not None:
        frame.to_csv(csv, index=False)


@app.command(
    help="Write made aerial-like images with the class shares of AeroScapes, in its layout.\n\n"
    "They are for trying things out: what is learned from them is no evidence about real images.",
    epilog="Example: aerosweep data synthesize made --images 200 --size 192x320",
)
@without_traceback
def synthesize(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to: a new or empty folder.", show_default=False)
    ],
    images: Annotated[int, typer.Option(help="How many, of all splits together.")] = 120,
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width in pixels.")] = "96x160",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    scenes: Annotated[
        int | None, typer.Option(help="How many scenes; a quarter of them is val.", show_default="one for ten images")
    ] = None,
    imbalance: Annotated[
        float, typer.Option(help="Things have this many times fewer pixels and images than in AeroScapes.")
    ] = 1.0,
) -> None:
    """Make an image set."""
    from search.config.data_source import synthetic_source
    from trainable.errors import InputError

    dataset = synthetic_source(images, size, seed, scenes, imbalance).dataset
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("FOLDER must be new or empty", folder, "Choose another, or remove what is in it")
    from trainable.data.synthetic.synthesize import synthesize as write_set

    folder.parent.mkdir(parents=True, exist_ok=True)
    jobs = 1 if images <= _DRAWN_ALONE else os.cpu_count() or 1
    # Made aside and renamed: a set is whole or absent.
    unfinished = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        write_set(unfinished, images, dataset.height_width, seed, jobs, scenes, imbalance)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _print(f"{images} images of {size} in {folder}; use them with")
    _print(f"  --set dataset.layout=aeroscapes --set {shlex.quote(f'dataset.root={folder}')}")


def problem_line(problem: "Problem") -> str:
    """A problem as one line: what, where, and the remedy."""
    kind = "warning" if problem.warning else "problem"
    where = f"{problem.file}: " if problem.file else ""
    what = problem.problem if problem.value else problem.rule
    remedy = f" {problem.remedy}." if problem.remedy else ""
    return f"{kind}: {where}{what}.{remedy}"


def counts_table(counts: "SplitContents") -> "Table":
    """Scenes and objects with a row for each class and a column for each split; objects for things only."""
    from rich import box
    from rich.table import Table

    table = Table(title="Scenes with the class, and objects of things", box=box.SIMPLE_HEAD)
    table.add_column("class")
    for split, scenes in counts.scenes.items():
        table.add_column(f"{split}\nof {scenes} scn", justify="right", no_wrap=True)
    for split in counts.scenes:
        table.add_column(f"{split}\nobj", justify="right", no_wrap=True)
    for label, name in enumerate(counts.names):
        cells = [str(in_split[label]) for in_split in counts.class_scenes.values()]
        is_thing = label in counts.thing_labels
        cells += [str(in_split[label]) if is_thing else "" for in_split in counts.class_objects.values()]
        table.add_row(name, *cells)
    return table


def shares_table(frame: "pd.DataFrame", name: str) -> "Table":
    """Class shares with a row for each class, and for each split its shares of pixels, images and scenes in percent."""
    from rich import box
    from rich.table import Table

    table = Table(title=f"Class shares of {name} (% of labelled pixels, of images, of scenes)", box=box.SIMPLE_HEAD)
    table.add_column("class")
    splits = list(dict.fromkeys(frame["split"]))
    for split in splits:
        for what in ("pix", "img", "scn"):
            table.add_column(f"{split}\n{what}", justify="right", no_wrap=True)
    for _, rows in frame.groupby("label", sort=True):
        by_split = rows.set_index("split")
        cells = [
            percent(by_split.loc[split, key])
            for split in splits
            for key in ("pixel_share", "image_share", "scene_share")
        ]
        table.add_row(str(rows["class"].iloc[0]), *cells)
    return table


def percent(share: float) -> str:
    """A share in percent with three digits, empty where it does not exist; 0 only where there is none."""
    value = 100 * share
    if value != value:
        return ""
    if value == 0:
        return "0"
    return f"{value:.3f}" if value < 1 else f"{value:.3g}"


def _source(
    config: Path | None, overrides: list[str] | None, description: Path | None, root: str | None
) -> "DataSource":
    from search.config.data_source import describe_source, load_data_source
    from trainable.errors import InputError

    if description is None and root is not None:
        raise InputError("--root goes with --description", root, "Use --set dataset.root=DIR with a config")
    if description is None:
        return load_data_source(config, overrides or [])
    if config is not None or overrides:
        raise InputError("--description takes the place of CONFIG and --set", "both", "Remove one")
    return describe_source(description, root)


def _require_writable(csv: Path) -> None:
    from trainable.errors import InputError

    if csv.is_dir() or not csv.absolute().parent.is_dir():
        raise InputError("--csv must be a file in a folder that exists", csv, "Make the folder, or choose another")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print(line: str) -> None:
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
