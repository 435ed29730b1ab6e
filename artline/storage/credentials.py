"""The keys that ``art login`` keeps, one a server: in the environment, the keyring, or a private file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any

from artline.errors import SourceNotReadableError
from artline.settings import credentials_file, read_logins

__all__ = ["KEY_VARIABLE", "find_key", "forget_key", "keep_key"]

KEY_VARIABLE = "ART_API_KEY"
_SERVICE = "artline"


def find_key(server: str) -> str:
    """Return the key for a server: ``ART_API_KEY``, the keyring's or the file's; "" without one.

    Raises AuthError when the file is open to others.
    """
    if key := os.environ.get(KEY_VARIABLE):
        return key.strip()
    keyring = _keyring()
    if keyring is not None:
        with contextlib.suppress(Exception):  # one that is locked or broken is as good as none
            if key := keyring.get_password(_SERVICE, server):
                return str(key)
    return read_logins(credentials_file()).get(server, {}).get("key", "")


def keep_key(server: str, key: str, entity: str) -> str:
    """Keep the key of a server and the team to work in; return where: ``keyring`` or the path of the file."""
    login = {"key": key, "entity": entity}
    keyring = _keyring()
    where = str(credentials_file())
    if keyring is not None:
        with contextlib.suppress(Exception):
            keyring.set_password(_SERVICE, server, key)
            if keyring.get_password(_SERVICE, server) == key:
                login, where = {"entity": entity}, "keyring"
    _write({**read_logins(credentials_file()), server: login})
    return where


def forget_key(server: str) -> bool:
    """Forget the key of a server; tell whether there was one."""
    found = False
    keyring = _keyring()
    if keyring is not None:
        with contextlib.suppress(Exception):
            keyring.delete_password(_SERVICE, server)
            found = True
    known = read_logins(credentials_file())
    if server in known:
        del known[server]
        _write(known)
        found = True
    return found


def _keyring() -> Any:
    """Return the keyring package where it is installed and has somewhere to keep a secret."""
    try:
        import keyring
        from keyring.backends.fail import Keyring as Nowhere
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), Nowhere) else keyring


def _write(logins: dict[str, dict[str, str]]) -> None:
    file = credentials_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".credentials-")  # 0600 from its birth
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                json.dump(logins, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SourceNotReadableError(
            f"cannot keep the key in '{file}': {error.strerror}. Set {KEY_VARIABLE} instead"
        ) from error
