"""Makes ``twistd gostore`` known, and does nothing else: every twistd command imports this."""

from twisted.application.service import ServiceMaker

gostore = ServiceMaker(
    "gostore",
    "gostore.tap",
    "A storage daemon: blobs behind HTTP, plain files on disk.",
    "gostore",
)
