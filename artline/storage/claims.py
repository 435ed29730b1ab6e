"""Creating an object only once where the service has no conditional writes: by claims that all can see."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

from artline.errors import ArtlineError, StoreUnavailableError
from artline.storage.retry import Attempts, Patience

if TYPE_CHECKING:
    from artline.storage.bucket import Bucket
    from artline.storage.digest import Buffer

__all__ = ["create_by_claim"]


def create_by_claim(bucket: Bucket, name: str, data: Buffer, patience: Patience) -> bool:
    """Store ``data`` unless ``name`` exists; tell whether it was stored. Of several callers at once one wins.

    Each caller puts a claim of its own beside the object and then lists the claims. Whoever sees another's
    withdraws and tries again after a random wait; whoever sees only its own may look for the object and
    write it, and withdraws afterwards. Of two callers at least one sees the other's claim (Dekker's flags),
    as long as a list shows what was put before it. A claim is never taken for abandoned: no clock can tell.
    Raises StoreUnavailableError when another's claim stays, or the bucket does not answer.
    """
    attempts = Attempts(patience)
    while True:
        mine = f"{name}.claims/{uuid.uuid4().hex}"
        try:
            bucket.put(mine, b"")
            others = [other for other, _ in bucket.list(f"{name}.claims/") if other != mine]
            if not others:
                if bucket.exists(name):
                    return False
                bucket.put(name, data)
                return True
        finally:
            with contextlib.suppress(ArtlineError):  # where the object is there, no claim matters any more
                bucket.delete(mine)
        if bucket.exists(name):
            return False
        if not attempts.again():
            raise StoreUnavailableError(
                f"somebody else has been creating '{name}' in {bucket.url} for {attempts.elapsed:.0f} s. If "
                f"nobody is, a killed process left its claim: delete the object '{others[0]}' and try again"
            )
