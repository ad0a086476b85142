"""Who is told of a failed run, and what: once, with the kind of the fault, and never with the webhook's address."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from forge_assets.automation.alerts import forge_alerts
from forge_assets.automation.runs import run_tags
from forge_assets.faults import named_faults
from forge_assets.settings import load_settings
from forge_pipelines.errors import ConfigError, DataError, GateRefusal

SENTENCE = "clerk is not registered: gate «heldout/bits_per_character < 0.1»: it is 0.5"


@dg.op
def refuse() -> None:
    with named_faults():
        raise GateRefusal(SENTENCE)


@dg.op
def misread() -> None:
    with named_faults():
        raise DataError("letters is damaged; restore it from backup")


@dg.op
def stumble() -> None:
    raise ZeroDivisionError("division by zero\nand more")


class Webhook:
    """A server on loopback that keeps what it is sent, after refusing the first few."""

    def __init__(self, refusals: int = 0) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refusals = refusals
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused, webhook.refusals = webhook.refusals > 0, webhook.refusals - 1
                if not refused:
                    webhook.taken.append(body)
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hooks/s3cret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    webhook = Webhook()
    monkeypatch.setenv("FORGE_ALERT_WEBHOOK", webhook.address)
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_HOME", str(tmp_path))
    monkeypatch.delenv("FORGE_ALERT_WEBHOOK", raising=False)


def told_of(op: dg.OpDefinition, capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Let a run of an op fail, and alert; return the run and what was logged."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.GraphDefinition("clerk", node_defs=[op]).to_job(tags=run_tags("clerk", "cron"))
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="forge_alerts",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
        capfd.readouterr()
        forge_alerts(context)
        said = capfd.readouterr()
    return result.run_id, said.out + said.err


def test_the_webhook_is_told_what_is_wrong_with_which_model_and_run(
    webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    run, logged = told_of(misread, capfd)
    assert webhook.taken == [
        {
            "text": "clerk failed (data error): letters is damaged; restore it from backup",
            "model": "clerk",
            "trigger": "cron",
            "run": run,
            "step": "misread",
            "fault": "data error",
            "sentence": "letters is damaged; restore it from backup",
        }
    ]
    assert "s3cret" not in logged


def test_a_gates_refusal_is_told_apart_from_faults(webhook: Webhook, capfd: pytest.CaptureFixture[str]) -> None:
    told_of(refuse, capfd)
    [alert] = webhook.taken
    assert (alert["fault"], alert["sentence"]) == ("gate refusal", SENTENCE)
    assert alert["text"] == f"clerk not registered (gate refusal): {SENTENCE}"


def test_an_error_of_nobodys_making_is_one_line(webhook: Webhook, capfd: pytest.CaptureFixture[str]) -> None:
    told_of(stumble, capfd)
    [alert] = webhook.taken
    assert (alert["fault"], alert["sentence"]) == ("unexpected error", "ZeroDivisionError: division by zero")


def test_without_a_webhook_it_is_a_line_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert told_of(refuse, capfd)[1].endswith(f" - WARNING - clerk not registered (gate refusal): {SENTENCE}\n")
    assert " - ERROR - clerk failed (data error): letters is damaged" in told_of(misread, capfd)[1]


def test_a_webhook_that_stumbles_once_is_asked_again(webhook: Webhook, capfd: pytest.CaptureFixture[str]) -> None:
    webhook.refusals = 1
    told_of(misread, capfd)
    assert len(webhook.taken) == 1


def test_a_webhook_that_is_not_there_leaves_the_alert_in_the_log_and_no_secret(
    webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook.refusals = 99
    _, logged = told_of(misread, capfd)
    assert " - ERROR - clerk failed (data error): letters is damaged; restore it from backup (" in logged
    assert "the webhook of FORGE_ALERT_WEBHOOK does not take alerts: it answers 503" in logged
    webhook.server.shutdown()
    webhook.server.server_close()
    _, logged = told_of(misread, capfd)
    assert "it cannot be reached" in logged
    assert "s3cret" not in logged


def test_an_impossible_webhook_is_one_sentence_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_ALERT_WEBHOOK", "hooks.example/s3cret")
    with pytest.raises(ConfigError, match=r"^FORGE_ALERT_WEBHOOK is no address of the form https://host/path$"):
        load_settings()
    monkeypatch.setenv("FORGE_ALERT_WEBHOOK", "https://hooks.example/s3cret")
    settings = load_settings()
    assert "s3cret" not in f"{settings!r} {settings.model_dump_json()}"
