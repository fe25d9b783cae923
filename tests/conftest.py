"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.e2e.daemon import SOAK

# A machine that has much else to do is no failure; and what a commit is held to is the same for all
# who run it, where a soak looks for more.
settings.register_profile(
    "gostore", deadline=None, derandomize=not SOAK, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gostore")
