"""The same data put into an S3 bucket and got from it without Artline, for ``benchmarks.child``.

``boto3`` moves each file with its transfer manager, 16 at a time; ``s3fs`` as its ``put`` and ``get`` do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["ACTS"]

THREADS = 16


def boto3_put(source: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Upload a file or a folder."""
    client = boto3_client()
    paths = [path for path in Path(source).rglob("*") if path.is_file()] or [Path(source)]
    names = [f"{prefix}/{path.relative_to(Path(source).parent)}" for path in paths]
    return in_threads(lambda path, name: client.upload_file(str(path), bucket, name), paths, names)


def boto3_get(target: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Download all below a prefix."""
    client = boto3_client()
    begun = time.perf_counter()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    names = [found["Key"] for page in pages for found in page["Contents"]]
    places = [Path(target) / name.removeprefix(f"{prefix}/") for name in names]
    for folder in {place.parent for place in places}:
        folder.mkdir(parents=True, exist_ok=True)
    in_threads(lambda name, place: client.download_file(bucket, name, str(place)), names, places)
    return {"seconds": time.perf_counter() - begun}


def boto3_client() -> Any:
    boto3 = import_module("boto3")  # which is in an environment of its own
    config = import_module("botocore.config").Config(max_pool_connections=2 * THREADS)
    return boto3.client("s3", config=config)


def in_threads(act: Callable[..., object], *arguments: Iterable[Any]) -> dict[str, Any]:
    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(act, *arguments):
            pass
    return {"seconds": time.perf_counter() - begun}


def s3fs_put(source: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Upload a file or a folder."""
    files = s3fs_files()
    begun = time.perf_counter()
    files.put(source, f"{bucket}/{prefix}/data", recursive=os.path.isdir(source))
    return {"seconds": time.perf_counter() - begun}


def s3fs_get(target: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Download all below a prefix."""
    files = s3fs_files()
    begun = time.perf_counter()
    files.get(f"{bucket}/{prefix}/", target, recursive=True)
    return {"seconds": time.perf_counter() - begun}


def s3fs_files() -> Any:
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])


ACTS = {act.__name__: act for act in (boto3_put, boto3_get, s3fs_put, s3fs_get)}
