#!/bin/sh
# DELETE: 200, and from then on 404. About 5 seconds later its directory is gone from the disk.
store=${GOSTORE:-http://localhost:7777}/store

curl --include --request DELETE "$store/hello"
curl --include "$store/hello"
