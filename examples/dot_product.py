# The gradient of a vector formula: d sum(x*y)/dx is y and d/dy is x, entry by entry; and the rows of x*y, which is a vector.
#
# Source: https://www.pythonclear.com/errors/runtimeerror-grad-can-be-implicitly-created-only-for-scalar-outputs/
#     backward of the vector x*y, which torch refuses; and of its sum.
# Verdict: match, match
# Exit code: 0

import torch

from gradcheck_cli import check_grad, check_jacobian

x = torch.tensor([2.0, 4.0], dtype=torch.float64, requires_grad=True)
y = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
try:
    (x * y).backward()
except RuntimeError as error:
    print("by hand:", error)
torch.sum(x * y).backward()
print("by hand:", x.grad.tolist(), y.grad.tolist())

point = {"x": x.detach(), "y": y.detach()}
report = check_grad("sum(x*y)", at=point)
print(report)
found = {check.quantity: check.autograd for check in report.checks}
assert [found["df/dx[0]"], found["df/dx[1]"]] == x.grad.tolist() == [1.0, 3.0]
assert [found["df/dy[0]"], found["df/dy[1]"]] == y.grad.tolist() == [2.0, 4.0]

rows = check_jacobian("x*y", at=point)
print(rows)
report.raise_for_verdict()
rows.raise_for_verdict()
