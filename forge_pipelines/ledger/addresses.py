"""Where Forge's databases are: addresses, made and read without asking a server."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from forge_pipelines.errors import ConfigError

NAMES = ("dagster", "mlflow", "forge")
_LONGEST_SOCKET_PATH_BYTES = 107  # unix(7): sun_path holds 108, a zero among them
_LONGEST_SOCKET_NAME = "code-server.sock"  # of `forge up`; PostgreSQL's .s.PGSQL.5432 is shorter


@dataclass(frozen=True, slots=True)
class Databases:
    """Addresses for SQLAlchemy and libpq alike, one database each; they may hold a password.

    Attributes:
        dagster: runs, events and schedules.
        mlflow: experiments and the model registry.
        forge: Forge's own tables.
        descriptor: an open file that keeps the embedded server running in whatever process inherits it; None where a
            site runs the server.
    """

    dagster: str
    mlflow: str
    forge: str
    descriptor: int | None = None


def addresses(home: Path, url: str | None) -> Databases:
    """Return where the databases are while `postgres.postgres` lasts.

    Raises:
        ConfigError: ``url`` is no such address.
    """
    server = url or f"postgresql://postgres@?host={quote(str(socket_folder(home)), safe='')}"
    dagster, mlflow, forge = (address_of(server, name) for name in NAMES)
    return Databases(dagster, mlflow, forge)


def address_of(url: str, database: str | None = None) -> str:
    """Return an address in the one form that libpq and SQLAlchemy both read, of its own database or another.

    Raises:
        ConfigError: ``url`` is no such address.
    """
    parts = _split(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"postgresql://{parts.netloc}/{database or parts.path.strip('/') or 'postgres'}{query}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme.partition("+")[0] in {"postgresql", "postgres"} and parts.port != 0
    except ValueError:
        known = False
    if not known:  # the address is not quoted: it may hold a password
        raise ConfigError("FORGE_POSTGRES_URL is no address of the form postgresql://user:password@host:port/database")
    return parts


def place_of(url: str) -> str:
    """Name a server and database as a person does, without the account and its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["localhost"])[0]
    return f"{host}{parts.path}"


def socket_folder(home: Path) -> Path:
    """Return the folder of Unix sockets: the server's own, or one under /tmp where their paths would be too long.

    `postgres.make_socket_folder` makes it; only its owner enters it.
    """
    folder = home.resolve() / "postgres"
    if len(os.fsencode(folder / _LONGEST_SOCKET_NAME)) <= _LONGEST_SOCKET_PATH_BYTES:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
    return Path(f"/tmp/forge-{os.geteuid()}-{digest[:12]}")
