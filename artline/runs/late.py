"""Values of a row that are known later than the row: the row goes on without them, they follow alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from artline.runs.values import JsonText

__all__ = ["Late"]

Place = tuple[str, int, float]
Follow = Callable[[Place, JsonText], None]


class Late:
    """A value that becomes JSON text later, and then a row of its own at the step that its row got.

    One thread finds the text and another the place, in either order and without a lock: whoever comes
    second lets the row follow. ``held`` is the memory in bytes that the value takes until then.
    """

    __slots__ = ("_place", "_text", "_turn", "held")

    def __init__(self, held: int) -> None:
        self.held = held
        self._place: Place | None = None
        self._text: JsonText | None = None
        self._turn = deque((True,))

    def place(self, place: Place, follow: Follow) -> None:
        """Say under which key, at which step and time the value was logged."""
        self._place = place
        self._meet(follow)

    def settle(self, text: JsonText, follow: Follow) -> None:
        """Say what the value is."""
        self._text = text
        self._meet(follow)

    def _meet(self, follow: Follow) -> None:
        if self._place is not None and self._text is not None:
            try:
                self._turn.pop()
            except IndexError:
                return
            follow(self._place, self._text)
