"""How templates are compiled so that they trace: Jinja's code generator, with other words for constants and output.

Jinja compiles a template to Python. What changes here is how that Python spells constants, converts output to text, and tells
`owners` where loops begin and end. The private names of Jinja that this needs are in `PRIVATE_HOOKS`, used nowhere else but here
and in `environment`, and pinned by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from maskkit.chat.searches import Found, found_when
from maskkit.chat.watch import ORDER

PRIVATE_HOOKS = {
    "CodeGenerator": (
        "visit_Call",
        "visit_Const",
        "visit_Name",
        "visit_TemplateData",
        "visit_Concat",
        "_output_child_to_const",
        "_output_const_repr",
        "_output_child_pre",
        "_output_child_post",
    ),
    "ImmutableSandboxedEnvironment": ("_generate", "concat", "code_generator_class", "template_class", "wrap_str_format"),
    "Template": ("_from_namespace",),
}
"""Names of Jinja that are overridden and are not part of its documented interface."""

FLAG = "add_generation_prompt"
_UNWATCHED = "maskkit_unwatched"
_LOOKED_AT = "maskkit_looked_at"
"""Marks a constant of which no character gets into the text: it is compared, or names a key."""
_OURS = "maskkit"
"""Identifier of the calls that are compiled to a method of the environment."""
_WITH_CONTEXT = frozenset({"walk", "flag", "compared", "range_to"})
_BARE = frozenset({"source", "bare"})
_DICT_NAMES = frozenset(dir(dict))
_PEEKING = frozenset({"boolean", "defined", "false", "iterable", "mapping", "none", "number", "sequence", "string", "true", "undefined"})
"""Tests that answer the same for a text whether it is traced or not."""
_WRITERS: tuple[type[nodes.Node], ...] = (nodes.Output, nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock)
_MARKUP_MAKERS = frozenset({"safe", "escape", "e", "forceescape", "xmlattr", "urlize"})


class TracingCodeGenerator(CodeGenerator):
    """Writes template constants as `literal` and output as `emit`, so that nothing reaches the text without an origin."""

    def __init__(self, environment: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(environment, *args, **kwargs)
        self.name_of = environment.literals.name_of

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if not _is_ours(node):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        # No way from a template leads here: these calls are put in by `TracingTransformer`.
        name = node.node.name  # type: ignore[attr-defined]
        if name in _BARE:
            _write_bare(self, node, frame)
            return
        self.write(f"environment.{name}(" + ("context, " if name in _WITH_CONTEXT else ""))
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        value = node.as_const(frame.eval_ctx)
        if isinstance(value, (str, tuple, list, dict)) and not hasattr(node, _LOOKED_AT):
            self.write(_constant(value, self.name_of))
        else:
            super().visit_Const(node, frame)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:
        watched = node.name == FLAG and node.ctx == "load" and not hasattr(node, _UNWATCHED)
        self.write("environment.flag(context, " if watched else "")
        super().visit_Name(node, frame)
        self.write(")" if watched else "")

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:
        constant = _constant(node.data, self.name_of)
        if frame.eval_ctx.volatile:
            self.write(f"(Markup if context.eval_ctx.autoescape else identity)({constant})")
        else:
            self.write(f"Markup({constant})" if frame.eval_ctx.autoescape else constant)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        if frame.eval_ctx.volatile or frame.eval_ctx.autoescape:
            super().visit_Concat(node, frame)
            return
        self.write("environment.joined((")
        for argument in node.nodes:
            self.visit(argument, frame)
            self.write(", ")
        self.write("))")

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        # What a filter or an operator makes of constants is made when the template runs, within its limits.
        if not isinstance(node, (nodes.TemplateData, nodes.Const)):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return _constant("".join(map(str, group)), self.name_of)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if _is_ours(node):
            return
        if frame.eval_ctx.volatile:
            self.write("(environment.emit_escaped if context.eval_ctx.autoescape else environment.emit)(")
        elif frame.eval_ctx.autoescape:
            self.write("environment.emit_escaped(")
        else:
            self.write("environment.emit(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not _is_ours(node):
            self.write(")")


def _write_bare(generator: TracingCodeGenerator, node: nodes.Call, frame: Frame) -> None:
    """A field's text as it stands in the message, and before it the mark that says so; ``no_source`` if it is no such text."""
    *field, trimmed, otherwise = node.args
    is_mark = node.node.name == "source"  # type: ignore[attr-defined]
    generator.write("(bare := environment.source(" if is_mark else "(bare_text(")
    for argument in field:
        generator.visit(argument, frame)
        generator.write(", ")
    if is_mark:
        generator.write(f"{trimmed.as_const()}))")
        return
    generator.write((").rstrip()" if trimmed.as_const() else ")") + " if bare is not no_source else ")
    generator.visit(otherwise, frame)
    generator.write(")")


def _is_ours(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.ExtensionAttribute) and node.node.identifier == _OURS


def _constant(value: Any, name_of: Callable[[str], str]) -> str:
    """Python source of a constant whose strings know that the template wrote them; ``name_of`` gives their names in the code."""
    if isinstance(value, str):
        return name_of(str.__str__(value))
    if type(value) is tuple:
        return "(" + "".join(_constant(item, name_of) + ", " for item in value) + ")"
    if type(value) is list:
        return "[" + ", ".join(_constant(item, name_of) for item in value) + "]"
    if type(value) is dict:
        return "{" + ", ".join(f"{_constant(key, name_of)}: {_constant(item, name_of)}" for key, item in value.items()) + "}"
    return repr(value)


class TracingTransformer(NodeTransformer):
    """Adds to every loop what tells `owners` which message its body is about, and takes sums of text apart where they are printed."""

    def __init__(self, template: nodes.Template) -> None:
        makes_markup = any(node.name in _MARKUP_MAKERS for node in template.find_all(nodes.Filter))
        # Where Markup may occur, adding texts is more than putting one behind the other.
        self.compared, self.free = _comparisons(template)
        self.no_messages = {"loop", *(reference.name for reference in template.find_all(nodes.NSRef))}
        self.sums_are_texts = not makes_markup and template.find(nodes.ScopedEvalContextModifier) is None

    def visit_Template(self, node: nodes.Template, *args: Any, **kwargs: Any) -> nodes.Node:
        loops = list(_loops_at_top(node.body))
        self.generic_visit(node)
        for number, loop in enumerate(loops):
            changed = {reference.attr for reference in loop.find_all(nodes.NSRef)}
            free = nodes.Const(tuple(sorted(self.free - changed)), lineno=loop.lineno)
            loop.iter = _call("walk", [loop.iter, free, nodes.Const(number, lineno=loop.lineno)], loop.lineno)
        return node

    def visit_Test(self, node: nodes.Test, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node.node, nodes.Name) and node.name in ("defined", "undefined"):
            setattr(node.node, _UNWATCHED, True)
        self.generic_visit(node)
        if node.name in _PEEKING:
            node.node = self._peeked(node.node)
        return node

    def visit_If(self, node: nodes.If, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node)
        node.test = self._peeked(node.test)  # type: ignore[arg-type]
        return node

    def visit_Compare(self, node: nodes.Compare, *args: Any, **kwargs: Any) -> nodes.Node:
        found = self.compared.get(id(node))
        self.generic_visit(node)
        for constant in (node.expr, *(operand.expr for operand in node.ops)):
            _only_looked_at(constant)
        if found is None:
            node.expr = self._peeked(node.expr)
            for operand in node.ops:
                operand.expr = self._peeked(operand.expr)
            return node
        side, name = found
        line, operand = node.lineno, node.ops[0]
        words = (nodes.Const(word, lineno=line) for word in (operand.op, side, name))
        return _call("compared", [node.expr, operand.expr, *words], line)

    def visit_Getitem(self, node: nodes.Getitem, *args: Any, **kwargs: Any) -> nodes.Node:
        _only_looked_at(node.arg)
        return self.generic_visit(node)

    def visit_For(self, node: nodes.For, *args: Any, **kwargs: Any) -> nodes.Node | list[nodes.Node]:
        found = found_when(node)
        node.iter = _counted(node.iter)
        self.generic_visit(node)
        line = node.lineno
        if found:
            node.body = [*node.body, _leaves_when(found, line)]
        if not _writes(node):
            turns: nodes.Node = nodes.ExprStmt(_call("step", [], line), lineno=line)
            node.body = [turns, *node.body]
            return node
        items = [nodes.Name(name, "load", lineno=line) for name in _names(node.target)]
        enters: nodes.Node = _output("enter_iteration", items, line)
        node.body = [enters, *node.body]
        begins: nodes.Node = nodes.ExprStmt(_call("enter_loop", [], line), lineno=line)
        return [begins, node, _output("leave_loop", [], line)]

    def visit_Assign(self, node: nodes.Assign, *args: Any, **kwargs: Any) -> nodes.Node | list[nodes.Node]:
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef) and not isinstance(node.node, nodes.Const):
            node.node = _call("owned", [node.node], node.lineno)
        if isinstance(node.target, nodes.Name) and isinstance(node.node, nodes.Getitem):
            name = nodes.Name(node.target.name, "load", lineno=node.lineno)
            return [node, _output("adopt", [name], node.lineno)]
        return node

    def _peeked(self, node: nodes.Expr) -> nodes.Expr:
        """A value of which nothing gets into the text, or into a variable."""
        if isinstance(node, nodes.Not):
            node.node = self._peeked(node.node)
        elif isinstance(node, (nodes.And, nodes.Or)):
            node.left, node.right = self._peeked(node.left), self._peeked(node.right)
        found = _field(node)
        if found is None or found[0].name in self.no_messages:
            return node
        return _call("peek_attribute" if isinstance(node, nodes.Getattr) else "peek_item", found, node.lineno)

    def visit_Output(self, node: nodes.Output, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node)
        if self.sums_are_texts:
            node.nodes = [part for child in node.nodes for term in _summands(child) for part in _bare_if_possible(term)]
        return node


def _field(node: nodes.Node) -> tuple[nodes.Name, nodes.Const] | None:
    """A variable and the name of a field of it, if the expression is just that."""
    if not isinstance(node, (nodes.Getattr, nodes.Getitem)) or not isinstance(node.node, nodes.Name):
        return None
    name = nodes.Const(node.attr, lineno=node.lineno) if isinstance(node, nodes.Getattr) else node.arg
    if not isinstance(name, nodes.Const) or type(name.value) is not str or name.value in _DICT_NAMES:
        return None
    _only_looked_at(name)
    return node.node, name


def _bare_if_possible(node: nodes.Expr) -> list[nodes.Expr]:
    """What is printed: a field of a variable, ``|trim`` med or not, first as the bare text that it may be."""
    is_text = _is_ours(node) and node.node.identifier == _OURS and node.node.name == "text"  # type: ignore[attr-defined]
    value: Any = node.args[0] if is_text else node  # type: ignore[attr-defined]
    trimmed = (
        isinstance(value, nodes.Filter) and value.name == "trim" and not (value.args or value.kwargs or value.dyn_args or value.dyn_kwargs)
    )
    found = _field(value.node if trimmed else value)
    if found is None:
        return [node]
    line = node.lineno
    otherwise = node if is_text else _call("emit", [node], line)
    arguments = [*found, nodes.Const(trimmed, lineno=line), otherwise]
    return [_call("source", arguments, line), _call("bare", arguments, line)]


def _only_looked_at(node: nodes.Node) -> None:
    for constant in node.items if isinstance(node, (nodes.List, nodes.Tuple)) else [node]:
        if isinstance(constant, nodes.Const) and isinstance(constant.value, str):
            setattr(constant, _LOOKED_AT, True)


def _comparisons(template: nodes.Template) -> tuple[dict[int, tuple[str, str]], set[str]]:
    """What the template does with attributes of namespaces: comparisons with those that are only compared, and which those are.

    The comparisons by identity, with the attribute's side and its name. Such an attribute tells the template nothing but on which side
    of other numbers it is; one that is set and never read tells it nothing.
    """
    references = list(template.find_all(nodes.NSRef))
    namespaces = {reference.name for reference in references}
    reads = [read for read in template.find_all(nodes.Getattr) if isinstance(read.node, nodes.Name) and read.node.name in namespaces]
    known = {id(read.node) for read in reads}
    if any(id(n) not in known for n in template.find_all(nodes.Name) if n.name in namespaces and n.ctx == "load"):
        return {}, set()
    sides: dict[int, tuple[nodes.Compare, str]] = {}
    for node in template.find_all(nodes.Compare):
        if len(node.ops) == 1 and node.ops[0].op in ORDER:
            sides[id(node.expr)] = (node, "left")
            sides[id(node.ops[0].expr)] = (node, "right")
    elsewhere = {read.attr for read in template.find_all(nodes.Getattr) if id(read) not in sides}
    unread = {reference.attr for reference in references} - {read.attr for read in template.find_all(nodes.Getattr)}
    found: dict[int, tuple[str, str]] = {}
    for read in reads:
        if read.attr in elsewhere:
            continue
        comparison, side = sides[id(read)]
        if id(comparison) in found:
            return {}, unread
        found[id(comparison)] = (side, read.attr)
    return found, unread | {name for _, name in found.values()}


def _loops_at_top(body: Iterable[nodes.Node]) -> Iterator[nodes.For]:
    """Plain loops whose text goes straight into the output."""
    for node in body:
        if isinstance(node, nodes.If):
            yield from _loops_at_top([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, nodes.For) and not (node.test or node.recursive or node.else_):
            yield node


def _writes(loop: nodes.For) -> bool:
    """Can the loop's body print, or keep, text?"""
    kept = (assign for assign in loop.find_all(nodes.Assign) if isinstance(assign.target, nodes.NSRef))
    return (
        any(loop.find(kind) is not None for kind in _WRITERS)
        or any(not isinstance(assign.node, nodes.Const) for assign in kept)
        or loop.recursive
    )


def _summands(node: nodes.Expr) -> list[nodes.Expr]:
    """``a + 'text' + b`` or ``a ~ b`` as what is printed one after the other.

    With text in a sum all of it is text, or adding fails: `text` fails then in the same way.
    """
    if isinstance(node, nodes.Concat):
        return list(node.nodes)
    if not isinstance(node, nodes.Add):
        return [node]
    terms = _terms(node)
    if not any(isinstance(term, nodes.Const) and isinstance(term.value, str) for term in terms):
        return [node]
    return [term if isinstance(term, nodes.Const) else _call("text", [term], term.lineno) for term in terms]


def _terms(node: nodes.Expr) -> list[nodes.Expr]:
    return [*_terms(node.left), node.right] if isinstance(node, nodes.Add) else [node]


def _counted(iterable: nodes.Node) -> nodes.Node:
    """``range(messages|length)`` and ``range(start, messages|length)``: such a loop sees the number of messages only when it ends."""
    if not (isinstance(iterable, nodes.Call) and isinstance(iterable.node, nodes.Name) and iterable.node.name == "range"):
        return iterable
    if iterable.kwargs or iterable.dyn_args or iterable.dyn_kwargs or len(iterable.args) not in (1, 2):
        return iterable
    start, stop = [nodes.Const(0, lineno=iterable.lineno), *iterable.args][-2:]
    if not (isinstance(stop, nodes.Filter) and stop.name == "length" and isinstance(stop.node, nodes.Name) and not stop.args):
        return iterable
    return _call("range_to", [iterable.node, start, stop.node], iterable.lineno)


def _leaves_when(found: Found, line: int) -> nodes.Node:
    """``{% if .. %}{% break %}{% endif %}`` for a loop whose search is over."""
    places = [
        nodes.Tuple([nodes.Name(name, "load", lineno=line), *(nodes.Const(known, lineno=line) for known in (attribute, value))], "load")
        for (name, attribute), value in found.values.items()
    ]
    over: nodes.Expr = _call("found", places, line)
    if found.item:
        over = nodes.And(over, _call("is_message", [nodes.Name(found.item, "load", lineno=line)], line), lineno=line)
    return nodes.If(over, [nodes.Break(lineno=line)], [], [], lineno=line)


def _names(target: nodes.Node) -> list[str]:
    return [name.name for name in ([target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name))]


def _call(method: str, arguments: Sequence[nodes.Node], line: int) -> nodes.Expr:
    function = nodes.ExtensionAttribute(_OURS, method, lineno=line)
    return nodes.Call(function, list(arguments), [], None, None, lineno=line)


def _output(method: str, arguments: Sequence[nodes.Node], line: int) -> nodes.Output:
    return nodes.Output([_call(method, arguments, line)], lineno=line)


class GenerationExtension(Extension):
    """``{% generation %}``: accepted with the scoping transformers gives it, and otherwise without effect."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)
