"""Tables in the terms of pandas and Polars, with the values that they have in Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artline.artifacts.table_file import array_of, arrow_module
from artline.errors import MissingExtraError, UsageError

__all__ = ["pandas_module", "pandas_series", "pandas_table", "plain_series", "polars_table"]

_DECIMALS = 38


def pandas_table(table: Any, forms: Mapping[str, str]) -> Any:
    """Return a pyarrow Table as a DataFrame, each column as ``pandas_series`` makes it."""
    pandas = pandas_module()
    columns = {name: pandas_series(table.column(name), forms.get(name)) for name in table.column_names}
    return pandas.DataFrame(columns, columns=table.column_names)


def pandas_series(array: Any, form: str | None = None) -> Any:
    """Return a column as a pandas Series that has all its integers and booleans as they are.

    ``form`` is ``nullable`` or ``arrow`` where the column came from such a type of pandas. Without one,
    integers and booleans are nullable beside nulls and NumPy's otherwise; lists and structs that hold
    integers beside nulls are Python's, as NumPy would make floats of them.
    """
    arrow, pandas = arrow_module(), pandas_module()
    if form == "arrow":
        return array.to_pandas(types_mapper=pandas.ArrowDtype)
    kinds = {
        arrow.int8(): pandas.Int8Dtype(),
        arrow.int16(): pandas.Int16Dtype(),
        arrow.int32(): pandas.Int32Dtype(),
        arrow.int64(): pandas.Int64Dtype(),
        arrow.uint8(): pandas.UInt8Dtype(),
        arrow.uint16(): pandas.UInt16Dtype(),
        arrow.uint32(): pandas.UInt32Dtype(),
        arrow.uint64(): pandas.UInt64Dtype(),
        arrow.bool_(): pandas.BooleanDtype(),
    }
    if form == "nullable":
        kinds |= {arrow.float32(): pandas.Float32Dtype(), arrow.float64(): pandas.Float64Dtype()}
        kinds |= dict.fromkeys((arrow.string(), arrow.large_string()), pandas.StringDtype())
    elif array.type in kinds and not array.null_count:
        kinds = {}
    elif arrow.types.is_nested(array.type) and any(map(_rounds, _chunks(array))):
        return pandas.Series(array.to_pylist(), dtype=object)
    return array.to_pandas(types_mapper=kinds.get)


def plain_series(column: str, cells: list[Any]) -> Any:
    """Return Python's cells as a pandas Series, of objects where Arrow has no one type for them."""
    pandas = pandas_module()
    try:
        array = array_of(column, cells)
    except UsageError:
        return pandas.Series(cells, dtype=object)
    kinds = arrow_module().types
    exact = kinds.is_integer(array.type) or kinds.is_boolean(array.type)
    return pandas_series(array) if exact else pandas.Series(cells)


def polars_table(table: Any) -> Any:
    """Return a pyarrow Table as a Polars DataFrame.

    What Polars has not becomes what is nearest without loss: times of an offset such as +05:30 the same
    times in UTC, views of lists lists, wide decimals those of 38 digits. Raises UsageError, naming the
    column, where that does not hold the values.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError("a DataFrame needs Polars. Install it: pip install polars") from error
    arrow = arrow_module()
    columns = {}
    for name in table.column_names:
        array = table.column(name)
        try:
            wanted = _polars_type(array.type)
            columns[name] = polars.Series(name, array if wanted == array.type else array.cast(wanted))
        except (arrow.ArrowException, polars.exceptions.PolarsError, TypeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UsageError(
                f"Polars has no form for column '{name}' of type {array.type}: {reason}. Read it with "
                f"to_arrow(), or give it another type: Table(…, schema={{'{name}': …}})"
            ) from error
    return polars.DataFrame(columns)


def _polars_type(type_: Any) -> Any:
    arrow = arrow_module()
    kinds = arrow.types
    if kinds.is_decimal256(type_):
        if type_.scale > _DECIMALS:
            raise TypeError(f"its decimals have at most {_DECIMALS} digits")
        return arrow.decimal128(_DECIMALS, type_.scale)
    if kinds.is_timestamp(type_) and (type_.tz or "").startswith(("+", "-")):
        return arrow.timestamp(type_.unit, "UTC")
    if kinds.is_list(type_) or kinds.is_list_view(type_):
        return arrow.list_(_polars_field(type_.value_field))
    if kinds.is_large_list(type_) or kinds.is_large_list_view(type_):
        return arrow.large_list(_polars_field(type_.value_field))
    if kinds.is_fixed_size_list(type_):
        return arrow.list_(_polars_field(type_.value_field), type_.list_size)
    if kinds.is_map(type_):
        return arrow.map_(_polars_field(type_.key_field), _polars_field(type_.item_field))
    if kinds.is_struct(type_):
        return arrow.struct([_polars_field(type_.field(index)) for index in range(type_.num_fields)])
    return type_


def _polars_field(field: Any) -> Any:
    return field.with_type(_polars_type(field.type))


def _rounds(array: Any) -> bool:
    """Tell whether integers stand beside nulls somewhere in an array."""
    kinds = arrow_module().types
    type_ = array.type
    if kinds.is_integer(type_):
        return bool(array.null_count)
    if kinds.is_struct(type_):
        return any(map(_rounds, array.flatten()))
    if kinds.is_map(type_):
        return _rounds(array.keys) or _rounds(array.items)
    if kinds.is_dictionary(type_):
        return bool(array.null_count) and kinds.is_integer(type_.value_type)
    return any(is_list(type_) for is_list in _lists()) and _rounds(array.flatten())


def _lists() -> tuple[Any, ...]:
    kinds = arrow_module().types
    large = kinds.is_large_list, kinds.is_large_list_view
    return kinds.is_list, kinds.is_list_view, kinds.is_fixed_size_list, *large


def _chunks(array: Any) -> list[Any]:
    return list(array.chunks) if hasattr(array, "chunks") else [array]


def pandas_module() -> Any:
    """Return pandas; raise MissingExtraError without it."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("a DataFrame needs pandas. Install it: pip install pandas") from error
    return pandas
