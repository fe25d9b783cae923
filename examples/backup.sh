#!/bin/sh
# Back up every blob while the daemon runs: backup.sh DIRECTORY. Run it again to bring the backup up to
# date, or after a failure: it keeps the bytes that it has, by their digest, and fetches the others, 16 at
# a time. restore.sh puts the blobs back. It needs curl 7.67 or newer.
#
#   DIRECTORY/index   a line for each blob: its number, its SHA-256, when it was stored, and its path
#   DIRECTORY/blobs/  the bytes; each file has their SHA-256 for a name
#   DIRECTORY/heads/  the header fields; each file has the blob's number for a name
#
# Each blob is whole, as it was at some moment of the backup. A blob stored during the backup may be missing.
# A blob that the daemon has no more leaves the backup, too. But if the daemon has no blob at all, the backup
# stays as it is: the disk of the daemon may be missing.
# The exit status is 1 if a blob is missing for another reason. Its version in an older backup stays.
set -eu
GOSTORE=${GOSTORE:-http://localhost:7777}
GOSTORE=${GOSTORE%/}
to=${1:-backup}
export GOSTORE LC_ALL=C

mkdir -p -- "$to"
CDPATH='' cd -- "$to"
if [ -f paths ]; then
    echo "$to has a backup of an older kind in it; choose another directory" >&2
    exit 1
fi
mkdir -p blobs heads
touch index

# Read a page of the list in JSON. Write to "wanted" a line for each blob, and to "config" what curl has to fetch.
read_page() {
    awk '
        function encode(text,    each, at, out) {
            for (at = 1; at <= length(text); at++) {
                each = substr(text, at, 1)
                out = out (each ~ "[A-Za-z0-9._~/-]" ? each : sprintf("%%%02X", code[each]))
            }
            return out
        }
        # The text of a JSON string: after a backslash comes a quote, a backslash, or u and four digits.
        function decode(text,    at, each, out) {
            while ((at = index(text, "\\")) > 0) {
                each = substr(text, at + 1, 1)
                out = out substr(text, 1, at - 1) (each == "u" ? utf8(substr(text, at + 2, 4)) : each)
                text = substr(text, at + (each == "u" ? 6 : 2))
            }
            return out text
        }
        function utf8(digits,    at, number) {
            for (at = 1; at <= 4; at++)
                number = number * 16 + index("123456789abcdef", tolower(substr(digits, at, 1)))
            if (number < 128)
                return sprintf("%c", number)
            if (number < 2048)
                return sprintf("%c%c", 192 + int(number / 64), 128 + number % 64)
            return sprintf("%c%c%c", 224 + int(number / 4096), 128 + int(number / 64) % 64, 128 + number % 64)
        }
        function fetch(lines) {
            printf "%surl = \"%s/store/%s\"\nheader = \"If-Match: \\\"%s\\\"\"\n%s", \
                count++ ? "next\n" : "", host, path, digest, lines > "config"
            print "fail\nsilent\nshow-error\ngloboff\npath-as-is" > "config"
        }
        BEGIN {
            for (at = 1; at < 256; at++)
                code[sprintf("%c", at)] = at
            host = ENVIRON["GOSTORE"]
            gsub(/[\\"]/, "\\\\&", host)
            while ((getline line < "files") > 0)
                have[line] = 1
            while ((getline line < "index") > 0) {
                split(line, part, " ")
                number[part[2] " " part[3] " " part[4]] = part[1]
            }
            printf "" > "config"
            last = ENVIRON["LAST"] + 0
        }
        /^[{]"location": "/ {
            rest = substr($0, 15)
            # No quote within a location is without its backslash.
            at = index(rest, "\", \"size\": ")
            location = substr(rest, 1, at - 1)
            path = encode(decode(location))
            digest = substr(rest, index(rest, "\"etag\": ") + 8)
            gsub(/^[\\"]*/, "", digest)
            digest = digest ~ /^null/ ? "-" : substr(digest, 1, 64)
            modified = substr(rest, index(rest, "\"modified\": \"") + 13, 20)
            key = digest " " modified " " path
            mine = number[key]
            if (digest != "-" && !(mine != "" && have["heads/" mine] && have["blobs/" digest])) {
                mine = ++last
                if (have["blobs/" digest])
                    fetch("head\noutput = \"heads/" mine "\"\n")
                else {
                    have["blobs/" digest] = 1
                    fetch("output = \"part/" digest "\"\ndump-header = \"heads/" mine "\"\n")
                }
            }
            if (digest == "-") {
                # Who asks for it lets the daemon compute its digest, for the next list.
                mine = 0
                printf "%surl = \"%s/store/%s\"\nhead\noutput = \"/dev/null\"\nfail\nsilent\ngloboff\npath-as-is\n", \
                    count++ ? "next\n" : "", host, path > "config"
            }
            print mine, key
        }
    ' < page > wanted
}

# Bring "next" up to date with the daemon, and write to "missing" the blobs that could not be had.
fetch_all() {
    : > next
    : > missing
    page='?format=json&limit=1000'
    LAST=$(ls heads | sort -n | tail -n 1)
    while [ -n "$page" ]; do
        curl --disable --silent --show-error --fail --globoff --dump-header page.head --output page "$GOSTORE/store/$page"
        find blobs heads -type f > files
        export LAST="${LAST:-0}"
        read_page
        rm -rf part
        mkdir part
        if [ -s config ]; then
            # Whatever fails is missing below.
            curl --disable --silent --show-error --no-progress-meter --parallel --parallel-max 16 --config config 2>> errors || true
        fi
        (cd part && find . -type f | sed 's|^\./||' | xargs sha256sum /dev/null) |
            awk '$1 == $2 { print "part/" $1 }' | xargs sh -c '[ $# = 0 ] || mv -- "$@" blobs/' sh
        while read -r number digest modified path; do
            status=
            if [ -s "heads/$number" ]; then read -r _ status _ < "heads/$number"; fi
            if [ "$status" = 200 ] && [ -f "blobs/$digest" ]; then
                echo "$number $digest $modified $path" >> next
            else
                echo "$path" >> missing
            fi
            if [ "$number" -gt "$LAST" ]; then LAST=$number; fi
        done < wanted
        page=$(tr -d '\r' < page.head | sed -n 's/^link: <\([^>]*\)>; rel="next".*/\1/ip')
    done
}

# A blob that was replaced or deleted since it was listed looks otherwise, or not at all, in the next list.
for round in 1 2 3; do
    : > errors
    fetch_all
    [ -s missing ] || break
done
bad=0
if [ -s missing ]; then
    bad=1
    sort -u errors >&2
    sed 's|^|missing: /store/|' missing >&2
    # The older backup has one of these, perhaps.
    awk 'FILENAME == "missing" { missing[$1] = 1; next } $4 in missing' missing index >> next
fi
if [ ! -s next ] && [ -s index ] && [ "$bad" = 0 ]; then
    rm -rf part page page.head files config wanted missing errors next
    echo "the daemon has no blobs, and $to has: it stays as it is; give another directory for an empty backup" >&2
    exit 1
fi
sync
mv next index
if [ "$bad" = 0 ]; then
    # Nothing refers to these any more.
    find blobs heads -type f > files
    awk '
        FILENAME == "index" { kept["heads/" $1] = kept["blobs/" $2] = 1; next }
        !($1 in kept)
    ' index files | xargs rm -f --
fi
rm -rf part page page.head files config wanted missing errors
sync
echo "$(wc -l < index | tr -d ' ') blobs are in $to"
exit $bad
