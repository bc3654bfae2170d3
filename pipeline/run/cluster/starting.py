"""Start Ray on this machine, or join a cluster: patiently, and saying what is waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

import gristmill
from gristmill.errors import EngineError, Interrupted
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.cluster.attempts import first_line
from gristmill.pipeline.run.settings import EngineSettings

SAY_SECONDS = 30.0
# For a node of one's own on a machine under heavy load. Ray gives its server 30 s to tell a port and the node
# 30 to register; a node whose agent is not up within 20 s ends by itself, which is seen when its time is
# over: so several tries are worth more than a long one.
TRIES = 5
_WAITS = {"RAY_gcs_server_port_wait_time_s": "120", "RAY_raylet_start_wait_time_s": "60"}
# Of a cluster that is there: each look takes Ray ten seconds, in which no signal is heard, and it takes 20.
_JOINS = {"RAY_NUM_REDIS_GET_RETRIES": "3"}
_CONNECT_SECONDS = 20.0
_OBJECT_STORE_BYTES = (
    100 << 20
)  # tasks return a path: the default of 30 % of memory would be taken for nothing

_REFUSALS = ("InvalidAuthToken", "Unauthenticated", "AuthenticationError")
_NO_CLUSTER = "is a cluster up there? Without `--address` one starts here"
TOKEN_HINT = (
    "say RAY_AUTH_MODE=token on both sides, with the head's ~/.ray/auth_token in RAY_AUTH_TOKEN; or start"
    " every node with RAY_AUTH_MODE=disabled where only you reach its ports"
)


@contextlib.contextmanager
def _standard_error(heard: bytearray) -> Iterator[None]:
    """Hold back what Ray's own libraries write to standard error, and hand it over: they do not raise it."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard += file.read()


def set_environment(settings: EngineSettings) -> None:
    """Say what Ray reads when it is imported; what is set already stands."""
    said = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    said |= _WAITS if _address(settings) is None else _JOINS
    for name, value in said.items():
        os.environ.setdefault(name, value)


def start(ray: Any, settings: EngineSettings, say: Callable[[str], None]) -> None:
    """Start or join Ray, tell every half minute what is waited for, and leave signals to their handlers.

    A node of one's own gets several tries. Raises EngineError where it does not start or answer.
    """
    _share_import_path()
    arguments = _init_arguments(settings)
    address = str(arguments["address"])
    tries = TRIES if address == "local" else 1
    _must_listen(address)
    began = time.monotonic()
    with _own_signal_handlers(), _quiet_raylets(ray):
        for number in range(1, tries + 1):
            what = (
                f"start on this machine, try {number} of {TRIES}" if tries > 1 else f"answer at `{address}`"
            )
            with _told(f"for Ray to {what}", began, say):
                failed = _try(ray, arguments)
            if failed is None:
                return
            signals.check()  # Ray's start-up swallows what a signal raised
    assert failed is not None
    seconds = time.monotonic() - began
    said = f"start on this machine in {seconds:.0f} s and {tries} tries" if tries > 1 else what
    hint = "run without it: `--engine inline`" if tries > 1 else _NO_CLUSTER
    raise EngineError(f"Ray did not {said}: {first_line(failed)}", hint=hint) from failed


def _must_listen(address: str) -> None:
    """Raise EngineError where nothing takes connections at host:port: Ray would look for minutes, and take a
    Ctrl-C for one more look that failed."""
    host, _, port = address.rpartition(":")
    if "/" in address or not (host and port.isdecimal()):
        return
    failed: Exception | None = None
    for each in _hosts(host.strip("[]")):
        try:
            socket.create_connection((each, int(port)), _CONNECT_SECONDS).close()
            return
        except (OSError, OverflowError) as error:
            failed = failed or error
    raise EngineError(f"Ray did not answer at `{address}`: {failed}", hint=_NO_CLUSTER) from failed


def _hosts(host: str) -> list[str]:
    """A host, and for the loopback the address by which Ray would go on: this machine's own."""
    if host not in ("127.0.0.1", "localhost", "::1"):
        return [host]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, contextlib.suppress(OSError):
        asked.connect(("192.0.2.1", 9))  # sends nothing
        return [host, asked.getsockname()[0]]
    return [host]


@contextlib.contextmanager
def _told(waits: str, began: float, say: Callable[[str], None]) -> Iterator[None]:
    """Say from a thread what the block waits for, each time that another while has gone by."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(SAY_SECONDS):
            say(f"  waiting {waits}: {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _try(ray: Any, arguments: dict[str, Any]) -> Exception | None:
    """Start or join Ray; return what failed. Raises EngineError for a cluster that wants another token."""
    heard, before = bytearray(), _children()
    try:
        with contextlib.nullcontext() if arguments["address"] == "local" else _standard_error(heard):
            ray.init(**arguments)
        return None
    except Interrupted:
        raise
    except Exception as error:
        ray.shutdown()
        _end(_children() - before)
        if any(word in f"{heard.decode('utf-8', 'replace')} {error}" for word in _REFUSALS):
            raise EngineError(
                f"the cluster at `{arguments['address']}` wants a token, and ours is not it", hint=TOKEN_HINT
            ) from None
        return error


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(processes: set[psutil.Process]) -> None:
    """End what a failed try has left of Ray's: it forgets them until this process ends, and they keep the
    machine as busy as it is."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if any(f"{os.sep}ray{os.sep}" in part for part in process.cmdline()):
                process.kill()


def _address(settings: EngineSettings) -> str | None:
    return settings.address or os.environ.get("RAY_ADDRESS")


def _init_arguments(settings: EngineSettings) -> dict[str, Any]:
    address = _address(settings)
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address:
        return {"address": address, **quiet}
    return {
        "address": "local",
        "num_cpus": settings.workers,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
        **quiet,
    }


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put SIGINT and SIGTERM back to what they did: Ray takes them, and its own end the driver without a word
    on resuming."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_raylets(ray: Any) -> Iterator[None]:
    """Keep the paragraphs off the terminal that Ray prints about each worker that died: the engine says which
    task it was, on which node. Ray asks for its listener once, when it starts."""
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    listener = getattr(worker, "listen_error_messages", None)
    if listener is None:
        yield
        return
    worker.listen_error_messages = lambda *_: None  # type: ignore[union-attr]
    try:
        yield
    finally:
        worker.listen_error_messages = listener  # type: ignore[union-attr]


def _share_import_path() -> None:
    """Let workers on this machine import what this process imports, also from a checkout that is not
    installed."""
    here = str(Path(gristmill.__file__).resolve().parent.parent)
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
