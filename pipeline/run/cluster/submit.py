"""Hand a recipe to Ray's job server through its own command line, so that no second client has to be kept in
step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from gristmill.errors import EngineError, UsageError
from gristmill.pipeline.run.cluster.packing import pack
from gristmill.pipeline.run.cluster.starting import TOKEN_HINT
from gristmill.redact import public_url

TOKEN = Path("~/.ray/auth_token")
_ADDRESS_HINT = (
    "is the cluster up, and its dashboard's port (8265) reached from here? `ray dashboard` forwards it"
)
_ANSWER_SECONDS = 10.0


ENTRY, ARGUMENTS = "gristmill_job.py", "gristmill_job.json"
_ENTRY = f"""# Runs gristmill with the arguments that lie beside this file.
import json
import sys
from pathlib import Path

from gristmill.pipeline import cli

sys.argv[1:] = json.loads(Path(__file__).with_name("{ARGUMENTS}").read_text("utf-8"))
cli.main()
"""


def job_command(
    recipe_name: str, address: str, folder: Path, out: str, overrides: Sequence[str], *, wait: bool
) -> list[str]:
    """Return the `ray job submit` command for a recipe copied into `folder`, the job's working folder.

    Ray makes one line of a job's arguments, by rules that differ from release to release, and hands it to a
    shell: what is said goes in a file instead.
    """
    sets = [part for override in overrides for part in ("--set", override)]
    run = ["run", recipe_name, "--out", out, "--engine", "ray", "--address", "auto", *sets]
    (folder / ARGUMENTS).write_text(json.dumps(run), encoding="utf-8")
    (folder / ENTRY).write_text(_ENTRY, encoding="utf-8")
    submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit"]
    submit += ["--address", address, "--working-dir", str(folder)]
    return [*submit, *([] if wait else ["--no-wait"]), "--", "python", ENTRY]


def submit_job(recipe: Path, address: str, out: str, overrides: Sequence[str], *, wait: bool) -> int:
    """Submit and, if asked, follow a job; return its exit code.

    The working folder holds the recipe and what it names by relative paths: code, lists, models, layouts.
    Inputs are named by absolute paths, which every node must see. Raises EngineError where no job server
    answers.
    """
    if any("storage_options" in said or public_url(said) != said for said in (*overrides, out)):
        raise UsageError(
            "a job's command line is shown to all who look at the cluster",
            hint=(
                "put `storage_options` and signed URLs into the recipe, or access into the environment of the"
                " nodes"
            ),
        )
    address = address if "://" in address else f"http://{address}"
    packed = pack(recipe, overrides)
    for line in packed.told():
        print(line, file=sys.stderr)
    check_job_server(address)
    with tempfile.TemporaryDirectory(prefix="gristmill-job-") as name:
        packed.copy_to(Path(name))
        sets = [*overrides, *packed.resolved]
        command = job_command(recipe.name, address, Path(name), out, sets, wait=wait)
        return subprocess.run(command, env={**os.environ, **_authentication()}, check=False).returncode


def check_job_server(address: str) -> None:
    """Raise EngineError unless a job server answers at a URL and lets us in."""
    if not address.startswith(("http://", "https://")):
        return
    token = os.environ.get("RAY_AUTH_TOKEN") or _token_file()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(f"{address.rstrip('/')}/api/version", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise EngineError(
                f"the cluster at `{address}` wants a token, and ours is not it", hint=TOKEN_HINT
            ) from None
        raise EngineError(
            f"`{address}` answers {error.code}: it is no job server of Ray", hint=_ADDRESS_HINT
        ) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise EngineError(f"no job server answers at `{address}`: {reason}", hint=_ADDRESS_HINT) from None


def _token_file() -> str:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN).expanduser()
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _authentication() -> dict[str, str]:
    """Ray turns token authentication on where a token lies, but only on the side that looks: say the same on
    ours."""
    if "RAY_AUTH_MODE" in os.environ or not TOKEN.expanduser().exists():
        return {}
    return {"RAY_AUTH_MODE": "token"}
