#!/bin/sh
# Put back what backup.sh has fetched: restore.sh DIRECTORY. What is there already is left alone: 409.
# The digest that was given with each blob is sent along, so nothing is stored that has changed since.
# The times are new.
# The exit status is 1 if one was not put back.
set -eu
host=${GOSTORE:-http://localhost:7777}
from=${1:-backup}

number=0 bad=0
fields=$(mktemp)
while read -r path; do
    number=$((number + 1))
    tr -d '\r' < "$from/$number.head" | LC_ALL=C grep -aiE > "$fields" \
        '^(content-(type|encoding|language|disposition)|cache-control|repr-digest|x-gostore-meta-.*): '
    status=$(curl --silent --show-error --path-as-is --output /dev/null --write-out '%{http_code}' \
        --request POST --header "@$fields" --upload-file "$from/$number" "$host$path" < /dev/null) || status=cut
    if [ "$status" != 204 ]; then
        echo "$path: $status" >&2
        bad=1
    fi
done < "$from/paths"
rm "$fields"
exit $bad
