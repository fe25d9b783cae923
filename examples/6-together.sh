#!/bin/sh
# Two writers read the same version. The second to write gets 412: it has missed a change.
store=${GOSTORE:-http://localhost:7777}/store

etag=$(curl --silent --head "$store/hello" | tr -d '\r' | sed -n 's/^ETag: //ip')
curl --include --request PUT "$store/hello" --header "If-Match: $etag" --data 'from the first'
curl --include --request PUT "$store/hello" --header "If-Match: $etag" --data 'from the second'
