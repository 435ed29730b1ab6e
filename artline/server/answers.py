"""Answers that were given: a request repeated with its ``Idempotency-Key`` gets the same once more."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as ConstraintError

from artline.errors import ConflictError, StoreLockedError, UsageError
from artline.server.schema import idempotent_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artline.storage.catalog import Catalog

__all__ = ["Answer", "Answers"]

_KEPT = 24 * 3600.0
_LONGEST = 120.0  # seconds that a request may take before a repetition of it is answered anew
_LARGEST_KEY = 100
_SWEEP = 600.0


class Answer:
    """What was answered before; without a ``body`` nothing was, and ``give`` says what is now."""

    def __init__(self, status: int, body: bytes | None) -> None:
        self.status = status
        self.body = body
        self.given: tuple[int, bytes] | None = None

    def give(self, status: int, body: bytes) -> None:
        """Keep this answer for a repetition."""
        self.given = (status, body)


class Answers:
    """The answers that are kept, for a day. Replicas share them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._swept = time.monotonic()

    @contextlib.contextmanager
    def once(self, account: int, key: str, request: bytes) -> Iterator[Answer]:
        """Hold a key while its request is answered; yield the answer it got before, if it did.

        Raises StoreLockedError while the same request is being answered elsewhere, ConflictError when the
        key was used for another request. A request that raises leaves nothing behind.
        """
        if len(key) > _LARGEST_KEY:
            raise UsageError(f"an Idempotency-Key has at most {_LARGEST_KEY} characters")
        row = idempotent_answer.c
        mine = (row.account_id == account, row.key == key)
        found = self._claim(account, key, request)
        answer = Answer(0, None) if found is None else Answer(*found)
        try:
            yield answer
        except BaseException:
            if answer.body is None:
                with self._catalog.write(durable=False) as conn:
                    conn.execute(sa.delete(idempotent_answer).where(*mine, row.status == 0))
            raise
        if answer.given is not None:
            status, body = answer.given
            with self._catalog.write(durable=False) as conn:
                conn.execute(sa.update(idempotent_answer).where(*mine).values(status=status, body=body))
        self._sweep()

    def _claim(self, account: int, key: str, request: bytes) -> tuple[int, bytes] | None:
        row = idempotent_answer.c
        mine = (row.account_id == account, row.key == key)
        now = time.time()
        values = {"account_id": account, "key": key, "request": request, "status": 0, "body": b"", "at": now}
        try:
            with self._catalog.write(durable=False) as conn:
                conn.execute(sa.insert(idempotent_answer).values(values))
            return None
        except ConstraintError:
            pass
        with self._catalog.write(durable=False) as conn:
            found = conn.execute(sa.select(idempotent_answer).where(*mine).with_for_update()).one_or_none()
            if found is None or (found.status == 0 and now - found.at > _LONGEST):
                conn.execute(sa.delete(idempotent_answer).where(*mine))
                conn.execute(sa.insert(idempotent_answer).values(values))
                return None
            if bytes(found.request) != request:
                raise ConflictError("this Idempotency-Key was used for another request. Use a new one")
            if found.status == 0:
                raise StoreLockedError("the same request is being answered. Ask again in a moment")
            return found.status, bytes(found.body)

    def _sweep(self) -> None:
        if time.monotonic() - self._swept > _SWEEP:
            self._swept = time.monotonic()
            with self._catalog.write(durable=False) as conn:
                conn.execute(sa.delete(idempotent_answer).where(idempotent_answer.c.at < time.time() - _KEPT))
