"""The command `forge`: one file a group of commands."""

import gc
import sys
from typing import Annotated

# Dagster and MLflow make millions of objects that live to the end: searching them for garbage again and again, while
# they are imported, takes over a second of every command.
gc.set_threshold(200_000, 50, 100)

import typer
from rich.console import Console

from forge_assets.cli.doctor import examine
from forge_assets.cli.run import run_chain
from forge_assets.cli.up import run_up
from forge_assets.cli.verify import verify_store
from forge_assets.settings import load_settings
from forge_pipelines.errors import ForgeError

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
def verify(
    name: Annotated[str | None, typer.Argument(help="Only what has this name.")] = None,
) -> None:
    """Check every hash of what is published."""
    sys.exit(verify_store(name, load_settings()))


@app.command()
def doctor() -> None:
    """Say what this machine has and what is missing, with the remedy for each."""
    sys.exit(examine(load_settings()))


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the web UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow.")] = 5000,
) -> None:
    """Start PostgreSQL, MLflow, the daemon and the web UI on this machine; Ctrl-C ends them all."""
    run_up(load_settings(), port=port, mlflow_port=mlflow_port)


def main() -> None:
    """Run the command line; an error of Forge ends in its one sentence and exit code 1, Ctrl-C in 130."""
    try:
        app()
    except ForgeError as error:
        Console(stderr=True, soft_wrap=True).print(f"forge: {error}", style="red", highlight=False, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("forge: interrupted; the same command goes on from here", highlight=False)
        sys.exit(130)
