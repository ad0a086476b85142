"""What an object store's failures do to a place, and where no connection ever goes."""

import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from buckets import Bucket
from unsteady_servers import FailingRelay, redirecting, serving

from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.sources.place import Item

_connected: list[tuple[str, int]] = []


def _note_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        _connected.append(arguments[1][:2])


sys.addaudithook(_note_connection)


@pytest.fixture
def connected() -> list[tuple[str, int]]:
    """Every address, with its port, that this process connects to from now on."""
    _connected.clear()
    return _connected


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> Bucket:
    return Bucket(s3_environment)


@pytest.fixture
def relay(bucket: Bucket) -> Iterator[FailingRelay]:
    """A way to the moto server that can fail."""
    server = FailingRelay(bucket.options["endpoint_url"])
    with serving(server):
        yield server


def numbered(num_objects: int) -> list[str]:
    return [f"{number:05}.txt" for number in range(num_objects)]


@pytest.mark.parametrize("fault", ["busy", "drop", "cut", "late"])
def test_a_failure_that_passes_is_not_noticed(bucket: Bucket, relay: FailingRelay, fault: str) -> None:
    bucket.put(**{f"{number:02}": f"content {number}".encode() for number in range(12)})
    config = {"read_timeout": 1} if fault == "late" else {}
    store = bucket.open(options={"endpoint_url": relay.address, "config_kwargs": config})
    relay.fail(fault, 2)
    items = list(store.items())
    assert len(items) == 12
    assert len(relay.requests) == 3
    relay.fail(fault, 2)
    assert list(store.fetch(items)) == [f"content {number}".encode() for number in range(12)]
    assert len(relay.requests) == 3 + 12 + 2  # what had come was not asked for again


@pytest.mark.parametrize(
    ("fault", "how", "num_requests"),
    [
        ("busy", "it answers 503", 3),
        ("drop", "it breaks off (ConnectionClosedError)", 6),  # aiohttp asks once more by itself
        ("cut", "it breaks off", 3),
    ],
)
def test_a_failure_that_stays_is_the_platform_s_and_names_the_endpoint(
    bucket: Bucket, relay: FailingRelay, fault: str, how: str, num_requests: int
) -> None:
    bucket.put(a=b"aaaa")
    store = bucket.open(options={"endpoint_url": relay.address})
    items = list(store.items())
    relay.fail(fault)
    for ask in (lambda: list(store.items()), lambda: list(store.fetch(items))):
        before = len(relay.requests)
        with pytest.raises(PlatformError) as raised:
            ask()
        assert f"the object store at {relay.address} does not answer, after 3 tries: {how}" in str(raised.value)
        assert len(relay.requests) == before + num_requests
    relay.faults.clear()
    assert list(store.fetch(items)) == [b"aaaa"]


def test_a_listing_that_breaks_between_its_pages_goes_on_where_it_was(bucket: Bucket, relay: FailingRelay) -> None:
    bucket.fill(numbered(1500))
    store = bucket.open(options={"endpoint_url": relay.address})
    paths = []
    for item in store.items():
        paths.append(item.path)
        if len(paths) == 10:
            relay.fail("drop", 2)
    assert paths == numbered(1500)
    assert len(relay.requests) == 4


def test_a_server_that_does_not_run_is_the_platform_s_failure(bucket: Bucket) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PlatformError, match=f"the object store at {endpoint} .* it cannot be reached"):
            list(bucket.open(options={"endpoint_url": endpoint}).items())


def test_thousands_of_objects_are_listed_a_page_at_a_time(bucket: Bucket, relay: FailingRelay) -> None:
    bucket.fill(numbered(2500))
    store = bucket.open(options={"endpoint_url": relay.address})
    items = store.items()
    assert next(items).path == "00000.txt"
    assert len(relay.requests) == 1
    assert [item.path for item in items] == numbered(2500)[1:]
    assert len(relay.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/", "http://127.0.0.1:{port}/"])
def test_a_redirect_is_followed_nowhere(bucket: Bucket, connected: list[tuple[str, int]], status: int, to: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = redirecting(status, to.format(port=listener.getsockname()[1]))
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with serving(server):
            store = bucket.open(options={"endpoint_url": endpoint})
            message = (
                rf"{endpoint} says that the bucket \w+ is elsewhere \({status}\): correct the endpoint or the region"
            )
            with pytest.raises(ConfigError, match=message):
                list(store.items())
            with pytest.raises(ConfigError, match=message):
                list(store.fetch([Item("a", '1 "etag"', 1)]))
    assert set(connected) == {("127.0.0.1", server.server_port)}


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://169.254.169.254", "is at 169.254.169.254, a cloud's metadata service, which no source may reach"),
        ("http://[fe80::1]:9000", "is at fe80::1, a link-local address"),
        (
            "http://8.8.8.8:9000",
            "is at 8.8.8.8, which is no private address: if that is meant, write `allow_public: true`",
        ),
        ("http://0.0.0.0:9000", "is at 0.0.0.0, the unspecified address"),
        (None, "is the public cloud's, at s3.amazonaws.com: name another endpoint, or write `allow_public: true`"),
        ("https://s3.eu-central-1.amazonaws.com", "is the public cloud's, at s3.eu-central-1.amazonaws.com"),
    ],
)
def test_a_server_that_may_not_be_reached_is_not_connected_to(
    bucket: Bucket, connected: list[tuple[str, int]], endpoint: str | None, message: str
) -> None:
    options = {"endpoint_url": endpoint, "region": None}
    with pytest.raises(ConfigError) as raised:
        list(bucket.open(options=options).items())
    assert message in str(raised.value)
    assert connected == []


def test_the_metadata_service_is_refused_even_where_public_addresses_are_allowed(
    bucket: Bucket, connected: list[tuple[str, int]]
) -> None:
    with pytest.raises(ConfigError, match="a cloud's metadata service"):
        list(bucket.open(allow_public=True, options={"endpoint_url": "http://169.254.169.254"}).items())
    assert connected == []


def test_no_proxy_stands_between_this_machine_and_a_private_server(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, connected: list[tuple[str, int]]
) -> None:
    bucket.put(a=b"a")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        connected.clear()
        store = bucket.open(options={"config_kwargs": {"read_timeout": 1}})
        assert list(store.fetch(list(store.items()))) == [b"a"]
        assert proxy.getsockname() not in connected
