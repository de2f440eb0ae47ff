"""Databases of both kinds: fixtures of the stores."""

from tests.stores.conftest import postgres, quick_path, schema

__all__ = ["postgres", "quick_path", "schema"]
