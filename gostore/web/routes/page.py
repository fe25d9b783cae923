"""The files of the page. The page itself is a form of the list (page/document.py)."""

from __future__ import annotations

from klein import Klein

from gostore.web.answers import Answer
from gostore.web.page.files import POLICY, files
from gostore.web.routing import asks, nothing_here, prepare
from gostore.wire import Request

_FOR_GOOD = b"public, max-age=31536000, immutable"


class PageFiles:
    """Sends the files of the page. They are the same for everybody, so anybody gets them."""

    app = Klein()
    prepare(app)

    @app.route("/page/<string:digest>/<string:name>", methods=["GET"])
    @asks()
    def file(self, request: Request, digest: str, name: str) -> Answer:
        """One file; 404 if there is none of this name.

        A path with the digest of another version is of a daemon that was updated a moment ago, or
        of one beside this. Then nobody may keep the answer.
        """
        file = files().by_name.get(name)
        if file is None:
            raise nothing_here()
        is_ours = digest == files().digest
        etag = b'"%b"' % files().digest.encode("ascii")
        fields = {
            b"content-type": file.content_type,
            b"x-content-type-options": b"nosniff",
            b"content-security-policy": POLICY,
            b"cross-origin-resource-policy": b"same-origin",
            b"cache-control": _FOR_GOOD if is_ours else b"no-cache",
            b"etag": etag,
        }
        if request.headers.get(b"if-none-match") == etag:
            return Answer(304, fields)
        return Answer(200, fields, file.data)
