#!/bin/sh
# GET returns exactly the bytes that POST sent.
store=${GOSTORE:-http://localhost:7777}/store

curl "$store/hello"
echo

# HEAD returns everything but the bytes: ETag, Last-Modified, Repr-Digest, Content-Length.
curl --head "$store/hello"
