"""The language of chat templates: Jinja in a sandbox, with what `transformers` lets a template call.

It follows ``_cached_compile_jinja_template`` of transformers 5, without torch. One thing is left out on purpose:
``strftime_now``, by which a template writes the day, because what is trained must not depend on when that is.
"""

import json
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


def compile_template(source: str) -> Template:
    """Return a chat template that can be rendered.

    Raises:
        jinja2.TemplateError: it is not Jinja.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise, "dict": _Dictionaries(), "namespace": _Variables}
    return environment.from_string(source)


class _Generation(Extension):
    """The block `{% generation %}`, in which some templates put what an assistant says: it is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Dictionaries:
    """`dict`, without what Python's own would let a template reach."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Variables(Namespace):
    """`namespace`, without the names through which a template would reach Python."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        variables = dict(*args, **kwargs)
        for name in variables:
            _refuse_hidden(name)
        super().__init__(variables)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_hidden(name)
        super().__setitem__(name, value)


def _refuse_hidden(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a chat template may not set {name!r} on a namespace")


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
