"""The binary files of Office before 2007, and today's under a password, which stand in the same container: refused."""

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.reading import Reading

_STREAMS = (
    ("EncryptedPackage", "encrypted", "is encrypted; save it without a password"),
    ("WordDocument", "old_office", "is an old binary Word document; save it as .docx"),
    ("PowerPoint Document", "old_office", "is an old binary PowerPoint document; save it as .pptx"),
    ("Workbook", "old_office", "is an old binary Excel document; save it as .xlsx"),
    ("Book", "old_office", "is an old binary Excel document; save it as .xlsx"),
    ("__substg1.0_", "old_office", "is an Outlook message; save it as .eml"),
)


def accepts(head: bytes) -> bool:
    """Accept every OLE container."""
    return head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def read(content: bytes) -> Reading:
    """Refuse the file with the remedy.

    Raises:
        ItemError: always.
    """
    for stream, rule, reason in _STREAMS:
        if stream.encode("utf-16-le") in content:
            raise ItemError(rule, reason)
    raise ItemError("not_text", "is not text: it is a container of an old Windows program")
