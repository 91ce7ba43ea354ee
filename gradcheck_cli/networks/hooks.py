"""One network at one point: the calls of its submodules, recorded by hooks, and the maps that they are differentiated as.

Nothing of the network changes: parameters and buffers are exchanged for tensors at every call (see `standing`), so that every
run sees the same running statistics, and torch's generator starts from the same seed. A gradient by a layer's
output is one by a number 0 that a hook adds to it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from gradcheck_cli.maps.autograd import dense, derived, nodes
from gradcheck_cli.maps.compiling import compiled
from gradcheck_cli.maps.map import Map, Tensors, autocast, seeded, uncompiled, without_graph
from gradcheck_cli.maps.parts import apart, as_numbers, inexact, joined, names_of, split, whole
from gradcheck_cli.networks.flow import Flow
from gradcheck_cli.networks.modules import signature
from gradcheck_cli.networks.padding import held, paddings
from gradcheck_cli.networks.standing import Standing
from gradcheck_cli.networks.structures import Flat, flatten, key, leaves_of, path, records
from gradcheck_cli.shadow.draws import States, restore, states

Loss = Callable[[Any], Tensor]


class Failed(Exception):
    """The network's own error, and the innermost layer in which it arose ("": the network itself; None: outside of it)."""

    def __init__(self, problem: Exception, layer: str | None) -> None:
        super().__init__(str(problem))
        self.problem, self.layer = problem, layer


@dataclass
class Call:
    """One call of a submodule. `name`: the module's path, with `:2` for its second call; `received` and `returned`: copies of
    what went in, under the names of its `forward`, and came out; `generators`: the states of torch's generators at the start;
    `sources`: names of the calls and arguments that what went in was computed from, `between`: by what operations; `ends`: that
    what came out was, of a call with others inside; `inner`: the calls made within; `within`: code that was running, where
    gradients were off."""

    name: str
    module: nn.Module
    received: Flat
    generators: States
    returned: Flat | None = None
    sources: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    inner: list[Call] = field(default_factory=list)
    within: frozenset[Any] = frozenset()
    cut: bool = False
    """It was made by a custom Function, which runs it again to go backwards, or has a backward of its own: it has no place in
    the graph."""

    @property
    def outputs(self) -> dict[str, Tensor]:
        """The floating-point tensors that it returned, by name; of complex ones the parts."""
        return {} if self.returned is None else self.returned.floats

    def parameters(self) -> dict[str, Tensor]:
        """Its trained parameters, by their names within the module."""
        return {name: p.detach() for name, p in self.module.named_parameters() if p.requires_grad}

    def names(self) -> list[str]:
        """What it returned, and its parameters, in the network; of complex ones the parts."""
        return [*self.outputs, *(path(self.name, name) for name in split(self.parameters()))]


def _arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flat:
    """What a module is called with, under the names of its `forward`."""
    known = list(signature(module))
    pairs, spec = pytree.tree_flatten_with_path(records((args, kwargs)))
    names = []
    for keys, _ in pairs:
        group, first, *rest = map(key, keys)
        by_place = group == "0" and int(first) < len(known)
        names.append(path(known[int(first)] if by_place else first, *rest))
    return Flat(names, [leaf for _, leaf in pairs], spec)


@dataclass(frozen=True)
class Subject:
    """A network and what it is called with. `arguments`: every tensor that it takes, in order, or by name where `named`.
    `dtype`: that of all parameters and buffers (None: as they are). `loss` takes what the network returns. `device`: where the
    arguments are; parameters and buffers are brought there. `given`: the user's own tensors among the arguments."""

    module: nn.Module
    arguments: Mapping[str, Tensor]
    named: bool = False
    training: bool = False
    seed: int = 0
    dtype: torch.dtype | None = None
    loss: Loss | None = None
    device: str = "cpu"
    given: Mapping[str, Tensor] = field(default_factory=dict)
    cut: Sequence[str] = ()
    """Outputs that aren't judged."""
    autocast: str | None = None
    """A format that torch.autocast computes in."""
    nested: Mapping[str, Flat] = field(default_factory=dict)
    """Arguments that hold several of the tensors."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that are handed over as they are."""
    standing: Standing = field(init=False)
    own: Mapping[str, Tensor] = field(init=False)
    """The network's own parameters."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "standing", Standing(self.module))
        object.__setattr__(self, "own", dict(self.module.named_parameters()))

    @contextmanager
    def checked(self) -> Iterator[None]:
        """While the network is checked: copies of the right dtype stand in place of its own tensors, and it is in its mode."""
        with self.standing.checked(self._cast), self._mode():
            yield

    @contextmanager
    def _mode(self) -> Iterator[None]:
        """Training or evaluation, as it is asked for; afterwards as it was."""
        before = [(module, module.training) for module in self.module.modules()]
        if any(training != self.training for _, training in before):
            self.module.train(self.training)
        try:
            yield
        finally:
            for module, training in before:
                if module.training != training:
                    module.training = training

    def floats(self) -> dict[str, Tensor]:
        """The arguments that can be differentiated by; of complex ones the parts."""
        return apart(self._floats())

    def _floats(self) -> dict[str, Tensor]:
        return {name: t for name, t in self.arguments.items() if inexact(t)}

    def parameters(self) -> dict[str, Tensor]:
        """The parameters that are trained; of complex ones the parts."""
        return apart(self._parameters())

    def _parameters(self) -> dict[str, Tensor]:
        return {name: self._cast(p) for name, p in self.module.named_parameters() if p.requires_grad}

    def wholes(self) -> dict[str, Tensor]:
        """All that can be differentiated by, complex tensors whole."""
        return {**self._floats(), **self._parameters()}

    def _leaves(self) -> dict[str, Tensor]:
        """Fresh copies of the same."""
        return {name: _copy(tensor).requires_grad_() for name, tensor in self.wholes().items()}

    def hooked(self) -> dict[str, Tensor]:
        """The parameters, and the arguments as the user gave them, on which hooks hang."""
        own = {**self.given, **self.own}
        return {name: t for name, t in own.items() if t.requires_grad and any(_hooks(t))}

    def with_hooks(self, cotangents: Tensors) -> dict[str, Tensor | None]:
        """The gradients of those tensors themselves, of complex ones the parts, with their hooks.

        Nothing is left in their `.grad`: hooks that wait for it are given copies, and count where they leave a gradient there.
        """
        own = self.hooked()
        others = {name: t for name, t in self._leaves().items() if name not in own}
        leaves = {**others, **{name: self._moved(t) for name, t in own.items()}}
        with seeded(self.seed, leaves.values()):
            outputs = self.run(leaves)
        taken = [name for name in cotangents if outputs[name].requires_grad]
        found = derived([outputs[n] for n in taken], list(own.values()), [cotangents[n] for n in taken])
        gradients: dict[str, Tensor | None] = {}
        for (name, tensor), gradient in zip(own.items(), found, strict=True):
            left = _accumulated(tensor, gradient)
            gradients |= dict.fromkeys(names_of(name, tensor)) if left is None else split({name: left})
        return gradients

    # -- runs -------------------------------------------------------------------------------------------------------

    def run(self, leaves: Tensors, through: Callable[..., Any] | None = None) -> dict[str, Tensor]:
        """The network's outputs, `y`, or its `loss`; what isn't in `leaves` is as it stands. `through`: what is called in place
        of the module, and calls it."""
        args, kwargs = self._passed(self._called_with(leaves))
        outputs = self._call(self.module, leaves, args, kwargs, through)
        if self.loss is None:
            return {name: dense(y) for name, y in flatten("y", outputs).floats.items() if name not in self.cut}
        loss = self.loss(outputs)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = f"has shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"is of type {type(loss).__name__}"
            raise ValueError(f"a loss is one number, and this {shape}: take its mean or sum")
        return {"loss": loss.reshape(())}

    def _called_with(self, leaves: Tensors) -> dict[str, Any]:
        """The arguments, by name, in order."""
        owners = {name: owner for owner, flat in self.nested.items() for name in flat.names}
        found: dict[str, Any] = {}
        for name, t in self.arguments.items():
            if name not in owners:
                found[name] = _given(leaves, name, t)
            elif (owner := owners[name]) not in found:
                found[owner] = self.nested[owner].rebuilt(lambda n, v: _given(leaves, n, self.arguments.get(n, v)))
        return found

    def _passed(self, arguments: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same by place, or by name with the settings."""
        return ((), arguments | dict(self.settings)) if self.named else (tuple(arguments.values()), {})

    def _call(
        self, module: nn.Module, given: Tensors, args: tuple[Any, ...], kwargs: dict[str, Any],
        through: Callable[..., Any] | None = None,
    ) -> Any:  # fmt: skip
        """Call a module with these parameters; its buffers are copies, which it may change."""
        self.standing.settle()
        state, rows = {}, paddings(module)
        for name, parameter in module.named_parameters():
            leaf, own = whole(given, name, parameter), self._cast(parameter)
            if leaf is not None and name in rows:
                leaf = held(leaf, rows[name], own)
            state[name] = own if leaf is None else leaf
        buffers = {name: self._cast(b).clone() for name, b in module.named_buffers()}
        state |= self.standing.buffered(buffers)
        with self._mode(), autocast(self.device, self.autocast):
            return self.standing.call(module, state, lambda: (module if through is None else through)(*args, **kwargs))

    def _cast(self, tensor: Tensor) -> Tensor:
        return self._moved(tensor.detach())

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device, in the dtype."""
        moved = tensor.to(self.device)
        return moved if self.dtype is None else as_numbers(moved, self.dtype)

    def settle(self) -> None:
        """Let lazy modules make their parameters, which they do when they are called first.

        Raises Failed where the network doesn't run.
        """
        lazy = next((p for p in (*self.module.parameters(), *self.module.buffers()) if is_lazy(p)), None)
        if lazy is None:
            return

        def suited(t: Tensor) -> Tensor:
            return t.to(lazy.device, lazy.dtype if t.is_floating_point() else None)

        arguments = {name: pytree.tree_map_only(Tensor, suited, value) for name, value in self._called_with({}).items()}
        args, kwargs = self._passed(arguments)
        try:
            with torch.no_grad():
                self.module(*args, **kwargs)
        except Exception as problem:  # whatever a user's forward raises
            raise Failed(problem, "") from problem
        object.__setattr__(self, "own", dict(self.module.named_parameters()))

    def judged(self) -> Subject:
        """The same without outputs that aren't meant to be differentiated."""
        leaves = self._leaves()
        with seeded(self.seed, leaves.values()):
            return replace(self, cut=without_graph(self.run(leaves)))

    def calls(self) -> list[Call]:
        """Every call of a module in one run, in the order in which they returned: the network's own is the last one.

        Raises Failed where the network doesn't run.
        """
        stack: list[Call] = []
        done: list[Call] = []

        def before(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            received = _arguments(module, args, kwargs).copied()
            within = frozenset() if torch.is_grad_enabled() else _running()
            generators = states(leaves.values())
            sources = flow.behind((args, kwargs))
            stack.append(Call(name, module, received, generators, sources=sources, between=flow.between, within=within))

        def after(name: str, outputs: Any) -> None:
            call = stack.pop()
            if any(map(_transformed, (*call.received.leaves, *leaves_of(outputs)))):
                return  # within torch.func: what it got stands for other numbers, and it is judged with what is around it
            call.returned = flatten(path(name, "output"), outputs).copied()
            if stack:
                stack[-1].inner.append(call)
            if call.inner:
                call.ends = flow.behind(outputs)
            else:
                flow.enter(name, outputs)
            done.append(call)

        leaves = self._leaves()
        flow = Flow({name: leaves[name] for name in self._floats()})
        with seeded(self.seed, leaves.values()), uncompiled(), watched(self.module, before, after):
            try:
                outputs = self.run(leaves)
            except Exception as problem:  # whatever a user's forward raises
                raise Failed(problem, stack[-1].name if stack else None) from problem
        functions = {n._forward_cls.forward.__code__ for n in nodes(outputs.values()) if hasattr(n, "_forward_cls")}
        for call in done:
            call.cut = not functions.isdisjoint(call.within)
        return done

    # -- maps -------------------------------------------------------------------------------------------------------

    def by_layers(self, inputs: Tensors, calls: Sequence[Call]) -> Map:
        """The outputs as a function of `inputs` (arguments and parameters) and of what `calls` returned."""
        zeros = {name: torch.zeros_like(t) for call in calls for name, t in call.outputs.items()}

        def call(leaves: Tensors) -> Tensors:
            if not zeros:  # as it stands, compiled or not
                return self.run(leaves)
            taps = {name: leaves[name] for name in zeros}

            def moved(name: str, value: Any) -> Any:
                tap = whole(taps, name, value) if isinstance(value, Tensor) else None
                return value if tap is None else value + tap

            with uncompiled(), _outputs(self.module, moved):
                return self.run(leaves)

        return Map({**inputs, **zeros}, call, self.seed, state=self.standing.state)

    def compiled(self, inputs: Tensors, backend: Any) -> Map:
        """The outputs as a function of `inputs`, of the network as torch.compile runs it."""
        through = compiled(self.module, backend)
        return Map(dict(inputs), lambda leaves: self.run(leaves, through), self.seed, state=self.standing.state)

    def of_layers(self, inputs: Tensors, calls: Sequence[Call]) -> Map:
        """What `calls` returned as a function of `inputs` (arguments and parameters)."""
        wanted = {name for call in calls for name in call.outputs}

        def call(leaves: Tensors) -> Tensors:
            found: dict[str, Tensor] = {}

            def keep(name: str, value: Any) -> Any:
                parts = split({name: value}) if isinstance(value, Tensor) else {}
                if wanted.isdisjoint(parts):
                    return value
                self.standing.pulled(value)
                found.update(parts)
                return value.clone()  # the next layer may work in place

            with uncompiled(), _outputs(self.module, keep):
                self.run(leaves)
            return found

        return Map(dict(inputs), call, self.seed, state=self.standing.state)

    def of_layer(self, call: Call, parameters: bool = True) -> Map:
        """What a layer returned as a function of what it received, and of its parameters (`self.w` where it received a `w`)."""
        received = call.received.floats
        state = {name: self._cast(p) for name, p in call.parameters().items()} if parameters else {}
        own = {name: f"self.{name}" if name in received else name for name in state}

        def again(leaves: Tensors) -> Tensors:
            args, kwargs = call.received.rebuilt(lambda name, value: _given(leaves, name, value))
            restore(call.generators)
            inner = joined(leaves, {own[name]: p for name, p in state.items()})
            outputs = self._call(call.module, {name: inner[own[name]] for name in own}, args, kwargs)
            return flatten(path(call.name, "output"), outputs).floats

        inputs = {**received, **apart({own[name]: p for name, p in state.items()})}
        return Map(inputs, again, self.seed, state=self.standing.state)


def _transformed(value: Any) -> bool:
    return isinstance(value, Tensor) and is_functorch_wrapped_tensor(value)


def _hooks(tensor: Tensor) -> tuple[Any, Any]:
    """Those that run on a gradient, and those that run once it is in `.grad`."""
    return tensor._backward_hooks, getattr(tensor, "_post_accumulate_grad_hooks", None)


def _accumulated(tensor: Tensor, gradient: Tensor | None) -> Tensor | None:
    """A gradient after the hooks that run once it is in `.grad`."""
    if gradient is None or not (later := _hooks(tensor)[1]):
        return gradient
    copy = tensor.detach().clone().requires_grad_()
    copy.grad = gradient.clone()
    try:
        for hook in later.values():
            hook(copy)
    except Exception:  # an optimizer's, which knows the tensor itself only
        return gradient
    return gradient if copy.grad is None else copy.grad


def _running() -> frozenset[Any]:
    """The code of all functions that are running."""
    return frozenset(frame.f_code for frame, _ in traceback.walk_stack(None))


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _given(leaves: Tensors, name: str, value: Any) -> Any:
    """The leaf of this name, else the value: copies, since a layer may work in place, which a leaf refuses."""
    leaf = whole(leaves, name, value) if isinstance(value, Tensor) else None
    return _copy(value) if leaf is None else leaf.clone()


# -- hooks --------------------------------------------------------------------------------------------------------------


@contextmanager
def watched(
    network: nn.Module,
    before: Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any]], None],
    after: Callable[[str, Any], Any],
) -> Iterator[None]:
    """Call `before` and `after` around every call of a submodule, with the call's name; what `after` returns, unless None,
    replaces the outputs."""
    counts: dict[str, int] = {}
    names: list[str] = []

    def enter(place: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counts[place] = counts.get(place, 0) + 1
        names.append(place if counts[place] == 1 else f"{place}:{counts[place]}")
        before(names[-1], module, args, kwargs)

    handles = []
    for place, module in network.named_modules():
        handles += [
            module.register_forward_pre_hook(
                lambda m, args, kwargs, place=place: enter(place, m, args, kwargs), with_kwargs=True, prepend=True
            ),
            module.register_forward_hook(lambda m, args, outputs: after(names.pop(), outputs)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _outputs(network: nn.Module, change: Callable[[str, Any], Any]) -> Iterator[None]:
    """Every tensor that a submodule returns goes through `change`, with its name."""

    def after(name: str, outputs: Any) -> Any:
        return flatten(path(name, "output"), outputs).rebuilt(change)

    with watched(network, lambda *ignored: None, after):
        yield
