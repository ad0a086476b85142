"""Mail (eml): who wrote what to whom and when, the text, and what was attached, each read as a file of its own."""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from email import errors, message_from_bytes
from email.message import EmailMessage, Message, MIMEPart
from email.policy import default
from functools import partial
from mimetypes import MimeTypes

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.html_parts import html_to_markdown
from forge_pipelines.sources.readers.reading import Contents, Member, Reading

MEDIA_TYPE = "message/rfc822"
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_HEADER = re.compile(rb"([!-9;-~]{1,80}):[ \t\r\n]")
_TRANSPORT = {b"received", b"return-path", b"delivered-to", b"message-id", b"mime-version", b"dkim-signature"}
_LETTERHEAD = {b"to", b"subject", b"date"}
_LOCKED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_TEXTS = ("text/plain", "text/html")
_CUT_OFF = (
    errors.CloseBoundaryNotFoundDefect,
    errors.StartBoundaryNotFoundDefect,
    errors.NoBoundaryInMultipartDefect,
)
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")
_LONGEST_NAME = 200
_EXTENSIONS = {"text/calendar": ".ics", "message/delivery-status": ".txt"}
_AS_IT_CAME = default.clone(refold_source="none")


def accepts(head: bytes) -> bool:
    """Accept what begins with nothing but headers: one that only mail has, or a sender and two more of a letter's."""
    header_lines, _, body = re.sub(rb"\r\n?", b"\n", head).partition(b"\n\n")
    lines = header_lines.split(b"\n")[: None if body else -1]
    starts = [_HEADER.match(line + b"\n") for line in lines if line[:1] not in {b" ", b"\t", b""}]
    names = {start[1].lower() for start in starts if start}
    if not all(starts) or (body and b"from" not in names):
        return False
    return bool(names & _TRANSPORT) or (b"from" in names and len(names & _LETTERHEAD) >= 2)


def read(content: bytes) -> Contents:
    """Return headers, text and the attachments' names; and the attachments.

    Signatures are named alone, and pictures without a name, which the text shows, are left out.

    Raises:
        ItemError: the mail is encrypted or ends too soon.
    """
    mail = message_from_bytes(content, policy=default)
    if mail.get_content_type() in _LOCKED and mail.get_param("smime-type") != "signed-data":
        raise ItemError("encrypted", "is encrypted mail; decrypt it beforehand")
    _refuse_cut_off(_parts(mail))
    attached = list(_attached(mail))
    headers = "\n".join(f"{name}: {markdown.one_line(str(mail[name]))}" for name in _SHOWN if mail[name])
    names = ", ".join(name for part in attached if (name := _called(part)))
    texts = dict.fromkeys(_texts(mail))  # some programs send the same text twice
    text = markdown.join([headers, *texts, names and f"Attachments: {names}"])
    files = [part for part in attached if part.get_content_type() not in _SIGNATURES]
    return Contents(Reading(text, MEDIA_TYPE), [_member(part, number) for number, part in enumerate(files, 1)])


def _refuse_cut_off(parts: Iterable[Message]) -> None:
    if any(isinstance(defect, _CUT_OFF) for part in parts for defect in part.defects):
        raise ItemError("damaged", "is mail that ends too soon; export it again")


def _is_multipart(part: Message) -> bool:
    return part.get_content_maintype() == "multipart" and part.is_multipart()


def _inner(part: MIMEPart) -> Iterator[MIMEPart]:
    """Yield the parts of a multipart; an attached mail is one thing."""
    for inner in part.iter_parts() if _is_multipart(part) else ():
        assert isinstance(inner, MIMEPart), "the policy makes all parts of this kind"
        yield inner


def _parts(part: MIMEPart) -> Iterator[MIMEPart]:
    yield part
    for inner in _inner(part):
        yield from _parts(inner)


def _attached(part: MIMEPart, is_choice: bool = False) -> Iterator[MIMEPart]:
    """Yield what is a file of its own: neither text, nor another form of the text, nor a picture that it shows."""
    for inner in _inner(part):
        yield from _attached(inner, is_choice or part.get_content_type() == "multipart/alternative")
    if part.get_content_maintype() == "multipart":
        return
    is_shown = part.get_content_type() in _TEXTS or part.get_content_maintype() == "image"
    if _is_file(part) or not (is_shown or is_choice):
        yield part


def _is_file(part: MIMEPart) -> bool:
    return part.is_attachment() or part.get_filename() is not None


def _texts(part: MIMEPart) -> Iterator[str]:
    """Yield the texts that a reader sees; of several forms of one, the plain one."""
    if part.get_content_type() == "multipart/alternative":
        forms = sorted(_inner(part), key=lambda form: form.get_content_type() != "text/plain")
        yield from next((texts for form in forms if (texts := list(_texts(form)))), ())
    for inner in _inner(part) if part.get_content_type() != "multipart/alternative" else ():
        yield from _texts(inner)
    if part.get_content_type() in _TEXTS and not _is_file(part):
        text = _text(part)
        shown = html_to_markdown(text) if part.get_content_subtype() == "html" else text.strip()
        yield from [shown] if shown else []


def _text(part: MIMEPart) -> str:
    payload = _payload(part)
    try:
        return payload.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        return decode(payload)


def _payload(part: MIMEPart) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes), "only what holds parts has none"
    return payload


def _called(part: MIMEPart) -> str:
    name = part.get_filename()
    if name:
        return markdown.one_line(name)
    return f"a mail «{_attached_mail(part).get('subject', '')}»" if part.get_content_type() == MEDIA_TYPE else ""


def _member(part: MIMEPart, number: int) -> Member:
    name = _NOT_IN_NAMES.sub("_", markdown.one_line(part.get_filename() or "")).encode("utf-8", "replace").decode()
    return Member(f"!/{name[:_LONGEST_NAME] or f'{number}{_extension(part)}'}", partial(_content, part))


def _extension(part: MIMEPart) -> str:
    kind = part.get_content_type()
    return _EXTENSIONS.get(kind) or MimeTypes().guess_extension(kind) or ".bin"


def _content(part: MIMEPart) -> bytes:
    """Return an attachment's bytes; of a text that says its encoding, as UTF-8, which needs no saying."""
    if part.get_content_type() == MEDIA_TYPE:
        return _mail_content(part)
    if part.is_multipart():
        return b"\n".join(inner.as_bytes() for inner in part.iter_parts())
    if part.get_content_maintype() == "text" and part.get_content_charset():
        return _text(part).encode()
    return _payload(part)


def _mail_content(part: MIMEPart) -> bytes:
    mail = _attached_mail(part)
    if str(part.get("content-transfer-encoding", "")).lower() == "base64":  # which mail is not allowed to be
        return b64decode(str(mail.get_payload()))
    _refuse_cut_off(mail.walk())  # written anew, it would look whole
    return mail.as_bytes(policy=_AS_IT_CAME)


def _attached_mail(part: MIMEPart) -> EmailMessage:
    mail = part.get_payload(0)
    assert isinstance(mail, EmailMessage), "the parser makes a mail of whatever stands there"
    return mail
