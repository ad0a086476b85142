"""What a site knows of its databases and object stores, each by a name: addresses and credentials, never in YAML."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import Field, SecretStr

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Value

_SCHEME = re.compile(r"([a-z][a-z0-9_]*)(\+[a-z0-9_]+)?://", re.ASCII)
_NO_DATABASES = {"http", "https", "ftp", "file", "s3", "gs", "gcs", "az", "abfs"}


class Connection(Value):
    """How a database or an object store is reached.

    Attributes:
        url: a database's SQLAlchemy URL, with its password.
        options: what fsspec's file system of an object store takes: endpoint, key, secret.
    """

    url: SecretStr | None = None
    options: Mapping[str, Any] = Field(default_factory=dict, repr=False)


class Connections(Protocol):
    """Finds connections by their names."""

    def __call__(self, name: str) -> Connection:
        """Return a connection.

        Raises:
            ConfigError: the site has none of that name; the message says how it is given one.
        """


def no_connections(name: str) -> Connection:
    """Know of no connection.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"the connection {name} is not known here")


def written_connection(text: str, where: str) -> Connection:
    """Read a connection from one string: a database's URL, or JSON with what `parse_connection` takes.

    Args:
        text: the string.
        where: who holds it, as a sentence begins.

    Raises:
        ConfigError: it is neither; it is not quoted, for it may hold a secret.
    """
    if not text.lstrip().startswith("{"):
        return parse_connection(text.strip(), where)
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if value is None:
        raise ConfigError(
            f"{where} begins like JSON and is none: correct it, as {{url: …}} or an object store's options"
        )
    return parse_connection(value, where)


def parse_connection(value: object, where: str) -> Connection:
    """Read a connection from a database's URL, from a mapping with that ``url``, or from an object store's options.

    Args:
        value: what the site gives.
        where: who holds it, as a sentence begins.

    Raises:
        ConfigError: it is none of these; it is not quoted, for it may hold a secret.
    """
    if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        if "url" not in value:
            return Connection(options=dict(value))
        if len(value) > 1:
            raise ConfigError(f"{where} holds a `url` and other options: a database has its `url` alone")
        value = value["url"]
    if not isinstance(value, str):
        raise ConfigError(f"{where} holds neither a database's URL nor an object store's options: write one of them")
    scheme = _SCHEME.match(value)
    if scheme is None or scheme[1] in _NO_DATABASES:
        raise ConfigError(
            f"{where} holds no database's URL such as postgresql://user:password@host/database: "
            "correct it, or write an object store's options as a mapping"
        )
    if value.count("@") > 1:
        raise ConfigError(f"{where} holds a URL with more than one @: write those of the password as %40")
    return Connection(url=SecretStr(value))


def connections_of(file: Path, where: str) -> Mapping[str, object]:
    """Return what a file of connections holds, each by its name, not yet parsed.

    Args:
        file: YAML that only its owner may read.
        where: who names it, as a sentence begins.

    Raises:
        ConfigError: there is no such file, others may read it, or it holds no mapping; it is not quoted.
    """
    try:
        with file.open("rb") as opened:
            others_may_read = os.fstat(opened.fileno()).st_mode & 0o077
            content = opened.read()
    except OSError as error:
        raise ConfigError(f"{where} is {file}, which cannot be read ({error.strerror}): correct it") from error
    if others_may_read:
        raise ConfigError(f"{where} is {file}, which others may read: it holds passwords, so `chmod 600 {file}`")
    try:
        held = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        held, line = "", "" if mark is None else f", line {mark.line + 1}"
    else:
        line = ""
    if not isinstance(held, Mapping):
        raise ConfigError(f"{where} is {file}{line}, which is no YAML mapping of names to connections: correct it")
    return held
