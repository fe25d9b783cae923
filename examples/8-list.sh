#!/bin/sh
# The list of blobs: as lines, as JSON, and then only the locations that begin with "h".
list=${GOSTORE:-http://localhost:7777}/store/

curl "$list?format=text"
curl "$list?format=json"
curl "$list?format=text&prefix=h"
