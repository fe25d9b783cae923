"""What does not go together, of settings that are fine each by itself. Pure."""

from __future__ import annotations

from gostore.access.rules import Rules
from gostore.daemon.settings import Settings


def contradiction(settings: Settings) -> str:
    """Say which settings do not go together; "" if all do."""
    if settings.remote_user and not (settings.trusted_proxy and settings.access):
        return "remote-user: it needs trusted-proxy and access, too"
    if settings.store is None:
        if settings.s3_endpoint or settings.s3_region:
            return "s3-endpoint and s3-region: they need store, too"
        if settings.id_bits not in (None, 16, 32):
            return f"id-bits: a directory has no ids of {settings.id_bits} bits"
    elif settings.id_bits == 32:
        return "id-bits: a bucket has ids of 16, 64 or 128 bits"
    return ""


def objection(settings: Settings, rules: Rules) -> str:
    """Say why the rules of an access file cannot be used with these settings; "" if they can."""
    if settings.store is not None and rules.quotas:
        # No daemon alone knows how much there is.
        return "quotas are for a data directory, not for a bucket"
    return ""
