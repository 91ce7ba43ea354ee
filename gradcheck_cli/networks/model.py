"""`gradcheck model`: from what the user wrote to a module that runs, its arguments, and the checks of `networks`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from gradcheck_cli.callables.backward import custom_nodes
from gradcheck_cli.callables.enclosed import Surroundings
from gradcheck_cli.callables.intent import name_of
from gradcheck_cli.callables.loading import load
from gradcheck_cli.callables.own import place
from gradcheck_cli.errors import REFUSALS, InputError, NoValue, Raised
from gradcheck_cli.formulas.tasks import listed
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.maps.compiling import check_backend, counted_by
from gradcheck_cli.maps.compiling import name_of as compiler
from gradcheck_cli.maps.map import Tensors, attempted, check_device, not_judged, seeded
from gradcheck_cli.maps.parts import convention, inexact
from gradcheck_cli.modes import OF_TENSORS
from gradcheck_cli.networks.arguments import Arguments, candidates
from gradcheck_cli.networks.check import Networked
from gradcheck_cli.networks.hooks import Call, Failed, Loss, Subject
from gradcheck_cli.networks.layers import Network
from gradcheck_cli.networks.modules import build, leading, one_line
from gradcheck_cli.networks.padding import told
from gradcheck_cli.networks.request import Request
from gradcheck_cli.options import suited
from gradcheck_cli.shadow.draws import on
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Verdict
from gradcheck_cli.verdict.work import Progress, Recorder, record


def report(request: Request, *, strict: bool = False, timeout: float = 600.0, progress: Progress | None = None) -> Report:
    """Check a network, and report what was found out about it within the time."""
    check_device(request.device)
    if request.compile is not None:
        check_backend(request.compile)
    problem: dict[str, Any] = {
        "model": request.text, "stages": [], "dtype": list(request.dtypes), "modes": list(request.modes),
        "seed": request.seed,
        "training": request.training, "wrt": request.wrt, "layer": request.layer, "neuron": request.neuron,
        **({} if request.reference is None else {"reference": name_of(request.reference)}),
        **({} if request.autocast is None else {"autocast": request.autocast}),
        **({} if request.compile is None else {"compile": compiler(request.compile)}),
        **({"stop_gradients": True} if request.stop_gradients else {}),
    }  # fmt: skip

    def work(recorder: Recorder) -> None:
        with seeded(request.seed, on(request.device)):  # a backward that draws numbers is beyond what seeds each call
            check(request, recorder, problem)

    return record("model", problem, work, strict=strict, timeout=timeout, progress=progress)


def check(request: Request, recorder: Recorder, problem: dict[str, Any]) -> None:
    """Check a network in every dtype that is asked for; `problem` is completed with its layers and inputs. A dtype in which it
    doesn't run, while it does in others, is a row."""
    with seeded(request.seed, on(request.device)):
        module = _module(request.model, request.text)
        state = torch.get_rng_state()
    reference = None if request.reference is None else _reference(request, module)
    own = _own_dtype(module)
    dtypes = [getattr(torch, name) for name in suited(request.dtypes, own.is_complex)] or [own]
    problem["dtype"] = [str(dtype).removeprefix("torch.") for dtype in dtypes]
    refused: list[NoValue] = []
    for name, dtype in zip(problem["dtype"], dtypes, strict=True):
        try:
            subject, calls = _runs(request, module, state, dtype)
        except NoValue as refusal:
            refused.append(refusal)
            column = Column.blank(OfTensor({}), 1, of="y", dtype=name)
            column.mark([0], Verdict.OUTSIDE_DOMAIN, f"the network has no value here: {refusal.message}")
            recorder.add([column])
            continue
        problem["stages"] = _stages(request, calls)
        problem["flow"] = _flow(calls)
        problem["inputs"] = {name: list(t.shape) for name, t in subject.arguments.items()}
        recorder.note(*not_judged(subject.cut), *convention(subject.wholes()), *_left_out(subject))
        meant = None if reference is None else replace(subject, module=reference, given={}, autocast=None)
        with counted_by(recorder, request.compile), subject.checked(), nullcontext() if meant is None else meant.checked():
            for mode in OF_TENSORS.values():
                if mode.name in request.modes:
                    checker = Networked(request, recorder, subject, calls, mode, meant)
                    recorder.note(*told(module, checker.inputs))
                    checker.check()
    if len(refused) == len(dtypes):
        raise refused[0]


def _left_out(subject: Subject) -> list[str]:
    """What the reader is told of what isn't judged: tensors that require a gradient and are no parameters, and custom backwards
    that run in training alone."""
    outputs = _run(subject)
    others = list(Surroundings(subject.module).reached(outputs))
    verb = "requires a gradient and is no parameter" if len(others) == 1 else "require gradients and are no parameters"
    notes = [f"{listed(others)} {verb} of the network (in a list, not in a ParameterList?): not judged"] if others else []
    trained = {} if subject.training else attempted(lambda: _run(replace(subject, training=True))) or {}
    here = {node.function for node in custom_nodes(outputs)}
    there = dict.fromkeys(node.function for node in custom_nodes(trained))
    return notes + [
        f"{place(function)} runs in training alone: --train judges it" for function in there if function not in here
    ]


def _run(subject: Subject) -> dict[str, Tensor]:
    """What the network returns, with its graph."""
    leaves = {name: t.detach().clone().requires_grad_() for name, t in subject.wholes().items()}
    with seeded(subject.seed, leaves.values()):
        return subject.run(leaves)


def _reference(request: Request, module: nn.Module) -> nn.Module:
    """The network that is right, with the parameters and buffers of the one that is checked."""
    text = name_of(request.reference)
    with seeded(request.seed, on(request.device)):
        found = _module(request.reference, text)
    if found is request.reference:
        found = copy.deepcopy(found)  # the user's own keeps its numbers
    try:
        found.load_state_dict(module.state_dict())
    except RuntimeError as problem:
        said = " ".join(str(problem).split())[:300]
        raise InputError(f"the reference {text} has other parameters or buffers than the network: {said}") from None
    for name, parameter in found.named_parameters():
        parameter.requires_grad_(module.get_parameter(name).requires_grad)
    return found


def _module(found: Any, text: str) -> nn.Module:
    """The network itself; a factory is called. `text`: how it was written."""
    given = found
    if isinstance(found, Network):
        return build(found, text)
    if isinstance(found, str):
        found = load(found)
    if not isinstance(found, nn.Module) and callable(found):
        try:
            found = found()
        except Exception as problem:  # whatever a user's function raises
            asks = isinstance(problem, TypeError) and not isinstance(found, type)
            hint = "; a function of tensors is checked by gradcheck function" if asks else ""
            raise InputError(f"{text}: calling it without arguments fails: {one_line(problem)}{hint}") from problem
    if not isinstance(found, nn.Module):
        if found is given:
            wanted = "a network is wanted, a torch.nn.Module or a text such as 'Linear(4, 2)'"
            raise InputError(f"{wanted}, not {type(found).__name__}")
        raise InputError(f"{text} gives no torch.nn.Module but {type(found).__name__}")
    if isinstance(found, torch.jit.ScriptModule):
        raise InputError(f"{text}: nobody can look into a scripted network; as a whole it is checked by gradcheck function")
    return found


def _own_dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if inexact(p)), torch.get_default_dtype())


def _kinds(module: nn.Module, dtype: torch.dtype) -> list[torch.dtype]:
    """The dtypes that inputs are tried in: real ones and, where torch has them, complex ones, those first where the network's
    first parameter is complex."""
    real = dtype.to_real()
    if dtype.is_complex or real.itemsize < 4:
        return [dtype, real]
    return sorted([real, real.to_complex()], key=lambda kind: kind.is_complex is not _own_dtype(module).is_complex)


def _runs(request: Request, module: nn.Module, state: Tensor, dtype: torch.dtype) -> tuple[Subject, list[Call]]:
    """The network with the first arguments that it runs on, and the calls of that run."""
    failures: list[tuple[Tensors, Failed]] = []
    with seeded(request.seed, on(request.device)):
        torch.set_rng_state(state)
        tried = (candidates(module, request.given, kind, request.text, request.settings) for kind in _kinds(module, dtype))
        for arguments, there in _placed(chain.from_iterable(tried), request.device):
            subject = Subject(
                module,
                there,
                arguments.named,
                request.training,
                request.seed,
                dtype if request.dtypes else None,
                _loss(request, dtype),
                request.device,
                arguments.given,
                autocast=request.autocast,
                nested=arguments.nested,
                settings=_there(request.settings, request.device),
            )
            try:
                subject.settle()
                calls = subject.calls()
                return subject.judged(), calls
            except Failed as failed:
                failures.append((arguments.tensors, failed))
    raise _refusal(request, *failures[0])


def _placed(found: Iterable[Arguments], device: str) -> Iterator[tuple[Arguments, dict[str, Tensor]]]:
    """The tensors on a device: all of them, or those of whole numbers left where they are, as lengths have to be."""
    for arguments in found:
        yield arguments, {name: t.to(device) for name, t in arguments.tensors.items()}
        whole = [
            name for name, t in arguments.tensors.items() if not t.is_floating_point() and t.device != torch.device(device)
        ]
        if whole:
            yield arguments, {n: t if n in whole else t.to(device) for n, t in arguments.tensors.items()}


def _there(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in settings.items()}


def _loss(request: Request, dtype: torch.dtype) -> Loss | None:
    """The loss as a function of what the network returns."""
    if not isinstance(request.loss, Chain):
        given: Loss | None = request.loss
        return given
    formula, output = TorchChain(request.loss, dtype, request.device, {}), request.loss.output
    return lambda outputs: formula.forward({"y": leading(outputs)})[output]


def _refusal(request: Request, tensors: Tensors, failed: Failed) -> InputError:
    """What the user is told where the network doesn't run: its own error, and the layer."""
    shapes = ", ".join(f"{name} of shape {tuple(t.shape)}" for name, t in tensors.items())
    where = f"layer {failed.layer}" if failed.layer else "the network" if failed.layer == "" else "the loss"
    message = f"{where} fails for {shapes}: {one_line(failed.problem)}"
    kind = NoValue if isinstance(failed.problem, REFUSALS) else Raised
    if isinstance(request.model, Network) and failed.layer:
        top = int(failed.layer.partition(".")[0].partition(":")[0])
        return kind(message, request.text, request.model.layers[top].position)
    return kind(message)


def _stages(request: Request, calls: Sequence[Call]) -> list[dict[str, Any]]:
    """The layers, for the reader: as they were written, or as they were called."""
    if isinstance(request.model, Network):
        return [{"name": str(i), "expression": layer.text, "inputs": []} for i, layer in enumerate(request.model.layers)]
    layers = [call for call in calls if not call.inner]
    return [{"name": call.name or "network", "expression": _described(call), "inputs": []} for call in layers]


def _flow(calls: Sequence[Call]) -> dict[str, list[str]]:
    """What each layer, and the output, is computed from."""
    found = {call.name or "network": list(call.sources) for call in calls if not call.inner}
    return {**found, "y": list(calls[-1].ends)} if calls and calls[-1].ends else found


def _described(call: Call) -> str:
    return f"{type(call.module).__name__}({call.module.extra_repr()})"
