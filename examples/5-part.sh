#!/bin/sh
# Parts of a blob: the first five bytes, then the last one. curl --continue-at - resumes a download
# in the same way.
store=${GOSTORE:-http://localhost:7777}/store

curl --range 0-4 "$store/hello"
echo
curl --range -1 "$store/hello"
echo

# Nothing has changed: 304, and no bytes.
etag=$(mktemp)
curl --silent --etag-save "$etag" --output /dev/null "$store/hello"
curl --include --etag-compare "$etag" "$store/hello"
rm "$etag"
