"""Referenced blobs of Azure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from artline.artifacts.references.found import Found
from artline.artifacts.references.objects import Objects

__all__ = ["PAGE", "Azure"]

PAGE = 5000


class Azure(Objects):
    """A place that knows blobs by Content-MD5 where they have one, and by ETag.

    An ETag changes with a blob's metadata, too; a blob that has a Content-MD5 is known by that.
    """

    def describe(self, uri: str, info: dict[str, Any]) -> Found:
        """Return what fsspec tells of a blob as this package's own."""
        md5 = (info.get("content_settings") or {}).get("content_md5")
        etag = str(info.get("etag") or "").strip('"')
        return Found(uri, int(info["size"]), etag, "", f"md5:{bytes(md5).hex()}" if md5 else "", ranges=True)

    def below(self, fs: Any, top: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the blobs below a folder, in pages of 5,000."""
        from fsspec.asyn import sync

        container, path, _ = fs.split_path(top)
        prefix = path.rstrip("/") + "/" if path else ""
        client = fs.service_client.get_container_client(container)
        try:
            found = client.list_blobs(
                name_starts_with=prefix, include=["metadata"], results_per_page=PAGE
            ).by_page()
            while (page := sync(fs.loop, _next_page, found)) is not None:
                for blob in page:
                    inside = str(blob["name"])[len(prefix) :]
                    folder = (blob["metadata"] or {}).get("hdi_isfolder") == "true"
                    if inside and not folder and (not inside.endswith("/") or blob["size"]):
                        yield inside, dict(blob)
        finally:
            sync(fs.loop, client.close)


async def _next_page(pages: Any) -> list[Any] | None:
    async for page in pages:
        return [blob async for blob in page]
    return None
