"""What recognising text promises: pictures and scanned pages are read by the site's own command, or say what to do."""

import io
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import document_samples as samples
import psutil
import pytest
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from reading_files import read, read_parts, read_texts, refused

from forge_pipelines import processes
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import ReadingLimits, SourceConfig
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import ocr
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Command = Callable[[str], tuple[str, ...]]

# Reads the picture: its form, its size, and whether it is darker on the left or on the right.
DESCRIBE = """
    import io, sys
    from PIL import Image
    picture = Image.open(io.BytesIO(sys.stdin.buffer.read()))
    grey = picture.convert("L").resize((2, 1), Image.Resampling.BOX)
    left, right = grey.getpixel((0, 0)), grey.getpixel((1, 0))
    side = "left" if left < right else "right" if right < left else "no side"
    print(f"{picture.format} of {picture.width} x {picture.height}, dark on the {side}")
"""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Make a command of a Python script."""

    def make(script: str) -> tuple[str, ...]:
        path = tmp_path / "recognise.py"
        path.write_text(textwrap.dedent(script))
        return (sys.executable, str(path))

    return make


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    ocr.configure(())


def picture(form: str, size: tuple[int, int] = (60, 40), mode: str = "RGB", dark: str = "left") -> bytes:
    image = Image.new(mode, size, "white")
    half = size[0] // 2
    image.paste(Image.new(mode, (half, size[1]), "black"), (0 if dark == "left" else half, 0))
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def drawn(*lines: str) -> Image.Image:
    """Return a picture of some lines of text."""
    image = Image.new("L", (1200, 120 * len(lines) + 80), 255)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((60, 40 + 120 * number), line, 0, font=ImageFont.load_default(70))
    return image


def pdf(*pages: str | Image.Image | None) -> bytes:
    """Return a PDF of pages of text, of one picture each, or of nothing."""
    file = io.BytesIO()
    with PdfPages(file) as document:
        for page in pages:
            figure = Figure(figsize=(6, 8), dpi=100)
            if isinstance(page, str):
                figure.text(0.1, 0.9, page, fontsize=11)
            elif page is not None:
                figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[]).imshow(page, cmap="gray")
            document.savefig(figure)
    return file.getvalue()


def test_pictures_are_recognised_as_png_whatever_they_were(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    for form, media_type in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/tiff")):
        for dark in ("left", "right"):
            reading = read(picture(form, dark=dark))
            assert (reading.text, reading.media_type) == (f"PNG of 60 x 40, dark on the {dark}", media_type)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "CMYK"), ("TIFF", "CMYK"), ("TIFF", "1"), ("PNG", "RGBA"), ("PNG", "I;16"), ("TIFF", "F")],
)
def test_pictures_in_any_colours_are_recognised(command: Command, form: str, mode: str) -> None:
    ocr.configure(command(DESCRIBE))
    file = io.BytesIO()
    Image.new("1", (60, 40)).convert(mode).save(file, form)
    assert read(file.getvalue()).text == "PNG of 60 x 40, dark on the no side"


def test_every_page_of_a_fax_is_recognised(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    file = io.BytesIO()
    first, second = Image.new("1", (60, 40)), Image.new("1", (30, 20))
    first.save(file, "TIFF", save_all=True, append_images=[second])
    assert read(file.getvalue()).text == "PNG of 60 x 40, dark on the no side\n\nPNG of 30 x 20, dark on the no side"


def test_a_photograph_is_turned_upright(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    file, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6
    Image.new("L", (60, 40)).save(file, "JPEG", exif=turned)
    assert read(file.getvalue()).text.startswith("PNG of 40 x 60")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_half_a_picture_is_damaged(command: Command, form: str) -> None:
    ocr.configure(command(DESCRIBE))
    whole = picture(form, (600, 400))
    rule, reason = refused(whole[: len(whole) // 2])
    assert (rule, reason.partition(":")[0]) == ("damaged", f"is a damaged picture ({form})")


@pytest.mark.parametrize(("size", "words"), [((12_000, 8_000), "96,000,000 pixels"), ((20_000, 10_000), "too much")])
def test_a_picture_that_would_become_too_large_is_a_bomb(
    command: Command, size: tuple[int, int], words: str, recwarn: pytest.WarningsRecorder
) -> None:
    ocr.configure(command(DESCRIBE))
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    rule, reason = refused(file.getvalue())
    assert rule == "bomb"
    assert words in reason


def test_pages_without_text_are_recognised_in_their_places(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    wide = Image.new("L", (600, 800), 255)
    wide.paste(0, (0, 0, 300, 800))
    text = read(pdf("First page.", wide, "Third page.", None)).text
    assert text == "First page.\n\nPNG of 1200 x 1600, dark on the left\n\nThird page."


def test_pages_without_text_are_refusals_beside_the_text_of_the_others() -> None:
    content = pdf("First page.", drawn("Scanned."), None, "Fourth page.", drawn("Scanned."))
    outcomes = read_parts(content)
    assert read(content).text == "First page.\n\nFourth page."
    assert list(outcomes) == ["", "#page=2", "#page=5"]
    refusal = outcomes["#page=5"]
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "needs_ocr"
    assert refusal.reason == "is a page without text; name a command that recognises text (OCR) as `reading.ocr`"


def test_a_page_whose_letters_are_drawn_is_not_taken_for_an_empty_one() -> None:
    figure, file = Figure(figsize=(6, 8)), io.BytesIO()
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
    for number in range(30):
        axes.plot([0, number], [number, 0])
    with PdfPages(file) as document:
        document.savefig(figure)
        words = Figure(figsize=(6, 8))
        words.text(0.1, 0.9, "Words.")
        document.savefig(words)
    assert read_texts(file.getvalue()) == {"": "Words.", "#page=1": "<needs_ocr>"}


def test_a_scan_without_a_command_says_what_to_do() -> None:
    assert refused(pdf(drawn("One."), drawn("Two."))) == (
        "needs_ocr",
        "has no text on any of its 2 pages; name a command that recognises text (OCR) as `reading.ocr`",
    )


def test_a_page_of_any_size_is_rendered_within_bounds(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    file = io.BytesIO()
    Image.new("L", (400, 400)).save(file, "PDF", resolution=2.0)
    width, height = read(file.getvalue()).text.removeprefix("PNG of ").partition(",")[0].split(" x ")
    assert 39_000_000 < int(width) * int(height) < 40_100_000


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit('first line\\nno such language: xyz')", "no such language: xyz"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "wrote no UTF-8"),
        ("import os; os.kill(os.getpid(), 9)", "ended with exit code -9"),
    ],
)
def test_a_command_that_fails_refuses_the_page_and_not_the_others(command: Command, script: str, reason: str) -> None:
    ocr.configure(command(script))
    outcomes = read_parts(pdf("First page.", drawn("Scanned.")))
    assert read(pdf("First page.", drawn("Scanned."))).text == "First page."
    refusal = outcomes["#page=2"]
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "ocr_failed"
    assert reason in refusal.reason
    assert refused(picture("PNG"))[0] == "ocr_failed"
    rule, said = refused(pdf(drawn("Scanned.")))
    assert rule == "ocr_failed"
    assert said.startswith("has no text on any of its 1 pages, of which page 1 could not be recognised: ")


def test_a_command_that_is_not_installed_is_named() -> None:
    ocr.configure(("no-such-program",))
    assert refused(picture("PNG")) == (
        "ocr_failed",
        "could not be recognised: the program no-such-program is not installed",
    )


def test_a_picture_without_text_is_empty(command: Command) -> None:
    ocr.configure(command("print('\\f')"))
    assert refused(picture("PNG")) == ("empty", "holds no text")
    assert refused(pdf(drawn("Scanned."))) == ("empty", "holds no text")


def test_a_source_names_its_command(
    documents: Path,
    configure: Callable[..., SourceConfig],
    store: Store,
    contents: Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]],
    command: Command,
) -> None:
    (documents / "scan.png").write_bytes(picture("PNG"))
    (documents / "mixed.pdf").write_bytes(pdf("First page.", drawn("Scanned.")))
    without = configure()
    kept, rejected = contents(read_source(without, store).manifest)
    assert {path: row.rule for path, row in rejected.items()} == {
        "scan.png": "needs_ocr",
        "mixed.pdf#page=2": "needs_ocr",
    }
    assert kept["mixed.pdf"].text == "First page."
    limits = ReadingLimits(ocr=command(DESCRIBE))
    kept, rejected = contents(read_source(without.model_copy(update={"reading": limits}), store).manifest)
    assert not rejected
    assert kept["scan.png"].text == "PNG of 60 x 40, dark on the left"
    assert kept["mixed.pdf"].text.startswith("First page.\n\nPNG of 1200 x 1600, dark on")


@pytest.fixture
def sleeper(command: Command, tmp_path: Path) -> tuple[str, ...]:
    """A command that never ends and leaves a child in a session of its own."""
    return command(f"""
        import os, subprocess, time
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
        time.sleep(600)
    """)


def are_gone(pids: Path) -> bool:
    """Tell whether the processes of which the numbers stand in a file have ended, within a few seconds."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    assert len(numbers) == 2
    end = time.monotonic() + 10
    while any(map(is_alive, numbers)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(is_alive, numbers))


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    sleeper: tuple[str, ...], tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"took more than 2 seconds"):
        processes.transform(sleeper, b"x" * 1_000_000, 2.0)
    assert time.monotonic() - started < 12
    assert are_gone(tmp_path / "pids")


def test_a_command_ends_with_the_reading_process_that_waits_for_it(
    documents: Path,
    configure: Callable[..., SourceConfig],
    store: Store,
    contents: Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]],
    sleeper: tuple[str, ...],
    tmp_path: Path,
) -> None:
    (documents / "scan.png").write_bytes(picture("PNG"))
    limits = ReadingLimits(seconds=4.0, ocr=sleeper)
    kept, rejected = contents(read_source(configure().model_copy(update={"reading": limits}), store).manifest)
    assert {path: row.rule for path, row in rejected.items()} == {"scan.png": "too_slow"}
    assert len(kept) == 4
    assert are_gone(tmp_path / "pids")


def test_a_command_may_leave_its_input_unread_and_write_much() -> None:
    script = "import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('a\\nb\\n' * 100_000)"
    made = processes.transform([sys.executable, "-c", script], b"x" * 3_000_000, 30.0)
    assert (made.exit_code, len(made.output), made.complaint) == (0, 3_000_000, "b")


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_tesseract_reads_pictures_and_scanned_pages() -> None:
    ocr.configure(("tesseract", "stdin", "stdout", "-l", "eng"))
    file = io.BytesIO()
    drawn("The pump is greased", "once a week.").save(file, "PNG")
    assert read(file.getvalue()).text.split() == ["The", "pump", "is", "greased", "once", "a", "week."]
    assert read(pdf("First page.", drawn("Oil and grease"), "Third page.")).text == (
        "First page.\n\nOil and grease\n\nThird page."
    )


def test_an_encrypted_pdf_stays_a_refusal(command: Command) -> None:
    ocr.configure(command(DESCRIBE))
    assert refused(samples.encrypted_pdf())[0] == "encrypted"
