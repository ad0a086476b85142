"""Which addresses a place may be reached at: private ones, public ones where its source allows it, some never."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from forge_pipelines.errors import ConfigError, PlatformError

Address = IPv4Address | IPv6Address
Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""What `socket.getaddrinfo` does."""

_PRIVATE = tuple(
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598: between a provider and its customers; VPNs use it
        "::1/128",
        "fc00::/7",
        "fec0::/10",  # RFC 3879: what fc00::/7 took the place of
    )
)
_METADATA = {
    ip_address(address)
    for address in (
        "169.254.169.254",
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's WireServer
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # Amazon
        "fd20:ce::254",  # Google
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
        "fd00:42::42",  # Scaleway
    )
}
_THIS_HOST = ip_network("0.0.0.0/8")
_EMBEDDING = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""Networks whose last 32 bits are an IPv4 address: RFC 4291 (compatible), RFC 6052 and RFC 8215 (NAT64)."""
_ALONE = {ip_address("::"), ip_address("::1")}


def checked_addresses(
    host: str, port: int, *, allow_public: bool, what: str, resolve: Resolve = socket.getaddrinfo
) -> list[str]:
    """Return a host's numeric addresses, of which every one may be reached; connect to these and to no name.

    Args:
        host: a name or an address.
        port: in the same connection.
        allow_public: whether public addresses are allowed.
        what: whose host it is, as a sentence begins: «the database of connection crm».
        resolve: finds a name's addresses.

    Raises:
        ConfigError: one of the addresses may not be reached, or there is no such host.
        PlatformError: the name service does not answer.
    """
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise PlatformError(f"{what} is at {host}, for which the name service gives no answer now") from error
        raise ConfigError(f"{what} is at {host}, which is no known host: correct its address") from error
    except UnicodeError as error:
        raise ConfigError(f"{what} is at {host!r}, which can be no host's name: correct its address") from error
    return _checked(host, (str(info[4][0]) for info in found), allow_public, what)


class CheckedResolver:
    """A resolver of aiohttp's that gives only addresses which may be reached, however often a name is resolved.

    aiohttp asks no resolver about literal addresses, those that a redirect names among them: `connector_args` checks
    these where sockets are made.

    Args:
        allow_public: whether public addresses are allowed.
        what: whose hosts they are, as a sentence begins.
        resolve: finds a name's addresses.
    """

    def __init__(self, *, allow_public: bool, what: str, resolve: Resolve = socket.getaddrinfo) -> None:
        self._allow_public, self._what, self._resolve = allow_public, what, resolve

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        """Return a host's addresses, each of which may be reached.

        Raises:
            ConfigError: one of them may not be.
            OSError: none is found.
        """
        found = await asyncio.to_thread(self._resolve, host, port, family=family, type=socket.SOCK_STREAM)
        _checked(host, (str(info[4][0]) for info in found), self._allow_public, self._what)
        return [
            {
                "hostname": host,
                "host": str(info[4][0]),
                "port": port,
                "family": info[0],
                "proto": info[2],
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for info in found
        ]

    async def close(self) -> None:
        """Hold nothing that needs closing."""


def connector_args(*, allow_public: bool, what: str, resolve: Resolve = socket.getaddrinfo) -> dict[str, Any]:
    """Return what makes aiohttp, and aiobotocore by ``AioConfig(connector_args=…)``, check each address it connects to.

    Names pass through a `CheckedResolver`; every socket, those of redirects and literal addresses too, is made for a
    checked address only. A `ConfigError` that is raised within comes out wrapped by the library: see `refusal_within`.
    Where the library uses a proxy, it is the proxy's address that is checked.

    Args:
        allow_public: whether public addresses are allowed.
        what: whose hosts they are, as a sentence begins.
        resolve: finds a name's addresses.
    """
    from aiohttp.abc import AbstractResolver

    AbstractResolver.register(CheckedResolver)

    def socket_for(info: tuple[Any, ...]) -> socket.socket:
        address = str(info[4][0])
        _checked(address, [address], allow_public, what)
        return socket.socket(family=info[0], type=info[1], proto=info[2])

    resolver = CheckedResolver(allow_public=allow_public, what=what, resolve=resolve)
    return {"resolver": resolver, "socket_factory": socket_for}


def refusal_within(error: BaseException) -> ConfigError | None:
    """Return the refusal of an address that a library's error was raised from, if that is what happened."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if isinstance(found, ConfigError):
            return found
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            pending += [found.__cause__, found.__context__]
    return None


def _checked(host: str, addresses: Iterable[str], allow_public: bool, what: str) -> list[str]:
    numeric = list(dict.fromkeys(addresses))
    for text in numeric:
        at = f"{what} is at {host}" + ("" if text == host else f" ({text})")
        address = _meant(ip_address(text))
        kind = _never(address)
        if kind is not None:
            raise ConfigError(f"{at}, {kind}, which no source may reach: correct its address")
        if not allow_public and not any(address in network for network in _PRIVATE):
            raise ConfigError(
                f"{at}, which is no private address: if that is meant, write `allow_public: true` beside it"
            )
    return numeric


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address) or address in _ALONE:
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and any(address in network for network in _EMBEDDING):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _never(address: Address) -> str | None:
    """Say what kind of address it is, if it is one that is always refused."""
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_link_local:
        return "a link-local address, as metadata services have"
    if address.is_unspecified or address in _THIS_HOST:
        return "the unspecified address"
    if address.is_multicast or (isinstance(address, IPv4Address) and address.is_reserved):
        return "no address of a single host"
    return None
