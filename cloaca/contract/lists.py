"""Lists of models, which a fan-out goes over and writes: of which model an annotation is a list, and the way back.

It knows annotations, not fields.
"""

from __future__ import annotations

from collections import abc
from typing import Any, Final

import pydantic

from cloaca.contract.annotations import arms_of, bare_of, generic_of, known_of
from cloaca.contract.instances import instance_of

_LISTS: Final = (list, tuple, abc.Sequence)


def element_of(annotation: object) -> object | None:
    """Return the model of which ``annotation`` is a list, None if it is no list of models.

    What JSON keeps as a list counts: ``list``, ``Sequence`` and ``tuple[Model, ...]``.

    >>> class Page(pydantic.BaseModel): ...
    >>> element_of(list[Page]) is Page, element_of(abc.Sequence[Page]) is Page, element_of(list[int])
    (True, True, None)
    """
    known = known_of(bare_of(annotation))
    if arms_of(known) or not isinstance(generic_of(known), type):
        return None
    instance = instance_of(known)
    if instance.cls not in _LISTS or instance.args[1:] != ((...,) if instance.cls is tuple else ()):
        return None
    element = known_of(bare_of(instance.args[0]))
    return element if isinstance(element, type) and _is_model(element) else None


def list_of(model: object | None, optional: bool) -> object:
    """Return the annotation of a list of a model, with ``optional`` of the model or None; of None, of anything."""
    if model is None:
        return list[Any]
    return list[model | None] if optional else list[model]  # type: ignore[valid-type]  # a class


def _is_model(element: type) -> bool:
    return issubclass(element, pydantic.BaseModel) and element is not pydantic.BaseModel
