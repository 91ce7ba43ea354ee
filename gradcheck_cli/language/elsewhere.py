"""What people write who come from torch, NumPy and SymPy, and that isn't in the language: what to write instead, by meaning.

Formulas stand in backquotes; a test parses each. Where no formula stands for a function, a command that checks it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

_RANDOM = 'a formula draws nothing: make the numbers an input, --at "n=[0.5,-1]", or check the code: gradcheck function'
_VALUE = "it changes no value: leave it out"
_SIZE = "sizes are numbers here: write `3`"
_OURS = "gradcheck differentiates the formula itself: leave it out"
_SPREAD = "a number, or a smaller array, is spread by itself: leave it out"
_OF_TORCH = "there is no formula of it, but torch's own can be checked: gradcheck function torch:{}"
_OF_LINALG = "there is no formula of it, but torch's own can be checked: gradcheck function torch.linalg:{} --shape A=3,3"
_OF_FFT = "there is no formula of it, but torch's own can be checked: gradcheck function torch.fft:{}"
_OF_NN = "there is no formula of it, but torch's own can be checked: gradcheck function torch.nn.functional:{}"
_CONSTANT = "write the derivation out: a formula is what is differentiated"

_GROUPS: tuple[tuple[str, str], ...] = (
    ("Tensor from_numpy FloatTensor DoubleTensor Parameter",
     "a list is a tensor, `[1, 2]`; one to differentiate by is an input: --at \"x=[1,2]\""),
    ("no_grad data", "write `detach(x)`"),
    ("item tolist", "a number is taken by its index, `x[0]`; one that is a number already needs nothing"),
    ("requires_grad requires_grad_ retain_grad numpy Variable copy", _VALUE),
    ("dtype", "--dtype says in which format it is computed: leave it out"),
    ("to type float double half bfloat16 astype float32 float64", "--dtype says in which format it is computed: leave it out"),
    ("cpu cuda device", "--device says where it is computed: leave it out"),
    ("full", "write the number: it is spread by itself"),
    ("linspace logspace range", "write the numbers, `[0, 1, 2]`; several points are --at \"x=linspace(0,1,5)\""),
    ("rand randn rand_like randn_like randint dropout bernoulli normal multinomial rrelu gumbel_softmax", _RANDOM),
    ("manual_seed", "--seed is the seed of the samples"),
    ("shape dim ndim", _SIZE),
    ("matrix_rank", "a number of rows is constant but for jumps"),
    ("backward grad autograd", _OURS),
    ("Derivative", f"{_OURS}; gradcheck grad --order 2 takes second derivatives"),
    ("Integral integrate Sum Product limit series Function", _CONSTANT),
    ("Symbol Var symbols", "a variable is its name: `x`"),
    ("Rational Fraction", "write the quotient: `1/2`"),
    ("DiracDelta", "it is no function of numbers"),
    ("tensordot", "write the products and sums: `einsum('ij,jk->ik', a, b)`, `a @ b`"),
    *((name, _OF_LINALG.format(name)) for name in ("eig", "eigvals")),
    *((name, _OF_TORCH.format(name)) for name in (
        "nanquantile", "vander", "renorm", "mvlgamma", "block_diag", "meshgrid", "cumulative_trapezoid",
        "rot90", "cartesian_prod", "gradient")),
    ("argmax argmin argsort", "a place has no derivative: its number is constant but for jumps"),
    *((name, f"{_OF_NN.format(name)}; a layer is checked by gradcheck model") for name in (
        "conv3d", "interpolate", "ctc_loss", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d",
        "lp_pool1d", "lp_pool2d", "conv_transpose1d", "conv_transpose2d", "pixel_shuffle", "bilinear",
        "grid_sample", "local_response_norm")),
    ("expand_as", _SPREAD),
    ("isnan", "write `where(x != x, 0, x)`"),
    ("isinf", "write `where(abs(x) == inf, 0, x)`"),
    ("isfinite", "write `where(abs(x) < inf, x, 0)`"),
    ("nan_to_num", "write `where(x == x, x, 0)`"),
    ("isclose allclose", "write `where(abs(a - b) < 1e-8, a, b)`"),
    ("complex", "write `x + 1j*y`"),
    ("polar", "write `r*exp(1j*phi)`"),
    ("view_as_real view_as_complex", "write `z.real` and `z.imag`"),
    *((name, _OF_FFT.format(name)) for name in ("fft", "ifft", "rfft", "irfft")),
    ("log_prob", "write the density out: `-((x - mu)/sigma)**2/2 - log(sigma) - log(2*pi)/2`"),
    ("average", "write `mean(x)`"),
    ("rint", "write `round(x)`"),
    ("signum", "write `sign(x)`"),
    ("logistic", "write `sigmoid(x)`"),
    ("root nroot", "write `x**(1/3)`"),
    ("binom comb", "write `exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1))`"),
    ("betaln", "write `lgamma(a) + lgamma(b) - lgamma(a + b)`"),
    ("sinpi cospi", "write `sin(pi*x)`"),
    ("sind cosd", "write `sin(x*pi/180)`"),
    ("print", "there is nothing to print: --verbose shows every value"),
)  # fmt: skip

INSTEAD: Mapping[str, str] = MappingProxyType({word: advice for words, advice in _GROUPS for word in words.split()})
"""What is written elsewhere -> what to write here."""


OTHERS_OF_TORCH: Mapping[str, str] = MappingProxyType({
    "svd": "torch.svd returns V where linalg.svd returns Vh: write `linalg.svd(A)`",
    "lu": "torch.lu returns L and U in one matrix: write `linalg.lu(A)`",
})  # fmt: skip
"""Names that mean something else in `torch` itself, and as methods, than behind `torch.linalg`."""

OF_MATRICES: Mapping[str, str] = MappingProxyType({"norm": "linalg_norm"})
"""Names that mean another row behind `torch.linalg`, where there are two dimensions."""


def formulas() -> Iterator[str]:
    """Every formula that is advised."""
    for advice in INSTEAD.values():
        yield from advice.split("`")[1::2]


SIGNS: Mapping[str, str] = MappingProxyType({
    "·": "*", "×": "*", "⋅": "*", "∗": "*", "÷": "/", "⁄": "/", "−": "-", "–": "-", "—": "-", "²": "**2", "³": "**3",
    "√": "sqrt(x)", "∛": "cbrt(x)", "π": "pi", "∞": "inf", "≤": "<=", "≥": ">=", "≠": "!=", "∑": "sum(x)", "∏": "prod(x)",
    "∫": "the function itself", "∂": "the function itself", "′": "the function itself", "½": "1/2", "¼": "1/4",
})  # fmt: skip
"""Signs of printed mathematics -> what is typed."""
