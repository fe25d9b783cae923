#!/bin/sh
# PUT replaces a blob: 200, with the new ETag. Readers get the old bytes or the new, never a mix.
store=${GOSTORE:-http://localhost:7777}/store

curl --include --request PUT "$store/hello" --data 'Hello, world!'

# Where there is none, it is refused with 404 (unless the daemon runs with --put-creates) ...
curl --include --request PUT "$store/nothing-here" --data 'Hello?'

# ... and If-None-Match: * makes it create: 204, or 412 if there is one.
curl --include --request PUT "$store/new" --header 'If-None-Match: *' --data 'Made by PUT'
curl --include --request PUT "$store/new" --header 'If-None-Match: *' --data 'Made by PUT'
curl --request DELETE "$store/new"
