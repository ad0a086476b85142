"""Mail (eml): who wrote what to whom and when, the text, and the names of what was attached."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import CloseBoundaryNotFoundDefect, StartBoundaryNotFoundDefect
from email.message import EmailMessage, MIMEPart
from email.policy import default

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.html_parts import html_to_markdown
from forge_pipelines.sources.readers.reading import Reading

MEDIA_TYPE = "message/rfc822"
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_HEADER = re.compile(rb"([!-9;-~]{1,80}):[ \t\r\n]")
_TRANSPORT = {b"received", b"return-path", b"delivered-to", b"message-id", b"mime-version", b"dkim-signature"}
_LOCKED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")


def accepts(head: bytes) -> bool:
    """Accept what begins with nothing but headers, of which one only mail has."""
    header_lines, _, body = re.sub(rb"\r\n?", b"\n", head).partition(b"\n\n")
    lines = header_lines.split(b"\n")[: None if body else -1]
    starts = [_HEADER.match(line + b"\n") for line in lines if line[:1] not in {b" ", b"\t", b""}]
    names = {start[1].lower() for start in starts if start}
    return all(starts) and bool(names & _TRANSPORT) and (b"from" in names or not body)


def read(content: bytes) -> Reading:
    """Return headers, text and the attachments' names.

    Raises:
        ItemError: the mail is encrypted or ends too soon.
    """
    mail = message_from_bytes(content, policy=default)
    if mail.get_content_type() in _LOCKED and mail.get_param("smime-type") != "signed-data":
        raise ItemError("encrypted", "is encrypted mail; decrypt it beforehand")
    ends = (CloseBoundaryNotFoundDefect, StartBoundaryNotFoundDefect)
    if any(isinstance(defect, ends) for part in mail.walk() for defect in part.defects):
        raise ItemError("damaged", "is mail that ends too soon; export it again")
    headers = "\n".join(f"{name}: {markdown.one_line(str(mail[name]))}" for name in _SHOWN if mail[name])
    names = ", ".join(_attachments(mail))
    return Reading(markdown.join([headers, _body(mail), names and f"Attachments: {names}"]), MEDIA_TYPE)


def _body(mail: EmailMessage) -> str:
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        text = "" if part is None else _text(part)
        shown = html_to_markdown(text) if kind == "html" else text.strip()
        if shown:
            return shown
    return ""


def _text(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes), "a part that get_body finds is no multipart"
    try:
        return payload.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        return decode(payload)


def _attachments(mail: EmailMessage) -> Iterator[str]:
    for part in mail.iter_attachments() if mail.is_multipart() else ():
        name = part.get_filename()
        if name:
            yield markdown.one_line(name)
        elif part.get_content_type() == "message/rfc822":
            yield f"a mail «{part.get_content().get('subject', '')}»"
