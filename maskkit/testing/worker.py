"""A strategy in a process of its own, as a data loader's worker would run it.

python -m maskkit.testing.worker < what it is sent > what it answers
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit.strategy import Strategy, weights_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from maskkit.tokens import Tokens

SECONDS = 120
"""How long a worker may take."""


def weights_in_a_worker(strategy: Strategy, tables: Mapping[str, Tokens]) -> dict[str, npt.NDArray[np.float64]]:
    """The weights that the strategy gives in another process, whose hashes are seeded differently.

    Plugins are not loaded there, unless the strategy is made of others, which may be some. Raises AssertionError with what went wrong.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "1"}
    if not strategy.inner:
        environment["MASKKIT_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment.pop("MASKKIT_PLUGINS", None)
    sent = pickle.dumps((_home(strategy), pickle.dumps(strategy), dict(tables)))
    command = [sys.executable, "-m", "maskkit.testing.worker"]
    done = subprocess.run(command, input=sent, capture_output=True, env=environment, timeout=SECONDS, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise AssertionError(f"strategy {strategy.label!r} fails in another process: {lines[-1]}")
    answer: dict[str, npt.NDArray[np.float64]] = pickle.loads(done.stdout)
    return answer


def _home(strategy: Strategy) -> tuple[str, str]:
    """Module and file of the strategy's class: modules of tests can often not be imported by their name elsewhere."""
    cls = type(strategy)
    return cls.__module__, inspect.getsourcefile(cls) or ""


def _import(module: str, file: str) -> None:
    """Make a module importable by its name, from its file if need be."""
    try:
        importlib.import_module(module)
    except ImportError:
        spec = importlib.util.spec_from_file_location(module, Path(file))
        if spec is None or spec.loader is None:
            raise
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)


def _answer(sent: bytes) -> dict[str, Any]:
    (module, file), strategy, tables = pickle.loads(sent)
    _import(module, file)
    loaded: Strategy = pickle.loads(strategy)
    return {name: weights_of(loaded, tokens) for name, tokens in tables.items()}


if __name__ == "__main__":
    answer = pickle.dumps(_answer(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer)
