"""The command `forge`: one file a group of commands."""

import gc
import sys
from typing import Annotated

# Dagster and MLflow make millions of objects that live to the end: searching them for garbage again and again, while
# they are imported, takes over a second of every command.
gc.set_threshold(200_000, 50, 100)

import typer
from rich.console import Console

from forge_assets.cli.attempts import show_attempts
from forge_assets.cli.bases import bring_in
from forge_assets.cli.chat import run_chat
from forge_assets.cli.consumed import show_consumed
from forge_assets.cli.demo import run_demo
from forge_assets.cli.doctor import examine
from forge_assets.cli.documents import Query, show_documents
from forge_assets.cli.gc import collect_garbage
from forge_assets.cli.gpus import show_gpus
from forge_assets.cli.plan import Wish, show_plan
from forge_assets.cli.reconcile import reconcile
from forge_assets.cli.run import run_chain
from forge_assets.cli.serve import run_serve
from forge_assets.cli.up import run_up
from forge_assets.cli.verify import verify_store
from forge_assets.settings import load_settings
from forge_pipelines.errors import ForgeError
from forge_pipelines.manifest import Classification

_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn your own documents into a language model that you own, on your own machines.",
)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="A model, a corpus or a source.")],
) -> None:
    """Make a model (or a corpus, or a source), and all that it is made from."""
    sys.exit(run_chain(name, load_settings()))


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="A model.")],
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="Plan for this card, as L40S or H100, not for this machine.")
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Plan for a card with this memory, as 24GB or 24GiB.")
    ] = None,
    price_per_gpu_hour: Annotated[
        float | None, typer.Option(min=0, help="What an hour of one GPU costs, in your currency.")
    ] = None,
) -> None:
    """Say what training will take, before it starts: tokens, memory, hours, price. Exit code 1: it does not fit."""
    sys.exit(show_plan(model, Wish(gpu, gpu_memory, price_per_gpu_hour), load_settings()))


@app.command()
def demo() -> None:
    """Let a bank adapt an open model to its own knowledge: a real case, in minutes, on this machine."""
    sys.exit(run_demo(load_settings()))


@app.command("import-base")
def import_base(
    name: Annotated[str, typer.Argument(help="What models will call it: `base: NAME`.")],
    place: Annotated[
        str, typer.Argument(help="A folder as transformers saves it, a GGUF file, or ORGANISATION/MODEL.")
    ],
    licence: Annotated[str, typer.Option(help="Its SPDX licence expression, for example Apache-2.0.")],
    classification: Annotated[Classification, typer.Option(help="How widely it may be seen.")] = Classification.PUBLIC,
    origin: Annotated[str, typer.Option(help="Where it came from, in words.")] = "",
    revision: Annotated[str | None, typer.Option(help="A revision, when the place is a hub's name.")] = None,
) -> None:
    """Bring an open model in, to be adapted: checked, as safetensors, with its provenance."""
    bring_in(
        {
            "name": name,
            "place": place,
            "licence": licence,
            "classification": classification,
            "origin": origin,
            "revision": revision,
        },
        load_settings(),
    )


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Only what has this name.")] = None,
) -> None:
    """Check every hash of what is published."""
    sys.exit(verify_store(name, load_settings()))


@app.command()
def documents(  # noqa: PLR0913, PLR0917 - an argument for each option
    name: Annotated[str, typer.Argument(help="A source or a corpus; with --rejected, also a model.")],
    rejected: Annotated[bool, typer.Option("--rejected", help="Not documents: what was rejected, and why.")] = False,
    rule: Annotated[str | None, typer.Option(help="What one rule rejected; --rejected itself takes no value.")] = None,
    grep: Annotated[str | None, typer.Option(help="Only where text or path (reason or path) holds this.")] = None,
    regex: Annotated[bool, typer.Option("--regex", help="--grep is a regular expression.")] = False,
    uri: Annotated[str | None, typer.Option(metavar="GLOB", help="Only these paths; ** crosses folders.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="At most so many, 0: all. Default: 20 on a terminal, all in a pipe.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Whole texts.")] = False,
) -> None:
    """Look inside a source or a corpus; in a pipe each document is one line, its columns between tabs."""
    rejected = rejected or rule is not None
    query = Query(rejected=rejected, rule=rule, grep=grep, regex=regex, uri=uri, limit=limit, full=full)
    sys.exit(show_documents(name, query, load_settings()))


@app.command()
def gpus() -> None:
    """Show this machine's GPUs, which step holds each, and who waits."""
    sys.exit(show_gpus(load_settings()))


@app.command()
def attempts(
    name: Annotated[str, typer.Argument(help="A model, a corpus or a source.")],
) -> None:
    """List every attempt at the steps of a model, the failed ones too: how it ended, and the seconds that it took."""
    sys.exit(show_attempts(name, load_settings()))


@app.command()
def consumed(
    model: Annotated[str, typer.Argument(metavar="MODEL[@ALIAS]", help="By default its latest training.")],
    step: Annotated[int | None, typer.Option(help="List the documents of this step; the first is 1.")] = None,
    doc: Annotated[
        str | None,
        typer.Option(metavar="ID", help="List the steps of this document: its id, 8 digits of it or more, or its URI."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Of a registered model; an alias is another way to say it.")
    ] = None,
) -> None:
    """Say which documents a training consumed at a step, or at which steps it consumed a document, and why not."""
    sys.exit(show_consumed(model, load_settings(), version=version, step=step, doc=doc))


@app.command("reconcile")
def reconcile_() -> None:
    """Report to Dagster what stands published in the store and Dagster does not know."""
    sys.exit(reconcile(load_settings()))


@app.command("gc")
def gc_(
    keep_versions: Annotated[int, typer.Option(min=0, help="How many versions of each model stay, the newest.")] = 3,
    keep_days: Annotated[int, typer.Option(min=0, help="What is younger stays.")] = 7,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
) -> None:
    """Remove from the store what no alias, kept version or running work needs; first it only says what that is."""
    sys.exit(collect_garbage(load_settings(), keep_versions=keep_versions, keep_days=keep_days, yes=yes))


@app.command()
def doctor() -> None:
    """Say what this machine has and what is missing, with the remedy for each."""
    sys.exit(examine(load_settings()))


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the web UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.")] = 5000,
    pages_port: Annotated[int, typer.Option(help="Port of published reports and Data Docs.")] = 3030,
) -> None:
    """Start PostgreSQL, MLflow, the daemon and the web UI on this machine; Ctrl-C ends them all."""
    run_up(load_settings(), port=port, mlflow_port=mlflow_port, pages_port=pages_port)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL[@ALIAS]", help="By default its champion, or its candidate.")],
    port: Annotated[int, typer.Option(help="Port of the endpoint; 0 is any free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Loopback only, until there are keys.")] = "127.0.0.1",
) -> None:
    """Serve a registered model through an OpenAI-compatible endpoint; Ctrl-C ends it."""
    run_serve(model, load_settings(), host=host, port=port)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL[@ALIAS]", help="By default its champion, or its candidate.")],
    compare: Annotated[str | None, typer.Option(help="base: the model's base answers each question, too.")] = None,
    prompt: Annotated[str | None, typer.Option(help="One question; its answer is printed.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
) -> None:
    """Talk with a registered model in the terminal."""
    run_chat(model, load_settings(), compare=compare, prompt=prompt, temperature=temperature, max_tokens=max_tokens)


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: always; with 1 after an error of Forge, which is one sentence, and with 130 after Ctrl-C.
    """
    try:
        app()
    except ForgeError as error:
        Console(stderr=True, soft_wrap=True).print(f"forge: {error}", style="red", highlight=False, markup=False)
        sys.exit(1)
    except SystemExit as ending:
        # Typer has made it of Ctrl-C, and said nothing.
        if ending.code == _INTERRUPTED:
            Console(stderr=True).print("forge: interrupted; the same command goes on from here", highlight=False)
        raise
