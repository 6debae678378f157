"""torch.compile, layer by layer: what is compiled once serves all layers, and wrappers around them stay as they are."""

from __future__ import annotations

import logging
from typing import Any

import torch

from maskkit.engine.sharding import layers_of

logger = logging.getLogger(__name__)


def compile_layers(model: Any) -> bool:
    """Compile the layers of ``model`` where they are, when they are first called; names of modules and parameters stay. Lengths of rows
    vary, so shapes are left open.

    Returns whether; where this machine cannot compile, a warning says why and nothing is changed.
    """
    reason = cannot_compile(next(model.parameters()).device)
    if reason:
        logger.warning("training.torch_compile: this machine cannot compile (%s); the run goes on without", reason)
        return False
    for layer in layers_of(model):
        layer.compile(dynamic=True)
    return True


def cannot_compile(device: torch.device) -> str:
    """Why nothing can be compiled for the device, in one line; empty if it can. Asked by compiling a sum."""
    try:
        compiled = torch.compile(lambda x: x.sin() + 1)
        compiled(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in many ways, and none of them should end a run that can do without
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""
