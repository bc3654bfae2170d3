"""The README and the program stay together: its commands parse, its verbs are all of them.

    python tests/test_readme.py

writes anew, after verbs or pages were added or removed, the README's links to all pages and its block of
examples, which are those that the verbs' own help gives.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gristmill.pipeline.cli import app, register

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_UNLISTED = ("tests/", "benchmarks/results/")


def fences(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every `gristmill ...` line in a shell block, without its comment and what it is piped into."""
    lines = [
        line.split("  #")[0].split(" | ")[0].strip()
        for block in fences("bash")
        for line in block.splitlines()
    ]
    return [line for line in lines if line.startswith("gristmill ")]


def verbs() -> dict[str, Any]:
    """Every command of the program by its words, `shards info` included."""
    if not app.registered_commands:
        register()
    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        for name, below in getattr(command, "commands", {}).items():
            walk(f"{words} {name}".strip(), below)
        if not getattr(command, "commands", None):
            found[words] = command

    walk("", typer.main.get_command(app))
    return found


def split_verb(line: str) -> tuple[str, list[str]]:
    """Part a command line into the verb's words and its arguments."""
    words = shlex.split(line)[1:]
    known = verbs()
    for length in (2, 1):
        if " ".join(words[:length]) in known:
            return " ".join(words[:length]), words[length:]
    raise AssertionError(f"the README shows `{line}`, the program has the verbs {', '.join(known)}")


def examples() -> str:
    """One example per verb, from its help, in the order of the help; the help itself where it gives none."""
    lines = []
    for words, command in verbs().items():
        found = re.search(r"Example:\s+(gristmill .*)", command.help or "", re.DOTALL)
        lines.append(" ".join(found[1].split("\n\n")[0].split()) if found else f"gristmill {words} --help")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_readme_is_one_the_program_takes(line: str) -> None:
    verb, arguments = split_verb(line)
    if arguments != ["--help"]:
        verbs()[verb].make_context(
            verb, arguments
        )  # raises on an unknown option, a wrong type or a missing argument


def test_every_verb_is_in_the_readme_with_the_example_of_its_help() -> None:
    assert examples() in fences("bash"), "run `python tests/test_readme.py` and commit README.md"


def test_the_readme_is_shorter_than_200_lines() -> None:
    assert README.count("\n") < 200


def test_the_readmes_recipe_is_valid() -> None:
    from gristmill.pipeline.recipe.file import make_recipe

    for block in fences("yaml"):
        assert make_recipe(yaml.safe_load(block)).train


def test_the_tree_of_the_design_is_every_folder() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    (tree,) = [block for block in fences("text", design) if "gristmill/" in block and "filters/" in block]
    shown = [line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()]
    there = {Path(name).parent.as_posix() for name in tracked() if "/" in name}
    assert sorted(shown) == sorted(there - {"."})


def test_links_in_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_page_of_the_documentation_is_linked_from_the_readme() -> None:
    assert reading() in README, "run `python tests/test_readme.py` and commit README.md"


def tracked() -> list[str]:
    """Every file of the project, by git where there is one: what is ignored is no part of it."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    names = [
        name
        for name in done.stdout.splitlines()
        if (ROOT / name).is_file() and not name.startswith(_UNLISTED)
    ]
    return sorted(name for name in names if not name.endswith(".gitkeep"))


def reading() -> str:
    """The README's links to the pages of docs/, by name, with their headings."""
    links = [f"[{heading(path)}](docs/{path.name})" for path in sorted((ROOT / "docs").glob("*.md"))]
    return textwrap.fill(" · ".join(links), 120, break_long_words=False, break_on_hyphens=False) + "\n"


def heading(path: Path) -> str:
    """The heading a page begins with."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").strip()


if __name__ == "__main__":
    (before,) = [block for block in fences("bash") if "gristmill extract " in block]
    text = re.sub(
        r"(?<=## Reading on\n\n).*?(?=\n## )",
        lambda _: reading(),
        README.replace(before, examples()),
        flags=re.DOTALL,
    )
    (ROOT / "README.md").write_text(text, encoding="utf-8")
