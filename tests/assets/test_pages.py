"""Published pages in a browser: verified, HTML alone, and to nobody but this machine."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from forge_assets.pages import create_app, page_url
from forge_assets.settings import load_settings
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store

PICTURE = b"\x89PNG\r\n"
PAGE = "<!doctype html><title>clerk</title><p>0.535 bits</p>"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FORGE_PAGES_URL", "FORGE_MLFLOW_URL", "FORGE_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))


@pytest.fixture
def manifest(store: Store) -> Manifest:
    def make(folder: Path) -> Made:
        (folder / "report.html").write_text(PAGE)
        (folder / "report.json").write_text("{}")
        (folder / "docs").mkdir()
        (folder / "docs" / "index.html").write_text(PAGE)
        (folder / "loss.png").write_bytes(PICTURE)
        return Made(counts={}, classification=Classification.INTERNAL)

    request = StageRequest(kind="evaluation_report", name="clerk", inputs={}, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


@pytest.fixture
def browser(store: Store) -> TestClient:
    return TestClient(create_app(store), base_url="http://127.0.0.1:3030")


def path_of(manifest: Manifest, file: str = "report.html") -> str:
    return f"/clerk/evaluation_report/{manifest.fingerprint}/{file}"


@pytest.mark.parametrize("file", ["report.html", "docs/index.html"])
def test_a_published_page_is_shown_where_its_link_leads(browser: TestClient, manifest: Manifest, file: str) -> None:
    assert page_url(manifest, file) == f"http://127.0.0.1:3030{path_of(manifest, file)}"
    answer = browser.get(page_url(manifest, file))
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"].startswith("text/html")


def test_a_published_picture_is_shown_in_a_page_of_the_web_ui(browser: TestClient, manifest: Manifest) -> None:
    answer = browser.get(page_url(manifest, "loss.png"))
    assert (answer.content, answer.headers["content-type"]) == (PICTURE, "image/png")


def test_links_follow_forge_pages_url(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_PAGES_URL", "https://forge.example/pages/")
    assert page_url(manifest, "report.html") == f"https://forge.example/pages{path_of(manifest)}"


def test_no_script_runs_and_nothing_is_loaded_from_elsewhere(browser: TestClient, manifest: Manifest) -> None:
    headers = browser.get(path_of(manifest)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/clerk/evaluation_report/{fingerprint}/report.json",
        "/clerk/evaluation_report/{fingerprint}/manifest.json",
        "/clerk/evaluation_report/{fingerprint}/%2e%2e/%2e%2e/secret.html",
        "/clerk/evaluation_report/{fingerprint}/none.html",
        "/clerk/evaluation_report/*/report.html",
        "/*/evaluation_report/{fingerprint}/report.html",
        "/clerk/*/{fingerprint}/report.html",
        "/%2e%2e/evaluation_report/{fingerprint}/report.html",
        "/clerk",
    ],
)
def test_nothing_else_is_shown(browser: TestClient, manifest: Manifest, path: str) -> None:
    assert browser.get(path.format(fingerprint=manifest.fingerprint)).status_code == 404


def test_a_damaged_page_is_not_shown(browser: TestClient, store: Store, manifest: Manifest) -> None:
    (Path(store.address_of(manifest)) / "report.html").write_text("<script>")
    answer = browser.get(path_of(manifest))
    assert answer.status_code == 500
    assert "is damaged" in answer.text
    assert "<script>" not in answer.text


def test_what_was_removed_from_the_store_is_shown_no_more(
    browser: TestClient, store: Store, manifest: Manifest
) -> None:
    assert browser.get(path_of(manifest)).status_code == 200
    Path(store.address_of(manifest)).rename(Path(store.address_of(manifest)).with_name("removed"))
    assert browser.get(path_of(manifest)).status_code != 200


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:3030", 200), ("localhost", 200), ("evil.example", 400)])
def test_only_names_of_this_machine_lead_here(browser: TestClient, manifest: Manifest, host: str, status: int) -> None:
    assert browser.get(path_of(manifest), headers={"Host": host}).status_code == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(browser: TestClient, manifest: Manifest, method: str) -> None:
    assert browser.request(method, path_of(manifest)).status_code == 405


def test_the_link_to_mlflow_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().mlflow_page == "http://127.0.0.1:5000"
    monkeypatch.setenv("FORGE_MLFLOW_URL", "https://forge:secret@mlflow.example:8443/base/")
    assert load_settings().mlflow_page == "https://mlflow.example:8443/base"
