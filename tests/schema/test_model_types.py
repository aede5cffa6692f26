"""The types of the values, as the decoder and the schemas read them."""

from __future__ import annotations

import attrs
import pytest

from taskrunner import model

CLASSES = [cls for name in model.__all__ if isinstance(cls := getattr(model, name), type) and attrs.has(cls)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_types_of_a_class_are_found_from_its_module(cls: type) -> None:
    """A type that is written as a name is looked up where the class stands."""
    assert all(not isinstance(field.type, str) for field in attrs.fields(attrs.resolve_types(cls)))
