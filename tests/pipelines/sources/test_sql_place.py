"""A database as a place: its rows are documents, in the same order every time, whatever happens to the connection."""

import itertools
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg2
import pytest
from pydantic import SecretStr
from relay import Relay, relay
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.ledger.postgres import postgres
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.connections import Connection
from forge_pipelines.sources.place import Item, Refusal
from forge_pipelines.sources.places.config import SqlPlace
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.places.sql import Sql

SHORT = (0.01, 0.01)
LONG = (0.1,) * 300


class Site:
    """A PostgreSQL server, with what tests do to it."""

    def __init__(self, url: str, home: Path) -> None:
        self.url, self.home = url, home
        self.socket = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"

    def run(self, *queries: str) -> list[tuple[Any, ...]]:
        session = psycopg2.connect(self.url)
        session.autocommit = True
        try:
            with session.cursor() as cursor:
                for query in queries:
                    cursor.execute(query)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            session.close()

    def place(self, text: str = "{body}", url: str | None = None, max_file_bytes: int = 1 << 20, **given: Any) -> Sql:
        options = {name: given.pop(name) for name in ("resolve", "waits_seconds") if name in given}
        if "query" not in given:
            given.setdefault("table", "articles")
        config = SqlPlace(connection="crm", text=text, **given)
        options.setdefault("waits_seconds", SHORT)
        return Sql(config, Connection(url=SecretStr(url or self.url)), max_file_bytes, **options)

    def end_sessions(self) -> int:
        """End the sessions of everybody else, as an administrator does."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        return len(self.run(f"{query} WHERE datname = 'forge' AND pid <> pg_backend_pid()"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    with postgres(home, None) as databases:
        yield Site(databases.forge, home)


@pytest.fixture
def site(running: Site) -> Site:
    """A server whose database holds three articles."""
    running.run(
        "DROP TABLE IF EXISTS articles CASCADE",
        "CREATE TABLE articles (id int PRIMARY KEY, title text, body text, file bytea, changed timestamptz)",
        """INSERT INTO articles VALUES
            (10, 'Oil', 'Once a month.', '\\x255044462d', '2026-03-04 05:06:07.89+02'),
            (2, 'Pumps', 'Once a week, {always}; 100 %.', NULL, '2026-01-02 00:00:00+00'),
            (7, NULL, 'Never.', '\\x00ff', NULL)""",
    )
    return running


@pytest.fixture
def tcp(site: Site) -> Iterator[Relay]:
    with relay(site.socket) as opened:
        yield opened


def contents(items: Iterator[Item]) -> dict[str, bytes | None]:
    found = [(item.path, item.content) for item in items]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_a_row_is_a_document_in_the_order_of_the_ids(site: Site) -> None:
    place = site.place("# {title}\n\n{body} {{#{id}}}")
    found = list(place.items())
    assert [item.path for item in found] == ["2", "7", "10"]
    assert [item.content for item in found] == [
        b"# Pumps\n\nOnce a week, {always}; 100 %. {#2}",
        b"# \n\nNever. {#7}",
        b"# Oil\n\nOnce a month. {#10}",
    ]
    assert {item.stamp for item in found} == {""}
    assert list(place.items()) == found
    assert place.expect() == 3
    assert (place.wanted, place.num_skipped_hidden, place.num_skipped_links) == ("the table articles", 0, 0)


def test_with_a_column_of_changes_only_ids_and_changes_are_listed(site: Site) -> None:
    found = {item.path: item for item in site.place(updated_at="changed").items()}
    assert [item.content for item in found.values()] == [None] * 3
    assert [item.modified_at for item in found.values()] == [
        "2026-01-02T00:00:00+00:00",
        None,
        "2026-03-04T03:06:07+00:00",
    ]
    assert found["7"].stamp == ""
    site.run("UPDATE articles SET changed = changed + interval '1 microsecond' WHERE id = 2")
    after = {item.path: item for item in site.place(updated_at="changed").items()}
    assert [path for path in found if found[path].stamp != after[path].stamp] == ["2"]


def test_a_stamp_changes_with_what_the_configuration_makes_of_a_row(site: Site) -> None:
    first, second, third = (
        {item.stamp for item in site.place(text, updated_at="changed", **given).items() if item.stamp}
        for text, given in [("{body}", {}), ("{title}", {}), ("{body}", {"query": "SELECT * FROM articles"})]
    )
    assert len(first | second | third) == 6


def test_rows_are_fetched_in_the_order_in_which_they_are_asked_for(site: Site) -> None:
    place = site.place("{title}", updated_at="changed")
    found = list(place.items())
    assert list(place.fetch(found)) == [b"Pumps", b"", b"Oil"]
    assert list(place.fetch(found[::-1])) == [b"Oil", b"", b"Pumps"]
    assert list(place.fetch([])) == []


def test_a_row_that_is_gone_meanwhile_is_a_refusal(site: Site) -> None:
    place = site.place("{title}", updated_at="changed")
    found = list(place.items())
    site.run("DELETE FROM articles WHERE id = 7")
    pumps, gone, oil = place.fetch(found)
    assert (pumps, oil) == (b"Pumps", b"Oil")
    assert gone == Refusal("changed", "was deleted while the database was being read")


def test_more_rows_than_one_question_takes_are_fetched(site: Site) -> None:
    site.run("INSERT INTO articles SELECT i, 'T' || i, '', NULL, now() FROM generate_series(100, 1300) i")
    place = site.place("{title}", query="SELECT * FROM articles WHERE id >= 100", updated_at="changed")
    found = list(place.items())
    assert list(place.fetch(found)) == [f"T{item.path}".encode() for item in found]
    assert len(found) == 1201


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, title AS body FROM articles WHERE body LIKE '%; 100 \\%%' OR title = ' :nothing';",
        "SELECT id, title AS body FROM articles WHERE id = 2 -- or (another",
        "WITH found AS (SELECT * FROM articles) SELECT id, title::text AS body FROM found WHERE title = $$Pumps$$",
        "/* ; */ SELECT id, title AS body FROM articles ORDER BY id LIMIT 1;\n",
    ],
)
def test_a_query_is_any_select(site: Site, query: str) -> None:
    place = site.place(query=query)
    assert contents(place.items()) == {"2": b"Pumps"}
    assert (place.expect(), place.wanted) == (1, "`sql.query`")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1) AS x; DROP TABLE articles; SELECT * FROM (SELECT 1",
        "SELECT 1; DROP TABLE articles",
        "SELECT E'\\''; DROP TABLE articles; --'",
        "SELECT (1",
    ],
)
def test_a_query_that_is_more_than_one_select_is_refused(site: Site, query: str) -> None:
    with pytest.raises(ConfigError, match=r"`sql\.query` is not one SELECT"):
        site.place(query=query)


def test_a_query_cannot_write_not_even_by_a_function(site: Site) -> None:
    site.run(
        "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM articles; SELECT 1'",
    )
    with pytest.raises(DataError, match=r"reading `sql\.query` fails .*read-only transaction"):
        list(site.place(query="SELECT wipe() AS id, 'x' AS body").items())
    assert site.run("SELECT count(*) FROM articles") == [(3,)]


@pytest.mark.parametrize(
    ("kind", "values", "paths"),
    [
        ("uuid", "('00000000-0000-4000-8000-00000000000a')", ["00000000-0000-4000-8000-00000000000a"]),
        ("text", "('a/b'), ('Ä'), ('it''s %')", ["a/b", "it's %", "Ä"]),
        ("numeric", "(1.50), (20)", ["1.50", "20"]),
        ("bytea", "('\\x00ff')", ["00ff"]),
        ("timestamptz", "('2026-01-02 03:04:05.000006+00')", ["2026-01-02T03:04:05.000006+00:00"]),
        ("date", "('2026-01-02')", ["2026-01-02"]),
    ],
)
def test_ids_of_any_kind_find_their_rows_again(site: Site, kind: str, values: str, paths: list[str]) -> None:
    site.run(
        'DROP TABLE IF EXISTS "Odd Table"',
        f'CREATE TABLE "Odd Table" ("The Id" {kind}, changed date DEFAULT \'2026-05-06\')',
        f'INSERT INTO "Odd Table" VALUES {values.replace("),", ", DEFAULT),")[:-1]}, DEFAULT)',
    )
    place = site.place("{changed}", table="public.Odd Table", id="The Id", updated_at="changed")
    found = list(place.items())
    assert sorted(item.path for item in found) == sorted(paths)
    assert {item.modified_at for item in found} == {"2026-05-06T00:00:00+00:00"}
    assert list(place.fetch(found)) == [b"2026-05-06"] * len(paths)


def test_naive_times_are_taken_as_utc(site: Site) -> None:
    place = site.place(query="SELECT 1 AS id, 'x' AS body, timestamp '2026-01-02 03:04:05' AS at", updated_at="at")
    assert [item.modified_at for item in place.items()] == ["2026-01-02T03:04:05+00:00"]


def test_a_column_of_bytes_alone_is_a_file(site: Site) -> None:
    found = contents(site.place("{file}").items())
    assert found == {"2": b"", "7": b"\x00\xff", "10": b"%PDF-"}
    place = site.place("{file}", updated_at="changed")
    assert list(place.fetch(list(place.items()))) == [b"", b"\x00\xff", b"%PDF-"]


def test_a_column_of_bytes_within_a_text_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"the column file of .*/articles holds bytes: write `sql\.text` as \{file\}"):
        list(site.place("{title} {file}").items())


def test_a_row_that_is_too_long_is_refused_and_the_others_go_on(site: Site) -> None:
    place = site.place(max_file_bytes=6)
    refusal = Refusal("too_large", "has 29 bytes, more than max_file_bytes (6) allows")
    assert [item.refusal for item in place.items()] == [
        refusal,
        None,
        Refusal("too_large", "has 13 bytes, more than max_file_bytes (6) allows"),
    ]
    by_change = site.place(max_file_bytes=6, updated_at="changed")
    assert next(by_change.fetch(list(by_change.items()))) == refusal


@pytest.mark.parametrize(
    ("given", "fault", "sentence"),
    [
        ({"table": "article"}, ConfigError, r"`sql\.table` names the table article, .*did you mean articles\?"),
        ({"id": "ident"}, ConfigError, r"`sql\.id` names the column ident, .*there are id, title, body"),
        ({"updated_at": "change"}, ConfigError, r"`sql\.updated_at` names .*did you mean changed\?"),
        ({"text": "{titel}"}, ConfigError, r"`sql\.text` names the column titel, .*did you mean title\?"),
        ({"query": "SELECT nothing"}, DataError, r'reading `sql\.query` fails .*: column "nothing" does not exist'),
        ({"query": "SELEC 1"}, DataError, r"reading `sql\.query` fails .*syntax error"),
        ({"query": "SELECT 1/(id-7) AS id, body FROM articles"}, DataError, "division by zero"),
        ({"query": "SELECT NULL AS id, '' AS body"}, DataError, r"a row without `id`: .*`sql\.id`"),
        ({"query": "SELECT 3 AS id, body FROM articles"}, DataError, r"two rows with the `id` '3': .*`sql\.id`"),
        ({"updated_at": "title"}, DataError, r"the `title` of row 2 .* is 'Pumps', which is no date"),
        ({"updated_at": "id"}, DataError, r"the `id` of row 2 .* is '2', which is no date"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_that_names_the_field(
    site: Site, given: dict[str, str], fault: type[Exception], sentence: str
) -> None:
    with pytest.raises(fault, match=sentence) as refusal:
        list(site.place(**given).items())
    assert "\n" not in str(refusal.value)


def test_an_account_that_may_not_read_the_table_is_told_so(site: Site) -> None:
    site.run("DROP ROLE IF EXISTS meek", "CREATE ROLE meek LOGIN")
    with pytest.raises(DataError, match="permission denied for table articles"):
        list(site.place(url=site.url.replace("postgres@", "meek@")).items())


def secrets_of(error: BaseException, *places: object) -> str:
    """Everything that would be printed of an error and what it came from."""
    chain: list[str] = []
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is not None:
            chain += [str(found), repr(found), repr(found.args)]
            pending += [found.__cause__, found.__context__]
    return "".join([*chain, *traceback.format_exception(error), *(f"{place!r} {place}" for place in places)])


def test_a_wrong_password_is_one_sentence_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres(tmp_path, None) as databases:
        own = Site(databases.forge, tmp_path)
        rules = tmp_path / "postgres" / "data" / "pg_hba.conf"
        rules.write_text("local all reader scram-sha-256\n" + rules.read_text())
        own.run("CREATE ROLE reader LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()")
        with relay(own.socket) as opened:
            url = f"postgresql://reader:hunter%2F2@localhost:{opened.port}/forge"
            place = own.place(url=url)
            with pytest.raises(ConfigError) as refusal:
                list(place.items())
            assert str(refusal.value) == (
                f"the database of connection crm (localhost:{opened.port}/forge) refuses: "
                'password authentication failed for user "reader"; correct the connection, or its account there'
            )
            shown = secrets_of(refusal.value, place, place.address, vars(place)) + caplog.text
            assert "hunter" not in shown
            with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
                list(own.place(url=own.url.replace("/forge", "/nowhere")).items())


def test_a_secret_that_the_database_itself_repeats_is_struck_out(site: Site) -> None:
    url = site.url.replace("postgres@", "postgres:hunter2@")
    with pytest.raises(DataError, match=r'column "\*\*\*" does not exist') as refusal:
        list(site.place(url=url, query="SELECT hunter2").items())
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u:hunter2@host:port/db", "has no URL of the form"),
        ("nowhere://u:hunter2@host/db", "needs nowhere, which is not installed"),
        ("postgresql+asyncpg://u:hunter2@host/db", "which is not installed|cannot be used"),
        ("postgresql://u:hunter2@/db", "names no host"),
        ("postgresql://u:hunter2@localhost/db?hostaddr=8.8.8.8", "has `hostaddr` in its URL"),
        ("postgresql://u:hunter2@localhost/db?service=x", "has `service` in its URL"),
        ("sqlite:////nowhere/crm.db", "is the file /nowhere/crm.db, which does not exist"),
        ("sqlite://", "which does not exist"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_without_the_password(site: Site, url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refusal:
        list(site.place(url=url).items())
    assert "hunter2" not in secrets_of(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_connection_of_an_object_store_is_no_database() -> None:
    config = SqlPlace(connection="crm", table="articles", text="{body}")
    with pytest.raises(ConfigError, match="the connection crm is an object store's"):
        Sql(config, Connection(options={"secret": "hunter2"}), 1 << 20)


def test_the_configuration_of_a_source_opens_it(site: Site) -> None:
    labels = Labels.model_validate({"licence": "CC0-1.0", "classification": "internal"})
    sql = SqlPlace(connection="crm", table="articles", text="{body}")
    place = open_place(
        SourceConfig(name="crm", sql=sql, labels=labels), lambda name: Connection(url=SecretStr(site.url))
    )
    assert place.expect() == 3


def test_a_name_is_reached_at_the_address_that_was_checked(site: Site, tcp: Relay) -> None:
    url = f"postgresql://postgres@crm.nowhere:{tcp.port}/forge"
    place = site.place(url=url, resolve=tcp.resolve("127.0.0.1"))
    assert len(contents(place.items())) == 3
    assert tcp.num_connections == 2
    assert place.address == f"crm.nowhere:{tcp.port}/forge/articles"


def test_where_one_address_of_a_name_is_silent_another_is_tried(site: Site, tcp: Relay) -> None:
    one, other = tcp.resolve("127.0.0.9"), tcp.resolve("127.0.0.1")
    url = f"postgresql://postgres@crm.nowhere:{tcp.port}/forge"
    place = site.place(url=url, resolve=lambda *args, **kwargs: one(*args, **kwargs) + other(*args, **kwargs))
    assert place.expect() == 3


def test_a_public_address_is_refused_unless_the_source_allows_it(site: Site, tcp: Relay) -> None:
    url = f"postgresql://postgres@crm.nowhere:{tcp.port}/forge"
    with pytest.raises(ConfigError) as refusal:
        site.place(url=url, resolve=tcp.resolve("192.0.2.1")).expect()
    assert str(refusal.value) == (
        "the database of connection crm is at crm.nowhere (192.0.2.1), which is no private address: "
        "if that is meant, write `allow_public: true` beside it"
    )
    with pytest.raises(ConfigError, match=r"\(169\.254\.169\.254\), a cloud's metadata service"):
        site.place(url=url, resolve=tcp.resolve("169.254.169.254"), allow_public=True).expect()


class Elsewhere(PGDialect_psycopg2):
    """A driver that resolves names itself."""

    driver = "elsewhere"
    supports_statement_cache = True


def test_a_name_that_leads_elsewhere_at_the_second_connection_is_refused(site: Site, tcp: Relay) -> None:
    registry.register("postgresql.elsewhere", __name__, "Elsewhere")
    for driver, host in (("psycopg2", "crm.nowhere"), ("elsewhere", "localhost")):
        url = f"postgresql+{driver}://postgres@{host}:{tcp.port}/forge"
        place = site.place(url=url, resolve=tcp.resolve("127.0.0.1", "169.254.0.1"), allow_public=True)
        with pytest.raises(ConfigError, match=rf"{host} \(169\.254\.0\.1\), a link-local address"):
            list(place.items())
    assert tcp.num_connections == 2


def many(site: Site, num_rows: int, order: str = "i") -> None:
    site.run(
        "DELETE FROM articles",
        f"""INSERT INTO articles SELECT {order}, 'T' || {order}, repeat(md5(i::text), 300), NULL, now()
            FROM generate_series(1, {num_rows}) i""",
    )


@pytest.mark.parametrize("kind", ["int", "text", "uuid"])
def test_a_scan_whose_session_is_ended_goes_on_without_a_row_twice_or_left_out(site: Site, kind: str) -> None:
    made = {"int": "id", "uuid": "md5(id::text)::uuid"}.get(kind, "chr(65 + id % 50) || id")
    many(site, 3000)
    site.run("DROP TABLE IF EXISTS named", f"CREATE TABLE named (id {kind}, body text)")
    site.run(f"INSERT INTO named SELECT {made}, body FROM articles")
    expected = contents(site.place(table="named").items())
    found: list[Item] = []
    num_ended = 0
    for item in site.place(table="named").items():
        found.append(item)
        if len(found) in {700, 1400, 2100, 2800}:
            num_ended += site.end_sessions()
    assert num_ended == 4
    assert contents(iter(found)) == expected
    assert [item.path for item in found] == list(expected)


def test_a_row_without_an_id_is_found_though_the_session_was_ended_before_it(site: Site) -> None:
    many(site, 2000)
    place = site.place(query="SELECT nullif(id, 2000) AS id, body FROM articles")
    with pytest.raises(DataError, match="a row without `id`"):
        for number, _ in enumerate(place.items()):
            if number == 1000:
                site.end_sessions()


def test_fetching_whose_session_is_ended_goes_on(site: Site) -> None:
    many(site, 1500)
    place = site.place("{title}", updated_at="changed")
    found = list(place.items())
    fetched: list[bytes | Path | Refusal] = []
    for content in place.fetch(found):
        fetched.append(content)
        if len(fetched) in {400, 800, 1200}:
            site.end_sessions()
    assert fetched == [f"T{item.path}".encode() for item in found]


def test_a_server_that_is_killed_and_comes_back_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with postgres(tmp_path, None) as databases:
        own = Site(databases.forge, tmp_path)
        own.run("CREATE TABLE articles (id int, title text, body text, file bytea, changed timestamptz)")
        many(own, 3000)
        found: list[Item] = []
        for item in own.place(waits_seconds=LONG).items():
            found.append(item)
            if len(found) == 1500:
                data = str(tmp_path / "postgres" / "data")
                server = next(p for p in psutil.process_iter(["cmdline"]) if data in (p.info["cmdline"] or []))
                server.kill()
        assert [item.path for item in found] == [str(number) for number in range(1, 3001)]
        assert "the database of connection crm does not answer, and is asked again" in caplog.text


def test_a_server_that_never_comes_back_is_one_sentence_after_some_tries(
    site: Site, tcp: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    many(site, 3000)
    url = f"postgresql://postgres:hunter2@127.0.0.1:{tcp.port}/forge"
    place = site.place(url=url)
    items = place.items()
    assert len(list(itertools.islice(items, 100))) == 100
    tcp.cut()
    with pytest.raises(PlatformError) as failure:
        list(items)
    assert str(failure.value) == (
        "the database of connection crm does not answer, after 3 tries: Connection refused; "
        "see that it runs, and ask again"
    )
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the database of connection crm does not answer, and is asked again in 0.0 s"
    ] * 2
    assert "hunter2" not in secrets_of(failure.value) + caplog.text
    with pytest.raises(PlatformError, match="after 3 tries"):
        place.expect()
    tcp.mend()
    assert place.expect() == 3000


def test_a_query_that_the_server_ends_for_its_time_is_not_asked_again(site: Site, tcp: Relay) -> None:
    url = site.url + "&options=-c%20statement_timeout%3D100"
    place = site.place(url=url, query="SELECT 1 AS id, pg_sleep(60)::text AS body FROM articles")
    with pytest.raises(DataError, match="canceling statement due to statement timeout"):
        list(place.items())


@pytest.mark.parametrize("updated_at", [None, "changed"])
def test_memory_is_bounded_however_large_the_table_is(site: Site, updated_at: str | None) -> None:
    num_rows, num_bytes = 6400, 32_768
    site.run(
        "DELETE FROM articles",
        f"""INSERT INTO articles SELECT i, '', repeat(md5(i::text), {num_bytes // 32}), NULL, now()
            FROM generate_series(1, {num_rows}) i""",
    )
    place = site.place(updated_at=updated_at)
    process = psutil.Process()
    before, peak, read = process.memory_info().rss, 0, 0

    def lengths() -> Iterator[int]:
        if updated_at is None:
            yield from (item.num_bytes or 0 for item in place.items())
        else:
            listed = list(place.items())
            yield from (len(content) for content in place.fetch(listed) if isinstance(content, bytes))

    for number, length in enumerate(lengths()):
        read += length
        if number % 20 == 0:
            peak = max(peak, process.memory_info().rss)
    assert read == num_rows * num_bytes > 200_000_000
    assert peak - before < 100 << 20


def test_a_table_of_large_files_is_read_file_by_file(site: Site) -> None:
    num_bytes = 8 << 20
    site.run(
        "DELETE FROM articles",
        f"""INSERT INTO articles SELECT i, '', '', convert_to(repeat('x', {num_bytes}), 'UTF8'), now()
            FROM generate_series(1, 20) i""",
    )
    process = psutil.Process()
    before, peak, read = process.memory_info().rss, 0, 0
    for item in site.place("{file}", max_file_bytes=1 << 30).items():
        read += item.num_bytes or 0
        peak = max(peak, process.memory_info().rss)
    assert read == 20 * num_bytes
    assert peak - before < 100 << 20


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE articles (id TEXT, body TEXT, changed TEXT)")
        rows = [("b", "second", "2026-01-02T03:04:05Z"), ("a", "first", "2026-01-02")]
        database.executemany("INSERT INTO articles VALUES (?, ?, ?)", rows)
    return f"sqlite:///{path}"


def test_another_database_is_read_alike(site: Site, file: str) -> None:
    assert contents(site.place(url=file).items()) == {"a": b"first", "b": b"second"}
    place = site.place(url=file, updated_at="changed")
    found = list(place.items())
    assert [item.modified_at for item in found] == ["2026-01-02T00:00:00+00:00", "2026-01-02T03:04:05+00:00"]
    assert list(place.fetch(found[::-1])) == [b"second", b"first"]
    assert place.expect() == 2


def test_a_damaged_file_is_one_sentence(site: Site, tmp_path: Path) -> None:
    (tmp_path / "crm.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises((ConfigError, DataError), match="file is not a database"):
        site.place(url=f"sqlite:///{tmp_path / 'crm.db'}").expect()
