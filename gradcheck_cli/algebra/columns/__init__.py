"""Balls for many numbers at once, as arrays: certified as `algebra.balls` is, at the speed of arrays.

A *column* holds many numbers of one kind: *double* words (high, low, radius), the true number within `radius` of the
unevaluated sum high + low, about 2**-75 of its size wide after an elementary function; or *single* ones (value, radius), about
2**-49; or *multiple* ones, of as many words as a deep network takes. What isn't certified (a range left, a condition not
certain, a function without a kernel) has an infinite radius: such a number is *open*, and `algebra.balls` decides it.

Only the operations of IEEE 754 (+ - * / and square root, rounded to nearest) and moves of bits are trusted, and that a product
of matrices adds up products, in whatever order (`sums.py`); no library of functions is. The kernels are written once, over the
names of `primitives`, and bound to NumPy, to torch and to LLVM.

    primitives.py   what a kernel may use, in NumPy        on_torch.py, on_llvm.py   the same elsewhere
    words.py        exact sums and products                tables.py                  numbers from arb
    single.py, double.py   the kernels, one kind each      truths.py                  comparisons and choices
    backends.py     kernels bound to primitives            algebra.py                 rows of the function table
    rewriting.py    equal formulas that don't overflow     evaluation.py              many points of some formulas
    sums.py         sums, and products of matrices         meeting.py                 what radii and rounding make of them
    enclosing.py    decisions as the shadow's balls have   shadowed.py                exact and rounding with one centre
    layer.py        what the shadow asks of such numbers   fused.py                   the same as compiled loops
    multiple.py, multiple_functions.py, long_sums.py   several words  long.py             the layers of these
    trust.py        whether columns may be used                stretches.py  functions without a kernel: polynomials
"""
