"""Which precisions balls are made at, and why. In bits; where there are several they are tried in turn, until a ball is sharp.

A double has 53 bits. What cancels must be carried besides: a prover starts with room for the cancellation that ordinary
formulas have, and goes on only where its ball is too wide. A step costs about what its bits cost, so steps are far apart.

The two witnesses of the exact side never work at the same precision: no evaluation, and no wrong bound in one, is shared.
Limits at singular points (`exact.kinks.precision`) need as many bits as their step and their order take, and state their own.
"""

from __future__ import annotations

ENCLOSURE = (128, 256, 512, 1280, 4096)
"""The exact derivative of a formula. 128 leave 60 bits for cancellation in float64; 1280 certify that what cancels
altogether (the tails of tanh) lies below every double (2**-1074); 4096 is what one special function can bear."""

SERIES = (192, 768, 3072)
"""The second witness of a formula: power series. None of ENCLOSURE's."""

QUOTIENT = 1600
QUOTIENT_STEP = 400
"""The second witness of functions of tensors, and of formulas that have no series: a difference quotient with a step of
2**-400, relative to the argument. Its own error is about 2**-400 of the derivative, that of the values 2**-1600/2**-400, both
far below 2**-48 and 2**-64, to which witnesses must agree."""

SHADOW = (128, 512, 4096)
"""What torch's own operations give, at the points of a formula. The last is ENCLOSURE's last: where the exact side was
certified there, the formula that autograd applies can be compared with it."""

DIRECTIONS = (128, 1280)
"""Derivatives of functions of tensors along directions. At the second, what cancels to 0 is certainly below every double; more
would cost seconds for each operation on large tensors."""

CANCELLED = 6300
"""The third, where torch has no finite value and balls can't say whether there is one: that of limits of the first order. There
1 - sigmoid(x) is told from 0 up to x = 4,366."""

CONSTANT = (128, 512, 2048, 8192)
"""What a user writes without a variable, sqrt(2) or exp(-700), as the nearest double. At the third step what cancels altogether
lies below every double, so that it is 0."""

CLAIM = 200
"""To so many bits a claim must agree with the derivative: no slip is smaller, and two equal formulas agree so far. Both are
evaluated at 8 times as many."""

SLIPS = 128
"""The numbers that a wrong gradient is compared with to name its slip: a double's own 53, and as many for what cancels."""

LESSON = 256
"""The numbers of a derivative that is worked out step by step: far more than the few digits that are shown."""
