"""Requests to S3 and what speaks its protocol, each of them one: fsspec's own ask more than they are asked.

A whole read by s3fs is a HEAD and a GET, a listing of what is not there lists the folder above, and deleting
one object lists what may lie below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from gristmill.files.remote import ObjectChanged, check_whole, error_code

DELETED_AT_ONCE = 1000  # keys of one request, S3's bound

T = TypeVar("T")


class Got(NamedTuple):
    """The answer to a GET: `total` is the size of the whole object, `is_range` whether a range was
    honoured."""

    data: bytes
    total: int
    etag: str
    is_range: bool


class Page(NamedTuple):
    """One page of a listing: objects and common prefixes, and where the next begins."""

    files: Sequence[Mapping[str, Any]]
    prefixes: Sequence[str]
    token: str | None


def is_s3(filesystem: Any) -> bool:
    return hasattr(filesystem, "call_s3")


def get(
    filesystem: Any,
    path: str,
    timeout: Mapping[str, float],
    start: int | None = None,
    end: int | None = None,
    etag: str = "",
    most_whole: int | None = None,
) -> Got:
    """Read an object, or its bytes [start, end); with `etag`, only while it is that of the object.

    A server that ignores ranges answers with the whole: then `is_range` is False. Of more than `most_whole`
    bytes the body is not read; raises NotImplementedError.
    """
    from fsspec.asyn import sync

    bucket, key, _ = filesystem.split_path(path)
    asked = {} if start is None or end is None else {"Range": f"bytes={start}-{end - 1}"}
    if etag:
        asked["IfMatch"] = etag
    named = {"Bucket": bucket, "Key": key, **asked}
    bound = None if most_whole is None or end is None else (end - (start or 0), most_whole)
    return sync(filesystem.loop, _get, filesystem, named, bound, **timeout)  # type: ignore[no-any-return]


async def _get(filesystem: Any, asked: Mapping[str, Any], bound: tuple[int, int] | None) -> Got:
    try:
        answer = await filesystem._call_s3("get_object", **asked)
    except OSError as error:
        if (code := error_code(error)) == "InvalidRange" and asked["Range"].startswith("bytes=0-"):
            return Got(b"", 0, "", is_range=True)  # an object of no bytes has no ranges
        if code == "PreconditionFailed":
            raise ObjectChanged("the object changed while it was read") from error
        raise
    said, length = answer.get("ContentRange"), answer.get("ContentLength")
    if bound and not said and length is not None:
        try:
            check_whole(int(length), *bound)
        except NotImplementedError:
            answer["Body"].close()  # and does not read what is left
            raise
    async with answer["Body"] as body:
        data = await body.read()
    total = int(said.rpartition("/")[2]) if said else len(data)
    if length is not None and len(data) != int(length):
        raise OSError(f"{len(data)} bytes came of {length}")
    return Got(data, total, str(answer.get("ETag", "")), said is not None)


def put(filesystem: Any, path: str, data: bytes, timeout: Mapping[str, float], *, if_absent: bool) -> None:
    """Put a small object; raises FileExistsError where it must be absent and is not."""
    bucket, key, _ = filesystem.split_path(path)
    condition = {"IfNoneMatch": "*"} if if_absent else {}
    try:
        filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition, **timeout)
    except FileNotFoundError as error:  # of a put: the bucket, or a right to see it
        raise PermissionError(f"nothing can be put into the bucket `{bucket}`: {error}") from error
    except OSError as error:
        if error_code(error) == "PreconditionFailed":
            raise FileExistsError(path) from error
        raise


def list_page(
    filesystem: Any, prefix: str, timeout: Mapping[str, float], *, delimiter: str, token: str | None
) -> Page:
    """List objects whose key begins with a prefix, a thousand at most."""
    bucket, key, _ = filesystem.split_path(prefix)
    more = {"ContinuationToken": token} if token else {}
    more |= {"Delimiter": delimiter} if delimiter else {}
    answer = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, **more, **timeout)
    files = [
        {
            "name": f"{bucket}/{item['Key']}",
            "size": item["Size"],
            "ETag": item.get("ETag", ""),
            "LastModified": item.get("LastModified"),
            "type": "file",
        }
        for item in answer.get("Contents") or ()
    ]
    prefixes = [f"{bucket}/{item['Prefix']}" for item in answer.get("CommonPrefixes") or ()]
    return Page(files, prefixes, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)


def delete(filesystem: Any, paths: Sequence[str], timeout: Mapping[str, float]) -> None:
    """Delete objects of one bucket by name, a thousand at most; those that are not there are no error.

    Raises PermissionError where the store refuses one of them.
    """
    bucket = filesystem.split_path(paths[0])[0]
    keys = [{"Key": filesystem.split_path(path)[1]} for path in paths]
    if len(keys) == 1:
        filesystem.call_s3("delete_object", Bucket=bucket, **keys[0], **timeout)
        return
    named = {"Objects": keys, "Quiet": True}
    answer = filesystem.call_s3("delete_objects", Bucket=bucket, Delete=named, **timeout)
    for error in answer.get("Errors") or ():
        said = f"{error.get('Code')}: {error.get('Message')} ({error.get('Key')})"
        if error.get("Code") in ("AccessDenied", "MethodNotAllowed"):
            raise PermissionError(said)
        raise OSError(said)


def in_thousands(paths: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(paths), DELETED_AT_ONCE):
        yield paths[start : start + DELETED_AT_ONCE]
