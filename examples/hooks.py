# Gradients in the middle of a chain: dy/dy, dy/dz and dy/dx at x = 1, by hooks and by gradcheck.
#
# Source: the question of what the gradients of intermediate layers are, asked again and again in PyTorch's forum; the
#     chain is the "gradient test" of https://github.com/hololee/Grad-CAM-pytorch, whose hooks print 1, 6, 12.
# Verdict: match
# Exit code: 0

import torch

from gradcheck_cli import check_chain

# What one writes by hand: a hook on every tensor. Hooks fire from the output back to the input.
seen = {}
x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
z = 2 * x
y = z**2 + 2 * z + 2
for name, tensor in {"x": x, "z": z, "y": y}.items():
    tensor.register_hook(lambda gradient, name=name: seen.update({name: gradient.item()}))
y.backward()
print("hooks:", ", ".join(f"dy/d{name} = {gradient:g}" for name, gradient in seen.items()))
assert seen == {"y": 1, "z": 6, "x": 12}

# The same chain as text: gradcheck sets the hooks, and knows what they must say.
report = check_chain(["2*x", "z**2+2*z+2"], at={"x": 1})
print(report)
assert [check.autograd for check in report.checks if check.kind == "total"] == [1, 6, 12]
