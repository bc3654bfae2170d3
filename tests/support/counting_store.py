"""S3 in this process that counts what it is asked: every request of s3fs ends here, by kind, with its
bytes."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

PAGE = 1000


class Body:
    """The body of an answer, as aiobotocore hands it out."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class CountingStore:
    """Objects by key; `requests` counts kinds, `sent` and `received` bytes of bodies; an answer comes after
    `latency_seconds`."""

    def __init__(self) -> None:
        self.latency_seconds = 0.0
        self.objects: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.sent = self.received = 0
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()

    def take(self) -> Counter[str]:
        """What was asked since the last call."""
        taken, self.requests = self.requests, Counter()
        return taken

    def answer(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.requests[kind] += 1
            found: dict[str, Any] = getattr(self, f"_{kind}")(**asked)
            return found

    def _put_object(self, Key: str, Body: bytes, IfNoneMatch: str = "", **_: Any) -> dict[str, Any]:
        if IfNoneMatch and Key in self.objects:
            raise self._error("PreconditionFailed", OSError(5, "there already"))
        self.sent += len(Body)
        self.objects[Key] = bytes(Body)
        return self._head_object(Key)

    def _head_object(self, Key: str, **_: Any) -> dict[str, Any]:
        if Key not in self.objects:
            raise FileNotFoundError(Key)
        data = self.objects[Key]
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        return {"ETag": etag, "ContentLength": len(data), "LastModified": datetime.now(UTC)}

    def _head_bucket(self, **_: Any) -> dict[str, Any]:
        return {}

    def _get_object(self, Key: str, Range: str = "", IfMatch: str = "", **_: Any) -> dict[str, Any]:
        about, data = self._head_object(Key), self.objects.get(Key, b"")
        if IfMatch and IfMatch != about["ETag"]:
            raise self._error("PreconditionFailed", OSError(5, "another object"))
        if Range:
            start, end = (int(bound) for bound in Range.removeprefix("bytes=").split("-"))
            if start >= len(data):
                raise self._error("InvalidRange", OSError(22, "no such range"))
            part = data[start : end + 1]
            about |= {"ContentRange": f"bytes {start}-{start + len(part) - 1}/{len(data)}"}
            data = part
        self.received += len(data)
        return {**about, "ContentLength": len(data), "Body": Body(data)}

    def _list_objects_v2(
        self,
        Prefix: str = "",
        Delimiter: str = "",
        ContinuationToken: str = "",
        MaxKeys: int = PAGE,
        **_: Any,
    ) -> dict[str, Any]:
        def rolled(name: str) -> bool:
            return bool(Delimiter) and name.endswith(Delimiter) and len(name) > len(Prefix)

        names = sorted(
            {
                key if not Delimiter or Delimiter not in (rest := key[len(Prefix) :])
                else Prefix + rest.partition(Delimiter)[0] + Delimiter
                for key in self.objects if key.startswith(Prefix)
            }
        )  # fmt: skip
        names = [name for name in names if name > ContinuationToken]
        page = names[: min(MaxKeys, PAGE)]
        contents = [
            {"Key": name, "Size": len(self.objects[name]), **self._head_object(name)}
            for name in page if not rolled(name)
        ]  # fmt: skip
        prefixes = [{"Prefix": name} for name in page if rolled(name)]
        more = {"IsTruncated": True, "NextContinuationToken": page[-1]} if len(page) < len(names) else {}
        return {"Contents": contents, "CommonPrefixes": prefixes, "KeyCount": len(page), **more}

    def _delete_object(self, Key: str, **_: Any) -> dict[str, Any]:
        self.objects.pop(Key, None)
        return {}

    def _delete_objects(self, Delete: dict[str, Any], **_: Any) -> dict[str, Any]:
        for entry in Delete["Objects"]:
            self.objects.pop(entry["Key"], None)
        return {}

    def _create_multipart_upload(self, Key: str, **_: Any) -> dict[str, Any]:
        name = f"upload-{next(self._ids)}"
        self._uploads[name] = {}
        return {"UploadId": name}

    def _upload_part(self, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, Any]:
        self.sent += len(Body)
        self._uploads[UploadId][PartNumber] = bytes(Body)
        return {"ETag": str(PartNumber)}

    def _complete_multipart_upload(self, Key: str, UploadId: str, **_: Any) -> dict[str, Any]:
        parts = self._uploads.pop(UploadId)
        self.objects[Key] = b"".join(parts[number] for number in sorted(parts))
        return self._head_object(Key)

    def _abort_multipart_upload(self, UploadId: str, **_: Any) -> dict[str, Any]:
        self._uploads.pop(UploadId, None)
        return {}

    def _list_multipart_uploads(self, **_: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def _error(code: str, error: OSError) -> OSError:
        cause = Exception(code)
        cause.response = {"Error": {"Code": code}}  # type: ignore[attr-defined]
        error.__cause__ = cause
        return error


@contextmanager
def counting_store() -> Iterator[CountingStore]:
    """Let s3fs ask a store in this process, whatever the endpoint."""
    from s3fs import S3FileSystem

    store, real = CountingStore(), S3FileSystem._call_s3

    async def call(self: Any, method: str, *_: Any, **asked: Any) -> Any:
        if store.latency_seconds:
            await asyncio.sleep(store.latency_seconds)
        return store.answer(method, {name: value for name, value in asked.items() if name != "Bucket"})

    S3FileSystem._call_s3 = call
    S3FileSystem.call_s3 = _synced(call)
    try:
        yield store
    finally:
        S3FileSystem._call_s3 = real
        S3FileSystem.call_s3 = _synced(real)


def _synced(function: Any) -> Any:
    from fsspec.asyn import sync_wrapper

    return sync_wrapper(function)
