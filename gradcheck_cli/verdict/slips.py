"""The closed set of slips: usual mistakes in a backward, in a derivation by hand, and in the manners of a backward.

What finds them says more than a word (`maps.slips`, `derivation.rules`, `callables.conventions`, `callables.conditions`): which
factor, which line. The word is what `gradcheck why` takes. It is known by what is said, so that whoever finds one needs no
second name.
"""

from __future__ import annotations

import re
from typing import Self

from gradcheck_cli.verdict.verdicts import Cause, Said, Verdict, passing_nan


class Slip(Said):
    """A word, a sentence for a human, and what texts about it hold (a regular expression). The first that fits is meant."""

    pattern: re.Pattern[str]

    def __new__(cls, word: str, sentence: str = "", pattern: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        member.pattern = re.compile(pattern)
        return member

    # -- of a backward
    DROPPED_UPSTREAM = (
        "dropped_upstream",
        "The backward returns the derivative without multiplying it by the upstream gradient.",
        "drops the upstream gradient",
    )
    UPSTREAM_TWICE = (
        "upstream_twice",
        "The backward multiplies by the upstream gradient twice.",
        "by the upstream gradient twice",
    )
    UNUSED_UPSTREAM = (
        "unused_upstream",
        "The upstream gradient of one of several outputs isn't used: what goes through that output is lost.",
        "the upstream gradient.* is not used",
    )
    TRANSPOSED_UPSTREAM = (
        "transposed_upstream",
        "The upstream gradient is transposed before it is used.",
        "the upstream gradient.* is transposed",
    )
    ZERO_GRADIENT = (
        "zero_gradient",
        "The gradient that is returned, or claimed, is 0 everywhere.",
        "^the (backward|jvp) returns 0|^the claim is 0",
    )
    SUM_FOR_MEAN = ("sum_for_mean", "A gradient is summed where the forward pass has a mean.", "^a sum for a mean")
    MEAN_FOR_SUM = ("mean_for_sum", "A gradient is averaged where it has to be summed.", "^a mean for a sum")
    SWAPPED_GRADIENTS = (
        "swapped_gradients",
        "The gradients of two inputs are returned in the wrong order.",
        "returned in the wrong order",
    )
    SHIFTED_INDEX = (
        "shifted_index",
        "Every entry of the gradient belongs to a neighbour: an index is off by one.",
        "index is shifted",
    )
    REVERSED_INDEX = (
        "reversed_index",
        "The entries of the gradient, or of what it is made of (a kernel), are in reverse order.",
        "index runs backwards|where its reverse belongs",
    )
    WRONG_ORDER = (
        "wrong_order",
        "Entries are right and stand in other places: a reshape where a permute belongs, halves exchanged.",
        "stand in other places|halves are exchanged|reshaped where its dimensions",
    )
    WRONG_DIMENSION = (
        "wrong_dimension",
        "A sum, or a mean, of the backward runs over other entries than it should: over all, or another dimension.",
        "^a sum, or a mean, runs over",
    )
    TRANSPOSED_INDEX = ("transposed_index", "The gradient is the transpose of the right one.", "the index is transposed")
    MISSING_TRANSPOSE = (
        "missing_transpose",
        "A matrix, or the Jacobian, is applied where its transpose belongs.",
        "where its transpose belongs|a transposition is missing|its transpose is missing",
    )
    WRONG_VARIABLE = (
        "wrong_variable",
        "One variable is used where another one belongs: often the input for the output, or the reverse.",
        r"is used where the .* belongs",
    )
    WRONG_OPERATION = (
        "wrong_operation",
        "One operation of the backward, or one constant, is another than belongs there: with that one it is exact.",
        r"\bstands where .* belongs",
    )
    SOME_ENTRIES = (
        "some_entries",
        "Most entries of the gradient are right, and a few are wrong.",
        r"^only .* entries (is|are) wrong",
    )
    IGNORED_TANGENT = (
        "ignored_tangent",
        "The jvp, the rule for forward mode, leaves out a tangent or takes it with the wrong sign.",
        "the tangent of",
    )
    # -- of a derivation by hand; several of a backward too
    PRODUCT_RULE = (
        "product_rule",
        "The product rule is applied wrongly: (u*v)' = u'*v + u*v'.",
        "product rule|product of the derivatives",
    )
    FUNCTION_DERIVATIVE = (
        "function_derivative",
        "The derivative of a function (tan, log, cosh ...) is remembered wrongly.",
        r"^the derivative of [^;]*\) (is|has)\b|isn't a power of",
    )
    QUOTIENT_RULE = (
        "quotient_rule",
        "The quotient rule is applied wrongly: (u/v)' = (u'*v - u*v')/v**2.",
        r"quotient rule|reciprocal rule|denominator|numerator|quotient of the derivatives|reciprocal of the derivative",
    )
    INNER_DERIVATIVE = (
        "inner_derivative",
        "The chain rule's second factor, the derivative of the inner function, is missing.",
        "inner derivative|inner function|of the stage .* is missing",
    )
    OUTER_DERIVATIVE = (
        "outer_derivative",
        "The outer derivative is missing, or taken at the wrong place: it belongs at the value of the inner function.",
        "outer derivative|outer function|, is taken at ",
    )
    POWER_RULE = (
        "power_rule",
        "The power rule is applied wrongly: (u**n)' = n*u**(n - 1)*u'.",
        r"power rule|the exponent|exponentials|the base of",
    )
    NOT_DIFFERENTIATED = (
        "not_differentiated",
        "Something is left as it is, or integrated, where it has to be differentiated.",
        r"isn't differentiated|differentiated here, not integrated",
    )
    CONSTANT_RULE = (
        "constant_rule",
        "A constant is differentiated as if it varied: its derivative is 0.",
        r"of the constant|the constant .* has the derivative 0|constant divisor .* stays",
    )
    PIECES = (
        "pieces",
        "The derivative of a piecewise function takes the wrong piece, or only one of them.",
        r"piece",
    )
    TERM_SIGN = (
        "term_sign",
        "A term of the derivative has the wrong sign.",
        r"term.* wrong sign|the minus sign in front of|taken the wrong way round",
    )
    WRONG_SIGN = ("wrong_sign", "The whole derivative has the wrong sign.", r"the sign is wrong|the sign of .* is wrong")
    CONSTANT_FACTOR = (
        "constant_factor",
        "The derivative is wrong by a constant factor.",
        r"a constant factor|the constant factor|the division by|not divided by it",
    )
    DROPPED_TERM = (
        "dropped_term",
        "A term of a sum is missing: the derivative adds up all ways from the input to the output.",
        r"a term is dropped|the term .* is missing|of the term .* is missing|the way through .* is missing",
    )
    EXTRA_FACTOR = ("extra_factor", "A factor that doesn't belong there is in the derivative.", r"is one too many")
    MISSING_FACTOR = (
        "missing_factor",
        "A factor of the derivative is missing.",
        r"the factor .* is missing|the (square|root) of .* is missing|the factor is",
    )
    # -- of the manners of a backward
    EXPANDED_UPSTREAM = (
        "expanded_upstream",
        "The gradient changes where the upstream gradient is expanded, as that of y.sum() is: its entries share memory.",
        "^with (an expanded upstream gradient|an upstream gradient with equal rows)",
    )
    STRIDED_UPSTREAM = (
        "strided_upstream",
        "The gradient changes where the upstream gradient lies otherwise in memory: transposed, strided, or a slice.",
        "^with (a transposed upstream gradient|an upstream gradient (in torch.ch|whose entries are apart|that is a slice))",
    )
    STRIDED_ARGUMENT = (
        "strided_argument",
        "The gradient changes where an argument lies otherwise in memory: transposed, strided, expanded, or a slice.",
        "^with arguments ",
    )
    ZERO_UPSTREAM = (
        "zero_upstream",
        "The gradient isn't 0, or fails, where the upstream gradient is zeros or undefined.",
        "^with (zeros as upstream gradient|an undefined upstream gradient)",
    )
    SCALED_UPSTREAM = (
        "scaled_upstream",
        "The gradient doesn't grow with the upstream gradient: a backward is linear in it.",
        "^with an upstream gradient .* times as large|it isn't linear in the upstream gradient",
    )
    UPSTREAM_IN_PARTS = (
        "upstream_in_parts",
        "The gradients of the parts of an upstream gradient don't add up to that of the whole.",
        "^with an upstream gradient in parts",
    )
    CREATE_GRAPH = (
        "create_graph",
        "The gradient is another one under create_graph=True.",
        "^with create_graph=True",
    )
    OUTPUT_ALONE = (
        "output_alone",
        "The gradient is wrong, or fails, where a loss uses only some of several outputs.",
        "^with .* (used alone|not used) ",
    )
    FROZEN_INPUT = (
        "frozen_input",
        "The gradient is wrong, or fails, where an input is frozen (requires_grad=False).",
        r"^with .* frozen \(requires_grad=False\)",
    )
    ANOTHER_CALL = (
        "another_call",
        "A call of the function changes the gradient of another call: state is shared between them.",
        "^with (a second call|another call before its backward pass|a later call)",
    )
    ACCUMULATED = (
        "accumulated",
        "backward() doesn't leave the gradient in .grad, or doesn't add to what is there.",
        r"^with (a second )?backward\(\)",
    )
    HOOKS = ("hooks", "A hook on a tensor or a parameter changes the gradient.", "^with the hooks on")
    WRITES_INPUT = (
        "writes_input",
        "The code writes into a tensor that isn't its own: an input, the upstream gradient, or what it has saved.",
        "writes into",
    )
    TWO_RUNS = (
        "two_runs",
        "Two backward passes of one forward pass give different gradients, or the second is refused.",
        "second backward pass is refused|two backward passes of one forward pass differ",
    )
    UNINITIALISED = (
        "uninitialised",
        "Memory is read before anything was written to it: the result is what happened to be there.",
        "read before anything is written",
    )
    VMAP_RULE = (
        "vmap_rule",
        "The rule for torch.func.vmap disagrees with one run after another.",
        "vmap",
    )

    @classmethod
    def of(cls, text: str | None) -> Slip | None:
        """The slip that a text about a mismatch is about, if it is about one."""
        said = _ITSELF.sub("", text or "")
        return next((slip for slip in cls if slip.pattern.search(said)), None) if said else None


_ITSELF = re.compile(r"^the \w+ of [^;]*? is wrong by itself: ")
"""What is said of a custom Function before its slip."""


_SLIPS = {Cause.FORMULA, Cause.CLAIM, Cause.CONVENTION}
"""Causes of which the text may name a slip."""


def word(verdict: Verdict, cause: Cause | None, text: str | None) -> Said:
    """What to look up about an outcome: the slip, if it is one, else the cause, else the verdict; of a nan that passes, how it
    comes about."""
    if passing_nan(verdict, text):
        return Cause.NAN_TRAP
    return (Slip.of(text) if cause in _SLIPS else None) or cause or verdict
