"""A config is read, changed and checked; everything that is wrong is said in one line with the full path of its key."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from maskkit import ConfigError, RunConfig
from maskkit.config import DataConfig, LossConfig, TrainingConfig

MINIMAL = {"model": "tiny", "data": {"train": "rows.jsonl"}, "output_dir": "out"}
WHOLE = """\
model: HuggingFaceTB/SmolLM2-135M-Instruct
data: {train: data/train.jsonl, eval: 0.05}
strategy: {name: weighted, reasoning: 0.3, answer: 1.0}
history: as-rendered
max_length: 2048
training: {max_steps: 300, per_device_train_batch_size: 8, gradient_accumulation_steps: 4, learning_rate: 2.0e-5, lr_scheduler_type: cosine,
  warmup_steps: 20, max_grad_norm: 1.0, seed: 0, eval_steps: 50, save_steps: 100, packing: false}
loss: {normalization: weights}
output_dir: runs/first
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def refusal(source: Any, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(tmp_path: Path, text: str, name: str = "run.yaml") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


# -- reading


def test_a_whole_config(file: Path):
    config = RunConfig.load(file)
    assert config.training.learning_rate == 2e-5
    assert config.strategy == {"name": "weighted", "reasoning": 0.3, "answer": 1.0}
    assert [source.path for source in config.data.sources] == ["data/train.jsonl"]


def test_what_is_written_down_is_read_back(file: Path, tmp_path: Path):
    config = RunConfig.load(
        file, ["strategy={product: [assistant-only, {scale: 0.5, strategy: causal}]}", "chat_template_kwargs={語: true}"]
    )
    assert RunConfig.load(written(tmp_path, config.to_yaml(), "again.yaml")) == config


def test_the_bundled_config_by_name():
    assert RunConfig.load("quickstart").model == "tiny"


def test_a_file_called_like_the_bundled_one_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert "is a folder" in refusal("quickstart")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML is read from Python 3.11 on")
def test_toml(tmp_path: Path):
    path = written(tmp_path, 'model = "tiny"\noutput_dir = "out"\n[data]\ntrain = "a.jsonl"\n', "run.toml")
    assert RunConfig.load(path).data.train == "a.jsonl"
    assert "run.toml: not TOML" in refusal(written(tmp_path, "model = \n", "run.toml"))


def test_files_of_a_mixture_have_weights():
    data = DataConfig.model_validate({"train": ["a.jsonl", {"path": "b.jsonl", "weight": 2}]})
    assert [(source.path, source.weight) for source in data.sources] == [("a.jsonl", 1.0), ("b.jsonl", 2.0)]


def test_python_callers_may_give_paths(tmp_path: Path):
    config = RunConfig(model="tiny", data=DataConfig(train=tmp_path / "a.jsonl"), output_dir=tmp_path)  # type: ignore[arg-type]
    assert config.output_dir == str(tmp_path)


def test_a_config_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig.from_mapping(MINIMAL).max_length = 3  # type: ignore[misc]


@pytest.mark.parametrize(("text", "value"), [("2e-5", 2e-5), ("2E5", 2e5), ("-1.5e3", -1500.0), ("1e", "1e"), ("e5", "e5")])
def test_numbers_with_an_exponent_are_numbers(text: str, value: Any):
    from maskkit.config.loading import parsed_yaml

    assert parsed_yaml(f"x: {text}", "here") == {"x": value}


# -- overrides


def test_overrides_are_yaml_and_go_into_sections(file: Path):
    config = RunConfig.load(file, ["training.max_steps=7", "data.eval=null", "strategy={max: [causal, assistant-only]}", "output_dir=a=b"])
    assert config.training.max_steps == 7
    assert config.training.seed == 0
    assert config.data.eval is None
    assert config.strategy == {"max": ["causal", "assistant-only"]}
    assert config.output_dir == "a=b"


def test_an_override_makes_a_section_that_the_file_does_not_have(tmp_path: Path):
    path = written(tmp_path, yaml.safe_dump(MINIMAL))
    assert RunConfig.load(path, ["training.max_steps=7"]).training.max_steps == 7


@pytest.mark.parametrize("override", ["training.max_steps", "=7", "training..max_steps=7", ".x=7"])
def test_an_override_that_is_none(file: Path, override: str):
    assert "expected key=value, such as training.max_steps=10" in refusal(file, override)


# -- what is refused


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.max_stps=3", "unknown key 'training.max_stps'. Did you mean 'max_steps'?"),
        ("data.train=[{path: a, weigth: 2}]", "unknown key 'data.train[0].weigth'. Did you mean 'weight'?"),
        ("learning_rate=1", "unknown key 'learning_rate'. Did you mean 'training.learning_rate'?"),
        ("training.max_length=1", "unknown key 'training.max_length'. Did you mean 'max_length'?"),
        ("training.max_steps=ten", "training.max_steps is 'ten', expected a whole number"),
        ("training.max_steps=1.5", "training.max_steps is 1.5, expected a whole number"),
        ("training.max_steps=true", "training.max_steps is True, expected a whole number"),
        ("training.max_steps=0", "training.max_steps is 0, expected 1 or more"),
        ("training.learning_rate=0", "training.learning_rate is 0, expected more than 0"),
        ("training.learning_rate=.nan", "training.learning_rate is nan, expected a finite number"),
        ("training.lr_scheduler_type=cosin", "expected 'cosine', 'linear' or 'constant'. Did you mean 'cosine'?"),
        ("training.bf16=1", "training.bf16 is 1, expected true or false"),
        ("training={packing: true, group_by_length: true}", "training.group_by_length is true and so is training.packing"),
        ("training.batch_tokens=100", "training.batch_tokens is 100, expected at least max_length (2048)"),
        ("training=3", "training is 3, expected a mapping"),
        ("data.train=3", "data.train is 3, expected text or a list"),
        ("data.train=[3]", "data.train[0] is 3, expected text or a mapping"),
        ("data.train=[]", "data.train is empty"),
        ("data.eval=1.5", "data.eval is 1.5, expected a file or a share"),
        ("data.eval=true", "data.eval is True, expected text or a number"),
        ("model=null", "model is None, expected text"),
        ("model.name=x", "model is 'HuggingFaceTB/SmolLM2-135M-Instruct', which has no keys"),
        ("history=sometimes", "history is 'sometimes', expected 'as-rendered' or 'as-served'"),
        ("strategy=asistant-only", "unknown strategy 'asistant-only'. Did you mean 'assistant-only'?"),
        ("strategy={name: weighted, reasonin: 1}", "strategy 'weighted': unknown option 'reasonin'. Did you mean 'reasoning'?"),
        ("strategy=3", "strategy is 3, expected text or a mapping"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_full_path(file: Path, override: str, said: str):
    message = refusal(file, override)
    assert said in message
    assert str(file) in message or "override" in message


def test_all_problems_are_said_at_once(tmp_path: Path):
    message = refusal(written(tmp_path, "model: tiny\ndata: {trian: 3}\n"))
    assert "'data.train' is missing; unknown key 'data.trian'. Did you mean 'train'?" in message
    assert "'output_dir' is missing" in message


def test_what_an_override_set_is_told_from_what_the_file_says(file: Path, tmp_path: Path):
    assert refusal(file, "max_length=x").endswith("(set by an override)")
    assert refusal(written(tmp_path, WHOLE.replace("2048", "x"))).endswith("max_length is 'x', expected a whole number")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: tiny\nmodel: smollm2\n", "run.yaml:2: not YAML: the key 'model' is given twice"),
        ("model: [\n", "run.yaml:2: not YAML"),
        ("model: tiny\n\tdata: x\n", "run.yaml:2: not YAML"),
        ("", "found nothing, expected keys"),
        ("- model\n", "found list ['model'], expected keys"),
        ("model: !!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_config_says_where(tmp_path: Path, text: str, said: str):
    assert said in refusal(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path, file: Path):
    assert "Did you mean 'run.yaml'?" in refusal(file.with_name("rum.yaml"))
    assert "is a folder" in refusal(tmp_path)
    assert "unknown type of file" in refusal(written(tmp_path, "{}", "run.json"))
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xfd")
    assert "bad.yaml: not UTF-8: byte 0xff at position 0; save it as UTF-8" in refusal(tmp_path / "bad.yaml")


def test_replies_to_held_out_rows_need_held_out_rows(file: Path):
    assert "answers.count asks for replies" in refusal(file, "answers.count=3", "data.eval=0")


def test_a_run_that_ends_within_its_warm_up_is_told(file: Path, caplog: pytest.LogCaptureFixture):
    RunConfig.load(file, ["training.max_steps=7"])
    assert "the run ends within the warm-up" in caplog.text


# -- the schema


def test_every_key_says_what_it_means():
    sections: list[type[BaseModel]] = [RunConfig, DataConfig, TrainingConfig, LossConfig]
    undocumented = [f"{s.__name__}.{name}" for s in sections for name, field in s.model_fields.items() if not field.description]
    assert not undocumented


def test_reading_a_config_imports_nothing_heavy(file: Path):
    code = f"import sys; from maskkit import RunConfig; RunConfig.load({str(file)!r}); print(*sys.modules)"
    environment = {**os.environ, "MASKKIT_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what others' plugins import is theirs
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not {"numpy", "torch", "transformers", "datasets", "pyarrow"} & set(done.stdout.split())


def test_reasoning_tags_are_pairs(file):
    assert RunConfig.load(file, ['reasoning_tags=[["<plan>", "</plan>"]]']).reasoning_tags == [["<plan>", "</plan>"]]
    with pytest.raises(ConfigError, match="reasoning_tags"):
        RunConfig.load(file, ['reasoning_tags=[["<plan>"]]'])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("Model: tiny", "unknown key 'Model'. Did you mean 'model'?"),
        ("str: 1", "unknown key 'str'."),
        ("1: tiny", "the key 1 is not text"),
        ("~: tiny", "the key None is not text"),
    ],
)
def test_an_odd_key_is_named(file: Path, extra: str, said: str):
    file.write_text(f"{WHOLE}{extra}\n", encoding="utf-8")
    assert said in refusal(file)


def test_a_capitalised_section_in_an_override_is_named(file: Path):
    assert "unknown key 'Training'. Did you mean 'training'?" in refusal(file, "Training.max_steps=3")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_generator_takes_is_refused(file: Path, seed: int):
    assert f"training.seed is {seed}" in refusal(file, f"training.seed={seed}")


def test_the_home_folder_has_its_short_name(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = RunConfig.load(file, ["output_dir=~/runs", "data.train=[~/a.jsonl, b~.jsonl]"])
    assert config.output_dir == str(tmp_path / "runs")
    assert [source.path for source in config.data.sources] == [str(tmp_path / "a.jsonl"), "b~.jsonl"]


def test_a_config_made_in_python_is_refused_in_the_words_of_a_file():
    with pytest.raises(ConfigError, match=r"^RunConfig: the key 'data' is missing; the key 'output_dir' is missing$"):
        RunConfig(model="tiny")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^DataConfig: the key 'train' is missing; unknown key 'trian'. Did you mean 'train'\?"):
        DataConfig(trian="rows.jsonl")  # type: ignore[call-arg]
    made = RunConfig(model="tiny", data=DataConfig(train="rows.jsonl"), output_dir="out")
    assert pickle.loads(pickle.dumps(made)) == made == RunConfig.model_validate(made.model_dump())
