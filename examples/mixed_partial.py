# A mixed partial derivative, d2f/dxdy of f = x**2 + x*y**2 at x = 2, y = 3, by nested torch.autograd.grad and by gradcheck.
#
# Source: "Second Derivatives of a Function of Two Variables" in PyTorch's forum (November 2022) and many threads like it:
#     autograd.grad with create_graph=True, and once more on its result.
# Verdict: match
# Exit code: 0

import torch

from gradcheck_cli import check_mixed

x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
y = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
f = x**2 + x * y**2
(df_dx,) = torch.autograd.grad(f, x, create_graph=True)
(d2f_dxdy,) = torch.autograd.grad(df_dx, y)
print(f"nested grad: df/dx = {df_dx:g}, d2f/dxdy = {d2f_dxdy:g}")
assert (df_dx, d2f_dxdy) == (13, 6)

# gradcheck nests the calls too, in both orders, and a formula derived by hand is one more party.
report = check_mixed("x**2 + x*y**2", "x,y", at={"x": 2, "y": 3}, claim="2*y")
print(report)
assert {check.quantity: check.exact for check in report.checks}["d2f/dxdy"] == "6"
