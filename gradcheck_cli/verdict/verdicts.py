"""The closed set of outcomes: verdicts and causes, each with the sentence that a person reads."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Self

from gradcheck_cli.modes import MODES


class Said(StrEnum):
    """A word, and the sentence for a human: what happened, the usual cause, what to try."""

    sentence: str

    def __new__(cls, word: str, sentence: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member


class Verdict(Said):
    """What is known of one derivative at one point. Members stand in order of severity, mildest first."""

    MATCH = "match", "Autograd agrees with the exact derivative to within rounding."
    IMPRECISE = (
        "imprecise",
        "The formula is right, but rounding destroys more than half of the digits. The usual cause is cancellation, such "
        "as 1 - y with y close to 1; compute in a wider dtype, or use a formula without the difference.",
    )
    NONDIFFERENTIABLE = (
        "nondifferentiable",
        "The derivative doesn't exist here: a kink, a jump, an infinite slope, the end of the domain, or a missing lower "
        "derivative. Any value is a convention then, and nothing contradicts this one.",
    )
    OUTSIDE_DOMAIN = (
        "outside_domain",
        "The function has no real value here, or torch has none, so there is no derivative to check. Choose another point, or "
        "another dtype.",
    )
    UNDECIDED = (
        "undecided",
        "Nothing is certain enough to be said: the exact value, or what autograd makes of it, isn't known within the limits of "
        "precision and work.",
    )
    MISMATCH = "mismatch", "Autograd's value is not the derivative."

    @cached_property
    def severity(self) -> int:
        return list(Verdict).index(self)

    @property
    def passes(self) -> bool:
        """True where a run may exit 0 (imprecise doesn't under --strict)."""
        return self in (Verdict.MATCH, Verdict.IMPRECISE, Verdict.NONDIFFERENTIABLE)


_COMPARE = "; compare the two formulas"


class Cause(Said):
    """Why a derivative doesn't match."""

    FORMULA = (
        "formula",
        "The formula that autograd applies is not the derivative: even in exact arithmetic it gives another number. The "
        "usual cause is a slip in a custom backward" + _COMPARE + ".",
    )
    RANGE = (
        "range",
        "An intermediate result overflowed or underflowed, and took the derivative with it. Rewrite the function so that the "
        "operation stays in range (logaddexp, hypot, log1p), or use a wider dtype.",
    )
    NAN_TRAP = (
        "nan_trap",
        "A nan that is not the derivative reached the gradient: in floats 0*inf, 0/0 and inf - inf are nan, even where what "
        "they stand for is 0, or was not selected and doesn't count.",
    )
    KINK = (
        "kink",
        "No formula holds at this point, and what autograd's conventions give there is neither the derivative nor between the "
        "one-sided ones. The usual cause is a sum, difference or product of functions with a kink at the same point; write "
        "them as one function.",
    )
    KERNEL = (
        "kernel",
        "The formula is right, but the result is further off than rounding of its operations can explain: a kernel of "
        "torch (or a constant in it) is less accurate than its dtype.",
    )
    CONVERGENCE = (
        "convergence",
        "An iteration was ended before the gradient had settled: that of a fixed point (by the implicit function theorem) is "
        "not that of the steps that were taken, and with more steps the difference shrinks. Tighten the tolerance of the "
        "iteration, forwards and backwards.",
    )
    NO_GRADIENT = (
        "no_gradient",
        "Autograd has no gradient here, or only a part of it: an operation has no derivative in torch, or a tensor is cut from "
        "the graph (.detach(), torch.no_grad(), .item()).",
    )
    CLAIM = "claim", "The claimed formula is not the derivative."
    VALUE = "value", "The value of the forward pass is already wrong."
    TOLERANCE = "tolerance", "The difference exceeds the tolerance that was asked for."
    CONVENTION = (
        "convention",
        "The code breaks a rule that autograd relies on: it writes into tensors that aren't its own, gives something else "
        "when it runs again, has a second rule (vmap) that disagrees, or a gradient that changes with the conditions under "
        "which training calls it: the text names the condition.",
    )


QUOTIENT = "quotient"
"""A witness: a difference quotient of the function as torch runs it."""

_REFUTED = (
    "The function as torch runs it changes at another rate than its gradient says: a difference quotient shows that by more "
    "than its own error. The usual cause is a slip in a custom backward, or a part of the forward pass that no graph records "
    "(a kernel, NumPy, .item())."
)


SILENT = "autograd's nan claims nothing, but makes a nan of every sum that it enters"
"""What is told of a nan where no derivative exists, which passes."""

_NAN = (
    "The derivative doesn't exist here (a kink, an infinite slope, the end of the domain), so that nothing contradicts a nan. "
    "But training doesn't survive it: keep the operation that it comes from off this point."
)


def passing_nan(verdict: Verdict, text: str | None) -> bool:
    """Whether what is told of an outcome is of a nan where no derivative exists, which passes."""
    return verdict is Verdict.NONDIFFERENTIABLE and SILENT in (text or "")


def sentence(
    verdict: Verdict, cause: Cause | None, witness: str | None = None, text: str | None = None, mode: str = "",
    formulas: bool = True,
) -> str:  # fmt: skip
    """What a person reads of an outcome, of which `text` is told; where a quotient alone is the witness, nothing is known of
    formulas. `mode`: in which torch differentiated; `formulas`: that they are shown."""
    if passing_nan(verdict, text):
        return _NAN
    said = (cause or verdict).sentence
    if cause is Cause.FORMULA:
        said = _REFUTED if witness == QUOTIENT else said if formulas else said.replace(_COMPARE, "")
        said = said if mode not in MODES or MODES[mode].backwards else said.replace("a custom backward", "a custom jvp")
    return said
