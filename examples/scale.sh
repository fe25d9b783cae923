#!/bin/sh
# For a trial: SeaweedFS, three daemons over one bucket of it, and HAProxy before them, until Ctrl-C.
# All that they write goes into DIRECTORY (./scale). It needs weed, twistd, haproxy and curl.
#     scale.sh [DIRECTORY]
set -eu
cd "$(dirname "$0")"
proxy=$PWD/proxies/haproxy-scale.cfg
cd "$OLDPWD"
mkdir -p "${1:-scale}/engine"
cd "${1:-scale}"

s3=${S3_PORT:-8333} filer=${FILER_PORT:-8888} front=${PORT:-7777} daemons=${DAEMONS:-7771 7772 7773}
AWS_ACCESS_KEY_ID=gostore AWS_SECRET_ACCESS_KEY=change-me AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION

processes=
end() {
    trap - EXIT
    kill $processes 2>/dev/null || :
    # SeaweedFS would take its time.
    sleep 1
    kill -9 $processes 2>/dev/null || :
    wait
    exit "$1"
}
trap 'end $?' EXIT
trap 'end 130' INT
trap 'end 143' TERM

# start NAME COMMAND...
start() {
    name=$1
    shift
    "$@" >"$name.log" 2>&1 </dev/null &
    last=$!
    processes="$processes $last"
}

# Wait until a command succeeds, or the process that was started last has ended.
until_done() {
    until "$@" >/dev/null 2>&1; do
        kill -0 "$last" 2>/dev/null || { echo "$PWD/$name.log says why it does not run" >&2; exit 1; }
        sleep 0.2
    done
}

cat >s3.json <<END
{"identities": [{"name": "gostore",
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
start engine weed server -dir=engine -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
    -volume.max=60 -filer -filer.port="$filer" -s3 -s3.port="$s3" -s3.config=s3.json ${ENGINE_OPTIONS:-}
until_done curl --silent --fail --request POST "http://127.0.0.1:$filer/buckets/blobs/"

edits="s/127.0.0.1:7777/127.0.0.1:$front/"
number=1
for port in $daemons; do
    start "daemon-$port" ${TWISTD:-twistd} -n --pidfile= gostore --store s3://blobs/main \
        --s3-endpoint "http://127.0.0.1:$s3" -s "127.0.0.1:$port"
    until_done curl --silent --fail "http://127.0.0.1:$port/readyz"
    edits="$edits;s/127.0.0.1:777$number\$/127.0.0.1:$port/"
    number=$((number + 1))
done

sed "$edits" "$proxy" >haproxy.cfg
start haproxy haproxy -db -f haproxy.cfg
until_done curl --silent --fail "http://127.0.0.1:$front/readyz"

echo "Ready at http://localhost:$front, with daemons at $daemons"
wait
