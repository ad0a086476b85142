"""What an object store promises as a place: what is listed, what a change does, and what is told of what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from buckets import EVERYTHING, Bucket, forget_user, new_user

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.connections import Connection, no_connections
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.places.config import ObjectStorePlace
from forge_pipelines.sources.places.object_store import ObjectStore
from forge_pipelines.sources.places.opening import open_place

_CHANGED = Refusal("changed", "changed while it was being read; it is read again at the next run")


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> Bucket:
    return Bucket(s3_environment)


def stamps(store: ObjectStore) -> dict[str, str]:
    return {item.path: item.stamp for item in store.items()}


def test_what_stands_below_the_prefix_is_listed_in_a_steady_order(bucket: Bucket) -> None:
    names = [
        "b/c.md",
        "b.txt",
        "a*[x]?.md",
        "ü/1 2+3&%=#.txt",
        "b/",
        "B.txt",
        "\U0001f600.txt",
        "\ufb01.txt",
        "b/c.md/d",
    ]
    bucket.put(**{name: name.encode() for name in names})
    for beside in ("docs-of-others/x.txt", "docs"):
        bucket.client.put_object(Bucket=bucket.name, Key=beside, Body=b"x")
    store = bucket.open()
    items = list(store.items())
    assert [item.path for item in items] == sorted(name for name in names if name != "b/")
    assert list(store.items()) == items
    assert list(bucket.open(url=store.address + "/").items()) == items
    assert list(store.fetch(items)) == [item.path.encode() for item in items]
    assert store.expect() is None
    assert store.address == f"s3://{bucket.name}/docs"
    whole = bucket.open(url=f"s3://{bucket.name}")
    assert [item.path for item in whole.items()][:2] == ["docs", "docs-of-others/x.txt"]


def test_an_item_says_its_size_and_when_it_was_changed_in_utc(bucket: Bucket) -> None:
    bucket.put(a=b"12345")
    (item,) = bucket.open().items()
    assert item.num_bytes == 5
    assert item.modified_at is not None and item.modified_at.endswith("+00:00")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(item.modified_at)) < timedelta(minutes=1)


def test_patterns_say_which_objects_are_read(bucket: Bucket) -> None:
    bucket.put(**{"a.md": b"x", "b/a.md": b"x", "b/old/a.md": b"x", "b/a.txt": b"x"})
    store = bucket.open(include=("**/*.md", "*.txt"), exclude=("**/old/**",))
    assert list(stamps(store)) == ["a.md", "b/a.md"]
    assert store.wanted == "**/*.md, *.txt"


def test_hidden_objects_are_skipped_and_counted_each_hidden_folder_once(bucket: Bucket) -> None:
    hidden = [
        ".git/a.txt",
        ".git/b/c.txt",
        ".env",
        "b/.hidden.txt",
        "b/.x/a.txt",
        "b/.x/b.txt",
        "b/../up.txt",
        "./a.txt",
    ]
    bucket.fill(["a.txt", "b/a.b/c..d", *hidden])
    store = bucket.open()
    for _ in range(2):
        assert list(stamps(store)) == ["a.txt", "b/a.b/c..d"]
        assert store.num_skipped_hidden == 6
        assert store.num_skipped_links == 0


def test_a_large_object_is_refused_without_being_fetched(bucket: Bucket) -> None:
    bucket.put(large=b"x" * 1001, small=b"x" * 1000)
    large, small = bucket.open(max_file_bytes=1000).items()
    assert large.refusal == Refusal("too_large", "has 1,001 bytes, more than max_file_bytes (1,000) allows")
    assert small.refusal is None


def test_a_stamp_changes_when_the_content_does_and_only_then(bucket: Bucket) -> None:
    bucket.put(same=b"same", other=b"before", longer=b"x")
    before = stamps(bucket.open())
    bucket.put(same=b"same", other=b"after!", longer=b"xx")
    after = stamps(bucket.open())
    assert all(before.values())
    assert {path for path in before if before[path] != after[path]} == {"other", "longer"}


def test_an_object_that_changed_or_went_after_it_was_listed_is_refused(bucket: Bucket) -> None:
    bucket.put(changed=b"before", gone=b"x", stays=b"stays")
    store = bucket.open()
    items = list(store.items())
    bucket.put(changed=b"after!")
    bucket.delete("gone")
    assert list(store.fetch(items)) == [_CHANGED, _CHANGED, b"stays"]
    assert list(store.fetch(list(store.items()))) == [b"after!", b"stays"]


def test_an_object_that_cannot_be_had_is_refused_and_the_others_are_read(bucket: Bucket) -> None:
    bucket.put(locked=b"x", open=b"open")
    bucket.client.put_object(Bucket=bucket.name, Key="docs/archived", Body=b"x", StorageClass="GLACIER")
    but_one = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket.name}/docs/locked"}
    store = bucket.open(options=new_user(EVERYTHING, but_one))
    archived, locked, content = store.fetch(list(store.items()))
    assert archived == Refusal("unreadable", "stands in an archive of the object store; restore it there")
    assert locked == Refusal("unreadable", "may not be read with the credentials of the connection archive; allow it")
    assert content == b"open"


@pytest.mark.parametrize(
    ("given", "wrong", "message"),
    [
        ({"url": "s3://nowhere/docs"}, {}, "there is no bucket nowhere at {endpoint}: correct `object_store.url`"),
        (
            {},
            {"secret": "hush"},
            "{endpoint} refuses the credentials of the connection archive (SignatureDoesNotMatch)",
        ),
        ({}, {"key": "hush"}, "{endpoint} refuses the credentials of the connection archive (InvalidAccessKeyId)"),
        ({"url": "s3://a b"}, {}, 'correct what this names: Parameter validation failed: Invalid bucket name "a b"'),
        ({}, {"endpoint": "hush"}, "is given the option `endpoint`, which s3fs does not take: correct it"),
        (
            {},
            {"endpoint_url": "hush:1"},
            "because endpoint, region or another option of the connection archive is none",
        ),
        ({}, {"client_kwargs": {"hush": 1}}, "cannot be reached, because endpoint, region or another option"),
    ],
)
def test_what_the_yaml_or_the_connection_says_wrong_is_one_sentence_without_a_secret(
    bucket: Bucket, given: dict[str, Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        list(bucket.open(**given, options=wrong).items())
    assert message.format(endpoint=bucket.options["endpoint_url"]) in str(raised.value)
    assert "hush" not in str(raised.value)


def test_who_may_not_list_a_bucket_is_told_so(bucket: Bucket) -> None:
    only_read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    with pytest.raises(ConfigError, match=f"of the connection archive may not list the bucket {bucket.name} at http"):
        list(bucket.open(options=new_user(only_read)).items())


def test_credentials_that_are_withdrawn_on_the_way_end_the_run(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    user = new_user(EVERYTHING)
    store = bucket.open(options=user)
    items = list(store.items())
    forget_user(user)
    with pytest.raises(ConfigError, match="refuses the credentials of the connection archive"):
        list(store.fetch(items))


def test_without_a_connection_the_machine_s_own_credentials_count(
    s3_address: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_address  # the environment knows the server
    bucket.put(a=b"a")
    place = ObjectStorePlace(url=f"s3://{bucket.name}/docs")
    store = ObjectStore(place, None, 1 << 20)
    assert list(store.fetch(list(store.items()))) == [b"a"]
    with pytest.raises(ConfigError, match="or the endpoint of this machine"):
        list(ObjectStore(ObjectStorePlace(url="s3://nowhere"), None, 1 << 20).items())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with pytest.raises(ConfigError, match="refuses the credentials of this machine"):
        list(ObjectStore(place, None, 1 << 20).items())


def test_two_sources_never_share_credentials(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    assert list(stamps(bucket.open())) == ["a"]
    with pytest.raises(ConfigError, match="refuses the credentials"):
        list(bucket.open(options={"secret": "other"}).items())
    assert list(stamps(bucket.open())) == ["a"]


@pytest.mark.parametrize(
    ("url", "package"), [("gs://b/docs", "gcsfs"), ("az://b/docs", "adlfs"), ("abfs://b", "adlfs")]
)
def test_a_store_whose_file_system_is_not_installed_names_the_package(url: str, package: str) -> None:
    with pytest.raises(ConfigError, match=f"needs the package {package}: install it, `pip install {package}`"):
        list(ObjectStore(ObjectStorePlace(url=url, allow_public=True), None, 1 << 20).items())
    with pytest.raises(
        ConfigError, match="is a public cloud's: if that is meant, write `allow_public: true` beside it"
    ):
        list(ObjectStore(ObjectStorePlace(url=url), None, 1 << 20).items())


@pytest.fixture
def cloud() -> Iterator[Any]:
    """What stands for Google's store: fsspec's store in memory, under its scheme."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.registry import _registry

    fsspec.register_implementation("gs", MemoryFileSystem, clobber=True)
    try:
        yield fsspec.filesystem("memory")
    finally:
        _registry.pop("gs")
        MemoryFileSystem.store.clear()


def test_other_stores_are_read_through_the_file_system_that_fsspec_has_for_them(cloud: Any) -> None:
    for path in ("b/docs/b.txt", "b/docs/a/c*.txt", "b/docs/a.txt", "b/docs/.git/x", "b/docs2/x"):
        cloud.pipe_file(path, path.encode())
    store = ObjectStore(ObjectStorePlace(url="gs://b/docs", allow_public=True), None, 1 << 20)
    items = list(store.items())
    assert [item.path for item in items] == ["a.txt", "a/c*.txt", "b.txt"]
    assert store.num_skipped_hidden == 1
    assert list(store.fetch(items)) == [b"b/docs/a.txt", b"b/docs/a/c*.txt", b"b/docs/b.txt"]
    cloud.pipe_file("b/docs/a.txt", b"b/docs/A.txt")
    cloud.rm_file("b/docs/b.txt")
    assert list(store.fetch(items)) == [_CHANGED, b"b/docs/a/c*.txt", _CHANGED]


def test_a_source_s_yaml_opens_its_object_store(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    labels = Labels.model_validate({"licence": "CC0-1.0", "classification": "internal"})
    place = ObjectStorePlace(url=f"s3://{bucket.name}/docs", connection="archive")
    config = SourceConfig(name="manuals", object_store=place, labels=labels)
    store = open_place(config, lambda name: Connection(options=bucket.options if name == "archive" else {}))
    assert list(store.fetch(list(store.items()))) == [b"a"]
    with pytest.raises(ConfigError, match="the connection archive is not known here"):
        open_place(config, no_connections)
    with pytest.raises(ConfigError, match="the connection archive is a database's URL"):
        open_place(config, lambda _: Connection.model_validate({"url": "postgresql://u:hush@db/x"}))
