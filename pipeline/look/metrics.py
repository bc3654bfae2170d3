"""A run's figures in Prometheus' text format (version 0.0.4), printed, or served for it to collect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gristmill.errors import GristmillError, UsageError
from gristmill.pipeline.look.live import read_status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = ("waiting", "running", "stopped", "failed", "incomplete", "damaged", "done")
# Name, help, and the key of a row of `status`; those of training are in the newest row of its log.
_GAUGES = (
    ("step_shards_done", "Tasks of the step, or of its phase at work, that are done.", "shards"),
    ("step_shards_total", "Tasks of the phase at work.", "total"),
    ("step_documents_in", "Documents or records that entered.", "in"),
    ("step_documents_kept", "Documents kept.", "kept"),
    ("step_documents_removed", "Documents removed by rules.", "removed"),
    ("step_documents_failed", "Documents or records that failed.", "failed"),
    ("step_records_at_work", "Records done in tasks that are not done yet.", "records_at_work"),
    ("step_seconds", "Wall seconds of the finished step.", "seconds"),
    ("step_seconds_to_go", "Seconds until the phase at work is done, at its rate.", "eta_seconds"),
    ("step_shards_per_minute", "Rate of the phase at work.", "shards_per_minute"),
    ("step_peak_bytes", "Largest resident size of a worker.", "peak_bytes"),
    ("step_stragglers", "Tasks that took far longer than most.", "stragglers"),
    ("step_failed_shards", "Tasks that failed on every attempt.", "failed_shards"),
)
_TRAINED = (
    ("train_step", "The newest logged step of training.", "step"),
    ("train_loss", "Its loss, in nats per token.", "loss"),
    ("train_tokens_per_second", "Its speed.", "tokens_per_s"),
    ("train_mfu_ratio", "Its share of the device's peak.", "mfu"),
)


def metrics(out: Path) -> str:
    """Return the state of a run; raises UsageError where there is none."""
    status = read_status(out)
    lines = [
        *_gauge("run_complete", "Whether every step is done.", [("", int(status["complete"]))]),
        *_gauge("run_running", "Whether a process holds the run.", [("", int(bool(status["holder"])))]),
    ]
    rows = status["steps"]
    states = [
        (_labels(step=row["step"], state=state), int(row["state"] == state))
        for row in rows
        for state in _STATES
    ]
    lines += _gauge("step_state", "1 for the state that a step is in.", states)
    for name, told, key in _GAUGES:
        lines += _gauge(
            name, told, [(_labels(step=row["step"]), _number(row[key])) for row in rows if _has(row, key)]
        )
    for name, told, key in _TRAINED:
        trained = [(row["step"], row["training"]) for row in rows if row.get("training")]
        lines += _gauge(
            name, told, [(_labels(step=step), found[key]) for step, found in trained if _has(found, key)]
        )
    return "\n".join(lines) + "\n"


def serve_metrics(out: Path, port: int) -> None:
    """Answer GET /metrics on every interface of this machine until interrupted."""
    with metrics_server(out, port) as server:
        print(f"http://0.0.0.0:{server.server_address[1]}/metrics", flush=True)
        server.serve_forever()


def metrics_server(out: Path, port: int) -> ThreadingHTTPServer:
    """Make a server of a run's figures; raises UsageError where there is no run, or the port is taken."""
    metrics(out)  # raises where it cannot be read

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] not in ("/metrics", "/"):
                self.send_error(404)
                return
            try:
                body = metrics(out).encode()
            except GristmillError as error:
                self.send_error(503, error.message.splitlines()[0][:200])
                return
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Requests every few seconds are not worth a line."""

    try:
        return ThreadingHTTPServer(("", port), Handler)
    except OSError as error:
        raise UsageError(f"cannot serve on port {port}: {error.strerror}", hint="name another port") from None


def _gauge(name: str, told: str, samples: list[tuple[str, Any]]) -> Iterator[str]:
    if samples:
        yield f"# HELP gristmill_{name} {told}"
        yield f"# TYPE gristmill_{name} gauge"
        for labels, value in samples:
            yield f"gristmill_{name}{labels} {value}"


def _labels(**labels: str) -> str:
    escaped = {
        name: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, text in labels.items()
    }
    return "{" + ",".join(f'{name}="{text}"' for name, text in escaped.items()) + "}"


def _has(row: Mapping[str, Any], key: str) -> bool:
    return row.get(key) is not None


def _number(value: Any) -> Any:
    return len(value) if isinstance(value, list) else value
