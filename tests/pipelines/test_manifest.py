"""What the values that move between stages promise."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from forge_pipelines.manifest import Classification, FileEntry, Manifest, Segment, StageRequest, code_version, digest


def request_of(**changes: object) -> StageRequest:
    values = {
        "kind": "raw_documents",
        "name": "handbook",
        "inputs": {"listing": "a" * 64},
        "parameters": {"labels": {"licence": "MIT"}},
        "code_version": "1",
    }
    return StageRequest.model_validate({**values, **changes})


def manifest_of(**changes: object) -> Manifest:
    request = request_of()
    values = {
        **request.model_dump(),
        "key": request.key,
        "fingerprint": "",
        "files": (FileEntry(path="a", num_bytes=1, sha256="0" * 64), FileEntry(path="b", num_bytes=2, sha256="1" * 64)),
        "counts": {"documents": 2, "share": 0.1},
        "classification": "internal",
        "created_at": "2026-01-01T00:00:00+00:00",
        "made_in_seconds": 1.5,
        "measured": {"tokens_per_second": 2.0},
    }
    return Manifest.model_validate({**values, **changes})


def test_the_digest_is_the_hash_of_canonical_json() -> None:
    value = {"b": [1, 0.5, None, True], "a": "ü"}
    assert digest(value) == hashlib.sha256(b'{"a":"\\u00fc","b":[1,0.5,null,true]}').hexdigest()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_a_number_that_is_none_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"loss": float("nan")})


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "validated_corpus"},
        {"name": "another"},
        {"inputs": {"listing": "b" * 64}},
        {"parameters": {"labels": {"licence": "ISC"}}},
        {"code_version": "2"},
    ],
)
def test_every_part_of_a_request_is_part_of_its_key(change: dict[str, object]) -> None:
    assert request_of(**change).key != request_of().key
    assert request_of().key == request_of().key


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "validated_corpus"},
        {"files": ()},
        {"files": (FileEntry(path="a", num_bytes=1, sha256="2" * 64),)},
        {"counts": {"documents": 3}},
        {"classification": "public"},
        {"parameters": {}},
        {"key": "0" * 64},
    ],
)
def test_every_part_of_a_manifest_is_part_of_its_fingerprint(change: dict[str, object]) -> None:
    assert manifest_of(**change).computed_fingerprint() != manifest_of().computed_fingerprint()


def test_when_and_how_fast_it_was_made_is_no_part_of_its_fingerprint() -> None:
    later = manifest_of(
        created_at="2027-01-01T00:00:00+00:00",
        made_in_seconds=99,
        measured={"tokens_per_second": 1},
        fingerprint="f" * 64,
    )
    assert later.computed_fingerprint() == manifest_of().computed_fingerprint()


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    manifest = manifest_of(parameters={"rates": (0.1, 1e-9), "path": Path("a"), "label": Classification.INTERNAL})
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json"), indent=2))
    read = Manifest.model_validate_json((tmp_path / "manifest.json").read_bytes())
    assert read.computed_fingerprint() == manifest.computed_fingerprint()
    assert read.num_bytes == 3


@pytest.mark.parametrize("name", ["", "Handbook", "hand-book", "../up", "9lives", "a" * 65, "a/b"])
def test_a_name_that_could_be_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        request_of(name=name)


def test_values_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        request_of().name = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        request_of(surprise=1)
    with pytest.raises(AttributeError):
        Segment("text", "x").text = "y"  # type: ignore[misc]


def test_labels_only_get_stricter() -> None:
    assert Classification.strictest(["public", "restricted", "internal"]) is Classification.RESTRICTED
    assert Classification.strictest(["public"]) is Classification.PUBLIC
    with pytest.raises(ValueError, match="secret"):
        Classification.strictest(["secret"])


def test_the_code_version_names_the_libraries() -> None:
    from pydantic import VERSION

    assert code_version("3", "pydantic") == f"3+pydantic-{VERSION}"
