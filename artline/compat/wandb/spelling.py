"""Names of wandb's, spelled as Artline's naming rule has them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from artline.artifacts.refs import MAX_NAME

__all__ = ["nameable", "path_of"]

_BETWEEN = re.compile(r"[\s/\\#?%:]+")  # spaces, and what wandb refuses, too
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]+")
_DIGEST = 8  # hexadecimal digits


def nameable(text: str) -> str:
    """Return a name that keeps to Artline's rule, as close to the given one as can be.

    Spaces become dashes. Where more is lost (other scripts, ``+``, a name that is too long) a short digest
    of the name follows, so that different names stay different. A name that keeps to the rule is unchanged.
    """
    text = unicodedata.normalize("NFC", text)
    plain = _BETWEEN.sub("-", text.strip())
    spelled = _UNNAMEABLE.sub("-", plain).lstrip("-.")
    if spelled and spelled == plain and len(spelled) <= MAX_NAME:
        return spelled
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{spelled[: MAX_NAME - _DIGEST - 1].rstrip('-') or 'unnamed'}-{digest}"


def path_of(path: str, parents: int) -> str:
    """Return ``entity/project/…`` with its first ``parents`` parts spelled."""
    parts = path.strip("/").split("/")
    return "/".join([*(nameable(part) if part else part for part in parts[:parents]), *parts[parents:]])
