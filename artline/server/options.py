"""How a server is set up: where its data lies, where it listens, what it allows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from artline.settings import Settings

__all__ = ["ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of ``art server``; sizes in bytes, times in seconds.

    ``settings`` say where catalog and bucket lie: a PostgreSQL URL and an ``s3://`` URL for a server of
    several replicas, both empty for one that keeps everything under ``settings.root``.
    """

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8900
    largest_upload: int = 1 << 30
    largest_body: int = 16 << 20
    requests_per_minute: int = 0  # for each key; 0 for no limit
    threads: int = 40
    trusted_hosts: tuple[str, ...] = field(default=())

    @property
    def directory_url(self) -> str:
        """The catalog URL of the directory."""
        return self.settings.catalog or str(self.settings.root / "directory.db")

    def team_settings(self, team: str, number: int) -> Settings:
        """Return the settings of a team's own store: a schema, or a folder, and a prefix in the bucket."""
        base = self.settings
        root = base.root / "teams" / team
        catalog = ""
        if base.catalog.startswith("postgres"):
            mark = "&" if "?" in base.catalog else "?"
            catalog = f"{base.catalog}{mark}options={quote(f'-csearch_path={schema_name(number)}')}"
        elif base.catalog:
            file = Path(base.catalog.removeprefix("sqlite:///"))
            catalog = str(file.parent / "teams" / team / "catalog.db")
        bucket = f"{base.bucket.rstrip('/')}/teams/{team}" if base.bucket else ""
        return replace(
            base, root=root, catalog=catalog, bucket=bucket, entity=team, server="", mode="online", sources={}
        )


def schema_name(number: int) -> str:
    """Return the PostgreSQL schema of a team's catalog."""
    return f"artline_team_{number}"
