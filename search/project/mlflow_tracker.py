"""The calls to MLflow that a search needs; each leaves out what is there already.

MLflow is imported when a tracker is made: it takes seconds.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from trainable.errors import InputError
from trainable.record.metric_names import OBJECTIVE
from trainable.record.mlflow_client import connect
from trainable.record.tags import TAG_SEARCH_ID

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

T = TypeVar("T")


RUNNING: Final = "RUNNING"
"""MLflow's status of a run that is not over."""

_EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Marks the experiment as one of model training: MLflow 3 has another kind, of prompts and traces."""

# What one `log_batch` takes: 1,000 entities, of them 100 params and 100 tags.
_METRICS_A_BATCH: Final = 800
_PARAMS_A_BATCH: Final = 100
LONGEST_PARAM: Final = 6000
LONGEST_TAG: Final = 5000
_RUNS_A_PAGE: Final = 500


@dataclass
class TrackedRun:
    """A run as MLflow has it, so that what is there need not be asked for again.

    `epochs` is None as long as the run's history has not been read.
    """

    run_id: str
    status: str
    end_time: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: set[int] | None = None


class Tracker:
    """The calls to MLflow that a search needs; each leaves out what is there already.

    Args:
        uri: The tracking URI.
        experiment: Name of the experiment, created where it does not exist.
        artifact_location: Of a new experiment, or None for the server's choice.
    """

    def __init__(self, uri: str, experiment: str, artifact_location: str | None) -> None:
        self._client = connect(uri)
        self._experiment_id = self._require_experiment(experiment, artifact_location)

    def _require_experiment(self, name: str, artifact_location: str | None) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            created: str = self._client.create_experiment(name, artifact_location, _EXPERIMENT_TAGS)
            return created
        if experiment.lifecycle_stage != "active":
            raise InputError(
                "tracking.experiment must not have been deleted",
                name,
                f"Run `mlflow experiments restore -x {experiment.experiment_id}`, or set another tracking.experiment",
            )
        experiment_id: str = experiment.experiment_id
        return experiment_id

    def runs_of(self, search_id: str) -> Iterator[TrackedRun]:
        """All runs of a search, its parent included."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string=f"tags.`{TAG_SEARCH_ID}` = '{search_id}'",
                max_results=_RUNS_A_PAGE,
                page_token=token,
            )
            yield from (_tracked(run) for run in page)
            token = page.token
            if not token:
                return

    def create(self, name: str, start_ms: int, tags: Mapping[str, str]) -> TrackedRun:
        """Create a run."""
        run = self._client.create_run(self._experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)
        return TrackedRun(run.info.run_id, RUNNING, tags=dict(tags), epochs=set())

    def epochs(self, run: TrackedRun) -> set[int]:
        """The epochs that have been logged as a whole."""
        if run.epochs is None:
            run.epochs = {point.step for point in self._client.get_metric_history(run.run_id, OBJECTIVE)}
        return run.epochs

    def log(
        self,
        run: TrackedRun,
        metrics: "Sequence[Metric]" = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, and the params and tags that the run does not have yet; nothing new costs no call."""
        from mlflow.entities import Param, RunTag

        new_params = {key: value for key, value in (params or {}).items() if key not in run.params}
        new_tags = {key: value for key, value in (tags or {}).items() if run.tags.get(key) != value}
        batches = zip_longest(
            chunks(metrics, _METRICS_A_BATCH),
            chunks([Param(*item) for item in new_params.items()], _PARAMS_A_BATCH),
            chunks([RunTag(*item) for item in new_tags.items()], _PARAMS_A_BATCH),
            fillvalue=(),
        )
        for batch in batches:
            self._client.log_batch(run.run_id, *batch, synchronous=True)
        run.params |= new_params.keys()
        run.tags |= new_tags

    def upload(self, run: TrackedRun, files: Mapping[str, bytes]) -> None:
        """Log artifacts by name; a name that exists is replaced."""
        if not files:
            return
        with tempfile.TemporaryDirectory(prefix="aerosweep-") as folder:
            for name, data in files.items():
                Path(folder, name).write_bytes(data)
            self._client.log_artifacts(run.run_id, folder)

    def delete(self, run: TrackedRun) -> None:
        """Put a run among the deleted ones, if MLflow lets us: its UI brings it back, `mlflow gc` removes it."""
        from mlflow.exceptions import MlflowException

        # With access control, who may write need not be allowed to delete.
        with suppress(MlflowException):
            self._client.delete_run(run.run_id)

    def reopen(self, run: TrackedRun) -> None:
        """Set a run to RUNNING."""
        if run.status != RUNNING:
            self._client.update_run(run.run_id, status=RUNNING)
            run.status = RUNNING

    def close(self, run: TrackedRun, status: str, end_ms: int) -> None:
        """Set a run's final status and end time."""
        if (run.status, run.end_time) != (status, end_ms):
            self._client.set_terminated(run.run_id, status, end_ms)
            run.status, run.end_time = status, end_ms


def _tracked(run: "Run") -> TrackedRun:
    data = run.data
    return TrackedRun(
        run.info.run_id, run.info.status, run.info.end_time, dict(data.tags), set(data.params), dict(data.metrics)
    )


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in pieces of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def key_safe(name: str) -> str:
    """The name in the characters that MLflow allows in a param's name."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def shortened(text: str, longest: int) -> str:
    """The text, cut to `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
