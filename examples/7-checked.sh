#!/bin/sh
# The daemon stores an upload with a digest only if the bytes have it: 200, then 400.
store=${GOSTORE:-http://localhost:7777}/store

bytes='Hello, digest!'
digest=$(printf %s "$bytes" | openssl dgst -sha256 -binary | base64)
curl --include --request PUT "$store/hello" --header "Repr-Digest: sha-256=:$digest:" --data "$bytes"
curl --include --request PUT "$store/hello" --header "Repr-Digest: sha-256=:$digest:" --data 'other'
