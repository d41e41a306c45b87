"""The npm clients, for the tests of this folder."""

from tests.clients.oracle import npm_clients

__all__ = ["npm_clients"]
