"""What an upload says of its blob: the type, what is kept with it, and for how long it stays."""

from __future__ import annotations

from attrs import evolve

from gostore.store.interface import Details
from gostore.web.answers import Refusal
from gostore.web.fields.digests import announced_digests, late_digests
from gostore.web.fields.lifetime import lifetime_of
from gostore.web.fields.representation import is_form, keeps_metadata, kept_fields, kept_type
from gostore.web.fields.types import type_of_name
from gostore.web.lifetimes import Lifetimes
from gostore.wire import Headers


def details_in(headers: Headers) -> Details:
    """What the fields of an upload say of its blob. Raises Refusal (400, 431)."""
    return Details(
        kept_type(headers),
        kept_fields(headers),
        announced_digests(headers),
        late_digests(headers),
        keeps_metadata(headers),
        lifetime_of(headers),
    )


class Labels:
    """Settles what an upload leaves open, and refuses what cannot be kept.

    With ``stores_forms`` a multipart/form-data body is stored as it is.
    """

    def __init__(self, lifetimes: Lifetimes | None = None, *, stores_forms: bool = False) -> None:
        self.lifetimes = lifetimes or Lifetimes()
        self._stores_forms = stores_forms

    def settle(self, details: Details, method: str, location: str) -> Details:
        """What an upload to a location makes. Raises Refusal (400, 415)."""
        lifetime = self.lifetimes.settle(location, details.lifetime)
        if lifetime is not details.lifetime:
            details = evolve(details, lifetime=lifetime)
        if details.content_type is None:
            # Where the upload gives no type, the name may tell it.
            if not details.keeps_metadata and (found := type_of_name(location)) is not None:
                return evolve(details, content_type=found)
        elif not self._stores_forms and is_form(details.content_type):
            text = (
                "multipart/form-data is a form and not a file; send the file itself:"
                f" curl --request {method} --upload-file FILE"
            )
            raise Refusal(415, text)
        return details
