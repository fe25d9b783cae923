"""The type of a blob by its name, for an upload that names no type.

curl and many scripts send no Content-Type, or the one of a form, whatever the file is.
"""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from gostore.blob import DEFAULT_TYPE

_OURS = {
    "7z": "application/x-7z-compressed",
    "avif": "image/avif",
    "bz2": "application/x-bzip2",
    "conf": "text/plain",
    "css": "text/css",
    "csv": "text/csv",
    "flac": "audio/flac",
    "gz": "application/gzip",
    "heic": "image/heic",
    "ics": "text/calendar",
    "ini": "text/plain",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mkv": "video/matroska",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "parquet": "application/vnd.apache.parquet",
    "patch": "text/x-diff",
    "rst": "text/x-rst",
    "sql": "application/sql",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "toml": "application/toml",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webp": "image/webp",
    "xz": "application/x-xz",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}
"""By the extension. It comes first: Python's own table differs from version to version."""

# Types that run: pages, everything in XML, scripts, and containers of pages.
_RUN = re.compile(
    r".*/(?:.*\+)?xml|.*/x?html.*|.*/xhtml.*|.*(?:java|ecma|vb|j|live)script.*|application/wasm"
    r"|message/.*|multipart/.*|application/x-(?:shockwave-flash|java.*)|text/(?:xsl|x-component)"
)

# Only the table that is part of Python: the machine's would make the same upload differ elsewhere.
_python = mimetypes.MimeTypes()


def type_of_name(location: str) -> str | None:
    """The type that the extension of a location stands for; None if no type does.

    A browser must not run a blob only because of its name, so no type of a page or a script is
    returned. An upload that wants one has to say so.
    """
    stem, dot, extension = location.rpartition(".")
    if not dot or "/" in extension or not stem or stem.endswith("/"):
        return None
    extension = extension.lower()
    found = _OURS.get(extension)
    if found is None:
        # A name of our own: mimetypes reads URLs, and looks behind the extensions of encodings.
        found, encoding = _python.guess_type(f"a.{quote(extension)}")
        if encoding is not None or found == DEFAULT_TYPE:
            return None
    return None if found is None or _RUN.fullmatch(found) else found
