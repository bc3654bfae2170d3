"""The output folder of a run as its readers open it: the run file, and the manifests of finished steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import IncompleteError, IntegrityError, UsageError
from gristmill.files.disk import read_file
from gristmill.files.inside import below, parsed
from gristmill.manifest import MANIFEST, Manifest, read_manifest, read_manifests
from gristmill.pipeline.run.stage import stage_of

RUN_FILE = "run.json"
_WITHOUT_DOCUMENTS = ("tokenizer", "tokenizer-report", "encode", "mix", "train", "ngram-heldout", "index")
PROGRESS = (  # in the folder of a step at work: which phase it is in and how many tasks that has
    "progress.json"
)


def read_run(out: Path) -> dict[str, Any]:
    """Read the run file of an output folder; raises UsageError when there is none."""
    try:
        run: dict[str, Any] = parsed(read_file(out / RUN_FILE))
        for entry in [*run["steps"], *run.get("previous", ())]:
            below(out, entry["folder"])
            if not isinstance(entry["name"], str):
                raise TypeError("a step's name is no text")
        if not isinstance(run["recipe_name"], str) or not isinstance(run.get("recipe", {}), dict):
            raise TypeError("its recipe is no object with a name")
        if not all(isinstance(name, str) for name in [*run.get("plan", ())]):
            raise TypeError("its plan is no list of steps")
        return run
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"`{out}` {_what_is_there(out)}: it holds no {RUN_FILE}", hint=_meant(out)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"`{out / RUN_FILE}` is damaged: {error}",
            hint="run the recipe again: finished steps are found and reused",
        ) from None


def finished_steps(out: Path) -> dict[str, Manifest]:
    """Open the manifests of every step the run file names as finished, in the order they ran."""
    entries = read_run(out)["steps"]
    manifests = read_manifests([out / entry["folder"] for entry in entries])
    return {entry["name"]: manifest for entry, manifest in zip(entries, manifests, strict=True)}


@dataclass(frozen=True, slots=True)
class Handed:
    """What a folder hands on: its steps, and in words what they lack of what the run was to make."""

    manifests: dict[str, Manifest]
    lacks: str = ""


def handed_on(folder: Path, *, partial: bool, hint: str) -> Handed:
    """Open the steps whose documents are handed to a person, or to another run.

    Raises IncompleteError where a step is missing that was to let documents go, or was published without some
    of its tasks, unless `partial`; `hint` says how a person asks for that.
    """
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        manifests, plan = {manifest.step: manifest}, [manifest.step]
    else:
        manifests, plan = finished_steps(folder), list(read_run(folder).get("plan", ()))
    missing = [name for name in plan if name not in manifests and decides_on_documents(name)]
    lossy = [name for name, manifest in manifests.items() if manifest.lost]
    lacks = "; ".join(
        [f"the step `{name}` has not been run" for name in missing[:1]]
        + [f"the step `{name}` lost {len(manifests[name].lost)} of its tasks" for name in lossy[:1]]
    )
    if lacks and not partial:
        raise IncompleteError(f"`{folder}` is not complete: {lacks}", hint=f"run its recipe again, or {hint}")
    return Handed(manifests, lacks)


def decides_on_documents(step: str) -> bool:
    """Whether a step, by its name in a plan, says which documents are left."""
    return stage_of(step) not in _WITHOUT_DOCUMENTS


def run_of(path: Path) -> Path:
    """Return the output folder that a file or folder lies in; raises UsageError when it lies in none."""
    for folder in path.resolve().parents:
        if (folder / RUN_FILE).is_file():
            return folder
    raise UsageError(
        f"`{path}` lies in no output folder of gristmill", hint=f"a folder above it would hold {RUN_FILE}"
    )


def result_of(path: Path, step: str, below: str) -> Path:
    """Return what a run's step left `below` its folder, if `path` is a run's output folder; any other path is
    meant as it is."""
    if not (path / RUN_FILE).is_file():
        return path
    steps = finished_steps(path)
    if step not in steps:
        raise UsageError(
            f"`{path}` holds no finished step `{step}`", hint="`gristmill status` says how far the run is"
        )
    return steps[step].folder / below


def _meant(out: Path) -> str:
    """Which folder was meant: a run right below or above the one that was named."""
    if "://" in str(out):
        return "name the URL given to `--out`"
    below_it = [file.parent for file in sorted(out.glob(f"*/{RUN_FILE}"))] if out.is_dir() else []
    above = [folder for folder in out.absolute().parents if (folder / RUN_FILE).is_file()]
    if len(below_it) == 1 or above:
        return f"did you mean `{(below_it or above)[0]}`?"
    if below_it:
        return f"it holds several runs; name one: {', '.join(str(folder) for folder in below_it[:5])}"
    return "name the folder given to `--out`"


def _what_is_there(out: Path) -> str:
    if out.is_dir():
        return "is not an output of gristmill" if any(out.iterdir()) else "is empty"
    return "is a file" if out.exists() else "does not exist"


def unfinished_folder(out: Path, name: str) -> Path | None:
    """Where a step without a manifest is at work, or was stopped: the newest, if an older recipe left one
    too."""
    stem = name.replace("/", "-")
    folders = [
        folder for folder in (out / "steps").glob(f"{stem}-*") if folder.name.rpartition("-")[0] == stem
    ]
    own = [folder for folder in folders if not (folder / MANIFEST).exists()]
    return max(own, key=lambda folder: (folder.stat().st_mtime, folder.name)) if own else None
