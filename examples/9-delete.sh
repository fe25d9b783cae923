#!/bin/sh
# DELETE: 200, and from now on 404. Its directory is gone from the disk after 5 seconds or so.
store=${GOSTORE:-http://localhost:7777}/store

curl --include --request DELETE "$store/hello"
curl --include "$store/hello"
