"""What `maskkit new plugin` writes; ``@name@``, ``@module@`` and ``@class@`` are filled in."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "maskkit-@name@"
version = "0.1.0"
description = "A masking strategy for maskkit."
readme = "README.md"
requires-python = ">=3.10"
dependencies = ["maskkit"]

[project.optional-dependencies]
test = ["pytest"]

# maskkit finds the module through this entry point; the strategy's own name stands in the module
[project.entry-points.maskkit]
@name@ = "@module@"
"""

MODULE = '''\
"""The masking strategy `@name@`."""

from __future__ import annotations

import maskkit


class @class@(maskkit.Strategy):
    """Train what the model answers, and the stop token behind it."""

    name = "@name@"

    class Options(maskkit.StrategyOptions):
        stop: float = 1.0
        """Weight of the stop token that ends an answer."""

    def weights(self, tokens: maskkit.Tokens):
        # one number per token: how much the loss of predicting it counts
        return tokens.where(kind="answer") + self.options.stop * tokens.where(kind="stop")


@maskkit.hookimpl
def maskkit_strategies():
    return [@class@]
'''

TESTS = '''\
"""What every strategy has to keep, and what this one is for."""

from __future__ import annotations

import maskkit
from maskkit.testing import StrategyConformance

from @module@ import @class@

ROW = {
    "messages": [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "reasoning_content": "2 and 3 make 5.", "content": "It is 5."},
    ]
}


class TestConformance(StrategyConformance):
    strategy = @class@


def trained(tokenizer, **options):
    """The text that counts, and the weight of the last token that does."""
    example = maskkit.Masker(tokenizer, strategy={"name": "@name@", **options})(ROW)
    counts = example.loss_weights > 0
    return tokenizer.decode(example.input_ids[counts]), float(example.loss_weights[counts][-1])


def test_the_answer_and_its_stop_token_count(tiny_tokenizer):
    text, last = trained(tiny_tokenizer)
    assert text == "It is 5." + tiny_tokenizer.eos_token
    assert last == 1.0


def test_the_stop_token_has_a_weight_of_its_own(tiny_tokenizer):
    assert trained(tiny_tokenizer, stop=0.25)[1] == 0.25
    assert trained(tiny_tokenizer, stop=0)[0] == "It is 5."


def test_maskkit_finds_it_by_name():
    info = next(info for info in maskkit.strategies() if info.name == "@name@")
    assert info.origin == "maskkit-@name@"
    assert "stop" in info.schema["properties"]
'''

README = """\
# maskkit-@name@

A masking strategy for maskkit: it trains what the model answers, and the stop token behind it.

    pip install -e .
    maskkit strategies show @name@
    maskkit preview DATA --model MODEL --strategy @name@

In a config:

```yaml
strategy: {name: @name@, stop: 0.5}
```

`@module@.py` holds the strategy and the hook that registers it. `pip install -e '.[test]' && pytest` runs maskkit's conformance checks
and the tests of what it is for.
"""

CI = """\
name: tests
on: [push, pull_request]
jobs:
  tests:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python-version: ["3.10", "3.13"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python-version }}
      - run: pip install -e '.[test]'
      - run: pytest
"""

IGNORED = """\
__pycache__/
*.egg-info/
build/
dist/
.pytest_cache/
.venv/
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "@module@.py": MODULE,
    "README.md": README,
    "tests/test_@module@.py": TESTS,
    ".github/workflows/tests.yml": CI,
    ".gitignore": IGNORED,
}
"""By path."""
