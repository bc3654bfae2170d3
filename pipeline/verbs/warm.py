"""`warm`: compile the kernels of this machine once, before its workers would."""

from __future__ import annotations

import sys

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.START


def register(app: typer.Typer) -> None:
    app.command("warm")(warm)


def warm(quiet: options.Quiet = False) -> None:
    """Compile every kernel for this machine's processor, so that no worker of it spends a minute on that.

    The machine code lies below XDG_CACHE_HOME (~/.cache) and holds for one processor and one release: run it
    when a node starts, or when an image is built on a machine of the nodes' kind.

    Example: gristmill warm
    """
    import time

    from gristmill.pipeline.demo.warm import warm as compile_all

    def say(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr)

    began = time.perf_counter()
    compile_all(say)
    print(f"kernels are compiled, {time.perf_counter() - began:.0f} s")
