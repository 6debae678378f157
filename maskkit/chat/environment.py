"""The sandboxed Jinja environment that renders with origins.

Jinja compiles a template to Python. This module changes only how the compiled code spells constants, converts output to text
and joins it, and marks where loops over messages begin and end. The private names of Jinja that this needs are listed in
`PRIVATE_HOOKS`, used nowhere else, and pinned by a test. Everything that makes it a sandbox is Jinja's own.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import Template
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.visitor import NodeTransformer

from maskkit.chat import owners
from maskkit.chat.containers import message_of, stringify
from maskkit.chat.filters import TracedMarkup, escape, traced_filters
from maskkit.chat.formatting import brace_format
from maskkit.chat.traced import Traced, concat, literal, owned, plain

PRIVATE_HOOKS = {
    "CodeGenerator": ("visit_Const", "visit_TemplateData", "visit_Concat", "_output_const_repr", "_output_child_pre", "_output_child_post"),
    "ImmutableSandboxedEnvironment": ("_generate", "concat", "code_generator_class", "wrap_str_format"),
}
"""Names of Jinja that are overridden here and are not part of its documented interface."""


class TracingCodeGenerator(CodeGenerator):
    """Writes template constants as `literal` and output as `emit`, so that nothing reaches the text without an origin."""

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        value = node.as_const(frame.eval_ctx)
        if isinstance(value, (str, tuple, list, dict)):
            self.write(_constant(value))
        else:
            super().visit_Const(node, frame)

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:
        if frame.eval_ctx.volatile or frame.eval_ctx.autoescape:
            super().visit_TemplateData(node, frame)
        else:
            self.write(_constant(node.data))

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        if frame.eval_ctx.volatile or frame.eval_ctx.autoescape:
            super().visit_Concat(node, frame)
            return
        self.write("environment.concat(map(environment.stringify, (")
        for argument in node.nodes:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")))")

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return _constant("".join(map(str, group)))

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            self.write("(environment.emit_escaped if context.eval_ctx.autoescape else environment.emit)(")
        elif frame.eval_ctx.autoescape:
            self.write("environment.emit_escaped(")
        else:
            self.write("environment.emit(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")


def _constant(value: Any) -> str:
    """Python source of a constant whose strings know that the template wrote them."""
    if isinstance(value, str):
        return f"environment.literal({str.__str__(value)!r})"
    if type(value) is tuple:
        return "(" + "".join(_constant(item) + ", " for item in value) + ")"
    if type(value) is list:
        return "[" + ", ".join(map(_constant, value)) + "]"
    if type(value) is dict:
        return "{" + ", ".join(f"{_constant(key)}: {_constant(item)}" for key, item in value.items()) + "}"
    return repr(value)


class OwnerMarks(NodeTransformer):
    """Adds to every loop what tells `owners` which message its body is about."""

    def visit_For(self, node: nodes.For, *args: Any, **kwargs: Any) -> list[nodes.Node]:
        node = self.generic_visit(node)  # type: ignore[assignment]
        line = node.lineno
        items: list[nodes.Expr] = [nodes.Name(name, "load", lineno=line) for name in _names(node.target)]
        node.body = [_statement("enter_iteration", items, line), *node.body]
        return [_statement("enter_loop", [], line), node, _statement("leave_loop", [], line)]

    def visit_Assign(self, node: nodes.Assign, *args: Any, **kwargs: Any) -> nodes.Node | list[nodes.Node]:
        if isinstance(node.target, nodes.Name) and isinstance(node.node, nodes.Getitem):
            name = nodes.Name(node.target.name, "load", lineno=node.lineno)
            return [node, _statement("adopt", [name], node.lineno)]
        return node


def _names(target: nodes.Node) -> list[str]:
    return [name.name for name in ([target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name))]


def _statement(method: str, arguments: list[nodes.Expr], line: int) -> nodes.ExprStmt:
    function = nodes.ExtensionAttribute(OwnerExtension.identifier, method, lineno=line)
    return nodes.ExprStmt(nodes.Call(function, arguments, [], None, None, lineno=line), lineno=line)


class OwnerExtension(Extension):
    """What the statements of `OwnerMarks` call."""

    def enter_loop(self) -> None:
        owners.enter_loop()

    def enter_iteration(self, *items: Any) -> None:
        owners.enter_iteration(next((m for m in map(message_of, items) if m != owners.NOBODY), owners.NOBODY))

    def adopt(self, value: Any) -> None:
        owners.adopt(message_of(value))

    def leave_loop(self) -> None:
        owners.leave_loop()


class GenerationExtension(Extension):
    """``{% generation %}``: accepted with the scoping transformers gives it, and otherwise without effect."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("rendered"), [], [], body).set_lineno(line)

    def rendered(self, caller: Callable[[], str]) -> str:
        return caller()


class TracingEnvironment(ImmutableSandboxedEnvironment):
    """transformers' sandbox for chat templates, with origins."""

    code_generator_class = TracingCodeGenerator
    concat = staticmethod(concat)
    literal = staticmethod(literal)
    stringify = staticmethod(stringify)

    def __init__(self, globals_: dict[str, Any], filters: dict[str, Callable[..., Any]]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationExtension, OwnerExtension, loopcontrols])
        self.globals.update(globals_)
        self.filters.update(filters)
        self.filters.update(traced_filters(self.filters))

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        return super()._generate(OwnerMarks().visit(source), name, filename, defer_init=defer_init)

    @staticmethod
    def emit(value: Any) -> str:
        """What an output expression prints."""
        return owned(stringify(value))

    @staticmethod
    def emit_escaped(value: Any) -> str:
        """What an output expression prints inside ``{% autoescape true %}``."""
        return owned(escape(value))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The sandbox's ``str.format``: fields are looked up by the sandbox, so private attributes stay refused."""
        text = getattr(value, "__self__", None)
        checked = super().wrap_str_format(value)
        if checked is None or not isinstance(text, Traced) or isinstance(text, TracedMarkup):
            return checked
        formatter: string.Formatter = SandboxedFormatter(self)

        def traced_format(*args: Any, **kwargs: Any) -> str:
            result = plain(checked(*args, **kwargs))
            if value.__name__ == "format_map":
                return brace_format(text, result, (), args[0], formatter)
            return brace_format(text, result, args, kwargs, formatter)

        return traced_format


def render_traced(template: Template, variables: dict[str, Any]) -> Traced:
    """The template's text with the origin of every character."""
    with owners.fresh_owners():
        text = template.render(variables)
    return text if isinstance(text, Traced) else Traced(text)
