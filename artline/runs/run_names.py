"""What a run tells of itself under names that scripts and libraries know from wandb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artline.runs.config import Config
    from artline.settings import Settings

__all__ = ["RunNames"]


class RunNames:
    """The part of a run that only says otherwise what its other parts have."""

    if TYPE_CHECKING:
        settings: Settings
        config: Config
        _resumed: bool

        @property
        def path(self) -> str: ...
        @property
        def project(self) -> str: ...
        def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None: ...

    @property
    def offline(self) -> bool:
        """Whether the run waits for ``art sync``."""
        return self.settings.mode == "offline"

    @property
    def config_static(self) -> Mapping[str, Any]:
        """The configuration as it is now, in plain dicts; it cannot be changed."""
        return MappingProxyType(self.config.as_dict())

    @property
    def project_url(self) -> str | None:
        """Where the project can be seen in a browser; None without a server."""
        return None

    @property
    def sweep_id(self) -> str | None:
        """None: runs belong to no sweep."""
        return None

    @property
    def sweep_url(self) -> str | None:
        """None: runs belong to no sweep."""
        return None

    @property
    def sync_dir(self) -> str:
        """The root of the store that the run is kept in."""
        return str(self.settings.root)

    def get_url(self) -> str | None:
        """Return where the run can be seen in a browser; None without a server."""
        return None

    def get_project_url(self) -> str | None:
        """Return where the project can be seen in a browser; None without a server."""
        return None

    def project_name(self) -> str:
        """Return the project's name."""
        return self.project

    def join(self, exit_code: int | None = None) -> None:
        """End the run; see ``finish``."""
        self.finish(exit_code)

    def pin_config_keys(self, keys: Sequence[str]) -> None:
        """Do nothing: every key of the configuration is shown."""

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False: without a server there is no page to show in a notebook."""
        return False

    @property
    def _attach_id(self) -> str:
        """What another process attaches with (``artline.compat.wandb.attach``)."""
        return self.path

    def _label(self, *arguments: Any, **named: Any) -> None:
        """Do nothing: libraries say here that it is they who log."""
