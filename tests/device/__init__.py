"""A second device for torch, made here (second.cpp): `load()` before anything is run on "second"."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

NAME = "second"


@cache
def load() -> str:
    """Compile it where that wasn't done yet, and make it known to torch. Its name."""
    from torch.utils import cpp_extension

    torch.utils.rename_privateuse1_backend(NAME)
    made = cpp_extension.load("second", [str(Path(__file__).parent / "second.cpp")], extra_cflags=["-O0"])
    module = ModuleType(NAME)
    found = {
        "default_generators": (made.generator(),), "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "is_initialized": lambda: True, "_is_in_bad_fork": lambda: False,
        "manual_seed_all": lambda seed: made.generator().manual_seed(seed), "get_amp_supported_dtype": lambda: [torch.bfloat16],
        "set_device": lambda device: None, "synchronize": lambda device=None: None,
        "get_rng_state": lambda device=None: made.generator().get_state(),
        "set_rng_state": lambda state, device=None: made.generator().set_state(state),
    }  # fmt: skip
    vars(module).update(found)
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend()
    sys.modules[f"torch.{NAME}"] = module
    return NAME
