"""Values as people read and write them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.cli.output import json_text
from artline.cli.values import (
    ago,
    count,
    duration,
    exact,
    instant,
    number,
    plain,
    read_metadata,
    read_span,
    size,
    sparkline,
    split_aliases,
)
from artline.errors import SourceNotFoundError, UsageError

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1024**2, "1.0 MiB"),
     (1024**2 - 1, "1.0 MiB"), (5 * 1024**4, "5.0 TiB"), (3000 * 1024**6, "3000.0 EiB")],
)  # fmt: skip
def test_sizes(amount: int, text: str) -> None:
    assert size(amount) == text


@given(st.integers(0, 2**70))
def test_a_size_is_short_and_right(amount: int) -> None:
    figure, unit = size(amount).split()
    scale = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)
    assert abs(float(figure) * scale - amount) <= 0.05001 * scale
    assert float(figure) < 1024 or unit == "EiB"


def test_counts() -> None:
    assert count(1797) == "1,797"
    assert count(1, "file") == "1 file"
    assert count(0, "file") == "0 files"
    assert count(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (4, "just now"), (30, "30 seconds ago"), (120, "2 minutes ago"), (7200, "2 hours ago"),
     (86400 * 3, "3 days ago"), (86400 * 90, "3 months ago"), (86400 * 800, "2 years ago"),
     (-3600 * 5, "in 5 hours")],
)  # fmt: skip
def test_relative_times(seconds: int, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_exact_times_carry_their_offset() -> None:
    assert datetime.strptime(exact(NOW), "%Y-%m-%d %H:%M:%S %z") == NOW
    assert instant(NOW.timestamp()) == NOW
    assert instant(NOW.replace(tzinfo=None)) == NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4s"), (12, "12s"), (185, "3m 05s"), (7800, "2h 10m"), (86400 * 4 + 3600 * 6, "4d 6h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers() -> None:
    assert number(0.123456789) == "0.123457"
    assert number(math.nan) == "nan"
    assert number(True) == "true"
    assert number(12345678) == "12345678"
    assert number({"a": [1]}) == '{"a": [1]}'


def test_control_characters_cannot_steer_a_terminal() -> None:
    assert plain("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert plain("Größe 数据") == "Größe 数据"
    assert plain("\udc80") == "\\udc80"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)), st.integers(1, 40))
def test_sparklines_fit(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(width, sum(map(math.isfinite, values)))
    assert set(drawn) <= set("▁▂▃▄▅▆▇█")


def test_a_spike_stays_visible() -> None:
    values = [0.0] * 1000
    values[777] = 1.0
    assert "█" in sparkline(values)
    assert sparkline(range(8)) == "▁▂▃▄▅▆▇█"


def test_whole_numbers_beyond_floats_have_room() -> None:
    assert sparkline([1, 10**400, 2, -(10**400)]) == "▁█"
    assert (number(2**62), number(-(10**400))) == (str(2**62), "-1.00000e+400")


def test_aliases_after_the_name() -> None:
    assert split_aliases("digits") == ("digits", [])
    assert split_aliases("digits:best,paper") == ("digits", ["best", "paper"])
    for wrong in ("", ":best", "digits:", "digits:a,,b"):
        with pytest.raises(UsageError):
            split_aliases(wrong)


def test_spans() -> None:
    assert read_span("0") == timedelta()
    assert read_span("90m") == timedelta(hours=1.5)
    assert read_span("2d") == timedelta(days=2)
    for wrong in ("", "d", "2", "-1d", "1.5h", "2y", "99999999d"):
        with pytest.raises(UsageError):
            read_span(wrong)


def test_metadata(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text('{"a": {"b": 1}, "lr": 1}', encoding="utf-8")
    assert read_metadata([f"@{file}", "lr=0.5", "who=me", "eq=a=b", "n=NaN", "flag=true"]) == {
        "a": {"b": 1}, "lr": 0.5, "who": "me", "eq": "a=b", "n": "NaN", "flag": True,
    }  # fmt: skip
    file.write_text("[1]", encoding="utf-8")
    for wrong in ("plain", "=1", f"@{file}"):
        with pytest.raises(UsageError):
            read_metadata([wrong])
    with pytest.raises(SourceNotFoundError):
        read_metadata(["@absent.json"])


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_json_is_strict_json(document: object) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = json_text(document)
    text.encode("utf-8")
    json.loads(text, parse_constant=refuse)
