"""Uploads to S3 and what speaks its protocol: one request for a small file, parts for a large one, and what
was left half-way.

An object comes to be by the last request alone. The store checks every body against its MD5, and before that
last request all that was sent is checked against the digest the file is to have.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gristmill.errors import IntegrityError

PART_BYTES = 16 << 20  # 10,000 parts make 160 GB, far above any shard
_PARTS_AT_ONCE = 4  # of one file, each in memory meanwhile


class Leftover(NamedTuple):
    """Something that nobody will finish or read: its name, its size, and how to be rid of it."""

    name: str
    bytes: int
    remove: Callable[[], object]


Give = Callable[[Callable[[Mapping[str, float]], Any]], Any]  # runs a request, again if need be


def upload_to_s3(filesystem: Any, path: str, source: Path, sha256: str | None, give: Give) -> str:
    """Put a local file and return the etag of its object; raises IntegrityError, and leaves no object, if it
    does not hash to `sha256`."""
    bucket, key, _ = filesystem.split_path(path)
    place = {"Bucket": bucket, "Key": key}
    state = hashlib.sha256()
    with source.open("rb") as file:
        body = file.read(PART_BYTES)
        state.update(body)
        if len(body) < PART_BYTES:
            _check(state.hexdigest(), sha256, source)
            done = give(partial(_call, filesystem, "put_object", **place, Body=body, ContentMD5=_md5(body)))
            return _etag(done)
        begun = give(partial(_call, filesystem, "create_multipart_upload", **place))
        place["UploadId"] = begun["UploadId"]

        def send(number: int, body: bytes) -> dict[str, Any]:
            given = {**place, "PartNumber": number, "Body": body, "ContentMD5": _md5(body)}
            return {
                "PartNumber": number,
                "ETag": give(partial(_call, filesystem, "upload_part", **given))["ETag"],
            }

        try:
            with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
                parts: list[dict[str, Any]] = []
                sending: deque[Future[dict[str, Any]]] = deque()
                while body:
                    sending.append(pool.submit(send, len(parts) + len(sending) + 1, body))
                    if len(sending) >= _PARTS_AT_ONCE:
                        parts.append(sending.popleft().result())
                    body = file.read(PART_BYTES)
                    state.update(body)
                parts += [one.result() for one in sending]
            _check(state.hexdigest(), sha256, source)
            return _etag(give(partial(_complete, filesystem, place, parts)))
        except BaseException:
            give(partial(_abort, filesystem, place))
            raise


def list_uploads(filesystem: Any, path: str, timeout: Mapping[str, float]) -> list[Leftover]:
    """List the uploads below a path that were begun and not finished: name, bytes so far, and how to remove
    them."""
    if not hasattr(filesystem, "call_s3"):
        return []
    bucket, key, _ = filesystem.split_path(path)
    found: list[Leftover] = []
    marker: dict[str, str] = {}
    while True:
        page = _call(
            filesystem,
            "list_multipart_uploads",
            timeout,
            Bucket=bucket,
            Prefix=f"{key.rstrip('/')}/",
            **marker,
        )
        for begun in page.get("Uploads", ()):
            place = {"Bucket": bucket, "Key": begun["Key"], "UploadId": begun["UploadId"]}
            sent = _call(filesystem, "list_parts", timeout, **place).get("Parts", ())
            name = f"s3://{bucket}/{begun['Key']} (upload {begun['UploadId'][:12]})"
            found.append(
                Leftover(
                    name, sum(part["Size"] for part in sent), partial(_abort, filesystem, place, timeout)
                )
            )
        if not page.get("IsTruncated"):
            return found
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _call(filesystem: Any, method: str, timeout: Mapping[str, float], **arguments: Any) -> Any:
    return filesystem.call_s3(method, **arguments, **timeout)


def _complete(
    filesystem: Any, place: Mapping[str, Any], parts: list[dict[str, Any]], timeout: Mapping[str, float]
) -> Any:
    try:
        given = {**place, "MultipartUpload": {"Parts": parts}}
        return _call(filesystem, "complete_multipart_upload", timeout, **given)
    except (
        FileNotFoundError
    ):  # no such upload: the answer to an earlier attempt was lost, or another run's `gc` came by
        if not filesystem.exists(f"{place['Bucket']}/{place['Key']}"):
            raise
        return {}


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')


def _abort(filesystem: Any, place: Mapping[str, Any], timeout: Mapping[str, float]) -> None:
    try:
        _call(filesystem, "abort_multipart_upload", timeout, **place)
    except FileNotFoundError:
        return


def _check(digest: str, wanted: str | None, source: Path) -> None:
    if wanted is not None and digest != wanted:
        raise IntegrityError(
            f"`{source}` changed while it was uploaded: it hashes to {digest[:12]}…, not {wanted[:12]}…"
        )


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
