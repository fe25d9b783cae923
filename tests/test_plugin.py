"""Tests for twisted/plugins/gostore_plugin.py: the plugin is seen, and costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


def imported(statement: str) -> set[str]:
    """Run an import in a fresh interpreter; return the names of the modules it loaded."""
    code = f"import sys; {statement}; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return set(subprocess.check_output(command, env=environment, text=True).split())


class PluginTests(SynchronousTestCase):
    """The service maker that twistd finds."""

    def test_seen(self) -> None:
        """twistd's search finds one service maker named gostore, with the module of the options."""
        makers = [each for each in getPlugins(IServiceMaker) if each.tapname == "gostore"]
        self.assertEqual([getattr(each, "module", None) for each in makers], ["gostore.tap"])

    def test_plugin_imports_nothing(self) -> None:
        """Loading the plugin, which every twistd command does, loads nothing of gostore."""
        loaded = imported("import twisted.plugins.gostore_plugin")
        self.assertEqual({"gostore", "klein", "attrs"} & loaded, set())
        self.assertNotIn("twisted.internet.reactor", loaded)

    def test_options_leave_the_reactor_alone(self) -> None:
        """Parsing options, as --help does, loads neither the reactor nor Klein (which loads it)."""
        loaded = imported("import gostore.tap; gostore.tap.Options().parseOptions([])")
        self.assertNotIn("twisted.internet.reactor", loaded)
        self.assertNotIn("klein", loaded)

    def test_directory_needs_no_bucket(self) -> None:
        """A daemon on a directory loads nothing of what another needs for a bucket."""
        loaded = imported("import gostore.daemon.service")
        self.assertIn("gostore.store.blobstore", loaded)
        self.assertNotIn("gostore.bucket.provider", loaded)
