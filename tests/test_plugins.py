"""Plugins: found by entry point, loaded each in its own guard, selected by name."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import maskkit
from maskkit import embedded, plugins
from tests.cli.commands import spawn

GOOD = """
import maskkit

class Questions(maskkit.Strategy):
    "Train the question marks."
    name = "questions"

    def weights(self, tokens):
        return tokens.matching(r"\\\\?")

@maskkit.hookimpl
def maskkit_strategies():
    return [Questions]
"""


def distribution(folder: Path, name: str, source: str, module: str | None = None) -> None:
    """An installed distribution as an installer leaves it: a module and its metadata with an entry point."""
    module = module or name.replace("-", "_")
    (folder / f"{module}.py").write_text(source.replace("\\\\", "\\"))
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[maskkit]\nmasks = {module}\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install distributions for one test; the registry is made anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    plugins.registry.cache_clear()
    yield lambda *args, **kwargs: distribution(tmp_path, *args, **kwargs)
    plugins.registry.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("mk_test"):
            del sys.modules[name]


def status(origin: str) -> str:
    return next(row.status for row in plugins.plugin_rows() if row.origin == origin)


BUILT_IN = [
    "causal", "assistant-only", "reasoning-only", "weighted", "tool-calls", "prompt-weighted", "from-data", "row-weight",
    "sequence-normalised", "schedule", "dft", "focal", "entropy", "eaft", "selective", "importance", "long-context",
]  # fmt: skip


OF_THIS_REPOSITORY = {"final-answer", "citations", "code", "japanese"}
"""Strategies of the distributions in plugins/, installed or not."""


def names() -> list[str]:
    return [info.name for info in maskkit.strategies()]


def test_the_builtins_come_first_with_origin_doc_and_schema():
    first = maskkit.strategies()[: len(BUILT_IN)]
    assert [info.name for info in first] == BUILT_IN
    assert all(info.origin == "maskkit" and info.version == maskkit.__version__ and info.doc for info in first)
    assert "reasoning" in first[3].schema["properties"]


def test_a_stranger_is_listed_and_selected_by_name(installed):
    installed("mk-test-good", GOOD)
    assert "questions" in names()
    assert maskkit.load_strategy("questions").name == "questions"
    assert maskkit.load_strategy("mk-test-good:questions").name == "questions"
    row = next(row for row in plugins.plugin_rows() if row.origin == "mk-test-good")
    assert (row.status, row.version, row.strategies) == ("ok", "1.2", ("questions",))


NO_WEIGHTS = """
import maskkit

class S(maskkit.Strategy):
    name = "s"

@maskkit.hookimpl
def maskkit_strategies():
    return [S]
"""
OPTION = "    class Options(maskkit.StrategyOptions):\n        name: str = 'x'\n\n"
OPTION_NAME = GOOD.replace("    def weights", f"{OPTION}    def weights")

BROKEN = {
    "fails at import": ("raise RuntimeError('no such device')", "RuntimeError: no such device"),
    "exits at import": ("import sys; sys.exit(3)", "SystemExit"),
    "returns no list": ("import maskkit\n@maskkit.hookimpl\ndef maskkit_strategies():\n    return 3\n", "expected a list"),
    "returns no class": ("import maskkit\n@maskkit.hookimpl\ndef maskkit_strategies():\n    return ['x']\n", "expected a subclass"),
    "hook raises": ("import maskkit\n@maskkit.hookimpl\ndef maskkit_strategies():\n    return 1 / 0\n", "ZeroDivisionError"),
    "bad name": (GOOD.replace('"questions"', '"Quest ions"'), "lower-case"),
    "no weights": (NO_WEIGHTS, "does not define weights"),
    "option called name": (OPTION_NAME, "option called 'name'"),
    "another contract": ("MASKKIT_CONTRACT = 2\n" + GOOD, "made for contract 2"),
    "misspelled hook": (GOOD.replace("def maskkit_strategies", "def maskkit_strategy"), "maskkit_strategy"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_breaks_only_itself(installed, source: str, reason: str):
    installed("mk-test-broken", source)
    installed("mk-test-good", GOOD.replace("questions", "good-questions"))
    assert status("mk-test-broken").startswith("failed: ")
    assert reason in status("mk-test-broken")
    assert status("mk-test-good") == "ok"
    assert [*names()[: len(BUILT_IN)], names()[-1]] == [*BUILT_IN, "good-questions"]
    with pytest.raises(maskkit.UnknownNameError, match="mk-test-broken"):
        maskkit.load_strategy("questions")


def test_ten_broken_plugins_together_leave_the_good_ones_to_work(installed):
    for number, (source, _) in enumerate(BROKEN.values()):
        installed(f"mk-test-broken-{number}", source)
    installed("mk-test-good", GOOD.replace("questions", "good-questions"))
    assert len(BROKEN) == 10
    assert [name for name in names() if name not in OF_THIS_REPOSITORY] == [*BUILT_IN, "good-questions"]
    assert sum(row.status.startswith("failed: ") for row in plugins.plugin_rows()) == 10
    example = maskkit.Masker(embedded.tiny_tokenizer(), "good-questions")({"messages": [{"role": "user", "content": "Why?"}]})
    assert example.loss_weights.sum() == 1


def test_commands_go_on_where_ten_broken_plugins_are_installed(tmp_path: Path):
    """As a user meets it: processes of their own, one after the other."""
    for number, (source, _) in enumerate(BROKEN.values()):
        distribution(tmp_path, f"mk-test-broken-{number}", source)
    distribution(tmp_path, "mk-test-good", GOOD.replace("questions", "good-questions"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "Why? Because. And why not?"}) + "\n")
    (tmp_path / "config.yaml").write_text(CONFIG)
    here = {"PYTHONPATH": str(tmp_path)}
    rows = [row for row in spawn(["plugins", "--json"], tmp_path, **here).json if row["origin"].startswith("mk-test")]
    assert [(row["status"].partition(":")[0], row["strategies"]) for row in rows] == [("failed", [])] * 10 + [("ok", ["good-questions"])]
    listed = spawn(["strategies", "--json"], tmp_path, **here).json
    assert [info["name"] for info in listed if info["name"] not in OF_THIS_REPOSITORY] == [*BUILT_IN, "good-questions"]
    done = spawn(["train", "config.yaml"], tmp_path, **here)
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["strategies"] == {"good-questions": "mk-test-good 1.2"}
    done = spawn(["train", "config.yaml", "--set", "strategy=questions"], tmp_path, **here)
    assert done.status == 2, "only those who select a broken one are stopped"
    assert "made for contract 2" in done.err


CONFIG = """
model: tiny
data: {train: rows.jsonl, eval: null}
strategy: good-questions
training: {max_steps: 1, per_device_train_batch_size: 1, log_kinds_every: 0}
output_dir: run
"""


def test_two_distributions_with_one_name_are_told_apart(installed):
    installed("mk-test-one", GOOD)
    installed("mk-test-two", GOOD)
    with pytest.raises(maskkit.PluginError, match="mk-test-one and mk-test-two"):
        maskkit.load_strategy("questions")
    assert type(maskkit.load_strategy("mk-test-two:questions")).__module__ == "mk_test_two"


def test_a_builtin_is_not_shadowed(installed):
    installed("mk-test-shadow", GOOD.replace('"questions"', '"causal"'))
    assert type(maskkit.load_strategy("causal")).__module__ == "maskkit.builtin.causal"
    assert type(maskkit.load_strategy("mk-test-shadow:causal")).__module__ == "mk_test_shadow"


def test_autoload_can_be_switched_off(installed, monkeypatch: pytest.MonkeyPatch):
    installed("mk-test-good", GOOD)
    monkeypatch.setenv("MASKKIT_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert names() == BUILT_IN


def origins() -> dict[str, str]:
    return {row.origin: row.status for row in plugins.plugin_rows()}


def test_a_plugin_is_switched_off_by_either_of_its_names(installed, monkeypatch: pytest.MonkeyPatch):
    installed("mk-test-good", "raise RuntimeError('imported')")
    for name in ("masks", "mk-test-good", "MK_test.good"):
        monkeypatch.setenv(plugins.OFF, name)
        plugins.registry.cache_clear()
        assert origins()["mk-test-good"] == "off: switched off", "not even imported"
    with pytest.raises(maskkit.UnknownNameError, match="mk-test-good \\(off: switched off\\)"):
        maskkit.load_strategy("questions")


def test_switching_off_settles_a_clash_and_reaches_child_processes(installed, monkeypatch: pytest.MonkeyPatch):
    installed("mk-test-one", GOOD)
    installed("mk-test-two", GOOD)
    monkeypatch.setenv(plugins.OFF, "other")
    assert names()[-2:] == ["questions", "questions"], "they are loaded by now"
    plugins.switch_off(["mk_test_one"])
    assert os.environ[plugins.OFF] == "mk-test-one,other"
    assert type(maskkit.load_strategy("questions")).__module__ == "mk_test_two"


def test_only_the_named_plugins(installed, monkeypatch: pytest.MonkeyPatch):
    installed("mk-test-one", GOOD)
    installed("mk-test-two", GOOD.replace("questions", "more-questions"))
    monkeypatch.setenv(plugins.ONLY, "mk-test-two, absent")
    assert names() == [*BUILT_IN, "more-questions"]
    assert origins()["mk-test-one"] == "off: not in MASKKIT_PLUGINS"
    row = next(row for row in plugins.plugin_rows() if row.name == "absent")
    assert row.status == "failed: MASKKIT_PLUGINS names it, and it is not installed"
    monkeypatch.setenv(plugins.NO_AUTOLOAD, "1")
    plugins.registry.cache_clear()
    assert names() == [*BUILT_IN, "more-questions"]


def test_the_built_ins_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(plugins.OFF, "")
    with pytest.raises(maskkit.ConfigError, match="cannot be switched off"):
        plugins.switch_off(["builtin"])


def test_a_name_that_is_not_installed_is_a_warning(installed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv(plugins.OFF, "")
    plugins.switch_off(["tpyo"])
    assert names()
    assert "plugin 'tpyo' is switched off, and is not installed" in caplog.text


def test_a_config_switches_plugins_off(installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(plugins.OFF, "")
    installed("mk-test-good", GOOD)
    config = tmp_path / "config.yaml"
    config.write_text("model: tiny\ndata: {train: quickstart}\nstrategy: questions\noutput_dir: run\nplugins: {disable: [mk-test-good]}\n")
    with pytest.raises(maskkit.ConfigError, match=r"mk-test-good .off: switched off"):
        maskkit.RunConfig.load(config)


def test_where_the_strategies_of_a_selection_come_from(installed, tmp_path: Path):
    installed("mk-test-good", GOOD)
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    inner = {"name": "row-weight", "strategy": "questions"}
    strategy = maskkit.load_strategy({"product": [inner, {"scale": 2, "strategy": f"{path}:Vowels"}, "causal"]})
    found = plugins.origins_of(strategy & every_token)
    assert found == {
        f"{path}:Vowels": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
        "causal": f"maskkit {maskkit.__version__}",
        "every_token": f"function of {__name__}",
        "questions": "mk-test-good 1.2",
        "row-weight": f"maskkit {maskkit.__version__}",
    }


def every_token(tokens: maskkit.Tokens) -> object:
    return tokens.where()


def test_an_option_may_have_the_name_of_a_combination(installed):
    source = GOOD.replace("    def weights", "    class Options(maskkit.StrategyOptions):\n        scale: float = 1.0\n\n    def weights")
    installed("mk-test-good", source)
    assert maskkit.load_strategy({"name": "questions", "scale": 2.0}).options.scale == 2.0


FILE = """
import maskkit

class Vowels(maskkit.Strategy):
    "Train vowels."
    name = "vowels"

    class Options(maskkit.StrategyOptions):
        weight: float = 1.0

    def weights(self, tokens):
        return self.options.weight * tokens.matching("[aeiou]")
"""


def test_a_class_in_a_file_is_a_strategy_and_says_that_code_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    strategy = maskkit.load_strategy({"name": f"{path}:Vowels", "weight": 2.0})
    assert strategy.spec() == {"name": f"{path}:Vowels", "weight": 2.0}
    assert maskkit.load_strategy(strategy.spec()) == strategy
    assert "executes the code" in caplog.text
    with pytest.raises(maskkit.UnknownNameError, match="Did you mean 'Vowels'"):
        maskkit.load_strategy(f"{path}:Vowel")
    with pytest.raises(maskkit.ConfigError, match="there is no file"):
        maskkit.load_strategy("./absent.py:X")
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(maskkit.PluginError, match="ZeroDivisionError"):
        maskkit.load_strategy(f"{tmp_path / 'bad.py'}:X")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("Options = dict", "Options is not a subclass"),
        ("pass", "does not define weights"),
        ("weights = visibility = len", "attention is causal; rename it"),
        ("weights = len\n    def __init__(self, options): raise RuntimeError('no model')", "cannot be made: RuntimeError: no model"),
    ],
)
def test_a_class_that_is_no_strategy_is_told_when_it_is_selected(tmp_path: Path, body: str, says: str):
    (tmp_path / "mine.py").write_text(f"import maskkit\nclass Mine(maskkit.Strategy):\n    {body}\n")
    with pytest.raises(maskkit.PluginError, match=f"mine.py:Mine'.*{says}"):
        maskkit.load_strategy(f"{tmp_path}/mine.py:Mine")


def test_a_file_without_its_class_is_told_how_to_write_it():
    with pytest.raises(maskkit.ConfigError, match=r"write \./mine\.py:Class"):
        maskkit.load_strategy("./mine.py")


def test_listing_strategies_imports_nothing_heavy():
    code = "import json, sys, maskkit; maskkit.strategies(); print(json.dumps(sorted(sys.modules)))"
    env = {**os.environ, "MASKKIT_DISABLE_PLUGIN_AUTOLOAD": "1"}
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout)
    assert not {"numpy", "torch", "transformers", "datasets", "pyarrow", "rich"} & set(loaded)
