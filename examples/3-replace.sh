#!/bin/sh
# PUT replaces a blob: 200, with the new ETag. Readers get the old bytes or the new ones, never a mix.
store=${GOSTORE:-http://localhost:7777}/store

curl --include --request PUT "$store/hello" --data 'Hello, world!'

# Without a blob to replace it gets 404 (unless the daemon runs with --put-creates) ...
curl --include --request PUT "$store/nothing-here" --data 'Hello?'

# ... but If-None-Match: * makes it create one: 204, or 412 if a blob is there.
curl --include --request PUT "$store/new" --header 'If-None-Match: *' --data 'Made by PUT'
curl --include --request PUT "$store/new" --header 'If-None-Match: *' --data 'Made by PUT'
curl --request DELETE "$store/new"
