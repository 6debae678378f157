"""Loops that look for something, and the moment when they have found it.

Templates have no ``break``, so that they walk over all messages even where only the last question, or the first reply behind a call, is
wanted, and for every message again::

    {% for m in messages[::-1] %}{% if ns.searching and m.role == 'user' %}{% set ns.searching = false %}...{% endif %}{% endfor %}

With ``ns.searching`` false, no further iteration can do anything. `found_when` proves this from the loop's body alone: with attributes of
namespaces set to constants that the body itself gives them, all that is left of the body prints nothing, changes nothing and cannot
fail. The loop is then left (`compiler`), with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes

Place = tuple[str, str]
"""A namespace's name, and an attribute of it."""

_LOOP_NUMBERS = frozenset({"index", "index0", "revindex", "revindex0", "length"})
_TESTS = frozenset(
    {"boolean", "callable", "defined", "false", "float", "integer", "mapping", "none", "number", "string", "true", "undefined"}
)
_SURE = frozenset({"eq", "ne"})


@dataclass(frozen=True)
class Found:
    """When a loop's search is over."""

    values: Mapping[Place, Any]
    """What attributes of namespaces hold then."""
    item: str = ""
    """The loop's variable, if it has to be a message."""


def found_when(loop: nodes.For) -> Found | None:
    """When the rest of the loop does nothing; None if that is not known."""
    if loop.test or loop.recursive or loop.else_:
        return None
    assigned: dict[Place, list[nodes.Node]] = {}
    for assign in loop.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.NSRef):
            assigned.setdefault((assign.target.name, assign.target.attr), []).append(assign.node)
    stored = {name.name for name in loop.find_all(nodes.Name) if name.ctx != "load"}
    constants = {place: value for place, values in assigned.items() if place[0] not in stored and (value := _one_constant(values))}
    for values in (*({place: value} for place, value in constants.items()), constants):
        search = _Search(loop, values, stored)
        if values and search.is_over():
            return Found({place: value.value for place, value in values.items()}, search.item)
    return None


def _one_constant(values: Sequence[nodes.Node]) -> nodes.Const | None:
    first = values[0]
    return first if isinstance(first, nodes.Const) and all(_is_same(value, first) for value in values) else None


def _is_same(value: nodes.Node, other: nodes.Const) -> bool:
    return isinstance(value, nodes.Const) and type(value.value) is type(other.value) and bool(value.value == other.value)


class _Search:
    """Goes through a loop's body as it runs once ``found`` is so."""

    def __init__(self, loop: nodes.For, found: Mapping[Place, nodes.Const], stored: set[str]) -> None:
        self.loop = loop
        self.found = found
        self.stored = stored
        """Variables that the body sets."""
        self.item = ""
        """The loop's variable, if the proof needs it to be a message."""

    def is_over(self) -> bool:
        """Does the body do nothing?"""
        return all(self._is_idle(node) or self._repeats(node) for node in self.loop.body)

    def _repeats(self, node: nodes.Node) -> bool:
        """Does the body's own statement set a variable of the iteration as it did before, or to another number?"""
        return isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name) and self._is_number(node.node)

    def _are_idle(self, body: Iterable[nodes.Node]) -> bool:
        return all(map(self._is_idle, body))

    def _is_idle(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Output):
            return all(isinstance(child, nodes.TemplateData) and not child.data for child in node.nodes)
        if isinstance(node, nodes.If):
            return self._is_idle_if(node)
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.NSRef):
            value = self.found.get((node.target.name, node.target.attr))
            return value is not None and _is_same(node.node, value)
        return False

    def _is_idle_if(self, node: nodes.If) -> bool:
        for branch in (node, *node.elif_):
            if not self._is_sure(branch.test):
                return False
            holds = self._value(branch.test)
            if holds is not False and not self._are_idle(branch.body):
                return False
            if holds is True:
                return True
        return self._are_idle(node.else_)

    def _value(self, test: nodes.Node) -> bool | None:
        """What the test says; None if that depends on more than what was found."""
        if isinstance(test, nodes.Not):
            value = self._value(test.node)
            return None if value is None else not value
        if isinstance(test, (nodes.And, nodes.Or)):
            decides = isinstance(test, nodes.Or)
            values = self._value(test.left), self._value(test.right)
            return decides if decides in values else None if None in values else not decides
        if isinstance(test, nodes.Getattr):
            held = self._held(test)
            return None if held is None else bool(held.value)
        return None

    def _held(self, node: nodes.Node) -> nodes.Const | None:
        if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            return self.found.get((node.node.name, node.attr))
        return None

    def _is_sure(self, node: nodes.Node) -> bool:
        """Can the expression not fail, wherever the loop has come to?"""
        if isinstance(node, (nodes.Const, nodes.Name)):
            return True
        if isinstance(node, nodes.Not):
            return self._is_sure(node.node)
        if isinstance(node, (nodes.And, nodes.Or)):
            left = self._value(node.left)
            is_decided = left is not None and left is isinstance(node, nodes.Or)
            return self._is_sure(node.left) and (is_decided or self._is_sure(node.right))
        if isinstance(node, (nodes.Getattr, nodes.Getitem)):
            return self._held(node) is not None or self._is_field(node)
        if isinstance(node, nodes.Compare):
            return self._is_sure(node.expr) and all(self._is_sure_operand(operand) for operand in node.ops)
        if isinstance(node, nodes.Test):
            return node.name in _TESTS and not (node.args or node.kwargs) and self._is_sure(node.node)
        return False

    def _is_sure_operand(self, operand: nodes.Operand) -> bool:
        if operand.op in ("in", "notin"):
            return self._is_item(operand.expr) and self._is_sure(operand.expr)
        return operand.op in _SURE and self._is_sure(operand.expr)

    def _is_field(self, node: nodes.Getattr | nodes.Getitem) -> bool:
        """Is it a field of the loop's message?"""
        named = isinstance(node, nodes.Getattr) or isinstance(node.arg, nodes.Const)
        return named and self._is_item(node.node)

    def _is_item(self, node: nodes.Node) -> bool:
        target = self.loop.target
        if not (isinstance(node, nodes.Name) and isinstance(target, nodes.Name) and node.name == target.name):
            return False
        self.item = target.name
        return True

    def _is_number(self, node: nodes.Node) -> bool:
        """Is it a sum of numbers that the body has computed for other iterations, so that it cannot fail now?"""
        if isinstance(node, (nodes.Add, nodes.Sub)):
            return self._is_number(node.left) and self._is_number(node.right)
        if isinstance(node, nodes.Filter):
            of = node.node
            return node.name == "length" and not node.args and isinstance(of, nodes.Name) and of.name not in self.stored
        if isinstance(node, nodes.Getattr):
            return isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _LOOP_NUMBERS
        return isinstance(node, nodes.Const) and type(node.value) is int
