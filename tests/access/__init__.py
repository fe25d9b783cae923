"""Tests of gostore.access."""
