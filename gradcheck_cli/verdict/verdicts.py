"""The closed set of outcomes: verdicts and causes, each with the sentence that a person reads."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What is known of one derivative at one point. Members stand in order of severity, mildest first."""

    MATCH = "match"
    IMPRECISE = "imprecise"
    NONDIFFERENTIABLE = "nondifferentiable"
    OUTSIDE_DOMAIN = "outside_domain"
    UNDECIDED = "undecided"
    MISMATCH = "mismatch"

    @property
    def severity(self) -> int:
        return _ORDER[self]

    @property
    def passes(self) -> bool:
        """True where a run may exit 0 (imprecise doesn't under --strict)."""
        return self in (Verdict.MATCH, Verdict.IMPRECISE, Verdict.NONDIFFERENTIABLE)

    @property
    def sentence(self) -> str:
        return _VERDICT_SENTENCES[self]


class Cause(StrEnum):
    """Why a derivative doesn't match."""

    FORMULA = "formula"
    RANGE = "range"
    NAN_TRAP = "nan_trap"
    KINK = "kink"
    KERNEL = "kernel"
    NO_GRADIENT = "no_gradient"
    CLAIM = "claim"
    VALUE = "value"
    TOLERANCE = "tolerance"
    CONVENTION = "convention"

    @property
    def sentence(self) -> str:
        return _CAUSE_SENTENCES[self]


_ORDER = {member: i for i, member in enumerate(Verdict)}


_VERDICT_SENTENCES = {
    Verdict.MATCH: "Autograd agrees with the exact derivative to within rounding.",
    Verdict.IMPRECISE: (
        "The formula is right, but rounding destroys more than half of the digits. The usual cause is cancellation, such as "
        "1 - y with y close to 1; compute in a wider dtype, or use a formula without the difference."
    ),
    Verdict.NONDIFFERENTIABLE: (
        "The derivative doesn't exist here (a kink, an infinite slope or the end of the domain), and autograd's value is an "
        "admissible convention. Nothing is wrong; an optimiser may see either side."
    ),
    Verdict.OUTSIDE_DOMAIN: "The function has no real value here, so there is no derivative to check. Choose another point.",
    Verdict.UNDECIDED: (
        "The exact value couldn't be certified within the limits of precision and time. Raise --timeout or choose another "
        "point."
    ),
    Verdict.MISMATCH: "Autograd's value is not the derivative.",
}


_CAUSE_SENTENCES = {
    Cause.FORMULA: (
        "The formula that autograd applies is not the derivative: even in exact arithmetic it gives another number. The usual "
        "cause is a slip in a custom backward; compare the two formulas."
    ),
    Cause.RANGE: (
        "An intermediate result overflowed or underflowed, so that autograd lost a derivative that the dtype can represent. "
        "Rewrite the function so that the operation stays in range (logaddexp, hypot, log1p), or use a wider dtype."
    ),
    Cause.NAN_TRAP: (
        "A nan or infinity from a part that doesn't contribute reached the gradient, because 0*inf is nan. The usual cause is "
        "the branch of a where that was not selected; put a safe argument into it with a second where: "
        "where(c, f(where(c, x, safe)), g(x))."
    ),
    Cause.KINK: (
        "The derivative exists or is bounded here, and the conventions that autograd uses at kinks add up to another number. "
        "The usual cause is a sum or difference of functions with a kink at the same point; write them as one function."
    ),
    Cause.KERNEL: (
        "The formula is right, but the result is further off than rounding of its operations can explain: a kernel of torch "
        "(or a constant in it) is less accurate than its dtype."
    ),
    Cause.NO_GRADIENT: (
        "Autograd has no gradient here: an operation has no derivative in torch, or returned a tensor that is cut from the "
        "graph."
    ),
    Cause.CLAIM: "The claimed formula is not the derivative.",
    Cause.VALUE: "The value of the forward pass is already wrong.",
    Cause.TOLERANCE: "The difference exceeds the tolerance that was asked for.",
    Cause.CONVENTION: (
        "The code breaks a rule that autograd relies on: it writes into tensors that aren't its own, gives something else when "
        "it runs again, or has a second rule (vmap) that disagrees."
    ),
}
