"""Ray for the length of a launch: a cluster that is joined, or one of this machine alone."""

import gc
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from search.run.cluster import BOOTSTRAP_CONFIG, Cluster, grown_machines
from search.run.ray_folder import ray_folder
from trainable.errors import InputError, SearchFaultError
from trainable.redaction import in_short

_ENVIRONMENT: Final = {
    # The record is ours: Tune's loggers and snapshots would only cost time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "10",
    # How many trials may wait for their processes at once: by itself one, and a large cluster would fill slowly.
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

_MAY_BE_JOINED: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch, not only on these: with 0 it listens on the loopback interface alone, else on all."""


@contextmanager
def ray_session(address: str | None) -> Iterator[Cluster]:
    """Connect to Ray and leave it again.

    Args:
        address: Of a cluster (`auto` for the one of this machine), or None for a new one on this machine, whatever
            RAY_ADDRESS says (the command line reads it).

    Yields:
        The cluster.

    Raises:
        InputError: There is no such cluster.
        SearchFaultError: Ray does not start on this machine.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        with _on_loopback(alone=address is None), _token_kept():
            ray = _start(stack.enter_context(ray_folder())) if address is None else _join(address)
        stack.callback(_shut_down, ray)
        # A failed trial is told of by our own line, with its reason.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with _without_ray_on_stdout():
            yield _cluster(ray, joined=address is not None)


def _shut_down(ray: Any) -> None:
    with _without_collection():
        ray.shutdown()


@contextmanager
def _without_ray_on_stdout() -> Iterator[None]:
    """Keep Ray's paragraph about each process that died from the user, who has our line with the trial and its reason.

    Ray prints it whatever `log_to_driver` says, and it has no switch.
    """
    from ray._private import worker

    printed = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *args, **kwargs: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector still, which may run on any thread of ours.

    Ray ends the process where a reference of its own is freed while it shuts down, and Tune leaves many in cycles.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _on_loopback(alone: bool) -> Iterator[None]:
    """Let Ray, which is imported and started within, listen to this machine alone, unless the user says otherwise."""
    if not alone or _MAY_BE_JOINED in os.environ:
        yield
        return
    os.environ[_MAY_BE_JOINED] = "0"
    try:
        yield
    finally:
        del os.environ[_MAY_BE_JOINED]


@contextmanager
def _token_kept() -> Iterator[None]:
    """Keep to the user the token that Ray, when it is started within, makes readable for all.

    Whoever has it can run code as the user.
    """
    token = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # where the home is not ours to write, the token is elsewhere
        token.parent.mkdir(mode=0o700, exist_ok=True)
    yield
    with suppress(OSError):
        token.chmod(0o600)


def _start(folder: Path) -> Any:
    import ray

    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(folder),
        )
    except Exception as error:  # whatever of the machine Ray stumbles over
        raise SearchFaultError(
            "Ray must be able to start on this machine",
            in_short(error),
            "Mend what it names. With RAY_TMPDIR=/tmp, Ray's logs are kept in /tmp/ray/session_latest/logs",
        ) from error
    return ray


def _join(address: str) -> Any:
    import ray

    if not address:  # Ray would take it for this machine
        raise _no_cluster(address, "it is empty")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise _no_cluster(address, str(error).splitlines()[0]) from error
    return ray


def _no_cluster(address: str, why: str) -> InputError:
    return InputError(
        f"--address (or RAY_ADDRESS) must name a running Ray cluster ({address})",
        why,
        "Start one with `ray start --head`, or leave the address out to use this machine alone. A cluster with "
        "token authentication (`ray start` turns it on where ~/.ray/auth_token exists) needs RAY_AUTH_MODE=token "
        "here and on every node, and the same token",
    )


def _cluster(ray: Any, joined: bool) -> Cluster:
    # The head of a cluster may run a search of its own, alone.
    grown = grown_machines(Path.home() / BOOTSTRAP_CONFIG) if joined else []
    return Cluster(ray.nodes, ray.util.get_node_ip_address(), grown)


def run_tune(trainable: type, share: Mapping[str, float], searcher: Any, scheduler: Any, callback: Any) -> None:
    """Let Tune run trials until the searcher has no more.

    A trial that fails is not started again by Tune, which counts starts whatever ended them, and forgets them with the
    driver: the searcher hands it out once more.

    Args:
        trainable: A class Trainable.
        share: CPU and GPU of a trial, by Ray's names.
        searcher: Suggests, as many at once as can run.
        scheduler: Decides.
        callback: Sees every turn.
    """
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="aerosweep-tune-", ignore_cleanup_errors=True) as folder:
        tune.Tuner(
            tune.with_resources(trainable, dict(share)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="launch",
                storage_path=folder,
                callbacks=[callback],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()
