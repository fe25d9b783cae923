#!/bin/sh
# Parts of a blob: the first five bytes, then the last one. Downloads that were cut off go on with
# curl --continue-at - in the same way.
store=${GOSTORE:-http://localhost:7777}/store

curl --range 0-4 "$store/hello"
echo
curl --range -1 "$store/hello"
echo

# Only what has changed: 304, and no bytes, when we have these already.
etag=$(mktemp)
curl --silent --etag-save "$etag" --output /dev/null "$store/hello"
curl --include --etag-compare "$etag" "$store/hello"
rm "$etag"
