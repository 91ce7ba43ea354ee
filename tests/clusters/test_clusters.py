"""`gradcheck run` on real clusters of this machine, one of Dask and one of Ray, whose workers are killed too.

`make test-distributed` runs these; it installs both, and takes a minute or two.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suite.processes import children, outcomes, runners, spec, start, wait

if not os.environ.get("GRADCHECK_TEST_DISTRIBUTED"):
    pytest.skip("make test-distributed", allow_module_level=True)

KINK = 'grad = "relu(x) - relu(-x)"\nat = "x=0"'
FAST = [f'grad = "sin({i + 1}*x)"\nat = "x=1"' for i in range(6)] + [KINK]
SLOW = [f'function = "slow.py:f"\nat = "x={i + 1}"' for i in range(8)] + [KINK]
PATIENCE = 240.0
"""Seconds for a run: a cluster of Ray starts in half a minute on a busy machine."""
CODE = "import time\n\ndef f(x):\n    time.sleep(0.02)\n    return x.sin()\n"


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The backend, and the address of its scheduler on loopback, which has two workers."""
    if request.param == "dask":
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as started:
            yield "dask", started.scheduler_address
        return
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        yield "ray", ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def test_a_cluster_runs_the_checks(cluster: tuple[str, str], tmp_path: Path) -> None:
    """Every check has its verdict, by the address that the command is told; nothing else is said."""
    backend, address = cluster
    spec(tmp_path, *FAST)
    process = start(tmp_path, "checks.toml", "--backend", backend, "--scheduler", address, "--results", "r.jsonl")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "7 checks: 1 failed, 6 passed in" in out, out + err
    assert not [line for line in err.splitlines() if not line.startswith("[")], err
    assert sorted(o["verdict"] for o in outcomes(tmp_path / "r.jsonl")) == ["match"] * 6 + ["mismatch"]


def test_a_killed_worker_costs_nothing(cluster: tuple[str, str], tmp_path: Path) -> None:
    """kill -9 of the cluster's own worker in the middle of a check: others do it, each outcome is there once."""
    backend, address = cluster
    spec(tmp_path, *SLOW)
    (tmp_path / "slow.py").write_text(CODE)
    process = start(tmp_path, "checks.toml", "--backend", backend, "--scheduler", address, "--results", "r.jsonl")
    wait(lambda: bool(owners()), process)
    os.kill(owners()[0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "9 checks: 1 failed, 8 passed in" in out, out + err
    found = [o["spec_id"] for o in outcomes(tmp_path / "r.jsonl")]
    assert len(found) == len(set(found)) == 9


def test_ray_without_an_address(tmp_path: Path) -> None:
    """It is started on this machine, and ended."""
    pytest.importorskip("ray")
    spec(tmp_path, *FAST[-2:])
    process = start(tmp_path, "checks.toml", "--backend", "ray", "--workers", "2")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "2 checks: 1 failed, 1 passed in" in out, out + err


def owners() -> list[int]:
    """The processes below this one that drive processes of checks."""
    return [process for process in below(os.getpid()) if runners(process)]


def below(parent: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found = children(parent)
    return found + [n for child in found for n in below(child)]
