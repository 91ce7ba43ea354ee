"""Many checks at a time, through joblib: on the cores of this machine, or on a cluster.

Whatever the backend, each of joblib's workers drives a process of its own (see `workers`), in which the checks run.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.execute import CRASH, Outcome, broken
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.suite.workers import POOL, Conditions, perform

RETRIES = 3
"""How often in a row the backend may fail without a single outcome, before the rest is undecided."""
IDLE = 10.0
"""Seconds after which a worker of loky without work ends, which one that was left alone by its run is."""
CONNECTING = 15.0
"""Seconds for reaching a scheduler."""


def outcomes(
    specs: Sequence[Spec], conditions: Conditions, *, workers: int | None = None, backend: str = "threading",
    scheduler: str | None = None,
) -> Generator[Outcome]:  # fmt: skip
    """The outcome of each check, in the order in which they come. Where a worker of the backend itself is lost, what it was to
    do is done by another. Close the iterator to end everything."""
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}: choose from {', '.join(BACKENDS)}")
    if scheduler is not None and backend not in CLUSTERS:
        raise InputError(f"a scheduler belongs to --backend {' or '.join(CLUSTERS)}")
    count = max(1, min(workers or cores(), len(specs)))
    POOL.start(count if backend == "threading" else 0, conditions)  # their imports take longer than joblib's
    try:
        with BACKENDS[backend](scheduler):
            yield from _all(specs, conditions, -1 if backend in CLUSTERS and workers is None else count, backend)
    finally:
        POOL.close()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(specs: Sequence[Spec], conditions: Conditions, workers: int, backend: str) -> Iterator[Outcome]:
    left = {spec.id: spec for spec in specs}
    failures = 0
    while left:
        try:
            for outcome in _once(list(left.values()), conditions, workers, backend):
                if left.pop(outcome.spec_id, None) is not None:
                    failures = 0
                    yield outcome
        except InputError:
            raise
        except Exception as problem:  # a worker was killed, a connection was lost
            failures += 1
            if failures == RETRIES:
                text = " ".join(f"{type(problem).__name__}: {problem}".split())[:500]
                yield from (broken(spec, CRASH, f"the backend {backend} failed: {text}", 0.0) for spec in left.values())
                return


def _once(specs: Sequence[Spec], conditions: Conditions, workers: int, backend: str) -> Iterator[Outcome]:
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    # A run that stops early leaves tasks, and says so itself.
    warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed", category=UserWarning)
    lazy = get_active_backend()[0].supports_return_generator
    size = len(specs) if lazy else 4 * cores()
    for start in range(0, len(specs), size):
        parallel = Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered" if lazy else "list")
        yield from parallel(delayed(perform)(spec, conditions) for spec in specs[start : start + size])


# -- backends -----------------------------------------------------------------------------------------------------------


@contextmanager
def _threads(scheduler: str | None) -> Iterator[None]:
    """Threads of this process: the checks have processes of their own anyway."""
    from joblib import parallel_config

    with parallel_config(backend="threading"):
        yield


@contextmanager
def _loky(scheduler: str | None) -> Iterator[None]:
    """Processes of joblib's own between this one and those of the checks."""
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # loky starts `python -m`, which would look for modules in the working directory
    try:
        with parallel_config(backend="loky", idle_worker_timeout=IDLE):
            yield
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        del os.environ["PYTHONSAFEPATH"]
        os.environ |= {} if before is None else {"PYTHONSAFEPATH": before}


@contextmanager
def _dask(scheduler: str | None) -> Iterator[None]:
    """The workers of a Dask cluster, which have this package too."""
    from joblib import parallel_config

    if scheduler is None:
        raise InputError("--backend dask needs --scheduler ADDRESS, such as tcp://10.0.0.1:8786")
    try:
        from distributed import Client
    except ImportError:
        raise _missing("dask", "distributed") from None
    try:
        client = Client(scheduler, timeout=CONNECTING, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as problem:
        raise InputError(f"can't reach the scheduler: {problem}", scheduler, 0) from None
    with client, parallel_config(backend="dask", client=client):
        yield


@contextmanager
def _ray(scheduler: str | None) -> Iterator[None]:
    """The workers of a Ray cluster; without an address, one on this machine."""
    from joblib import parallel_config

    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise _missing("ray", "ray") from None
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of what joblib asks of it
    try:
        ray.init(address=scheduler, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as problem:
        raise InputError(f"can't reach the scheduler: {problem}", scheduler or "", 0) from None
    register_ray()
    try:
        with parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()


def _missing(backend: str, extra: str) -> InputError:
    return InputError(f"--backend {backend} needs a package that isn't there: pip install 'gradcheck-cli[{extra}]'")


BACKENDS: dict[str, Callable[[str | None], AbstractContextManager[None]]] = {
    "threading": _threads, "loky": _loky, "dask": _dask, "ray": _ray,
}  # fmt: skip
CLUSTERS = ("dask", "ray")
"""Their workers are counted by themselves, and may run on other machines."""
