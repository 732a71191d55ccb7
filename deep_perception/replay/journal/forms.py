"""Declared forms of values: what is written as JSON and bytes, and what may be read from them.

The form says which class is made; a file only has values, whose type, range, shape and size are
checked before anything is made from them. It cannot name a class, a type of numbers or a function.
JSON has the plain values; the bytes of all arrays follow it, in the order of the forms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deep_perception.untrusted.text import printable

# Stamps and their differences: more than 64 bits hold.
LARGEST = 2**66


class FormError(ValueError):
    """A value does not have its form; the message says how."""


@dataclass(eq=False)
class Written:
    """What was written so far: the bytes of arrays, and the values that may come again."""

    arrays: list[bytes] = field(default_factory=list)
    values: dict[Form, list[Any]] = field(default_factory=dict)


@dataclass(eq=False)
class Source:
    """The bytes of arrays that are still to be read, and the values that may come again."""

    data: memoryview
    values: dict[Form, list[Any]] = field(default_factory=dict)

    def take(self, size: int) -> memoryview:
        """Return the next bytes. Raises FormError if there are fewer."""
        if size > len(self.data):
            raise FormError(f"an array needs {size} bytes, and {len(self.data)} are left")
        taken, self.data = self.data[:size], self.data[size:]
        return taken


class Form(ABC):
    """The form of a value."""

    @abstractmethod
    def pack(self, value: Any, to: Written) -> Any:
        """Return the JSON of a value, whose arrays are added to ``to``."""

    @abstractmethod
    def unpack(self, content: Any, source: Source) -> Any:
        """Return the value of JSON. Raises FormError."""


@dataclass(frozen=True, eq=False)
class Whole(Form):
    """A whole number."""

    low: int = -LARGEST
    high: int = LARGEST

    def pack(self, value: Any, to: Written) -> Any:
        return int(value)

    def unpack(self, content: Any, source: Source) -> Any:
        if type(content) is not int or not self.low <= content <= self.high:
            raise FormError(f"{_short(content)}; expected {self.low} to {self.high}")
        return content


@dataclass(frozen=True, eq=False)
class Real(Form):
    """A finite number."""

    low: float
    high: float

    def pack(self, value: Any, to: Written) -> Any:
        return float(value)

    def unpack(self, content: Any, source: Source) -> Any:
        if type(content) is not float or not self.low <= content <= self.high:
            raise FormError(f"{_short(content)}; expected {self.low:g} to {self.high:g}")
        return content


@dataclass(frozen=True, eq=False)
class OneOf(Form):
    """One of some plain values."""

    values: tuple[Any, ...]

    def pack(self, value: Any, to: Written) -> Any:
        return value

    def unpack(self, content: Any, source: Source) -> Any:
        for value in self.values:
            if type(content) is type(value) and content == value:
                return value
        raise FormError(f"{_short(content)}; expected one of {self.values}")


FLAG = OneOf((False, True))


@dataclass(frozen=True, eq=False)
class Text(Form):
    """A text of at most so many characters."""

    limit: int = 1 << 16

    def pack(self, value: Any, to: Written) -> Any:
        return value

    def unpack(self, content: Any, source: Source) -> Any:
        if not isinstance(content, str) or len(content) > self.limit:
            raise FormError(f"{_short(content)}; expected a text of {self.limit} characters")
        return content


@dataclass(frozen=True, eq=False)
class Maybe(Form):
    """A value or None."""

    form: Form

    def pack(self, value: Any, to: Written) -> Any:
        return None if value is None else [self.form.pack(value, to)]

    def unpack(self, content: Any, source: Source) -> Any:
        return None if content is None else self.form.unpack(_listed(content, 1)[0], source)


@dataclass(frozen=True, eq=False)
class Many(Form):
    """A list of at most so many values."""

    form: Form
    limit: int

    def pack(self, value: Any, to: Written) -> Any:
        return [self.form.pack(item, to) for item in value]

    def unpack(self, content: Any, source: Source) -> Any:
        return [self.form.unpack(item, source) for item in _at_most(content, self.limit)]


class Items(Form):
    """A tuple, each of whose items has a form of its own."""

    def __init__(self, *forms: Form) -> None:
        self.forms = forms

    def pack(self, value: Any, to: Written) -> Any:
        return [form.pack(item, to) for form, item in zip(self.forms, value, strict=True)]

    def unpack(self, content: Any, source: Source) -> Any:
        items = zip(self.forms, _listed(content, len(self.forms)), strict=True)
        return tuple(form.unpack(item, source) for form, item in items)


@dataclass(frozen=True, eq=False)
class Table(Form):
    """A dictionary of at most so many items, in its order."""

    key: Form
    value: Form
    limit: int

    def pack(self, value: Any, to: Written) -> Any:
        return [[self.key.pack(k, to), self.value.pack(v, to)] for k, v in value.items()]

    def unpack(self, content: Any, source: Source) -> Any:
        pairs = [_listed(item, 2) for item in _at_most(content, self.limit)]
        return {self.key.unpack(k, source): self.value.unpack(v, source) for k, v in pairs}


@dataclass(frozen=True, eq=False)
class Numbers(Form):
    """An array of one type, whose values are in a range. A side of None has any length."""

    dtype: str
    shape: tuple[int | None, ...]
    low: float = 0.0
    high: float = 255.0

    def pack(self, value: Any, to: Written) -> Any:
        array = np.ascontiguousarray(value, self.dtype)
        to.arrays.append(array.tobytes())
        return list(array.shape)

    def unpack(self, content: Any, source: Source) -> Any:
        shape = _shape(content, self.shape)
        dtype = np.dtype(self.dtype)
        data = source.take(math.prod(shape) * dtype.itemsize)
        array = np.frombuffer(data, dtype).reshape(shape).copy()
        # No number that is not finite is in a range.
        if dtype.kind == "f" and not ((array >= self.low) & (array <= self.high)).all():
            raise FormError(f"an array has a number outside of {self.low:g} to {self.high:g}")
        return array


@dataclass(frozen=True, eq=False)
class Bits(Form):
    """A boolean array of one shape, eight values to a byte."""

    shape: tuple[int, ...]

    def pack(self, value: Any, to: Written) -> Any:
        to.arrays.append(np.packbits(value).tobytes())
        return None

    def unpack(self, content: Any, source: Source) -> Any:
        return unpack_bits(source, self.shape)


def unpack_bits(source: Source, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the next array of a shape that was checked."""
    count = math.prod(shape)
    packed = np.frombuffer(source.take(-(-count // 8)), np.uint8)
    return np.unpackbits(packed, count=count).reshape(shape).astype(np.bool_)


class Fields(Form):
    """A value that ``make`` returns from the fields with these names, as keyword arguments."""

    def __init__(self, make: Callable[..., Any], **fields: Form) -> None:
        self.make, self.fields = make, fields

    def pack(self, value: Any, to: Written) -> Any:
        return [form.pack(getattr(value, name), to) for name, form in self.fields.items()]

    def unpack(self, content: Any, source: Source) -> Any:
        values = self._values(content, source)
        try:
            return self.make(**values)
        except FormError:
            raise
        except (ValueError, TypeError) as error:
            raise FormError(str(error)) from None

    def _values(self, content: Any, source: Source) -> Mapping[str, Any]:
        items = zip(self.fields.items(), _listed(content, len(self.fields)), strict=True)
        return {name: form.unpack(item, source) for (name, form), item in items}


class Attributes(Fields):
    """A value that ``make`` returns without arguments, and that then gets these attributes."""

    def unpack(self, content: Any, source: Source) -> Any:
        value = self.make()
        for name, item in self._values(content, source).items():
            setattr(value, name, item)
        return value


@dataclass(frozen=True, eq=False)
class Shared(Form):
    """A value that other values refer to as well: the second time, only its number is written."""

    form: Form

    def pack(self, value: Any, to: Written) -> Any:
        known = to.values.setdefault(self, [])
        for number, other in enumerate(known):
            if other is value:
                return number
        known.append(value)
        return [self.form.pack(value, to)]

    def unpack(self, content: Any, source: Source) -> Any:
        known = source.values.setdefault(self, [])
        if type(content) is int and 0 <= content < len(known):
            return known[content]
        known.append(self.form.unpack(_listed(content, 1)[0], source))
        return known[-1]


def _at_most(content: Any, limit: int) -> Sequence[Any]:
    if not isinstance(content, list) or len(content) > limit:
        raise FormError(f"{_short(content)}; expected a list of at most {limit}")
    return content


def _listed(content: Any, length: int) -> Sequence[Any]:
    if not isinstance(content, list) or len(content) != length:
        raise FormError(f"{_short(content)}; expected a list of {length}")
    return content


def _shape(content: Any, expected: tuple[int | None, ...]) -> tuple[int, ...]:
    sides = _listed(content, len(expected))
    for side, wanted in zip(sides, expected, strict=True):
        if type(side) is not int or not 0 <= side < 2**31 or wanted not in (None, side):
            raise FormError(f"an array of {_short(content)}; expected {list(expected)}")
    return tuple(sides)


def _short(content: Any) -> str:
    if isinstance(content, (list, dict)):
        return f"a {type(content).__name__} of {len(content)}"
    return f"{type(content).__name__} {printable(repr(content))}"
