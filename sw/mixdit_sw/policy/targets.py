"""The modules of a model that a policy may quantize, and a model's fingerprint."""

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import nn

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import MatMul

PRODUCTS = ("qk", "av")
"""Last part of the name of an attention product."""


def targets(model: nn.Module, patterns: Iterable[str]) -> dict[str, nn.Module]:
    """Return the modules that the patterns name, in the model's order.

    A module that only holds others is not meant itself; its parts are, if a pattern names them.

    Raises
    ------
    MixditError
        When a pattern names nothing, or a module that is neither a linear nor a product.
    """
    found: dict[str, nn.Module] = {}
    modules = dict(model.named_modules())
    for pattern in patterns:
        names = [n for n, m in modules.items() if n and fnmatchcase(n, pattern) and not _parts(m)]
        if not names:
            raise MixditError(f"No layer of the model is called {pattern!r}: {_examples(modules)}")
        for name in names:
            check_supported(name, modules[name])
            found[name] = modules[name]
    return {name: module for name, module in modules.items() if name in found}


def check_supported(name: str, module: nn.Module) -> None:
    """Check that a module can be quantized.

    Raises
    ------
    MixditError
        When it cannot; the message names it and says what to do.
    """
    if isinstance(module, MatMul):
        if name.rpartition(".")[2] not in PRODUCTS:
            raise MixditError(f"Product {name} must be called {' or '.join(PRODUCTS)}")
    elif not isinstance(module, nn.Linear):
        raise MixditError(
            f"Layer {name} is a {type(module).__name__}; policies quantize Linear and MatMul: "
            "leave it out of the policy's layers, or replace it by those"
        )


def fingerprint(model: nn.Module) -> str:
    """Return a short hash of a model's parameters, their names and shapes.

    Raises
    ------
    MixditError
        When a parameter has no values.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if value.is_meta:
            raise MixditError(f"{name} has no values: load the model's weights first")
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _parts(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _examples(modules: dict[str, nn.Module]) -> str:
    names = [n for n, m in modules.items() if isinstance(m, nn.Linear | MatMul)]
    shown = ", ".join(names[:4]) if names else "none"
    return f"linears and products are {shown}{', ...' if len(names) > 4 else ''}"
