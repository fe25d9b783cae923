"""The verbs: both providers of blobs offer what the API asks of one."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from gostore.store.blobstore import BlobStore
from gostore.store.interface import Store
from tests.store.memory_store import MemoryStore


class StoreTests(SynchronousTestCase):
    """Store."""

    def test_providers(self) -> None:
        """BlobStore and the tests' MemoryStore have each verb, with the same parameters."""
        verbs = [name for name in vars(Store) if not name.startswith("_")]
        self.assertIn("create", verbs)
        for provider in (BlobStore, MemoryStore):
            for verb in verbs:
                wanted = inspect.signature(getattr(Store, verb)).parameters.values()
                found = inspect.signature(getattr(provider, verb)).parameters.values()
                self.assertEqual(
                    [(each.name, each.default) for each in found],
                    [(each.name, each.default) for each in wanted],
                    f"{provider.__name__}.{verb}",
                )
