"""The torch program of a lesson: it prints the derivatives that the lesson works out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradcheck_cli.language.chain import Chain, derivative_name
from gradcheck_cli.language.functions import CONSTANT, TABLE
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.tree import Call, Node, Variable, substitute, walk
from gradcheck_cli.lessons.code import preamble, source, tensor

MOST = 30
"""Stages of a chain whose program is printed unless all is asked for."""

TAKEN = frozenset({"torch", "math", "print", "name", "tensor", "gradient", "float", "dict"})
"""Names that the program uses itself; an input that is called so gets an underscore."""


def program(
    chain: Chain, point: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]], index: str, wrt: Sequence[str]
) -> str:
    """The derivatives of the output (or of its entry `index`) by every stage and by the inputs `wrt`, printed by hooks."""
    names = _names(chain)
    moving = _tracked(chain, wrt)
    body = [*_inputs(chain, point, shapes, wrt, names), *_stages(chain, names), ""]
    y = chain.output
    if y not in moving:
        return _whole([*body, f"# no operation of {y} has a gradient in torch: {names[y]}.backward() raises"])
    out = names[y] + index
    shown = "tolist()" if any(shapes.get(n) for n in (*chain.inputs, *(s.name for s in chain.stages))) else "item()"
    if len(chain.stages) == 1:
        body += [f"{out}.backward()"]
        body += [f'print("d{y}{index}/d{n} =", {names[n]}.grad.{shown})' for n in wrt if n in moving]
        return _whole(body)
    hooked = [n for n in (*(s.name for s in reversed(chain.stages)), *wrt) if n in moving]
    pairs = ", ".join(f'"d{y}{index}/d{n}": {names[n]}' for n in hooked)
    body += [
        f"for name, tensor in {{{pairs}}}.items():",
        f'    tensor.register_hook(lambda gradient, name=name: print(name, "=", gradient.{shown}))',
        "",
    ]
    inner = [n for n in hooked if n not in wrt and n != y]
    body += [f"{names[n]}.retain_grad()  # else only inputs keep their gradient" for n in inner[-1:]]
    body += [f"{out}.backward()  # the hooks fire: from the output back to the inputs"]
    body += [f'print("{names[n]}.grad =", {names[n]}.grad.{shown})' for n in (*inner[-1:], *(w for w in wrt if w in moving))]
    return _whole(body)


def nested(chain: Chain, point: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]], order: Sequence[str],
           depends: Sequence[bool]) -> str:  # fmt: skip
    """A derivative of higher order by nested `torch.autograd.grad`. `depends`: whether what is differentiated at each step
    depends on the name."""
    names = _names(chain)
    bases = list(dict.fromkeys(n.partition("[")[0] for n in order))
    body = [*_inputs(chain, point, shapes, bases, names), *_stages(chain, names), ""]
    current = names[chain.output]
    for place, name in enumerate(order):
        base, bracket, rest = name.partition("[")
        title = derivative_name(chain.output, order[: place + 1])
        called = "".join(c if c.isalnum() else "_" for c in title.replace("/", "_")).rstrip("_")
        if not depends[place]:
            body.append(f"{called} = torch.zeros(())  # {current} doesn't depend on {name}: torch.autograd.grad would raise")
        elif any(depends[place + 1 :]):
            body.append(f"{called} = torch.autograd.grad({current}, {names[base]}, create_graph=True)[0]{bracket}{rest}")
        else:
            body.append(f"{called} = torch.autograd.grad({current}, {names[base]})[0]{bracket}{rest}")
        body.append(f'print("{title} =", {called}.item())')
        current = called
        if not depends[place]:
            break
    return _whole(body)


def _names(chain: Chain) -> dict[str, str]:
    every = (*chain.inputs, *(s.name for s in chain.stages))
    return {n: f"{n}_" if n in TAKEN else n for n in every}


def _inputs(
    chain: Chain, point: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]], wrt: Iterable[str],
    names: Mapping[str, str],
) -> list[str]:  # fmt: skip
    wanted = set(wrt)
    made = [
        f"{names[n]} = torch.tensor({tensor(point[n], shapes.get(n, ()))}{', requires_grad=True' if n in wanted else ''})"
        for n in chain.inputs
    ]
    return made


def _stages(chain: Chain, names: Mapping[str, str]) -> list[str]:
    changed = {n: Variable(m) for n, m in names.items() if m != n}
    return [f"{names[s.name]} = {source(substitute(s.tree, changed))}" for s in chain.stages]


def _tracked(chain: Chain, wrt: Iterable[str]) -> set[str]:
    """The names that torch keeps a graph for: what depends on the inputs by more than comparisons."""
    found = set(wrt)
    for stage in chain.stages:
        if requires(stage.tree, found):
            found.add(stage.name)
    return found


def requires(tree: Node, names: set[str]) -> bool:
    known: dict[Node, bool] = {}
    for item in walk(tree):
        if isinstance(item, Variable):
            known[item] = item.name in names
        elif isinstance(item, Call) and not is_truth(item):
            bound = TABLE[item.function].bind(item.arguments)
            known[item] = item.function not in CONSTANT and any(known.get(a, False) for _, a in bound)
    return known.get(tree, False)


def _whole(body: Sequence[str]) -> str:
    return "\n".join([*preamble(body), *body])
