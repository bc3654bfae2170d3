"""Many requests in flight to a server that speaks OpenAI's protocol, each until it is answered or refused.

    asker = Asker(server, record, spending, key)
    asker.run(requests)             # answers are in the record then, all else in `asker.outcomes`

A request waits for a slot (`in_flight`), and for the budget. An answer of 5xx, 408 or 429 is tried again
after a growing, drawn pause, or the one that the server asks for; of a server that cannot be reached one
request at a time tries whether it is back, and all go on when it is. A request that left and did not come
back may have been charged: the most it can have taken stays spent, and it is asked again if the budget
affords both. Redirects are not followed: they would carry the key elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gristmill.errors import RefusedError
from gristmill.pipeline.synthesis.answers import Answer, AnswerRecord
from gristmill.pipeline.synthesis.settings import Server
from gristmill.pipeline.synthesis.spending import Spending

_AGAIN = frozenset({408, 409, 425, 429})  # and all of 5xx
_HOPELESS = frozenset({401, 402, 403, 404, 405})  # every request would get the same
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
_FIRST_PROBE, _LONGEST_PROBE = 0.05, 0.5
_LONGEST_ASKED = 300.0  # seconds that a server may ask to be left alone
_SYNC_SECONDS = 1.0
_WAITING = 4  # times `in_flight`: requests that are begun, those in a pause included
_ERROR_CHARACTERS = 300
_PATHS = {"chat": "/chat/completions", "completions": "/completions"}
_BYTES_A_TOKEN = 4  # where a server does not count


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, its digest, and the most tokens that it can take."""

    digest: str
    body: Mapping[str, Any]
    most_in: int
    most_out: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server would not answer."""

    error: str  # http_400, bad_answer, ...
    message: str


@dataclass(slots=True)
class Outcomes:
    """What became of requests that had no answer: answers go into the record; `unasked` did not fit the
    budget."""

    refused: dict[str, Refusal] = field(default_factory=dict)
    unasked: set[str] = field(default_factory=set)
    retried: int = 0
    seconds: float = 0.0


class _Unreachable(Exception):
    """The server did not answer; `is_begun`: it had taken the request, and went away or took too long."""

    def __init__(self, message: str, is_begun: bool) -> None:
        super().__init__(message)
        self.is_begun = is_begun


class Asker:
    """Asks for requests in order; `run` in a thread, `stop` and `give_up` from another."""

    def __init__(
        self,
        server: Server,
        record: AnswerRecord,
        spending: Spending,
        key: str | None,
        told: Callable[[int], None],
    ) -> None:
        self._server, self._record, self._spending, self._key = server, record, spending, key
        self._told = told
        self._url = f"{server.url}{_PATHS[server.api]}"
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reserved: set[str] = set()  # digests of requests whose cost is set aside
        self._rest_until = 0.0  # as the server asked for
        self._heard = time.monotonic()
        self.in_flight = 0
        self.outcomes = Outcomes()
        self.error: BaseException | None = None

    def stop(self) -> None:
        """Send nothing more, and wait for nothing but what is in flight."""
        self._stopped = True
        if self._loop:
            with contextlib.suppress(RuntimeError):  # it has ended since
                self._loop.call_soon_threadsafe(self._stopping.set)

    def give_up(self) -> None:
        """Do not wait for what is in flight either."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._cancel)

    def run(self, requests: Sequence[Request]) -> None:
        began = time.monotonic()
        try:
            asyncio.run(self._all(requests))
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
        self.outcomes.seconds = time.monotonic() - began

    async def _all(self, requests: Sequence[Request]) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(self._server.in_flight)
        self._begun = asyncio.Semaphore(_WAITING * self._server.in_flight)
        self._freed = asyncio.Condition()
        self._up = asyncio.Event()
        self._up.set()
        self._probing = asyncio.Lock()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=self._server.timeout_seconds, connect=None)
        connector = aiohttp.TCPConnector(limit=0)
        self._draw = random.Random()
        options: dict[str, Any] = {"connector": connector, "timeout": timeout, "headers": headers}
        async with aiohttp.ClientSession(**options) as self._session:
            syncing = asyncio.create_task(self._sync())
            try:
                async with asyncio.TaskGroup() as self._tasks:
                    await self._begin(requests)
            except BaseExceptionGroup as group:
                raise _first(group) from None
            finally:
                syncing.cancel()

    async def _begin(self, requests: Sequence[Request]) -> None:
        """Start requests in order; one that the budget does not afford, and all after it, stay unasked."""
        for number, request in enumerate(requests):
            if self._stopped:
                return
            if not await self._afforded(request):
                self.outcomes.unasked.update(one.digest for one in requests[number:])
                return
            await self._begun.acquire()
            self._tasks.create_task(self._until_done(request))

    async def _until_done(self, request: Request) -> None:
        try:
            await self._answered(request)
        finally:
            self._begun.release()
            await self._free(request)

    async def _afforded(self, request: Request) -> bool:
        """Set aside the most that a request can take; one that does not fit the budget waits for those in
        flight to say what they took."""
        async with self._freed:
            while not self._spending.fits(request.most_in, request.most_out):
                if not self._spending.set_aside:
                    return False
                await self._freed.wait()
            self._spending.reserve(request.most_in, request.most_out)
            self._reserved.add(request.digest)
            return True

    async def _free(self, request: Request) -> None:
        if request.digest in self._reserved:
            self._reserved.discard(request.digest)
            self._spending.release(request.most_in, request.most_out)
        async with self._freed:
            self._freed.notify_all()

    async def _answered(self, request: Request) -> None:
        attempt = 0
        while not self._stopped:
            await self._up.wait()
            async with self._slots:
                if self._stopped:
                    return
                if not self._up.is_set():
                    continue
                try:
                    pause, down = await self._once(request), None
                except _Unreachable as error:
                    pause, down = 0.0, error
                if pause is None:
                    return
            attempt += down is None or down.is_begun
            if attempt >= self._server.attempts:
                if down:
                    message = self._without_key(str(down))[:_ERROR_CHARACTERS]
                    self.outcomes.refused[request.digest] = Refusal("no_answer", message)
                return
            self.outcomes.retried += 1
            self.outcomes.refused.pop(request.digest, None)
            if down:
                if down.is_begun:
                    await self._free(request)
                    if not await self._afforded(request):
                        self.outcomes.unasked.add(request.digest)
                        return
                await self._wait_for_server(str(down))
            else:
                await self._sleep(max(pause, self._pause(attempt)))

    async def _once(self, request: Request) -> float | None:
        """Send a request; None when that settled it, else the seconds that the server asks to wait."""
        if (rest := self._rest_until - time.monotonic()) > 0:
            await self._sleep(rest)
            if self._stopped:
                return None
        self._record.sent(request.digest)
        self.in_flight += 1
        try:
            async with self._session.post(
                self._url,
                json=request.body,
                headers={"Idempotency-Key": request.digest},
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            is_begun = not isinstance(error, aiohttp.ClientConnectorError)
            if is_begun:
                self._spending.lose(request.most_in, request.most_out)
            else:
                self._record.refused(request.digest)
            raise _Unreachable(f"{type(error).__name__}: {error}", is_begun) from error
        finally:
            self.in_flight -= 1
        return self._take(request, response.status, response.headers, body)

    def _take(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        self._heard = time.monotonic()
        if status != 200:
            self._record.refused(request.digest)
        else:
            found = _answer(body, request)
            if isinstance(found, Answer):
                self._record.put(request.digest, found)
                self._spending.spend(found.tokens_in, found.tokens_out)
                self._told(len(self._record.known))
            else:
                self.outcomes.refused[request.digest] = found
            return None
        message = self._without_key(_message(body))
        if status in _HOPELESS:
            raise RefusedError(
                f"the server refuses with {status}: {message}",
                where=self._url,
                hint=f"check `server.url` and `server.model`, and the key in {self._server.key_env}",
            )
        self.outcomes.refused[request.digest] = Refusal(f"http_{status}", message)
        if status < 500 and status not in _AGAIN:
            return None
        wait = min(_retry_after(headers.get("Retry-After")), _LONGEST_ASKED)
        if status in (429, 503) and wait:
            self._rest_until = max(self._rest_until, time.monotonic() + wait)
        return wait

    async def _wait_for_server(self, said: str) -> None:
        """Try in growing pauses whether the server takes connections; everyone else waits for that."""
        self._up.clear()
        async with self._probing:
            pause = _FIRST_PROBE
            while not self._up.is_set() and not self._stopped:
                if time.monotonic() - self._heard > self._server.patience_seconds:
                    raise RefusedError(
                        f"the server has answered nothing for {self._server.patience_seconds:,.0f} s:"
                        f" {self._without_key(said)[:_ERROR_CHARACTERS]}",
                        where=self._url,
                        hint="answers so far are kept; run the same command again when it is back",
                    )
                await self._sleep(pause)
                pause = min(_LONGEST_PROBE, 1.3 * pause)
                if await self._takes_connections():
                    self._up.set()
            self._up.set()

    async def _takes_connections(self) -> bool:
        try:
            async with self._session.get(
                f"{self._server.url}/models", allow_redirects=False, timeout=aiohttp.ClientTimeout(total=10)
            ) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless all is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            await asyncio.to_thread(self._record.sync)

    def _pause(self, attempt: int) -> float:
        longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
        return self._draw.uniform(0.5, 1.0) * longest

    def _without_key(self, message: str) -> str:
        return message.replace(self._key, "***") if self._key else message

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()


def _answer(body: bytes, request: Request) -> Answer | Refusal:
    """Read an answer of either interface; one that has no text is a refusal of the request."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice.get("message")
        text = (message.get("content") if message is not None else choice.get("text")) or ""
        if message is not None and not text and message.get("refusal"):
            text = str(message["refusal"])
        usage = data.get("usage") or {}
        counted = "prompt_tokens" in usage and "completion_tokens" in usage
        tokens_in = int(usage["prompt_tokens"]) if counted else request.most_in // _BYTES_A_TOKEN
        tokens_out = int(usage["completion_tokens"]) if counted else -(-len(text.encode()) // _BYTES_A_TOKEN)
        finish, model = choice.get("finish_reason"), data.get("model")
        return Answer(
            str(text),
            None if finish is None else str(finish),
            tokens_in,
            tokens_out,
            None if model is None else str(model),
            not counted,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        return Refusal("bad_answer", f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS])


def _message(body: bytes) -> str:
    """What an error says of itself."""
    text = body[:4096].decode("utf-8", "replace")
    try:
        data = json.loads(body)
        error = data.get("error", data.get("detail", data.get("message", text)))
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())[:_ERROR_CHARACTERS]


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _first(group: BaseExceptionGroup) -> BaseException:
    return next(_flat(group))


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _flat(one)
    else:
        yield error
