"""``maskkit check``: what is to be known before training. ``check template`` tries a chat template, ``check renderers`` asks for a second
opinion on it, ``check strategy`` tries a strategy, ``check parity`` a config's update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskkit.cli import check_parity, check_renderers, check_strategy
from maskkit.cli.output import Json, print_columns, print_json
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.inspect.template_report import Support, TemplateReport

TEMPLATE_ENDINGS = (".jinja", ".jinja2", ".j2", ".txt")
"""What files of chat templates are called; others are taken too."""

OTHER_ENDINGS = (".json", ".jsonl", ".yaml", ".yml", ".toml", ".parquet", ".py")
"""What no chat template is called: a tokenizer's config, a config, data."""

app = typer.Typer(
    help="Check a chat template, a strategy or a config before training with it.", rich_markup_mode=None, no_args_is_help=True
)


@app.callback()
def check() -> None:
    """Check what training will depend on."""


app.command("strategy")(check_strategy.strategy)
app.command("parity")(check_parity.parity)
app.command("renderers")(check_renderers.renderers)


@app.command("template")
def template(
    source: Annotated[str, typer.Argument(metavar="FILE|MODEL", help="A file with a chat template, or a model whose template is tried.")],
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="M", help="Model whose tokenizer a template FILE is for.")] = None,
    as_json: Json = False,
) -> None:
    """Try a chat template on small conversations: can each character be attributed, what does the prompt supply, what ends a turn?

    Exit status 1 if there is something to know before training with it.
    """
    is_file = Path(source).is_file()
    if model is not None and not is_file:
        raise ConfigError(f"{source} is not a file, and --model is for template files: give the model alone")
    if not is_file and Path(source).suffix.lower() in (*TEMPLATE_ENDINGS, *OTHER_ENDINGS):
        raise ConfigError(f"there is no file {source}, expected a file with a chat template, or a model")
    text = _template_text(Path(source)) if is_file else None
    from maskkit.inspect.template_report import template_report

    tokenizer, stops = _tokenizer(text if text is not None and model is None else None, model or source)
    report = template_report(tokenizer, chat_template=text, stop_token_ids=stops)
    name = model or ("bytes and the template's own control tokens (--model M for the real one)" if is_file else source)
    if as_json:
        print_json({"source": source, "tokenizer": name, **report.to_json()})
    else:
        print(f"template {source} (sha256:{report.template}), tokenizer {name}\n")
        _print(report)
    if report.findings:
        raise typer.Exit(1)


def _template_text(path: Path) -> str:
    if path.suffix.lower() in OTHER_ENDINGS:
        raise ConfigError(f"{path} is no chat template by its name: give the model's folder, or a file that is the template alone (.jinja)")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}, expected a chat template") from None


def _tokenizer(template: str | None, model: str) -> tuple[Any, frozenset[int]]:
    """The tokenizer, and the stop tokens of the model's generation config."""
    if template is not None:
        from maskkit.inspect.stand_in_tokenizer import stand_in_tokenizer

        return stand_in_tokenizer(template), frozenset()
    from maskkit.inspect.stops import generation_stop_ids
    from maskkit.models import load_tokenizer

    return load_tokenizer(model), generation_stop_ids(model)


def _print(report: TemplateReport) -> None:
    known = [f"{stop!r} (known)" if stop in report.known_stop_tokens else repr(stop) for stop in report.stop_tokens]
    lines = [
        ("attributable", "yes" if report.attributable else "not all"),
        ("history", report.history + (" earlier turns" if report.history == "rewrites" else "")),
        *((f"prompt{f' ({p.arguments})' if p.arguments else ''}", _prompt(p.text, p.prefilled)) for p in report.generation_prompts),
        ("stop tokens", ", ".join(known) or "none"),
        ("roles", _supported(report.roles)),
        ("fields", _supported(report.fields)),
    ]
    print_columns(lines)
    print()
    print_columns((cell.conversation, cell.outcome, cell.reason or ", ".join(cell.findings)) for cell in report.cells)
    if not report.findings:
        print("\nnothing found")
        return
    print(f"\n{len(report.findings)} finding{'s' if len(report.findings) > 1 else ''}:")
    print_columns(((finding.code, f"{finding.message} ({_some(finding.conversations)})") for finding in report.findings), indent="  ")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _prompt(text: str, prefilled: str) -> str:
    return f"{text!r}" + (f", of which {prefilled!r} is prefilled" if prefilled else "")


def _supported(found: Mapping[str, Support]) -> str:
    printed = ", ".join(name for name, support in found.items() if support == "printed")
    others = [f"{name} {support}" for name, support in found.items() if support != "printed"]
    return "; ".join(filter(None, [printed, *others]))
