"""What torch's own check decides in the drop-in's place: when, how it is asked, and what its time is taken for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradcheck_cli.callables.doubts import say
from gradcheck_cli.callables.tolerances import Default
from gradcheck_cli.errors import UndecidedWarning
from gradcheck_cli.maps.map import Map, size
from gradcheck_cli.maps.runs import SEEN, SLOW
from gradcheck_cli.verdict.work import Stopped

SECONDS = 4.0
"""CPU time that a check may take in any case."""

FAST = 0.3
"""The same where the caller asks for torch's fast mode, for the sake of time."""

TIMES, MOST = 6, 15.0
"""Beyond that: how many times the CPU time of torch's own check; and the CPU time that none may take."""


OFTEN = 1.25
"""By how much more of a run is done when it is looked at again."""

Seconds = tuple[float, float]
"""Of a forward pass, and of a backward pass."""


class Spent(Stopped):
    """The budget is spent."""


class Budget:
    """CPU seconds, so that a busy machine changes no verdict: `SECONDS`, or `FAST`, or `TIMES` what torch's own check takes, up
    to `MOST`.

    Raises Spent where it is called (a checkpoint, and no dispatch mode, for torch.compile steps aside under one), and at once
    where `likely`, what the check will take, is beyond it. The time of torch's check is estimated: two forward passes for
    each entry of the inputs, two backward passes for each of the outputs; in fast mode, for each tensor. `seen`: what a pass of
    each took at most.
    """

    def __init__(
        self, map: Map, outputs: Mapping[str, Tensor], backward: Callable[[], Any], fast: bool, likely: float, seen: Seconds
    ) -> None:
        forwards, backwards = (len(map.inputs), len(outputs)) if fast else (size(map.inputs), size(outputs))
        own, estimate = FAST if fast else SECONDS, 2 * (forwards * seen[0] + backwards * seen[1])
        if estimate * TIMES > own:
            estimate = 2 * (forwards * _seconds(lambda: map(map.leaves())) + backwards * _seconds(backward))
        self.seconds = min(max(own, TIMES * estimate), max(own, MOST))
        self._reason = _SPENT.format(own, TIMES, MOST)
        if likely > self.seconds:
            raise Spent(self._reason)
        self._start, self._soonest = time.thread_time(), 0.0
        self._mark = self._running = self._work = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._soonest:
            return
        left = self.seconds - (time.thread_time() - self._start)
        if left < 0:
            raise Spent(self._reason)
        self._soonest = time.monotonic() + left  # the clock of a thread goes no faster, and takes longer to read

    def ahead(self, left: float, done: float) -> None:
        """The same, now rather than later, where the work that is `left` will take more than there is. `done`: the work since
        this was called last, 0 where something else was done."""
        now = time.thread_time() - self._start
        if done:
            self._running, self._work = self._running + now - self._mark, self._work + done
        self._mark = now
        if left and self._work and now + left * self._running / self._work > self.seconds:
            raise Spent(self._reason)

    def fits(self, start: float, share: float) -> None:
        """The same, where the rest of what was begun at `start`, of which a `share` is done, will."""
        now = time.thread_time()
        if now - self._start + (now - start) * (1 / share - 1) * SLOW > self.seconds:
            raise Spent(self._reason)

    def pace(self, shares: Sequence[float]) -> Callable[[], None]:
        """What is to be called before each operation of a run that begins now; `shares`: how much of it is done then."""
        start, left, soonest = time.thread_time(), iter(shares), SEEN

        def look() -> None:
            nonlocal soonest
            share = next(left, 0.0)
            if share >= soonest:
                soonest = share * OFTEN
                self.fits(start, share)

        return look


_SPENT = "it takes more than {:g} s of CPU time and {} times torch's own, or more than {:g} s"


def _seconds(run: Callable[[], Any]) -> float:
    """The CPU time of a run, the first of which may load what the others don't."""
    times = []
    for _ in range(2):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return min(times)


def hand_over(
    function: Callable[..., bool],
    func: Callable[..., Any],
    inputs: Sequence[Any],
    options: Mapping[str, Any],
    reason: str | None,
) -> bool:
    """What torch's own function says; say why it was asked, if there is a `reason`.

    Finite differences need double precision: shorter inputs are handed over as such where `func` takes them and answers in it.
    Where it doesn't, torch's own is asked only by a caller who gave tolerances; else nothing decides, and that is said.
    """
    given, how = tuple(inputs), f"was checked by torch's own {function.__name__}, with finite differences"
    if not _is_double(given):
        doubles = in_double(func, given)
        steered = any(not isinstance(options[name], Default) for name in ("eps", "atol", "rtol"))
        if doubles is not None:
            given, how = doubles, f"{how}, in float64"
        elif not steered:
            given, how = (), "was not checked, for finite differences say nothing in this precision"
    if reason is not None:
        say(f"{how}: {reason}", name_of(func), UndecidedWarning)
    return function(func, given, **options) if given else True


def in_double(func: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Any, ...] | None:
    """The arguments in double precision, where the function takes them and answers in it."""
    doubles = tuple(pytree.tree_map_only(Tensor, _double, list(inputs)))
    try:
        outputs = [y for y in pytree.tree_leaves(func(*doubles)) if isinstance(y, Tensor)]
    except Exception:  # whatever a user's code says to numbers that it wasn't written for
        return None
    return doubles if _is_double(outputs) and any(y.requires_grad for y in outputs) else None


def _is_double(values: Any) -> bool:
    tensors = [t for t in pytree.tree_leaves(list(values)) if isinstance(t, Tensor)]
    return all(t.dtype in (torch.float64, torch.complex128) for t in tensors if t.is_floating_point() or t.is_complex())


def _double(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point() and not tensor.is_complex():
        return tensor
    wider = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
    return wider.requires_grad_(tensor.requires_grad)


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called by those who wrote it."""
    owner = getattr(func, "__self__", None)
    named = owner if isinstance(owner, type) else func  # Exp of Exp.apply
    return str(getattr(named, "__name__", type(func).__name__))
