"""Values for secrets in tests: a context manager.

It knows nothing of workflows: what is called inside of it, a body or a whole simulation, finds the values.
"""

from cloaca.secrets import given_secrets

__all__ = ["given_secrets"]
