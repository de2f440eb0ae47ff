"""What typeshed says of classes where Python's own say less: their type parameters, their bases, what is promoted.

It is a table, and reads no annotation.
"""

from __future__ import annotations

import re
from collections import ChainMap, Counter, OrderedDict, abc, defaultdict, deque
from collections.abc import Mapping
from typing import Final, TypeVar

PROMOTIONS: Final[Mapping[type, type]] = {int: float, float: complex}

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Item_co = TypeVar("_Item_co", covariant=True)
_Value_co = TypeVar("_Value_co", covariant=True)

# The type parameters of what Python defines without, and the base classes, both as in typeshed.
PARAMETERS: Final[Mapping[type, tuple[TypeVar, ...]]] = {
    **dict.fromkeys((list, set, deque, Counter, abc.MutableSequence, abc.MutableSet, re.Pattern, re.Match), (_Item,)),
    **dict.fromkeys((abc.Iterable, abc.Iterator, abc.Reversible, abc.Container, abc.Collection), (_Item_co,)),
    **dict.fromkeys((frozenset, abc.Sequence, abc.Set, type), (_Item_co,)),
    **dict.fromkeys((dict, defaultdict, OrderedDict, ChainMap, abc.MutableMapping), (_Key, _Value)),
    abc.Mapping: (_Key, _Value_co),
}
BASES: Final[Mapping[type, Mapping[type, tuple[object, ...]]]] = {
    list: {abc.MutableSequence: (_Item,)},
    deque: {abc.MutableSequence: (_Item,)},
    bytearray: {abc.MutableSequence: (int,)},
    abc.MutableSequence: {abc.Sequence: (_Item,)},
    str: {abc.Sequence: (str,)},
    bytes: {abc.Sequence: (int,)},
    range: {abc.Sequence: (int,)},
    memoryview: {abc.Sequence: (int,)},
    abc.Sequence: {abc.Reversible: (_Item_co,), abc.Collection: (_Item_co,)},
    set: {abc.MutableSet: (_Item,)},
    abc.MutableSet: {abc.Set: (_Item,)},
    frozenset: {abc.Set: (_Item_co,)},
    abc.Set: {abc.Collection: (_Item_co,)},
    defaultdict: {dict: (_Key, _Value)},
    OrderedDict: {dict: (_Key, _Value)},
    Counter: {dict: (_Item, int)},
    dict: {abc.MutableMapping: (_Key, _Value)},
    ChainMap: {abc.MutableMapping: (_Key, _Value)},
    abc.MutableMapping: {abc.Mapping: (_Key, _Value)},
    abc.Mapping: {abc.Collection: (_Key,)},
    abc.Collection: {abc.Iterable: (_Item_co,), abc.Container: (_Item_co,)},
    abc.Reversible: {abc.Iterable: (_Item_co,)},
    abc.Iterator: {abc.Iterable: (_Item_co,)},
}
