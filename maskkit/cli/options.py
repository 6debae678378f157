"""Arguments and options that several commands have, each told once."""

from __future__ import annotations

from typing import Annotated

import typer

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML or TOML file, or `quickstart`, which is bundled.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config, such as training.max_steps=10. May be repeated."),
]
Source = Annotated[
    str, typer.Argument(metavar="CONFIG|DATA", help="A config (.yaml, .toml, `quickstart`), or rows: a file, a folder, a pattern.")
]
Model = Annotated[
    str | None, typer.Option("--model", "--tokenizer", "-m", metavar="M", help="Model whose tokenizer is used; needed with DATA.")
]
Strategies = Annotated[
    list[str] | None, typer.Option("--strategy", "-s", metavar="S", help="A strategy, as a config writes it. May be repeated.")
]
Inline = Annotated[bool, typer.Option("--inline-reasoning", help="Write reasoning into the content, as data.reasoning does.")]
History = Annotated[
    str | None, typer.Option("--history", metavar="H", help="as-rendered, or as-served: each reply behind the prompt it was served.")
]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", min=2, metavar="N", help="Most tokens of an example, in place of the config's.")
]
