"""What the commands of ``art server`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from artline.server.directory import Directory
    from artline.server.options import ServerOptions

__all__ = ["open_directory", "server_options", "store_options"]


def store_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where the server keeps its data."""
    for option in (
        click.option("--bucket", metavar="URL", help="Where packs lie: a folder or s3://… (ART_BUCKET)."),
        click.option(
            "--catalog", metavar="URL", help="The database: a file or postgresql://… (ART_CATALOG)."
        ),
        click.option("--root", metavar="FOLDER", help="The folder for what has no URL (ART_HOME)."),
    ):
        function = option(function)
    return function


def server_options(root: str | None, catalog: str | None, bucket: str | None, **more: Any) -> ServerOptions:
    """Return the options of a server at a place."""
    from artline.server.options import ServerOptions
    from artline.settings import load_settings

    settings = load_settings(root=root, catalog=catalog, bucket=bucket, server="")
    return ServerOptions(settings, **more)


def open_directory(root: str | None, catalog: str | None, bucket: str | None) -> Directory:
    """Open the directory of a server at a place."""
    from artline.server.directory import Directory

    options = server_options(root, catalog, bucket)
    return Directory.open(options.directory_url, lock_timeout=options.settings.lock_timeout)
