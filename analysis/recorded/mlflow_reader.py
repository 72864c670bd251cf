"""Reads a recorded search from MLflow; MLflow is imported when a search is read."""

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pandas as pd

from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from trainable.errors import InputError
from trainable.record.metric_names import OBJECTIVE
from trainable.record.mlflow_client import connect, sqlite_path
from trainable.record.tags import (
    ROLE_SEARCH,
    TAG_BASELINE,
    TAG_CONFIRMS,
    TAG_DATA_FINGERPRINT,
    TAG_OBJECTIVE,
    TAG_REASON,
    TAG_ROLE,
    TAG_SEARCH,
    TAG_SEARCH_ID,
    TAG_STATE,
    TAG_TRIAL,
)
from trainable.record.trial_record import CONFIG_FILE
from trainable.redaction import in_short, redacted
from trainable.trial_config import TrialConfig

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
U = TypeVar("U")

_RUNS_A_PAGE: Final = 500
_CALLS_AT_ONCE: Final = 8
"""A server answers several while one waits; an SQLite file is not slowed by it."""


def read_search(uri: str, search: str) -> RecordedSearch:
    """Read a search, whether it is over or not.

    What is large (histories, counts, weights) is read when it is asked for.

    Args:
        uri: The tracking URI.
        search: Its name, its search id, or the id of its parent run.

    Raises:
        InputError: MLflow cannot be reached, or has no such search, or several of that name.
    """
    path = sqlite_path(uri)
    if path is not None and not path.is_file():
        raise InputError("the tracking URI must be of an MLflow store that exists", f"no file {path}", _WHERE)
    try:
        return _Reader(connect(uri), redacted(uri)).read(search)
    except InputError:
        raise
    except Exception as error:  # a tracker may raise anything
        raise InputError(f"a report needs MLflow at {redacted(uri)}", in_short(error), _WHERE) from error


_WHERE: Final = "Start it, or name another with --tracking-uri URI"


class MlflowSource:
    """Reads the large parts of runs; see `analysis.recorded.recorded_search.RunSource`.

    Args:
        client: Of MLflow.
        run_id: The one run that it reads; what artifacts it has is asked once.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    @cached_property
    def _artifacts(self) -> set[str]:
        return {entry.path for entry in self._client.list_artifacts(self._run_id)}

    def history(self, run_id: str, names: Sequence[str]) -> pd.DataFrame:
        """Metrics by epoch."""
        points = _at_once(lambda name: self._client.get_metric_history(run_id, name), names)
        columns = {
            name: pd.Series({point.step: point.value for point in sorted(of_name, key=lambda point: point.timestamp)})
            for name, of_name in zip(names, points, strict=True)
        }
        frame = pd.DataFrame(columns, columns=list(names), dtype=float)
        return frame[frame.index > 0].sort_index().rename_axis("epoch")

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """The content of an artifact, or None."""
        if name not in self._artifacts:
            return None
        with tempfile.TemporaryDirectory(prefix="aerosweep-") as folder:
            return Path(self._client.download_artifacts(run_id, name, folder)).read_bytes()


class _Reader:
    """Finds a search in MLflow and reads its runs."""

    def __init__(self, client: "MlflowClient", where: str) -> None:
        self._client = client
        self._where = where
        self._experiments = [experiment.experiment_id for experiment in client.search_experiments()]

    def read(self, search: str) -> RecordedSearch:
        parent = self._find(search)
        tags, settings = parent.data.tags, parent.data.params
        children = {run.data.tags[TAG_TRIAL]: run for run in self._children(tags[TAG_SEARCH_ID])}
        read = dict(zip(children, _at_once(self._read_trial, children.values()), strict=True))
        found = [trial for _, trial in sorted(read.items()) if trial is not None]
        trials = tuple(trial for trial in found if not trial.confirms)
        return RecordedSearch(
            name=tags[TAG_SEARCH],
            search_id=tags[TAG_SEARCH_ID],
            run_id=parent.info.run_id,
            state=tags.get(TAG_STATE, "running"),
            where=self._where,
            objectives=tuple(tags.get(TAG_OBJECTIVE, "miou").split(", ")),
            max_epochs=int(settings.get("budget.max_epochs", max((trial.epochs for trial in trials), default=1))),
            budget=int(settings.get("budget.trials", len(trials))),
            relevant_gain=float(settings.get("confirm.relevant_gain", 0.01)),
            trials=trials,
            runs=tuple(trial for trial in found if trial.confirms),
            dataset=_dataset(trials),
            data_fingerprint=tags.get(TAG_DATA_FINGERPRINT, ""),
            settings=settings,
            started_ms=parent.info.start_time,
            problems=tuple(
                f"{trial_id} is left out: MLflow has no whole {CONFIG_FILE} of it; `aerosweep sync` may fill it in"
                for trial_id, trial in sorted(read.items())
                if trial is None
            ),
        )

    def _find(self, search: str) -> "Run":
        parents = list(self._runs(f"tags.`{TAG_ROLE}` = '{ROLE_SEARCH}'"))
        keys = [(run.info.run_id, run.data.tags.get(TAG_SEARCH_ID), run.data.tags.get(TAG_SEARCH)) for run in parents]
        found = [run for run, names in zip(parents, keys, strict=True) if search in names]
        ids = {run.data.tags[TAG_SEARCH_ID]: run for run in reversed(found)}
        if len(ids) == 1:
            return next(iter(ids.values()))
        rule = f"the report needs a search recorded in {self._where}"
        if ids:
            raise InputError(rule, f"{len(ids)} searches named {search}", f"Give the id of one: {', '.join(ids)}")
        known = sorted({name for *_, name in keys if name})
        here = f"It has {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}" if known else "It has none"
        raise InputError(
            rule, repr(search), f"{here}; give one of them, another --tracking-uri, or run `aerosweep sync`"
        )

    def _children(self, search_id: str) -> "list[Run]":
        """The runs of trials and confirmations; of doubles the one that has an objective comes last, and so counts."""
        runs = [run for run in self._runs(f"tags.`{TAG_SEARCH_ID}` = '{search_id}'") if TAG_TRIAL in run.data.tags]
        return sorted(runs, key=lambda run: (OBJECTIVE not in run.data.metrics, run.info.run_id), reverse=True)

    def _runs(self, condition: str) -> "Iterable[Run]":
        token = None
        while True:
            page = self._client.search_runs(
                self._experiments, filter_string=condition, max_results=_RUNS_A_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _read_trial(self, run: "Run") -> RecordedTrial | None:
        tags, info = run.data.tags, run.info
        source = MlflowSource(self._client, info.run_id)
        spec = _spec(source.artifact(info.run_id, CONFIG_FILE))
        if spec is None:
            return None
        return RecordedTrial(
            source=source,
            run_id=info.run_id,
            trial_id=tags[TAG_TRIAL],
            state=tags.get(TAG_STATE, "running"),
            reason=tags.get(TAG_REASON, ""),
            baseline=tags.get(TAG_BASELINE) == "true",
            confirms=tags.get(TAG_CONFIRMS, ""),
            params=spec["params"],
            config=spec["config"],
            metrics=dict(run.data.metrics),
            minutes=(info.end_time - info.start_time) / 60_000 if info.end_time else float("nan"),
        )


def _spec(data: bytes | None) -> dict[str, Any] | None:
    """What was suggested, or None where that is not (wholly) there."""
    try:
        spec = json.loads(data or b"")
    except ValueError:
        return None
    known = isinstance(spec, dict) and all(isinstance(spec.get(key), dict) for key in ("params", "config"))
    return spec if known else None


def _dataset(trials: Sequence[RecordedTrial]) -> Any:
    """The image set of the search; None where there is no trial, or its config is not one that we know."""
    try:
        return TrialConfig.model_validate(trials[0].config).dataset if trials else None
    except ValueError:
        return None


def _at_once(call: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """The results of a call, of several at a time."""
    with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
        return list(pool.map(call, items))
