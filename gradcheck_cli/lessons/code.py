"""Formulas as torch code: what `algebra.tensors` runs, as a person would type it. Every function stands under torch's own name,
so that the code runs as it is printed, below `preamble`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.algebra.parts import constant_parts
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import ARRAY_KINDS, NUMBERED, PLACES, RESULTS, TABLE, Function, Parameter
from gradcheck_cli.language.parser import composition, is_constant, is_truth
from gradcheck_cli.language.printer import INFIX, counted
from gradcheck_cli.language.settings import show_index
from gradcheck_cli.language.spaces import OfParts
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, indicator, substitute, variables, walk


def preamble(body: Sequence[str]) -> list[str]:
    """What stands before lines of code."""
    imports = ["import math"] if any("math." in line for line in body) else []
    return [*imports, "import torch", "", "torch.set_default_dtype(torch.float64)", ""]


TEMPLATES: Mapping[str, str] = {
    "gelu_tanh": 'torch.nn.functional.gelu({0}, approximate="tanh")',
    "pick": "{0}.gather(-1, {1}.unsqueeze(-1)).squeeze(-1)",
    "addcmul": "torch.addcmul({0}, {1}, {2}, value={3})",
    "addcdiv": "torch.addcdiv({0}, {1}, {2}, value={3})",
    "index_add": "{0}.index_add(index={1}, source={2})",
    "scatter": "{0}.scatter(index={1}, src={2})",
    "scatter_add": "{0}.scatter_add(index={1}, src={2})",
    "unfold": "{0}.unfold()",
    "batch_norm": "torch.nn.functional.batch_norm({0}, None, None)",
    "imag": "torch.imag({0} + 0j)",
    "tensor": "{0}",
    "size": "{0}.size()",
    "gather": "{0}.gather(index={1})",
    "index_select": "{0}.index_select(index={1})",
    "prelu": "torch.nn.functional.prelu({0}, {1})",
    "index_where": "{0}[{1}]",
    "max": "torch.amax({0})",
    "min": "torch.amin({0})",
}
"""Rows that aren't called by their names: what torch has for them, {0} and {1} being their arguments."""

_SUM, _PRODUCT, _ATOM = INFIX["+"][1], INFIX["*"][1], INFIX["**"][1] + 1


def source(tree: Node) -> str:
    """The code of a formula in its variables."""
    done: dict[Node, tuple[str, int]] = {}
    whole = composed(tree)
    for item in walk(whole):
        done[item] = _written(item, done)
    return done[whole][0]


def composed(tree: Node) -> Node:
    """The formula in what torch has: rows that it composes are replaced by that."""
    done: dict[Node, Node] = {}
    for item in walk(tree):
        done[item] = item
        if isinstance(item, Call):
            made: Node = Call(item.function, tuple(done[a] for a in item.arguments))
            row = TABLE[item.function]
            if row.composed and variables(item):
                assert isinstance(made, Call)
                bound = {p.name: a for p, a in row.bind(made.arguments)}
                made = composed(substitute(composition(row.name), bound))
            done[item] = made
    return done[tree]


def tensor(values: Sequence[float], shape: Sequence[int]) -> str:
    """The code of a tensor's numbers; complex ones by their parts."""
    if isinstance(shape, OfParts) and shape.whole == ():
        return f"complex({values[0]!r}, {values[1]!r})" if not all(map(math.isfinite, values)) else repr(complex(*values))
    if not shape:
        (value,) = values
        return repr(float(value)) if math.isfinite(value) else f'float("{value}")'
    step = max(len(values) // shape[0], 1)
    rest = OfParts(shape[1:]) if isinstance(shape, OfParts) else shape[1:]
    return f"[{', '.join(tensor(values[i : i + step], rest) for i in range(0, len(values), step))}]"


def _written(item: Node, done: Mapping[Node, tuple[str, int]]) -> tuple[str, int]:
    match item:
        case Constant(value=value):
            return repr(value), _PRODUCT if repr(value).startswith("-") else _ATOM
        case Variable(name=name):
            return name, _ATOM
        case Call(function=function, arguments=arguments):
            row = TABLE[function]
            if is_constant(item) and not row.operator and not row.arrays:
                return _constant(item, row, done)
            if function == syntax.STACK and is_constant(item):
                return f"torch.tensor({_listed(item)})", _ATOM
            if row.operator in INFIX and len(arguments) == 2 and not row.torch:
                symbol, level, left, right = INFIX[row.operator]
                x, y = (done[a] for a in arguments)
                return _wrapped(x, left) + symbol + _wrapped(y, right), level
            if function == syntax.NEG:
                return f"-{_wrapped(done[arguments[0]], _ATOM - 1)}", _PRODUCT
            if row.array == syntax.INDEX and isinstance(arguments[1], Constant):
                return f"{_wrapped(done[arguments[0]], _ATOM)}[{show_index(arguments[1].value)}]", _ATOM
            if function == syntax.LISTED:
                *listed, whole, index = arguments
                texts = [_tensor(row.parameters[0], a, done) for a in listed]
                return f"{_wrapped(done[whole], _ATOM)}[{show_index(_value(index), texts)}]", _ATOM
            return _called(item, row, done), _ATOM


def _wrapped(part: tuple[str, int], least: int) -> str:
    return part[0] if part[1] >= least else f"({part[0]})"


def _constant(item: Call, row: Function, done: Mapping[Node, tuple[str, int]]) -> tuple[str, int]:
    """A number without a variable, as Python computes it: math.sqrt(2), torch.pi; else its double."""
    if is_truth(item):
        return repr(bool(nearest_double(indicator(item)))), _ATOM
    if not row.parameters:
        return f"torch.{row.torch}", _ATOM
    if hasattr(math, row.name):
        return f"math.{row.name}({', '.join(done[a][0] for a in item.arguments)})", _ATOM
    if any(isinstance(part, Constant) and isinstance(part.value, complex) for part in walk(item)):
        real, imag = (nearest_double(part) for part in constant_parts(item))
        return repr(complex(real, imag)), _ATOM
    text = tensor([nearest_double(item)], ())
    return text, _PRODUCT if text.startswith("-") else _ATOM


def _called(item: Call, row: Function, done: Mapping[Node, tuple[str, int]]) -> str:
    bound = row.bind(item.arguments)
    positional: list[str] = []
    named: list[str] = []
    several = sum(p.kind == "scalar" and not is_constant(a) for p, a in bound[1:]) > 0
    for parameter, argument in bound:
        if "{n}" in row.torch and parameter.kind == "integer":
            continue
        if parameter.kind == "counts":
            positional.append(counted(parameter, done[argument][0]))
        elif parameter.kind in ARRAY_KINDS or parameter.kind == "truth" or not row.arrays:
            default = isinstance(argument, Constant) and argument.value == parameter.default
            if row.arrays and parameter.default is not None:
                named += [] if default else [f"{parameter.name}={_tensor(parameter, argument, done)}"]
            elif row.name in TEMPLATES or not (default and parameter.default is not None and parameter.kind == "number"):
                needs = parameter.kind in ("tensor", "truth", *ARRAY_KINDS) or (several and parameter.kind == "scalar")
                positional.append(_tensor(parameter, argument, done) if needs else done[argument][0])
        elif row.name in NUMBERED:
            positional.append(str(_value(argument)))
        elif isinstance(argument, Constant) and not _usual(parameter, argument.value):
            named.append(f"{parameter.name}={_setting(argument.value)}")
    if row.parameters and row.parameters[0].variadic:
        positional = [f"[{', '.join(positional)}]"]
    if row.name == syntax.EINSUM:
        return f"torch.einsum({_value(item.arguments[-1])!r}, {positional[0]})"
    if row.name in TEMPLATES:
        return _with(TEMPLATES[row.name].format(*positional), named)
    constants = [_value(a) for p, a in bound if p.kind == "integer"]
    name = (row.torch or row.name).format(n=constants[0] if constants else "")
    number = f"[{positional.pop()}]" if row.name in NUMBERED else ""
    call = f"torch.{name}({', '.join([*positional, *named])}){number}"
    whole = row.name in RESULTS and any(p.name == "dim" and _value(a) == () for p, a in bound)  # torch.median(x)
    return f"{call}[{PLACES[row.name]}]" if row.name in PLACES and not whole else call


def _usual(parameter: Parameter, value: Any) -> bool:
    """Whether torch takes this value of a setting where none is given; it wants to be told the dimension."""
    same = type(value) is type(parameter.default) and value == parameter.default
    return same and (value in (0, ()) or parameter.kind not in ("axis", "axes"))


def _with(call: str, named: Sequence[str]) -> str:
    before = "" if call.endswith("(") or call.endswith("()") else ", "
    return f"{call[:-1]}{before}{', '.join(named)})" if named else call


def _value(argument: Node) -> Any:
    return argument.value if isinstance(argument, Constant) else None


def _setting(value: Any) -> str:
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else f'float("{value}")'


def _tensor(parameter: Parameter, argument: Node, done: Mapping[Node, tuple[str, int]]) -> str:
    """An argument that has to be a tensor."""
    text = done[argument][0]
    if not is_constant(argument):
        return text
    if isinstance(argument, Call) and argument.function == syntax.STACK:
        return f"torch.tensor({_listed(argument, _whole(parameter, argument))})"
    if isinstance(argument, Call) and TABLE[argument.function].arrays:
        return text
    if not is_truth(argument) and not _whole(parameter, argument):
        text = text if "." in text or "(" in text or "e" in text else f"{text}.0"
    return f"torch.tensor({text})"


def _whole(parameter: Parameter, argument: Node) -> bool:
    """Whether an argument without a variable is of whole numbers, as torch wants them: labels."""
    numbers = (part.value for part in walk(argument) if isinstance(part, Constant))
    return parameter.kind == "labels" or (parameter.kind == "targets" and all(isinstance(n, int) for n in numbers))


def _listed(argument: Node, whole: bool = False) -> str:
    """The numbers of a list without a variable; `whole`: labels."""
    if isinstance(argument, Call) and argument.function == syntax.STACK:
        return f"[{', '.join(_listed(a, whole) for a in argument.arguments[:-1])}]"
    value = nearest_double(argument)
    return str(int(value)) if whole else tensor([value], ())
