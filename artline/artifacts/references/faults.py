"""What goes wrong with referenced objects, said in this package's terms."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artline.artifacts.references.found import gone
from artline.errors import (
    ArtlineError,
    AuthError,
    MissingExtraError,
    SourceNotFoundError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from artline.artifacts.manifest import Entry

__all__ = ["EXTRAS", "faults"]

# What to install for an address, by its scheme.
EXTRAS = {
    "s3": "artline[s3]",
    "s3a": "artline[s3]",
    "gs": "artline[gs]",
    "gcs": "artline[gs]",
    "az": "artline[az]",
    "abfs": "artline[az]",
    "abfss": "artline[az]",
}
_CLIENT_ERRORS = (
    ("botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("aiohttp", ("ClientError",)),
    ("azure.core.exceptions", ("AzureError",)),
    ("gcsfs.retry", ("HttpError",)),
    ("google.auth.exceptions", ("GoogleAuthError",)),
)
_REFUSED = (
    "redential",
    "AccessDenied",
    "Forbidden",
    "Unauthorized",
    "AuthenticationFailed",
    "connection_string",
)


@contextmanager
def faults(uri: str, entry: Entry | None = None) -> Iterator[None]:
    """Raise what an address's client library raises as an error of this package.

    Nothing at the address is IntegrityError for an ``entry`` that was made to it, else SourceNotFoundError;
    a refusal is AuthError, a client that is not installed MissingExtraError, all else
    StoreUnavailableError.
    """
    try:
        yield
    except ArtlineError:
        raise
    except FileNotFoundError:
        if entry is None:
            raise SourceNotFoundError(f"'{uri}' does not exist. Check the address") from None
        raise gone(entry) from None
    except PermissionError as error:
        raise _refused(uri, error) from error
    except ImportError as error:
        scheme = uri.partition("://")[0]
        extra = EXTRAS.get(scheme)
        remedy = f"Install it: pip install '{extra}'" if extra else f"{error}"
        raise MissingExtraError(f"'{uri}' needs a package that is not installed. {remedy}") from error
    except _network_errors() as error:
        if any(word in f"{type(error).__name__} {error}" for word in _REFUSED):
            raise _refused(uri, error) from error
        text = " ".join(str(error).split()) or type(error).__name__
        raise StoreUnavailableError(f"'{uri}' is out of reach: {text}. Try again later") from error


def _refused(uri: str, error: Exception) -> AuthError:
    text = " ".join(str(error).split()) or type(error).__name__
    return AuthError(f"'{uri}' may not be read: {text}. Check the credentials")


def _network_errors() -> tuple[type[Exception], ...]:
    """Return OSError and what those client libraries raise that are loaded."""
    kinds: list[type[Exception]] = [OSError]
    for module, names in _CLIENT_ERRORS:
        loaded = sys.modules.get(module)
        if loaded is not None:
            kinds += [getattr(loaded, name) for name in names]
    return tuple(kinds)
