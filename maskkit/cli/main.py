"""``maskkit``: the commands, and how their errors end.

Exit status 0: fine. 1: a run failed, or something was found. 2: command, config or data are wrong. 130 or 143: a signal (Ctrl-C, SIGTERM)
stopped a run, which can be resumed. An error is one line on stderr; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

import maskkit
from maskkit.cli import check, compare, explain, lint, new, plugins, prepare, preview, strategies, train
from maskkit.cli.output import error_line, system_error
from maskkit.errors import ConfigError, MaskkitError, OtherRankEnded, StrategyError, TrainingError, TrainingStopped


class _InOrder(TyperGroup):
    """Lists commands in the order in which a beginner meets them."""

    def list_commands(self, ctx: object) -> list[str]:
        """Their names."""
        return ["train", "preview", "explain", "lint", "strategies", "new", "check", "compare", "prepare", "plugins"]


app = typer.Typer(
    name="maskkit",
    cls=_InOrder,
    help="Decide, see and prove how much the loss of every token counts, and train with it.",
    epilog="First steps: maskkit train quickstart; maskkit preview quickstart; maskkit new config DATA --model M",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", short_help="Train a model as a config says.")(train.train)
app.command("preview", short_help="Show rows, coloured by kind and weight.")(preview.preview)
app.command("explain", short_help="Explain one token: origin, weight, prediction.")(explain.explain)
app.command("lint", short_help="Find what is wrong with data and masks.")(lint.lint)
app.add_typer(strategies.app, name="strategies", short_help="List strategies; show one with its options.")
app.add_typer(new.app, name="new", short_help="Write a config from your own data, or a package for a strategy.")
app.add_typer(check.app, name="check", short_help="Check a chat template or a strategy.")
app.command("compare", short_help="Train under several strategies and show what differs.")(compare.compare)
app.command("prepare", short_help="Encode and weigh a data set for any trainer.")(prepare.prepare)
app.command("plugins", short_help="List the plugins that were found.")(plugins.plugins)

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells have it."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
    plugin: Annotated[list[str] | None, typer.Option("-p", metavar="no:NAME", help="Do not load a plugin; may stand anywhere.")] = None,
) -> None:
    """What stands before a command."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default that of the process) and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"] or ["--help"]
    _prepare_streams()
    if given == ["--version"]:
        print(f"maskkit {maskkit.__version__}")
        return 0
    try:
        given = _without_plugins(given)
        result = typer.main.get_command(app)(given, prog_name="maskkit", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # some versions of typer end an interrupted command by returning this
            error_line("interrupted")
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        return _end_quietly()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # the command-line library has met it first
            return _end_quietly()
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        return _fail(error)


def _without_plugins(given: list[str]) -> list[str]:
    """The command line without ``-p no:NAME``, which is obeyed before any plugin is loaded."""
    if "-p" not in given:
        return given
    at = given.index("-p")
    name = given[at + 1] if at + 1 < len(given) else ""
    if not name.removeprefix("no:") or not name.startswith("no:"):
        raise ConfigError(f"-p is {name!r}, expected no:NAME, which does not load the plugin NAME (see  maskkit plugins)")
    from maskkit.plugins import switch_off

    switch_off([name.removeprefix("no:")])
    return _without_plugins(given[:at] + given[at + 2 :])


def _fail(error: BaseException) -> int:
    """Say what went wrong in one line and return the exit status that belongs to it."""
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        hint = f" (see  {context.command_path} --help)" if context is not None else ""
        error_line(f"{error.format_message()}{hint}")  # type: ignore[attr-defined]
        return 2
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        error_line("interrupted")
        return INTERRUPTED
    if isinstance(error, OtherRankEnded):  # it has said so itself
        return _status(error.error)
    if isinstance(error, MaskkitError):
        error_line(str(error))
        return _status(error)
    if isinstance(error, OSError):
        error_line(system_error(error))
        return 2
    error_line(f"unexpected {type(error).__name__}: {error} (run again with --debug to see where)")
    return 1


def _status(error: BaseException) -> int:
    """The exit status of an error of ours, or of the system's."""
    if isinstance(error, TrainingStopped):
        return 128 + error.signal
    return 2 if isinstance(error, (MaskkitError, OSError)) and not isinstance(error, (TrainingError, StrategyError)) else 1


def _prepare_streams() -> None:
    """Characters that the terminal's encoding lacks are replaced, not fatal; maskkit's warnings are lines on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logger = logging.getLogger("maskkit")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
        handler.addFilter(_Once())
        logger.addHandler(handler)


class _Once(logging.Filter):
    """Lets each message through once: a strategy may be made several times in one run, which is one thing to know."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        new = record.getMessage() not in self._seen
        self._seen.add(record.getMessage())
        return new


def _end_quietly() -> int:
    """The reader of a pipe has gone; nothing more can be written, not even at exit."""
    sys.stdout = None
    return 0
