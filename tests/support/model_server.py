"""A small server of OpenAI's protocol on loopback, with slots, faults and a book of what it was paid for.

    python -m tests.support.model_server '{"port": 0, "book": "book.txt", "slots": 100, "seconds": 0.2, ...}'

It prints its port. Like vLLM it works on so many requests at a time, keeps others waiting, and gives up one
whose client is gone. `fails` is the share of requests it answers with 500. The book has a line for each
answer that it gave (its key of idempotency) and, every tenth of a second, for the slots that were busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "mill", "stone", "grain", "river", "wheel", "valley", "flour", "water", "miller", "sack", "field",
    "harvest", "rye", "oats", "wind",
]  # fmt: skip


def answer_to(prompt: str, num_words: int = 40) -> str:
    """A text of the prompt alone: the same prompt, the same text."""
    draw = random.Random(prompt)
    words = [f"{draw.choice(WORDS)}{draw.randrange(100)}" for _ in range(num_words)]
    return " ".join(words).capitalize() + "."


class ModelServer:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.slots = asyncio.Semaphore(options.get("slots", 100))
        self.seconds = options.get("seconds", 0.0)
        self.draw = random.Random(options.get("seed", 1))
        self.book = os.open(options["book"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.busy = 0
        self.num = 0

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connected, "127.0.0.1", self.options.get("port", 0))
        print(server.sockets[0].getsockname()[1], flush=True)
        while True:
            await asyncio.sleep(0.1)
            self.note("busy", self.busy, round(time.monotonic(), 3))

    def note(self, *said: Any) -> None:
        os.write(self.book, (" ".join(map(str, said)) + "\n").encode())

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                working = asyncio.ensure_future(self.answer(lines[0], headers, body))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not working.done():
                    working.cancel()
                    break
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone
                status, data, more = working.result()
                said = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(
                    f"HTTP/1.1 {status} x\r\nContent-Length: {len(data)}\r\n{said}\r\n".encode() + data
                )
                if status == 200 and body:
                    self.note("paid", headers.get("idempotency-key", hashlib.sha256(body).hexdigest()))
                await writer.drain()
        writer.close()

    async def answer(
        self, line: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if line.startswith("GET"):
            return 200, b'{"object": "list", "data": []}', {}
        if self.options.get("key") and headers.get("authorization") != f"bearer {self.options['key']}":
            return (
                401,
                json.dumps({"error": {"message": f"no key: {headers.get('authorization')}"}}).encode(),
                {},
            )
        data = json.loads(body)
        prompt = data["prompt"] if "prompt" in data else data["messages"][-1]["content"]
        self.num += 1
        if self.options.get("limited") and self.num in self.options["limited"]:
            return (
                429,
                b'{"error": {"message": "slow down"}}',
                {"Retry-After": self.options.get("retry_after", "0.2")},
            )
        async with self.slots:
            self.busy += 1
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.busy -= 1
        if self.draw.random() < self.options.get("fails", 0.0):
            return 500, b'{"error": {"message": "the engine stumbled"}}', {}
        if (refused := self.options.get("refuses")) and refused in prompt:
            return 400, b'{"error": {"message": "context length exceeded"}}', {}
        return 200, json.dumps(self.completion(data, prompt)).encode(), {}

    def completion(self, data: dict[str, Any], prompt: str) -> dict[str, Any]:
        says = self.options.get("says", {})
        text = next((said for word, said in says.items() if word in prompt), None) or answer_to(prompt)
        finish = "length" if self.options.get("cuts", "\0") in prompt else "stop"
        choice = {"text": text} if "prompt" in data else {"message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        return {"model": "made-up", "choices": [{**choice, "finish_reason": finish}], "usage": usage}


@dataclass
class Running:
    """A server in a process of its own; `start` again after `kill` takes the same port."""

    options: dict[str, Any]
    port: int = 0
    process: subprocess.Popen[str] | None = None
    ups: list[tuple[float, float]] = field(default_factory=list)
    began: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        told = json.dumps({**self.options, "port": self.port})
        command = [sys.executable, "-m", "tests.support.model_server", told]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()
            self.process = None

    def paid(self) -> Counter[str]:
        """How often each request was answered with a text.

        An answer is noted in the step of the loop that sent it: whoever is answered after it finds the note.
        """
        if self.process:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/models", timeout=10) as said,
            ):
                said.read()
        lines = Path(self.options["book"]).read_text().splitlines()
        return Counter(line.split()[1] for line in lines if line.startswith("paid"))

    def busy(self) -> list[tuple[float, int]]:
        """The slots that were busy, with the time."""
        lines = [line.split() for line in Path(self.options["book"]).read_text().splitlines()]
        return [(float(line[2]), int(line[1])) for line in lines if line[0] == "busy"]


@contextlib.contextmanager
def model_server(folder: Path, **options: Any) -> Iterator[Running]:
    """A server while the block runs."""
    running = Running({"book": str(folder / "book.txt"), **options})
    running.start()
    try:
        yield running
    finally:
        running.kill()


if __name__ == "__main__":
    asyncio.run(ModelServer(json.loads(sys.argv[1])).serve())
