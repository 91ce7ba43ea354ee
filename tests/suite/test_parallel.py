"""Other backends of joblib: the same outcomes from a real cluster."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.parallel import outcomes
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.suite.workers import Conditions
from tests.suite.processes import children, lines, run, runners, spec, start, wait

pytestmark = pytest.mark.slow(reason="each test starts processes")

CONDITIONS = Conditions(60.0, None, False, ".")
CHECKS = [f'grad = "sin({i + 1}*x)"\nat = "x=1"' for i in range(6)] + ['grad = "relu(x) - relu(-x)"\nat = "x=0"']


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra `distributed`")
def test_a_dask_cluster_runs_the_checks(tmp_path: Path) -> None:
    """Two workers of a scheduler on loopback, which the command is told the address of."""
    from distributed import LocalCluster

    spec(tmp_path, *CHECKS)
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        code, out, err = run(tmp_path, "checks.toml", "--backend", "dask", "--scheduler", cluster.scheduler_address)
    assert code == 1 and "7 checks: 1 failed, 6 passed in" in out, out + err


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_killed_worker_of_the_backend_costs_nothing(tmp_path: Path) -> None:
    """kill -9 of a process of loky's: what it was to do is done by another."""
    spec(tmp_path, *CHECKS)
    process = start(tmp_path, "checks.toml", "--backend", "loky", "--workers", "2", "--results", "r.jsonl")
    owners: list[int] = []

    def working() -> bool:
        owners[:] = [n for n in children(process.pid) if runners(n)]
        return bool(owners)

    wait(working, process)
    os.kill(owners[0], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "7 checks: 1 failed, 6 passed in" in out, out + err
    assert lines(tmp_path / "r.jsonl") == 7


@pytest.mark.parametrize(
    ("backend", "scheduler", "message"),
    [
        ("dask", None, "--backend dask needs --scheduler ADDRESS"),
        ("spark", None, "unknown backend 'spark': choose from threading, loky, dask, ray"),
        ("loky", "tcp://127.0.0.1:1", "a scheduler belongs to --backend dask or ray"),
    ],
)
def test_a_backend_that_cannot_be_is_refused(backend: str, scheduler: str | None, message: str) -> None:
    """Before anything runs."""
    with pytest.raises(InputError, match=message):
        next(outcomes([Spec("a", "grad", "x")], CONDITIONS, backend=backend, scheduler=scheduler))
