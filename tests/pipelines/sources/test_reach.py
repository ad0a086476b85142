"""Where a place may be reached: privately, publicly if its source says so, and never where metadata services stand."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiohttp import web

from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.sources.places.reach import checked_addresses, connector_args, refusal_within

PRIVATE = ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "172.32.0.1"]
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
]


def resolving(*addresses: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A name service that knows these addresses of every name."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return resolve


def reached(*addresses: str, allow_public: bool = False) -> list[str]:
    resolve = resolving(*addresses)
    return checked_addresses("crm.example", 5432, allow_public=allow_public, what="the store", resolve=resolve)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_what_a_source_has(address: str) -> None:
    assert reached(address) == [address]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached_only_where_the_source_allows_it(address: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        reached(address)
    assert str(refusal.value) == (
        f"the store is at crm.example ({address}), which is no private address: "
        "if that is meant, write `allow_public: true` beside it"
    )
    assert reached(address, allow_public=True) == [address]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_public", [False, True])
def test_metadata_services_and_addresses_of_no_host_are_never_reached(address: str, allow_public: bool) -> None:
    with pytest.raises(ConfigError, match="which no source may reach: correct its address") as refusal:
        reached(address, allow_public=allow_public)
    assert "allow_public" not in str(refusal.value)


def test_one_address_of_a_name_that_may_not_be_reached_is_enough_to_refuse_it() -> None:
    assert reached("10.0.0.1", "::1", "10.0.0.1") == ["10.0.0.1", "::1"]
    with pytest.raises(ConfigError, match=r"\(169\.254\.169\.254\)"):
        reached("10.0.0.1", "169.254.169.254", allow_public=True)


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "2852039166", "169.254.43518", "::ffff:a9fe:a9fe"])
def test_a_literal_address_in_any_writing_is_checked(host: str) -> None:
    with pytest.raises(ConfigError, match="which no source may reach"):
        checked_addresses(host, 80, allow_public=True, what="the store")


def test_an_unknown_name_is_a_mistake_and_a_silent_name_service_is_not() -> None:
    def failing(code: int) -> Callable[..., Any]:
        def resolve(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(code, "failed")

        return resolve

    with pytest.raises(ConfigError, match=r"crm\.example, which is no known host"):
        checked_addresses("crm.example", 1, allow_public=False, what="it", resolve=failing(socket.EAI_NONAME))
    with pytest.raises(PlatformError, match="the name service gives no answer"):
        checked_addresses("crm.example", 1, allow_public=False, what="it", resolve=failing(socket.EAI_AGAIN))
    with pytest.raises(ConfigError, match="can be no host's name"):
        checked_addresses("a" * 70 + ".example", 1, allow_public=False, what="it")


async def served(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> tuple[web.AppRunner, int]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


def asked(url: str, location: str | None = None, **arguments: Any) -> str:
    """What a server on this machine answers to a client that checks addresses; it may send the client elsewhere."""

    async def answer(request: web.Request) -> web.Response:
        if location is not None and request.path == "/":
            raise web.HTTPFound(location.format(port=request.url.port))
        return web.Response(text="reached")

    async def ask() -> str:
        runner, port = await served(answer)
        try:
            connector = aiohttp.TCPConnector(use_dns_cache=False, **connector_args(what="the store", **arguments))
            async with (
                aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(5)) as session,
                session.get(url.format(port=port)) as response,
            ):
                return await response.text()
        finally:
            await runner.cleanup()

    return asyncio.run(ask())


def refused(url: str, location: str | None = None, **arguments: Any) -> str:
    with pytest.raises(Exception) as failure:
        asked(url, location, **arguments)
    found = refusal_within(failure.value)
    assert found is not None, repr(failure.value)
    return str(found)


def test_a_client_connects_to_the_very_address_that_was_checked() -> None:
    resolve = resolving("127.0.0.1")
    assert asked("http://store.example:{port}/", allow_public=False, resolve=resolve) == "reached"
    assert asked("http://127.0.0.1:{port}/", allow_public=False) == "reached"


def test_a_client_checks_names_and_literal_addresses() -> None:
    assert "169.254.169.254" in refused("http://169.254.169.254/", allow_public=True)
    assert "allow_public: true" in refused("http://8.8.8.8/", allow_public=False)
    several = resolving("127.0.0.1", "8.8.8.8")
    assert "(8.8.8.8)" in refused("http://store.example:{port}/", allow_public=False, resolve=several)


def test_a_redirect_to_a_metadata_service_is_refused() -> None:
    local = {"allow_public": True, "resolve": resolving("127.0.0.1")}
    assert "169.254.169.254" in refused("http://a.example:{port}/", "http://169.254.169.254/latest", **local)
    assert "fd00:ec2::254" in refused("http://a.example:{port}/", "http://[fd00:ec2::254]/latest", **local)


def test_a_name_that_leads_elsewhere_when_it_is_resolved_again_is_refused() -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return resolving(next(answers))(host, port)

    url = "http://rebound.example:{port}"
    again = refused(f"{url}/", "http://other.example:{port}/again", allow_public=True, resolve=resolve)
    assert "other.example (169.254.169.254)" in again


def test_the_client_of_object_stores_takes_it() -> None:
    arguments = connector_args(allow_public=False, what="the store")
    assert AioConfig(connector_args=arguments).connector_args["resolver"] is arguments["resolver"]


def test_an_error_without_a_refusal_within_has_none() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    assert refusal_within(error) is None
