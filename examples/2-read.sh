#!/bin/sh
# GET gives the bytes exactly as they were sent.
store=${GOSTORE:-http://localhost:7777}/store

curl "$store/hello"
echo

# HEAD gives everything but the bytes: ETag, Last-Modified, Repr-Digest, Content-Length.
curl --head "$store/hello"
