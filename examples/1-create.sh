#!/bin/sh
# POST creates a blob: 204, with its ETag (the SHA-256 of its bytes) and its Location.
store=${GOSTORE:-http://localhost:7777}/store

curl --include --request POST "$store/hello" --data 'Hello!'

# A second POST gets 409: POST never replaces.
curl --include --request POST "$store/hello" --data 'Hello again!'
