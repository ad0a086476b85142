"""What happens to the endpoint while it runs: another version, a dead engine, its own end."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from serving_client import Endpoint

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def endpoint(site: Path) -> Iterator[Endpoint]:
    running = Endpoint(site)
    yield running
    running.process.kill()
    running.process.wait()


class Load:
    """Clients that ask one question after another, streamed and not, until they are told to stop."""

    def __init__(self, endpoint: Endpoint, clients: int = 3) -> None:
        self.models: list[str] = []
        self.failures: list[Exception] = []
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        client = self._endpoint.client()
        while not self._stop.is_set():
            try:
                asked: Any = {"model": "tiny", "prompt": "Once", "max_tokens": 40}
                if number % 2:
                    chunks = list(client.completions.create(**asked, stream=True))
                    assert len({chunk.model for chunk in chunks}) == 1
                    assert chunks[-1].choices[0].finish_reason == "length"
                    self.models.append(chunks[0].model)
                else:
                    self.models.append(client.completions.create(**asked).model)
            except (openai.OpenAIError, AssertionError) as error:
                self.failures.append(error)


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def point_to(root: Path, version: int) -> None:
    """Make a version the champion, at once: whoever looks sees either the former or this one."""
    (root / "version.part").write_text(f"{version}")
    (root / "version.part").replace(root / "version")


def test_another_version_is_taken_over_under_load_without_a_failed_request_and_ctrl_c_ends_all(
    endpoint: Endpoint,
) -> None:
    with Load(endpoint) as load:
        until(lambda: len(load.models) >= 3)
        point_to(endpoint.root, 3)
        endpoint.wait_for("goes on being served: version 3 is damaged")
        point_to(endpoint.root, 2)
        endpoint.wait_for("tiny:2 is served now")
        seen = len(load.models)
        until(lambda: len(load.models) >= seen + 6)
    assert load.failures == []
    assert set(load.models) == {"tiny:1", "tiny:2"}
    assert load.models[-1] == "tiny:2"
    until(lambda: len(endpoint.descendants()) <= 2)
    endpoint.engine()  # there is one

    with pytest.raises(openai.BadRequestError, match=r"has no chat template.*/v1/completions") as refused:
        endpoint.client().chat.completions.create(model="tiny", messages=HELLO)
    assert refused.value.code == "no_chat_template"
    with pytest.raises(openai.NotFoundError, match="serves tiny:2 alone"):
        endpoint.client().completions.create(model="tiny:1", prompt="Once")

    family = endpoint.descendants()
    client = endpoint.sent({"prompt": "Once", "max_tokens": 500})
    endpoint.process.send_signal(signal.SIGINT)
    assert endpoint.process.wait(timeout=60) == 0
    endpoint.wait_for("ended")
    client.close()
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_an_engine_that_is_killed_costs_the_requests_in_flight_and_is_started_again_if_it_can_be(
    endpoint: Endpoint,
) -> None:
    chunks = endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=500, stream=True)
    next(iter(chunks))
    waiting = threading.Thread(target=lambda: said.append(failure(endpoint)))
    said: list[int] = []
    waiting.start()
    until(lambda: httpx.get(f"{endpoint.url}/health").json()["waiting"])
    endpoint.engine().kill()
    with pytest.raises(openai.APIError, match="the model's process has ended"):
        list(chunks)
    waiting.join()
    assert said == [502]
    endpoint.wait_for("is started again")
    health = httpx.get(f"{endpoint.url}/health")
    assert (health.status_code, health.json()["status"]) == (503, "starting")
    with pytest.raises(openai.InternalServerError) as meanwhile:
        endpoint.client().completions.create(model="tiny", prompt="Once")
    assert meanwhile.value.status_code == 503
    assert int(meanwhile.value.response.headers["retry-after"]) > 0
    endpoint.wait_for("is served again")
    assert endpoint.client().completions.create(model="tiny", prompt="Once").model == "tiny:1"

    (endpoint.root / "v1" / "model.safetensors").write_bytes(b"torn")
    endpoint.engine().kill()
    assert endpoint.process.wait(timeout=60) == 1
    log = endpoint.root / "serve-tiny-1.log"
    endpoint.wait_for(f"the model's process does not start: it has ended (exit code 1), its log says why: {log}")
    assert "SafetensorError" in log.read_text()


def failure(endpoint: Endpoint) -> int:
    with pytest.raises(openai.APIStatusError) as failed:
        endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=500)
    return failed.value.status_code
