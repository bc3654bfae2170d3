"""A real S3 server on loopback, for as long as the tests that share it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def serve(bucket: str) -> Iterator[str]:
    """Start moto's server with one bucket and yield its URL."""
    from moto.server import ThreadedMotoServer

    os.environ.update(KEYS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client(url).create_bucket(Bucket=bucket)
    yield url
    server.stop()


def client(url: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=url)


def options(url: str) -> dict[str, Any]:
    """Storage options that lead to a server; nothing of another test is remembered."""
    return {"endpoint_url": url, "key": "testing", "secret": "testing", "skip_instance_cache": True}
