"""``%`` and ``str.format`` with origins.

Both are done twice: once by Python, which gives the text, and once here piece by piece, which gives the origins. Where the two
texts differ the result falls back to one run of unknown or common origin, so the text is always Python's.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from maskkit.chat.containers import derive_value, stringify, traced_repr
from maskkit.chat.limits import check_format
from maskkit.chat.traced import Traced, concat, literal, plain

_CONVERSION = re.compile(
    r"%(?:\((?P<key>[^)]*)\))?(?P<flags>[-+ #0]*)(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?[hlL]?(?P<type>[a-zA-Z%])"
)


def percent(template: Traced, arguments: Any) -> Traced:
    """``template % arguments``."""
    values = arguments if isinstance(arguments, tuple) else arguments.values() if isinstance(arguments, Mapping) else (arguments,)
    check_format(plain(template), values)
    text = str.__mod__(plain(template), arguments)
    pieces = _percent_pieces(template, arguments)
    if pieces is not None and "".join(pieces) == text:
        return concat(pieces, type(template))
    return derive_value(text, template, arguments)


def _percent_pieces(template: Traced, arguments: Any) -> list[str] | None:
    pieces: list[str] = []
    positional = list(arguments) if isinstance(arguments, tuple) else [arguments]
    at = 0
    for match in _CONVERSION.finditer(plain(template)):
        pieces.append(template[at : match.start()])
        at = match.end()
        if match["type"] == "%":
            pieces.append(template[match.start() : match.start() + 1])
            continue
        if match["width"] == "*" or match["precision"] == "*":
            return None
        value = arguments[match["key"]] if match["key"] is not None else positional.pop(0)
        pieces.append(_converted(match, value))
    pieces.append(template[at:])
    return pieces


def _converted(match: re.Match[str], value: Any) -> str:
    bare = not match["width"] and match["precision"] is None
    if bare and match["type"] == "s":
        return stringify(value)
    if bare and match["type"] == "r":
        return traced_repr(value)
    precision = "" if match["precision"] is None else "." + match["precision"]
    return derive_value(f"%{match['flags']}{match['width']}{precision}{match['type']}" % (value,), value)


def brace_format(
    template: Traced, text: str, args: Sequence[Any], kwargs: Mapping[str, Any], formatter: string.Formatter | None = None
) -> Traced:
    """``template.format(*args, **kwargs)``, which gave ``text``; ``formatter`` looks fields up as the sandbox does."""
    pieces = _brace_pieces(template, args, kwargs, formatter or string.Formatter())
    if "".join(pieces) == text:
        return concat(pieces, type(template))
    return derive_value(plain(text), template, list(args), dict(kwargs))


def _brace_pieces(template: Traced, args: Sequence[Any], kwargs: Mapping[str, Any], formatter: string.Formatter) -> list[str]:
    pieces: list[str] = []
    automatic = 0
    for text, name, spec, conversion in formatter.parse(plain(template)):
        pieces.append(literal(text))
        if name is None:
            continue
        if name == "" or name[0] in ".[":
            name, automatic = f"{automatic}{name}", automatic + 1
        value, _ = formatter.get_field(name, args, kwargs)
        if conversion == "r":
            value = traced_repr(value)
        elif conversion == "s":
            value = stringify(value)
        elif conversion:
            value = derive_value(ascii(value), value)
        if spec:
            spec = formatter.vformat(spec, args, kwargs)
            pieces.append(derive_value(format(plain(value) if isinstance(value, str) else value, spec), value))
        else:
            pieces.append(stringify(value))
    return pieces
