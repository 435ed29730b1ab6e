"""What goes wrong with a catalog, as Artline's errors; how a damaged file is told from another cause."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError as ConstraintError

from artline.errors import (
    ArtlineError,
    AuthError,
    IntegrityError,
    StoreFullError,
    StoreLockedError,
    StoreUnavailableError,
)
from artline.storage.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["damage", "mapped", "name_of", "translate_sqlite"]


@contextlib.contextmanager
def mapped(place: str, *, writing: bool = False) -> Generator[None]:
    """Turn the errors of the catalog's own connections into Artline's.

    SQLAlchemy wraps those. What is not wrapped is about another file, such as a draft's.
    """
    try:
        yield
    except (ConstraintError, ArtlineError):
        raise
    except DBAPIError as error:
        raise _translate(error, place, writing) from error
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise damage(place, f"a row has what cannot be read: {error}") from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        flaw = _flaw(place)  # rows that are not what they were bring down whoever reads them
        if flaw:
            raise damage(place, flaw) from error
        raise
    except sa.exc.TimeoutError as error:
        raise StoreLockedError(
            f"every connection to the catalog {place} stayed in use. Try again with fewer threads"
        ) from error


def _translate(error: DBAPIError, place: str, writing: bool) -> Exception:
    if isinstance(error.orig, sqlite3.Error):
        return translate_sqlite(error.orig, place)
    code = getattr(error.orig, "sqlstate", None) or ""
    text = " ".join(str(error.orig).split())
    if code in ("55P03", "40P01", "40001"):
        return StoreLockedError(f"the catalog {place} is locked by another writer: {text}. Try again")
    if code == "53100":
        return StoreFullError(f"the disk under the catalog {place} is full. Free space and try again")
    if code == "42501" or (writing and code == "25006"):  # a server that only follows another one
        return AuthError(
            f"the store may be read here and not written: the catalog {place} refused ({text}). Use a user "
            "who may write its tables, and the server that takes changes"
        )
    if code in ("28000", "28P01"):
        return AuthError(f"the catalog {place} refused the login: {text}. Check user and password")
    if code in ("XX001", "XX002"):
        return IntegrityError(f"the catalog {place} is damaged: {text}. Restore the database from a backup")
    if not code or code[:2] in ("08", "57", "53", "3D"):
        return StoreUnavailableError(
            f"the catalog {place} is out of reach: {text}. Check that the database server runs"
        )
    return error


def name_of(error: BaseException | None) -> str:
    """Return what SQLite calls an error, "" for those of others."""
    return str(getattr(error, "sqlite_errorname", ""))


def _is_damaged(place: str) -> bool:
    """Tell whether a catalog that is said to be damaged is so for a new connection, too.

    In the midst of a tree SQLite takes a read that failed for damage.
    """
    url = f"{Path(place).absolute().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(url, uri=True)) as raw:
            told = str(raw.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
    return told != "ok" and "error code" not in told


def translate_sqlite(error: sqlite3.Error, place: str) -> Exception:
    name = name_of(error)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return StoreLockedError(
            f"the catalog {place} stayed locked by another process. Wait for it to end and try again "
            "(ART_LOCK_TIMEOUT sets how long to wait)"
        )
    if name == "SQLITE_FULL":
        return StoreFullError(f"the disk under the catalog {place} is full. Free space and try again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        if not _is_damaged(place):
            return StoreUnavailableError(
                f"the catalog {place} could not be read just now ({error}). Check the disk, and try again"
            )
        return damage(place, str(error))
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")) or (
        name.startswith("SQLITE_CANTOPEN") and not _writable(place)
    ):
        return AuthError(f"no permission to write the catalog {place}. Check its owner and mode")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")):
        folder = os.path.dirname(place) or "."
        if os.path.isdir(folder) and shutil.disk_usage(folder).free < 128 << 10:
            return StoreFullError(
                f"the disk under the catalog {place} is full; SQLite needs some room even to read. Free space"
            )
        return StoreUnavailableError(
            f"the catalog {place} cannot be opened or read ({error}). Check the disk and the path"
        )
    if _undecodable(error) or (name == "SQLITE_ERROR" and _flaw(place)):
        return damage(place, " ".join(str(error).split()))
    return error


def damage(place: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"the catalog {place} is damaged ({why}). Restore it from a backup, or move it away and rebuild it "
        "from the bucket: art fsck --repair"
    )


def _flaw(place: str) -> str:
    """Return what is wrong with a SQLite catalog: with its structure, its schema, or rows it should have."""
    if not os.path.isfile(place):
        return ""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{Path(place).absolute().as_uri()}?mode=ro", uri=True)
        ) as raw:
            told = str(raw.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if told != "ok":
                return "" if "error code" in told else " ".join(told.split())
            for table in metadata.tables.values():
                have = {row[1] for row in raw.execute(f"PRAGMA table_info({table.name})")}
                lacking = sorted({column.name for column in table.columns} - have)
                if lacking:
                    return f"table {table.name} lacks {', '.join(lacking)}"
            stray = raw.execute("PRAGMA foreign_key_check").fetchone()
            return f"a row of {stray[0]} names a row of {stray[2]} that is not there" if stray else ""
    except sqlite3.Error as error:
        known = name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or _undecodable(error)
        return " ".join(str(error).split()) if known else ""
    except UnicodeDecodeError as error:  # what SQLite says of it quotes it
        return str(error)


def _undecodable(error: BaseException) -> bool:
    return str(error).startswith("Could not decode to UTF-8")


def _writable(place: str) -> bool:
    return os.access(place if os.path.exists(place) else os.path.dirname(place) or ".", os.W_OK | os.R_OK)
