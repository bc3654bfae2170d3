"""The command line: one verb per stage, and the verbs over whole runs.

Results go to stdout, narration and errors to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 done but with
losses above the recipe's limit, 130 and 143 interrupted and resumable. Modules behind the verbs are imported
when a verb runs, so that `gristmill --help` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.collecting import collect_seldom
from gristmill.errors import GristmillError
from gristmill.files.disk import space_hint
from gristmill.no_code import NO_CODE
from gristmill.pipeline.verbs.listing import Verbs, place_verbs
from gristmill.redact import struck_out

app = typer.Typer(
    name="gristmill",
    help="Crawl in, trained model out: extract, filter, deduplicate, score, mix, tokenize and train.",
    cls=Verbs,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@cache
def register() -> None:
    """Hang, once, every part's verbs on the app: each module below `pipeline/verbs` that has a `register`."""
    here = Path(__file__).parent
    for path in sorted((here / "verbs").rglob("*.py"), key=lambda path: path.stem):
        name = ".".join(path.relative_to(here).with_suffix("").parts)
        module = importlib.import_module(f"gristmill.pipeline.{name}")
        if hasattr(module, "register"):
            module.register(app)
            place_verbs(app, module)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    storage_option: Annotated[
        list[str],
        typer.Option(
            "--storage-option",
            metavar="KEY=VALUE",
            help="For outputs at URLs: an option of fsspec. Repeatable; never shown.",
        ),
    ] = [],  # noqa: B006  # typer reads it, nobody writes it
    no_code: Annotated[
        bool,
        typer.Option("--no-code", help="Refuse recipes that carry code of their own; GRISTMILL_NO_CODE=1."),
    ] = False,
) -> None:
    if no_code:
        os.environ[NO_CODE] = "1"  # workers and jobs inherit it
    if storage_option:
        from gristmill.files.location import use_storage
        from gristmill.files.remote import Access
        from gristmill.files.remote_store import StorageSettings
        from gristmill.overrides import nested

        use_storage("", StorageSettings(Access(nested(storage_option, name="--storage-option"))))
    if show:
        from gristmill import __version__

        typer.echo(f"gristmill {__version__}")
        raise typer.Exit


@cache
def command() -> Any:
    """The whole command line as one Click command, made once a process: it takes a fifth of a second."""
    register()
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    collect_seldom()
    given = list(sys.argv[1:] if arguments is None else arguments)
    before = given[: given.index("--")] if "--" in given else given
    if "--no-code" in before:  # anywhere: whoever adds it to a command means all of it
        given.remove("--no-code")
        given.insert(0, "--no-code")
    try:
        command()(args=given)
    except GristmillError as error:
        from gristmill.files.inside import inert  # an error may quote a file or a page
        from gristmill.pipeline.run.called import spelled

        print(f"error: {inert(spelled(struck_out(str(error), given)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our stdout, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:  # then it is no path of the user's, and where it came from is what helps
            raise
        from gristmill.files.inside import inert

        print(f"error: {error.strerror}\n  --> {inert(str(error.filename))}", file=sys.stderr)
        if hint := space_hint(error):
            print(f"hint: {hint}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
