"""The projections of a search, each on a thread of its own, and what is left to do when a launch ends."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from search.config import SearchConfig
from search.mlflow_projection import MlflowProjection, SearchIdentity, tracking_uri
from search.optuna_journal import OptunaJournal
from search.projection import BackgroundProjection
from search.retention import Retention, keepers
from search.search_folder import SearchMeta
from trainable.storage import Storage
from trainable.trial_record import TrialSnapshot

_DRAIN_SECONDS: Final = 60.0
"""How long the end of a launch waits for a tracker before it leaves the rest to `aerosweep sync`."""
