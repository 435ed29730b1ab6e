"""Made-up names and ids of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["name_of", "new_id", "new_name"]

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

FIRST = (  # noqa: SIM905  (one word a line would be 250 lines)
    "amber autumn azure basalt birch bold brave breezy bright brisk bronze calm cedar civil clear "
    "clever cobalt copper coral cosmic crimson crisp curious dapper dawn deep distant dusky eager "
    "early earnest easy ember even fabled fair faithful fast fern fleet fond frosty gentle glad "
    "golden grand granite green hardy hazel hidden honest humble indigo ivory jade jolly keen kind "
    "lively loyal lucid lunar mellow merry mild misty modest neat nimble noble northern olive opal "
    "patient pearl placid plain polar proud quick quiet rapid ready rosy rustic sage scarlet serene "
    "sharp silent silver simple sincere smooth snowy solar solid spry stable steady still sunny swift "
    "tawny tender tidal tidy topaz tranquil true upbeat velvet vivid warm western wild wise witty"
).split()
SECOND = (  # noqa: SIM905  (one word a line would be 250 lines)
    "acorn albatross alder anchor apple arch aspen atlas badger bay beacon bear beaver bell birch "
    "bison bloom brook canyon cape cedar cliff cloud clover comet condor coral cove crane creek "
    "cricket delta dolphin dove dune eagle elm ember falcon fern field finch fjord flame forest fox "
    "garden glacier glade grove gull harbor hare hawk heron hill hollow horizon ibis iris island ivy "
    "jay juniper kestrel kite lagoon lake lantern lark laurel leaf lily lotus lynx maple marsh meadow "
    "mesa mill moon moss mountain oak ocean orbit orchard otter owl panda path peak pebble pine "
    "planet plum pond poplar prairie quail rain raven reef ridge river robin sail sea seal shore sky "
    "sparrow spring spruce star stone stream summit sun swan thicket tide trail tulip valley wave "
    "willow wind wolf wood wren"
).split()


def new_name() -> str:
    """Make up a readable name: two words and a number."""
    return f"{_choose(FIRST)}-{_choose(SECOND)}-{_below(999) + 1}"


def name_of(run_id: str) -> str:
    """Return the readable name that belongs to an id: the same for everybody who asks."""
    from hashlib import blake2b

    digest = int.from_bytes(blake2b(run_id.encode(), digest_size=8).digest(), "little")
    first, digest = FIRST[digest % len(FIRST)], digest // len(FIRST)
    second, digest = SECOND[digest % len(SECOND)], digest // len(SECOND)
    return f"{first}-{second}-{digest % 999 + 1}"


def new_id() -> str:
    """Make up an id of eight characters."""
    return "".join(_choose(_ALPHABET) for _ in range(8))


def _choose(items: Sequence[str]) -> str:
    return items[_below(len(items))]


def _below(limit: int) -> int:
    # The system's randomness: whatever the program seeds, two runs must not get one id.
    return int.from_bytes(os.urandom(8), "little") % limit
