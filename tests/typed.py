"""What a type checker says of the twins: `make test` has mypy read this file, in which an ignored error that is none is one."""

from __future__ import annotations

from gradcheck_cli import (
    Report,
    check_chain,
    check_function,
    check_grad,
    check_hessian,
    check_jacobian,
    check_mixed,
    check_model,
)

right: list[Report] = [
    check_chain(["2*x", "z**2"], at={"x": 1}, dtype=["float64", "float32"], device="cpu", mode="all", timeout=60),
    check_mixed("x*y", "x,y", permutations=True, shape="x=2", domain={"x": (0, 5)}),
    check_grad("x", order=2, rtol=1e-6, progress=None),
    check_jacobian(["x*y", "x+y"], sample=5, seed=1),
    check_hessian("x**2", claim="2", verbose=True),
    check_function(abs, at={"x": 1}, settings={"dim": 1}, formula="abs(x)", order=2),
    check_model("Linear(2, 2)", mode="forward", device="cpu", train=True, neuron=(0,)),
]

check_chain("x", dtyp="float64")  # type: ignore[call-arg]
check_chain("x", rtol="1")  # type: ignore[arg-type]
check_chain("x", order=2)  # type: ignore[call-arg]
check_mixed("x*y")  # type: ignore[call-arg]
check_grad("x", permutations=True)  # type: ignore[call-arg]
check_function(abs, claim="1")  # type: ignore[call-arg]
check_model("Linear(2, 2)", sample=3)  # type: ignore[call-arg]
check_model("Linear(2, 2)", train="yes")  # type: ignore[arg-type]
