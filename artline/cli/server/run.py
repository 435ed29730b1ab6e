"""``art server run``: serve until interrupted."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.server.options import server_options, store_options


@command(
    "run",
    examples=[
        "art server run",
        "art server run --port 8900 --root /srv/artline",
        "art server run --catalog postgresql://db/artline --bucket s3://artline",
    ],
    exits=[7],
)
@store_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8900, show_default=True, help="0 takes any.")
@click.option(
    "--requests-per-minute", type=click.IntRange(0), default=0, help="What a key may ask; 0 for no limit."
)
@click.option("--largest-upload", metavar="SIZE", default="1GiB", show_default=True, help="Of one pack.")
def run(
    root: str | None,
    catalog: str | None,
    bucket: str | None,
    host: str,
    port: int,
    requests_per_minute: int,
    largest_upload: str,
) -> None:
    """Serve until interrupted.

    It listens on this machine only, unless --host says otherwise: put a proxy that speaks TLS in front.
    Several may run over one database and bucket. Each request is one line of JSON on standard error;
    /healthz, /readyz and /metrics need no key.
    """
    from artline.errors import MissingExtraError, UsageError
    from artline.settings import parse_size

    try:
        from artline.server.serve import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a server needs {error.name}, which is not installed. Install it: pip install 'artline[server]'"
        ) from error
    try:
        largest = parse_size(largest_upload)
    except ValueError as error:
        raise UsageError(f"--largest-upload: {error}") from None
    options = server_options(
        root,
        catalog,
        bucket,
        host=host,
        port=port,
        requests_per_minute=requests_per_minute,
        largest_upload=largest,
    )
    serve(options, ready=lambda address: click.echo(f"serving on {address}"))
