"""What mail promises as a place: mbox files by the mail, maildirs by lasting names, and folders of both."""

import mailbox
import os
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.connections import no_connections
from forge_pipelines.sources.place import Item, Place, Refusal
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.readers import mbox
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]


def source(path: Path, max_file_bytes: int = 1 << 20) -> SourceConfig:
    labels = {"licence": "CC0-1.0", "classification": "internal"}
    return SourceConfig.model_validate(
        {"name": "mail", "mailbox": {"path": str(path)}, "labels": labels, "max_file_bytes": max_file_bytes}
    )


def opened(path: Path, max_file_bytes: int = 1 << 20) -> Place:
    return open_place(source(path, max_file_bytes), no_connections)


def held(place: Place) -> dict[str, bytes | Refusal]:
    """Return what a place's items hold, by their paths, as a source reads them."""
    found: dict[str, bytes | Refusal] = {}
    for item in place.items():
        assert item.path not in found
        [content] = [item.refusal] if item.refusal else place.fetch([item])
        assert isinstance(content, bytes | Refusal)
        found[item.path] = content
    return found


def mail(text: str, message_id: str | None = None) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["Subject"] = "ada@example.org", text.partition("\n")[0][:20]
    if message_id:
        made["Message-ID"] = f"<{message_id}>"
    made.set_content(text)
    return made


def write_mbox(path: Path, *mails: EmailMessage) -> None:
    box = mailbox.mbox(path)
    for made in mails:
        box.add(made)
    box.close()


def test_an_mbox_file_gives_the_mails_that_the_standard_library_finds(tmp_path: Path) -> None:
    write_mbox(tmp_path / "box", *(mail(f"Pump {number}\n\nand more\n\n", f"{number}@x") for number in range(50)))
    found = held(opened(tmp_path / "box"))
    assert list(found) == [f"box#{number}@x" for number in range(50)]
    expected = [message.as_bytes() for message in mailbox.mbox(tmp_path / "box")]
    assert [content.rstrip(b"\n") for content in found.values() if isinstance(content, bytes)] == [
        content.rstrip(b"\n") for content in expected
    ]


def test_mails_without_an_id_have_numbers_and_repeated_ids_are_told_apart(tmp_path: Path) -> None:
    write_mbox(tmp_path / "box", mail("a", "i@x"), mail("b"), mail("c", "i@x"), mail("d", "i@x"), mail("e", "2"))
    assert list(held(opened(tmp_path / "box"))) == ["box#i@x", "box#2", "box#i@x~2", "box#i@x~3", "box#2~2"]


def test_lines_that_begin_with_from_stay_in_their_mail(tmp_path: Path) -> None:
    content = (
        b"From ada Mon Mar  2 10:00:00 2026\nSubject: one\nMessage-ID: <a>\n\n>From here on\n>>From quoted\n> From\n\n"
        b"From now on no header follows.\n\n"
        b"From boris Mon Mar  2 10:00:00 2026\r\nSubject: two\r\nMessage-Id:\r\n <b>\r\n\r\ntext\r\n\r\n"
        b"From - \nSubject: three\n\nMessage-ID: <none>\n"
    )
    (tmp_path / "box").write_bytes(content)
    assert held(opened(tmp_path / "box")) == {
        "box#a": b"Subject: one\nMessage-ID: <a>\n\nFrom here on\n>From quoted\n> From\n\n"
        b"From now on no header follows.\n",
        "box#b": b"Subject: two\r\nMessage-Id:\r\n <b>\r\n\r\ntext\r\n",
        "box#3": b"Subject: three\n\nMessage-ID: <none>\n",
    }


def test_a_mail_too_large_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    write_mbox(tmp_path / "box", mail("a", "a@x"), mail("x" * 70 + "\n" + "y\n" * 300_000, "b@x"), mail("c", "c@x"))
    found = held(opened(tmp_path / "box", 200_000))
    assert list(found) == ["box#a@x", "box#b@x", "box#c@x"]
    refusal = found["box#b@x"]
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "too_large"
    assert refusal.reason.endswith(" bytes, more than max_file_bytes (200,000) allows")


def test_a_large_mail_is_never_held(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "box").open("wb") as file:
        file.write(b"From x\nSubject: large\nMessage-ID: <l>\n\n")
        file.writelines(b"y" * (1 << 20) for _ in range(64))  # one line
        file.write(b"\n\nFrom x\nSubject: small\nMessage-ID: <s>\n\ntext\n")
    tracemalloc.start()
    with (tmp_path / "box").open("rb") as file:
        mails = [(found.key, found.num_bytes, found.content is None) for found in mbox.split(file, 100_000)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mails == [("l", (64 << 20) + 34, True), ("s", 37, False)]
    assert peak < 1 << 20


def test_a_maildir_is_read_with_its_subfolders_and_nothing_that_is_being_delivered(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "mail")
    key = box.add(mail("one"))
    sent = box.add_folder("Sent").add(mail("two"))
    (tmp_path / "mail/tmp/half").write_bytes(b"Subject: half")
    place = opened(tmp_path / "mail")
    assert place.expect() == 2
    found = held(place)
    assert list(found) == [key, f".Sent/{sent}"]
    assert b"one" in found[key]


def test_reading_a_mail_leaves_it_the_mail_that_it_was(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "mail")
    key = box.add(mail("one"))
    place = opened(tmp_path / "mail")
    before = list(place.items())
    message = box[key]
    message.set_subdir("cur")
    message.set_flags("RS")
    box[key] = message
    assert [path.name for path in (tmp_path / "mail/cur").iterdir()] == [f"{key}:2,RS"]
    [content] = place.fetch(before)
    assert isinstance(content, bytes), "it was moved after it was listed, and is found again"
    assert [item.path for item in place.items()] == [item.path for item in before] == [key]
    box.remove(key)
    assert list(place.fetch(before)) == [Refusal("unreadable", "cannot be read: it is no longer there")]


def test_a_mail_that_is_moved_while_it_is_listed_is_listed_once(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "mail")
    key = box.add(mail("one"))
    (tmp_path / f"mail/cur/{key}:2,S").write_bytes((tmp_path / f"mail/new/{key}").read_bytes())
    assert list(held(opened(tmp_path / "mail"))) == [key]


def test_a_folder_gives_its_mails_and_those_of_its_mbox_files(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    (folder / "2026").mkdir(parents=True)
    write_mbox(folder / "2026/archive", mail("x" * 60_000, "a@x"), mail("b" * 60_000, "b@x"))
    (folder / "2026/one.eml").write_bytes(mail("one", "c@x").as_bytes())
    (folder / "large.eml").write_bytes(mail("y" * 90_000).as_bytes())
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").write_text("x")
    place = opened(folder, 80_000)
    found = held(place)
    assert list(found) == ["2026/archive#a@x", "2026/archive#b@x", "2026/one.eml", "large.eml", "pipe"]
    refusals = {path: content.rule for path, content in found.items() if isinstance(content, Refusal)}
    assert refusals == {"large.eml": "too_large", "pipe": "not_a_file"}
    assert (place.num_skipped_hidden, place.expect()) == (1, None)


def test_times_and_stamps_are_those_of_the_files(tmp_path: Path) -> None:
    write_mbox(tmp_path / "box", mail("a", "a@x"))
    box = mailbox.Maildir(tmp_path / "mail")
    key = box.add(mail("one"))
    for path in (tmp_path / "box", tmp_path / "mail/new" / key):
        os.utime(path, (0, 0))
    [in_file], [in_maildir] = opened(tmp_path / "box").items(), opened(tmp_path / "mail").items()
    assert in_file.modified_at == in_maildir.modified_at == "1970-01-01T00:00:00+00:00"
    assert (in_file.stamp, in_file.content is None) == ("", False)
    assert (in_maildir.stamp != "", in_maildir.content is None) == (True, True)


def test_what_is_no_mailbox_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the mailbox .*/nowhere does not exist; correct `mailbox.path`"):
        opened(tmp_path / "nowhere")
    (tmp_path / "note").write_text("From here on.\n")
    with pytest.raises(
        ConfigError, match=r"note is no mailbox: it begins with no line «From »; correct `mailbox.path`"
    ):
        opened(tmp_path / "note")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe cannot be read by this user"):
        opened(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    assert list(opened(tmp_path / "empty").items()) == []


def test_an_mbox_file_that_vanishes_is_refused(tmp_path: Path) -> None:
    write_mbox(tmp_path / "box", mail("a"))
    place = opened(tmp_path / "box")
    (tmp_path / "box").unlink()
    assert list(place.items()) == [
        Item("box", refusal=Refusal("unreadable", "cannot be read: No such file or directory"))
    ]


def test_each_mail_is_a_document(tmp_path: Path, store: Store, contents: Contents) -> None:
    write_mbox(tmp_path / "box", mail("Grease the pump.", "a@x"), mail("Change the seal.", "b@x"))
    documents, rejections = contents(read_source(source(tmp_path / "box"), store).manifest)
    assert list(documents) == ["box#a@x", "box#b@x"]
    assert (rejections, documents["box#a@x"].media_type) == ({}, "message/rfc822")
    assert documents["box#a@x"].text.endswith("Grease the pump.")
