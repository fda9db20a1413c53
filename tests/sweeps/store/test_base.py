"""Stores are alternatives: final, alike to whoever uses them, and strangers to each other."""

from __future__ import annotations

import pytest

from sweeps.store.base import Store
from sweeps.store.bucket import BucketStore
from sweeps.store.folder import FolderStore
from sweeps.store.postgres import PostgresStore

STORES = (FolderStore, PostgresStore, BucketStore)


def methods(kind: type, private: bool) -> set[str]:
    """Names of what a class itself defines, special methods aside."""
    names = {name for name, value in vars(kind).items() if callable(value) or isinstance(value, property)}
    return {name for name in names if name.startswith("_") == private and not name.startswith("__")}


@pytest.mark.parametrize("kind", STORES)
def test_a_store_is_final_and_has_only_the_calls_of_all(kind):
    assert kind.__final__ and kind.__bases__ == (Store,)
    assert not kind.__abstractmethods__
    assert methods(kind, private=False) - {"fetch"} <= Store.__abstractmethods__  # what is final in Store stays so


def test_stores_share_no_private_method():
    own = [methods(kind, private=True) for kind in (*STORES, Store)]
    assert all(own) and len(set.union(*own)) == sum(map(len, own))
