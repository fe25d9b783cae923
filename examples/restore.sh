#!/bin/sh
# Put back the blobs that backup.sh has fetched: restore.sh DIRECTORY. A blob that is there already stays as
# it is: 409. Each blob goes with its digest, so the daemon refuses bytes that have changed since. The times
# are new. The exit status is 1 if a blob was not put back. It needs curl 7.67 or newer.
set -eu
GOSTORE=${GOSTORE:-http://localhost:7777}
GOSTORE=${GOSTORE%/}
from=${1:-backup}
export GOSTORE LC_ALL=C

CDPATH='' cd -- "$from"
from=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/fields"
ln -s "$from" "$work/from"

# A line for each blob: its number, the files of its head and of its bytes, and its path.
if [ -f paths ]; then # as backup.sh wrote it until 2026
    awk '{ sub(/^\/store\//, ""); print NR, NR ".head", NR, $0 }' paths > "$work/all"
else
    awk '{ print $1, "heads/" $1, "blobs/" $2, $4 }' index > "$work/all"
fi

cd "$work"
# curl sends an empty field if it is written "Name;".
awk '
    {
        head = "from/" $2
        fields = "fields/" $1
        printf "" > fields
        while ((getline line < head) > 0) {
            sub(/\r$/, "", line)
            name = tolower(line)
            sub(/:.*/, "", name)
            if (name ~ /^(content-(type|encoding|language|disposition)|cache-control|repr-digest|x-gostore-meta-.*)$/) {
                if (line ~ /^[^:]*:[ \t]*$/)
                    sub(/:.*/, ";", line)
                print line > fields
            }
        }
        close(head)
        close(fields)
    }
' all
split -l 500 all batch.
bad=0
: > errors
for batch in batch.*; do
    [ -f "$batch" ] || continue
    awk '
        BEGIN { host = ENVIRON["GOSTORE"]; gsub(/[\\"]/, "\\\\&", host) }
        {
            if (NR > 1)
                print "next"
            print "url = \"" host "/store/" $4 "\""
            print "request = \"POST\"\nheader = \"@fields/" $1 "\"\nupload-file = \"from/" $3 "\""
            print "output = \"/dev/null\"\nwrite-out = \"" $1 " %{http_code}\\n\""
            print "silent\nshow-error\ngloboff\npath-as-is"
        }
    ' "$batch" > config
    curl --disable --silent --show-error --no-progress-meter --parallel --parallel-max 16 --config config > statuses 2>> errors || true
    awk '
        FILENAME == "statuses" { status[$1] = $2; next }
        status[$1] != 204 { print "/store/" $4 ": " (status[$1] + 0 ? status[$1] : "cut") }
    ' statuses "$batch" > failed
    if [ -s failed ]; then
        bad=1
        cat failed >&2
    fi
done
if [ "$bad" = 1 ]; then sort -u errors >&2; fi
exit $bad
