#!/bin/sh
# Every blob into a new directory, while the daemon runs: backup.sh DIRECTORY. Blob 7 is the file 7, its
# header fields are 7.head, and its path is in line 7 of "paths". restore.sh puts them back.
#
# Each is whole, as it was at some moment in between; what is stored meanwhile may be missing.
# The exit status is 1 if one could not be had.
set -eu
host=${GOSTORE:-http://localhost:7777}
to=${1:-backup}

mkdir "$to"
touch "$to/paths"
number=1 bad=0
page='?format=html&delimiter=&limit=100'
while [ -n "$page" ]; do
    # The page for browsers: its links are relative to /store/, and ready for use whatever the names.
    curl --silent --show-error --fail --output "$to/page" "$host/store/$page"
    for path in $(sed -n 's/^<tr><td><a href="\([^"]*\)".*/\1/p' "$to/page"); do
        path=/store/$path
        status=$(curl --silent --show-error --path-as-is --output "$to/$number" \
            --dump-header "$to/$number.head" --write-out '%{http_code}' "$host$path") || status=cut
        # The ETag is the SHA-256 of the bytes. There is none yet of a few that the Go server stored.
        etag=$(tr -d '\r' < "$to/$number.head" | sed -n 's/^etag: "\(.*\)"$/\1/ip')
        digest=$(sha256sum < "$to/$number")
        if [ "$status" = 200 ] && [ "${etag:-${digest%% *}}" = "${digest%% *}" ]; then
            echo "$path" >> "$to/paths"
            number=$((number + 1))
        elif [ "$status" != 404 ]; then # which is one that has been deleted meanwhile
            echo "$path: $status, and not as it was stored" >&2
            bad=1
        fi
    done
    page=$(sed -n 's/^<p><a rel="next" href="\([^"]*\)".*/\1/p' "$to/page" | sed 's/&amp;/\&/g')
done
rm -f "$to/page" "$to/$number" "$to/$number.head"
sync
echo "$((number - 1)) blobs are in $to"
exit $bad
