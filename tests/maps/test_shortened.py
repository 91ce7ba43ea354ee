"""Switches by which kernels compute in a shorter format are named where digits were lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradcheck_cli import check_function
from gradcheck_cli.maps.shortened import shortened
from gradcheck_cli.shadow.shortened import short
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Verdict


@pytest.fixture
def medium() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def column(dtype: str, verdict: Verdict) -> Column:
    made = Column.blank(OfTensor({}), 1, of="y", dtype=dtype)
    made.mark([0], verdict)
    return made


@pytest.mark.usefixtures("medium")
@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9 has other names")
def test_what_is_said() -> None:
    """Once, of what was met on the device that has a switch, in the dtype that lost digits, and of nothing else."""
    lost = [column("float32", Verdict.IMPRECISE)]
    assert not shortened(lost)
    short("product", [torch.ones(2)])
    assert not shortened([column("float32", Verdict.MATCH), column("float64", Verdict.MISMATCH)])
    short("product", [torch.ones(2)])
    assert [note.partition(":")[0] for note in shortened(lost)] == ["torch.backends.mkldnn.matmul.fp32_precision is bf16"]
    assert not shortened(lost)


def test_nothing_is_said_by_default() -> None:
    """A wrong gradient on the CPU, whose switches are off."""
    report = check_function(lambda x: x.detach() * x, at={"x": torch.ones(2)}, dtype="float32")
    assert report.verdict == "mismatch" and not any("torch.backends" in note for note in report.notes)
