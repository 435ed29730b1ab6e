"""Every error Artline raises: one tree, grouped by what the caller would do about it.

Each class carries a stable ``kind`` (a word programs may match on), the exit status the command line
ends with, and the HTTP status a server answers with. Messages name the thing, the place and the remedy.
"""

from __future__ import annotations

__all__ = [
    "ArtifactNotFoundError",
    "ArtlineError",
    "AuthError",
    "BusyError",
    "ConfigLockedError",
    "ConflictError",
    "EntryNotFoundError",
    "IntegrityError",
    "InvalidNameError",
    "InvalidPathError",
    "MissingExtraError",
    "NotFoundError",
    "ProtectedError",
    "RunNotFoundError",
    "SignInError",
    "SourceChangedError",
    "SourceNotFoundError",
    "SourceNotReadableError",
    "StoreFullError",
    "StoreLockedError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "TooLargeError",
    "UsageError",
]


class ArtlineError(Exception):
    """The root of every error that Artline raises on purpose."""

    kind = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return self.message


class UsageError(ArtlineError):
    """The call itself is wrong: change it and call again."""

    kind = "usage"
    exit_code = 2
    http_status = 400


class InvalidNameError(UsageError, ValueError):
    """A project, artifact, alias, tag or run name breaks the naming rules."""

    kind = "invalid_name"


class InvalidPathError(UsageError, ValueError):
    """A path inside an artifact is absolute, escapes, repeats, or folds onto another."""

    kind = "invalid_path"


class ConfigLockedError(UsageError, ValueError):
    """A config value that is set already was set to something else without ``allow_val_change``."""

    kind = "config_locked"


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    kind = "missing_extra"


class StoreTooNewError(UsageError):
    """The store was written by a newer Artline: upgrade this one."""

    kind = "store_too_new"


class TooLargeError(UsageError):
    """A request is larger than the server allows."""

    kind = "too_large"
    http_status = 413


class NotFoundError(ArtlineError, LookupError):
    """What was asked for does not exist."""

    kind = "not_found"
    exit_code = 3
    http_status = 404


class ArtifactNotFoundError(NotFoundError):
    """No such artifact, version or alias."""

    kind = "artifact_not_found"


class EntryNotFoundError(NotFoundError, KeyError):
    """No such path in an artifact version."""

    kind = "entry_not_found"


class RunNotFoundError(NotFoundError):
    """No such run."""

    kind = "run_not_found"


class SourceNotFoundError(NotFoundError, FileNotFoundError):
    """A file or folder to be added does not exist."""

    kind = "source_not_found"


class IntegrityError(ArtlineError):
    """Content does not match its digest, or a stored object is damaged or gone."""

    kind = "integrity"
    exit_code = 4
    http_status = 422


class SourceChangedError(IntegrityError):
    """A file changed or vanished while it was being read; nothing of it was kept."""

    kind = "source_changed"


class AuthError(ArtlineError):
    """Not allowed: missing, wrong or insufficient credentials or permissions."""

    kind = "not_allowed"
    exit_code = 5
    http_status = 403


class SignInError(AuthError):
    """A server does not know who asks: the API key is missing, wrong, expired or revoked."""

    kind = "sign_in"
    http_status = 401


class SourceNotReadableError(AuthError, PermissionError):
    """The file system refused to let this process read or write a path."""

    kind = "source_not_readable"


class ConflictError(ArtlineError):
    """Somebody else got there first, or the thing is in a state that does not allow this."""

    kind = "conflict"
    exit_code = 6
    http_status = 409


class ProtectedError(ConflictError):
    """The version is aliased, used or pinned, and was to be removed without saying so."""

    kind = "protected"


class StoreUnavailableError(ArtlineError):
    """The store, its database, bucket or network is out of reach: try again later."""

    kind = "store_unavailable"
    exit_code = 7
    http_status = 503


class BusyError(StoreUnavailableError):
    """More requests than the server allows: try again in a moment."""

    kind = "busy"
    http_status = 429


class StoreLockedError(StoreUnavailableError):
    """Another process held the catalog longer than the time allowed."""

    kind = "store_locked"


class StoreFullError(StoreUnavailableError):
    """The disk or quota under the store is full; what was acknowledged before is safe."""

    kind = "store_full"
    http_status = 507


_ALSO = {
    "AuthenticationError": AuthError,
    "CommError": StoreUnavailableError,
    "Error": ArtlineError,
    "UnsupportedError": UsageError,
}


def __getattr__(name: str) -> type[ArtlineError]:
    """Return the class that stands for one of wandb's, which scripts catch by its name."""
    if name in _ALSO:
        return _ALSO[name]
    raise AttributeError(f"module 'artline.errors' has no attribute '{name}'. Known: {', '.join(__all__)}")
