#!/bin/sh
# What is there: as lines, then as JSON with sizes, ETags and times, then only what begins with "h".
list=${GOSTORE:-http://localhost:7777}/store/

curl "$list?format=text"
curl "$list?format=json"
curl "$list?format=text&prefix=h"
