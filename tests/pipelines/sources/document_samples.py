"""Small documents of every format, made by the libraries that write them, or by hand."""

import gzip
import io
import json
import zipfile
from email.message import EmailMessage
from typing import Any

import docx
import openpyxl
import pptx
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from odf import draw, opendocument, style, table, text

LINES = (
    "Pump maintenance",
    "",
    "The pump is greased once a week by who-",
    "ever opens the hall.",
    "",
    "• grease",
    "• cloth",
)


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_member(package: bytes, name: str, content: bytes | str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        members: dict[str, bytes | str] = {member: archive.read(member) for member in archive.namelist()}
    return zipped({**members, name: content})


def saved(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def pdf(*pages: tuple[str, ...]) -> bytes:
    file = io.BytesIO()
    with PdfPages(file, metadata={"CreationDate": None}) as document:
        for lines in pages:
            figure = Figure(figsize=(6, 8))
            for number, line in enumerate(lines):
                figure.text(0.1, 0.9 - number * 0.03, line, fontsize=11)
            document.savefig(figure)
    return file.getvalue()


def encrypted_pdf() -> bytes:
    trailer = (
        b"<</Root 1 0 R/Size 4/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]/Encrypt"
        b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">>>>>"
    )
    body = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n"
    )
    return body + b"trailer" + trailer + b"\n%%EOF\n"


FOOTNOTES = (
    '<w:footnotes xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    '<w:footnote w:type="separator" w:id="0"><w:p><w:r><w:t>line</w:t></w:r></w:p></w:footnote>'
    '<w:footnote w:id="2"><w:p><w:r><w:t>Not on Sundays.</w:t></w:r></w:p></w:footnote></w:footnotes>'
)


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Pumps", 0)
    document.add_heading("Care", 2)
    paragraph = document.add_paragraph("The pump is ")
    paragraph.add_run("greased").bold = True
    inserted = OxmlElement("w:ins")
    inserted.append(paragraph.add_run(" weekly")._r)
    deleted = OxmlElement("w:del")
    gone = OxmlElement("w:r")
    gone.append(OxmlElement("w:delText"))
    gone[0].text = " daily"
    deleted.append(gone)
    paragraph._p.extend([inserted, deleted])
    reference = OxmlElement("w:footnoteReference")
    reference.set(qn("w:id"), "2")
    paragraph.add_run(".")._r.append(reference)
    document.add_paragraph("grease", "List Bullet")
    document.add_paragraph("cloth", "List Bullet")
    document.add_paragraph("open", "List Number")
    grid = document.add_table(rows=2, cols=2)
    for cell, value in zip(grid._cells, ("part", "oil", "shaft", "a|b"), strict=True):
        cell.text = value
    controlled = OxmlElement("w:sdt")
    content = OxmlElement("w:sdtContent")
    content.append(document.add_paragraph("In a form's field.")._p)
    controlled.append(content)
    document.element.body.insert(len(document.element.body) - 1, controlled)
    return with_member(saved(document), "word/footnotes.xml", FOOTNOTES)


WORD_TEXT = """# Pumps

## Care

The pump is greased weekly.[^f2]

- grease
- cloth
1. open

| part | oil |
| --- | --- |
| shaft | a\\|b |

In a form's field.

[^f2]: Not on Sundays."""


def presentation() -> bytes:
    document = pptx.Presentation()
    slide = document.slides.add_slide(document.slide_layouts[1])
    slide.shapes.title.text = "Pumps"
    frame = slide.placeholders[1].text_frame
    frame.text = "grease"
    paragraph = frame.add_paragraph()
    paragraph.text, paragraph.level = "cloth", 1
    slide.notes_slide.notes_text_frame.text = "Speak slowly."
    second = document.slides.add_slide(document.slide_layouts[6])
    grid = second.shapes.add_table(2, 2, 0, 0, 100, 100).table
    for cell, value in zip(grid.iter_cells(), ("part", "oil", "shaft", "yes"), strict=True):
        cell.text = value
    return saved(document)


PRESENTATION_TEXT = """## Pumps

- grease
  - cloth

Notes: Speak slowly.

## Slide 2

| part | oil |
| --- | --- |
| shaft | yes |"""


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Parts"
    for row in (("part", "oil", "when"), ("shaft", 1.5, None), (None, None, None), ("seal", 2.0, True)):
        sheet.append(row)
    book.create_sheet("Empty")
    book.create_sheet("More").append(["alone"])
    return saved(book)


WORKBOOK_TEXT = """## Parts

| part | oil | when |
| --- | --- | --- |
| shaft | 1.5 |  |
| seal | 2 | TRUE |

## More

| alone |
| --- |"""


def open_text() -> bytes:
    document = opendocument.OpenDocumentText()
    document.text.addElement(text.H(outlinelevel=1, text="Pumps"))
    document.text.addElement(text.P(text="The pump is greased."))
    bullets = text.List()
    for word_ in ("grease", "cloth"):
        entry = text.ListItem()
        entry.addElement(text.P(text=word_))
        bullets.addElement(entry)
    document.text.addElement(bullets)
    document.text.addElement(_grid((("part", "oil"), ("shaft", "yes")), "Oils"))
    document.automaticstyles.addElement(style.Style(name="P1", family="paragraph"))
    return saved(document)


OPEN_TEXT = """# Pumps

The pump is greased.

- grease
- cloth

| part | oil |
| --- | --- |
| shaft | yes |"""


def open_sheet() -> bytes:
    document = opendocument.OpenDocumentSpreadsheet()
    grid = _grid((("part", "oil"), ("shaft", "yes")), "Oils")
    last = table.TableRow(numberrowsrepeated=1048570)
    last.addElement(table.TableCell(numbercolumnsrepeated=16384))
    grid.addElement(last)
    document.spreadsheet.addElement(grid)
    return saved(document)


def open_slides() -> bytes:
    document = opendocument.OpenDocumentPresentation()
    layout = style.PageLayout(name="L")
    master = style.MasterPage(name="M", pagelayoutname=layout)
    document.automaticstyles.addElement(layout)
    document.masterstyles.addElement(master)
    slide = draw.Page(masterpagename=master)
    for kind, words in (("title", "Pumps"), ("outline", "Grease weekly.")):
        frame = draw.Frame()
        frame.setAttrNS("urn:oasis:names:tc:opendocument:xmlns:presentation:1.0", "class", kind)
        box = draw.TextBox()
        box.addElement(text.P(text=words))
        frame.addElement(box)
        slide.addElement(frame)
    document.presentation.addElement(slide)
    return saved(document)


def _grid(rows: tuple[tuple[str, ...], ...], name: str) -> Any:
    grid = table.Table(name=name)
    for row in rows:
        line = table.TableRow()
        for value in row:
            cell = table.TableCell()
            cell.addElement(text.P(text=value))
            line.addElement(cell)
        grid.addElement(line)
    return grid


def book() -> bytes:
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
            '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="text%20a.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="c" href="c.png" media-type="image/png"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/></spine></package>',
            "OEBPS/b.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><body><h2>Two</h2><p>B.</p></body></html>",
            "OEBPS/text a.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>T</title></head><body>"
            "<h1>One</h1><p>Oil&nbsp;&amp; <code>grease</code>.<br/>Cloth.</p><ul><li>a<ol><li>b</li></ol></li></ul>"
            "<pre>x\n  y</pre></body></html>",
        }
    )


BOOK_TEXT = """# One

Oil & `grease`.
Cloth.

- a
  1. b

```
x
  y
```

## Two

B."""


RICH = rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 Die Gr\'f6\'dfe der \b Pumpe\b0.\par Zweite Zeile.\par}"
RICH_TEXT = "Die Größe der Pumpe.\nZweite Zeile.\n"


def notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Pumps\n", "Text."]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"text/plain": "<Figure>", "image/png": "aGk="}},
            ],
        },
    ]
    metadata = {"language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


NOTEBOOK_TEXT = "# Pumps\nText.\n\n```python\nprint(1)\n```\n\n```\n1\n```\n\n```\n<Figure>\n```"

CSV = 'part;oil;"how much (l)"\nshaft;yes;1,5\n"the ""big""\nseal";no;2\n'.encode("utf-8-sig")
CSV_TEXT = '| part | oil | how much (l) |\n| --- | --- | --- |\n| shaft | yes | 1,5 |\n| the "big" seal | no | 2 |'

DOCBOOK = b"""<?xml version="1.0"?>
<!DOCTYPE article PUBLIC "-//OASIS//DTD DocBook XML V4.5//EN" "http://www.oasis-open.org/docbookx.dtd"
 [<!ENTITY app "Pumpe">]>
<article><articleinfo><title>&app; &mdash; care</title><author><surname>Ada</surname></author></articleinfo>
<sect1><title>Oil</title><para>Use <filename>a.cfg</filename> and
 <emphasis>grease</emphasis><footnote><para>Not much.</para></footnote>.</para>
<orderedlist><listitem><para>open</para></listitem><listitem><para>close</para></listitem></orderedlist>
<variablelist><varlistentry><term>seal</term><listitem><para>A ring.</para></listitem></varlistentry></variablelist>
<programlisting language="sh">start --now
stop</programlisting>
<informaltable><tgroup cols="2"><thead><row><entry>part</entry><entry>oil</entry></row></thead>
<tbody><row><entry>shaft</entry><entry>yes</entry></row></tbody></tgroup></informaltable></sect1></article>"""
DOCBOOK_TEXT = """# Pumpe — care

## Oil

Use `a.cfg` and grease (Not much.).

1. open
2. close

**seal**

A ring.

```sh
start --now
stop
```

| part | oil |
| --- | --- |
| shaft | yes |"""

MALLARD = b"""<page xmlns="http://projectmallard.org/1.0/" type="topic" id="oil"><info><desc>Short.</desc></info>
<title>Oil</title><p>Run <code>pump</code>.</p><section id="s"><title>Steps</title>
<steps><item><p>Open it.</p></item><item><p>Close it.</p></item></steps><code>a
b</code></section></page>"""
MALLARD_TEXT = "# Oil\n\nRun `pump`.\n\n## Steps\n\n1. Open it.\n2. Close it.\n\n```\na\nb\n```"


def mail(html_only: bool = False) -> bytes:
    message = EmailMessage()
    message["From"] = "Ada Größe <ada@example.org>"
    message["To"] = "boris@example.org"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0100"
    message["Subject"] = "Pümpe"
    message["Message-ID"] = "<1@example.org>"
    if html_only:
        message.set_content("<table><tr><td><p>Dear Boris,</p><p>the oil.</p></td></tr></table>", subtype="html")
    else:
        message.set_content("Dear Boris,\n\nthe oil is in the hall.\n")
        message.add_alternative("<p>Dear Boris</p>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="oil plan.pdf")
    return message.as_bytes()


MAIL_HEAD = """From: Ada Größe <ada@example.org>
To: boris@example.org
Date: Mon, 02 Mar 2026 10:00:00 +0100
Subject: Pümpe

"""
MAIL_TEXT = MAIL_HEAD + "Dear Boris,\n\nthe oil is in the hall.\n\nAttachments: oil plan.pdf"
HTML_MAIL_TEXT = MAIL_HEAD + "Dear Boris,\n\nthe oil.\n\nAttachments: oil plan.pdf"


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
