"""Why a call to a worker broke off, in words: of what Ray says and what the worker's log ends with."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.pipeline.run.cluster.attempts import first_line, hint_of

_MARKS = {  # what Python's faulthandler and Ray write into the log of a process that dies by a signal
    "SIGSEGV": ("Segmentation fault", "SIGSEGV"),
    "SIGABRT": ("Fatal Python error: Aborted", "SIGABRT"),
    "SIGBUS": ("Bus error", "SIGBUS"),
    "SIGFPE": ("Floating-point exception", "SIGFPE"),
    "SIGILL": ("Illegal instruction", "SIGILL"),
    "SIGTERM": ("SIGTERM",),
}
_NODE_ERRORS = ("NodeDiedError", "LocalRayletDiedError")


@dataclass(frozen=True, slots=True)
class Death:
    """Why a call broke off; `is_of_node` where the task has no part in it."""

    said: str
    hint: str | None = None
    traceback: str = ""
    is_of_node: bool = False


def death_of(error: Exception, log: str, *, node_lost: bool) -> Death:
    """Name the cause of an error that Ray raised for a call."""
    name = type(error).__name__
    if node_lost or name in _NODE_ERRORS:
        return Death("its node was lost", is_of_node=True)
    if name == "WorkerCrashedError":
        return Death(f"the worker process died: {exit_signal(log)}")
    if name == "OutOfMemoryError":
        return Death(
            "Ray ended the worker: its node had too little memory left",
            "say what a task takes, so that fewer run side by side: `engine.stages.STAGE.memory_bytes`",
        )
    cause = getattr(error, "cause", None) or error
    return Death(first_line(cause), hint_of(cause), str(error))


def exit_signal(log: str) -> str:
    """The signal that a dead worker's log names; one that it could not write about is SIGKILL, or an exit."""
    for name, marks in _MARKS.items():
        if any(mark in log for mark in marks):
            return name
    return "SIGKILL (by the kernel, for want of memory, or by somebody), or it exited"
