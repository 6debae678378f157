"""A whole run in one file: `RunConfig`, read from YAML or TOML.

    model: tiny
    data: {train: data/train.jsonl, eval: 0.05}
    strategy: {name: weighted, reasoning: 0.3, answer: 1.0}
    training: {max_steps: 300, learning_rate: 2.0e-5}
    output_dir: runs/first

Names are Hugging Face's wherever they have one. Every key does something; an unknown one is an error. Paths are relative to the folder in
which the command runs.
"""

from __future__ import annotations

from maskkit.config.loading import BUNDLED
from maskkit.config.run_config import AnswersConfig, DataConfig, DataSource, LoraConfig, LossConfig, RunConfig, TrainingConfig

__all__ = ["BUNDLED", "AnswersConfig", "DataConfig", "DataSource", "LoraConfig", "LossConfig", "RunConfig", "TrainingConfig"]
