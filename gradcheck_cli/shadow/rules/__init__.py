"""Operations of several steps, written in torch's own simpler operations: see `registry`."""

from gradcheck_cli.shadow.rules import (
    attention,
    gathers,
    matrices,
    networks,
    order,
    products,
    sequences,
    spatial,
    spectra,
    transforms,
)
from gradcheck_cli.shadow.rules.registry import CONVENTIONS, MOVED, MUTATED, RULES, SYMMETRIC, is_symmetric

__all__ = [
    "CONVENTIONS",
    "MOVED",
    "MUTATED",
    "RULES",
    "SYMMETRIC",
    "attention",
    "gathers",
    "is_symmetric",
    "matrices",
    "networks",
    "order",
    "products",
    "sequences",
    "spatial",
    "spectra",
    "transforms",
]
