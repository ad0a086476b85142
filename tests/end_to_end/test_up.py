"""`forge up`: everything answers, one Ctrl-C or one kill ends all of it, and each mishap is one sentence."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import dagster as dg
import psutil
import pytest
from forge_up_site import Site, killed_after, wait_until

from forge_assets.cli.up import running_address

DEFINITIONS = """
import os, subprocess, sys
from pathlib import Path
import dagster as dg
from forge_assets.settings import load_settings

@dg.asset
def quick():
    Path(os.environ["FORGE_HOME"], "found.json").write_text(load_settings().model_dump_json())

@dg.asset
def slow():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])

defs = dg.Definitions(assets=[quick, slow])
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, DEFINITIONS)
    yield site
    site.kill()


def test_it_starts_again_what_is_killed_runs_what_is_asked_with_its_own_settings_and_ctrl_c_ends_all(
    site: Site,
) -> None:
    up = site.up()
    site.service("dagster_webserver").kill()
    assert up.stdout is not None
    with killed_after(60, up):
        said = up.stdout.readline()
    log = site.home / "logs" / "web-ui.log"
    assert said == f"Web UI had ended (signal 9) and was started again; its log says why: {log}\n", said
    assert wait_until(site.answers, 60)

    address = f"http://127.0.0.1:{site.port}"
    assert running_address(site.home) == address
    assert urlopen(f"{address}/server_info").status == 200
    assert urlopen(f"http://127.0.0.1:{site.mlflow_port}/health").read() == b"OK"
    status = site.run("quick")
    assert wait_until(lambda: status() == dg.DagsterRunStatus.SUCCESS, 60)
    found = (site.home / "found.json").read_text()
    assert f'"mlflow_url":"http://127.0.0.1:{site.mlflow_port}"' in found
    assert f'"home":"{site.home}"' in found

    second = site.up(ready=False)
    assert second.communicate() == (
        "",
        f"forge: `forge up` runs already on {site.home} ({address}): use it, or end it first\n",
    )
    assert second.returncode == 1

    site.run("slow")
    assert wait_until(site.sleepers, 60)
    listening = [found for process in site.processes() for found in process.net_connections("inet")]
    assert {found.laddr.ip for found in listening if found.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=60) == 0
    assert site.processes() == []
    assert running_address(site.home) is None
    assert site.statuses() == ["FAILURE", "SUCCESS"]


def test_kill_9_in_the_middle_of_a_run_leaves_no_process(site: Site) -> None:
    up = site.up()
    site.run("slow")
    assert wait_until(site.sleepers, 60)
    up.kill()
    up.wait()
    assert running_address(site.home) is None
    assert wait_until(lambda: not site.processes(), 30), site.processes()
    assert site.statuses() == ["FAILURE"]


def test_a_port_that_is_taken_is_one_sentence(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        up = site.up(ready=False)
        _, said = up.communicate(timeout=120)
    assert said == (
        f"forge: port {site.port} cannot be used (Address already in use): "
        "end the program that has it, or give --port another\n"
    )
    assert up.returncode == 1
    assert wait_until(lambda: not site.processes(), 30), site.processes()


def test_definitions_that_do_not_load_are_said_and_the_web_ui_shows_them(site: Site, tmp_path: Path) -> None:
    (tmp_path / "acme_up.py").write_text("raise ValueError('the corpus says nothing')")
    up = site.up()
    assert any("do not load" in line and "the corpus says nothing" in line for line in site.said), site.said
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=60) == 0
    assert site.processes() == []
