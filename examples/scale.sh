#!/bin/sh
# For a trial: SeaweedFS, three daemons over one bucket of it, and HAProxy before them, until Ctrl-C.
# All that they write goes into DIRECTORY (./scale). Started again, it goes on with what is there.
# It needs weed, twistd, haproxy and curl.
#     scale.sh [DIRECTORY]
set -eu
cd "$(dirname "$0")"
proxy=$PWD/proxies/haproxy-scale.cfg
cd "$OLDPWD"

s3=${S3_PORT:-8333} filer=${FILER_PORT:-8888} master=${MASTER_PORT:-9333} volume=${VOLUME_PORT:-8080}
front=${PORT:-7777} daemons=${DAEMONS:-7771 7772 7773} twistd=${TWISTD:-twistd}
AWS_ACCESS_KEY_ID=gostore AWS_SECRET_ACCESS_KEY=change-me AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION

fail() {
    echo "scale.sh: $1" >&2
    exit 1
}

for program in weed "$twistd" haproxy curl; do
    command -v "$program" >/dev/null || fail "there is no $program on the PATH; docs/scale.md says how to install it"
done

# ask URL [OPTION...]: no proxy of the environment is asked.
ask() {
    curl --silent --output /dev/null --noproxy '*' --max-time 5 "$@"
}

# Another server at a port of ours would get our requests.
for port in "$s3" "$filer" "$master" "$volume" "$front" $daemons; do
    status=0
    ask "http://127.0.0.1:$port/" --max-time 1 || status=$?
    # 7: nobody listens there.
    [ "$status" -eq 7 ] || fail "port $port is taken: end what listens there, or choose others \
(PORT, DAEMONS, S3_PORT, FILER_PORT, MASTER_PORT, VOLUME_PORT)"
done

mkdir -p "${1:-scale}/engine"
cd "${1:-scale}"

# Each is NAME=PROCESS.
started=
end() {
    trap - EXIT
    trap '' INT TERM
    processes=
    for each in $started; do processes="$processes ${each#*=}"; done
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
    last=$1
    shift
    "$@" >"$last.log" 2>&1 </dev/null &
    started="$started $last=$!"
}

# Set dead to the names of those that have ended.
look() {
    dead=
    for each in $started; do
        kill -0 "${each#*=}" 2>/dev/null || dead="$dead ${each%%=*}"
    done
}

# ended NAME: say what its log says last.
ended() {
    tail -n 3 "$1.log" >&2
    fail "$1 has ended; $PWD/$1.log says why"
}

all_run() {
    look
    for name in $dead; do ended "$name"; done
}

# Wait until a command succeeds. What answers may be somebody else's, if ours has ended.
until_done() {
    tries=0
    until "$@"; do
        all_run
        sleep 0.2
        tries=$((tries + 1))
        [ $((tries % 150)) -ne 0 ] || echo "Still waiting for $last: $PWD/$last.log" >&2
    done
    all_run
}

make_bucket() {
    ask --fail "http://127.0.0.1:$filer/buckets/blobs/" ||
        ask --fail --request POST "http://127.0.0.1:$filer/buckets/blobs/"
}

start_daemon() {
    start "daemon-$1" "$twistd" -n --pidfile= gostore --store s3://blobs/main \
        --s3-endpoint "http://127.0.0.1:$s3" -s "127.0.0.1:$1"
}

echo "Starting SeaweedFS, three daemons and HAProxy: some 20 seconds. Their logs are in $PWD"
cat >s3.json <<END
{"identities": [{"name": "gostore",
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
start engine weed server -dir=engine -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
    -master.port="$master" -volume.port="$volume" -volume.max=60 -filer -filer.port="$filer" \
    -s3 -s3.port="$s3" -s3.config=s3.json ${ENGINE_OPTIONS:-}
until_done make_bucket
until_done ask --fail "http://127.0.0.1:$s3/healthz"
until_done ask --fail "http://127.0.0.1:$master/dir/assign"
echo "SeaweedFS runs"

edits="s/127.0.0.1:7777/127.0.0.1:$front/"
number=1
for port in $daemons; do
    start_daemon "$port"
    until_done ask --fail "http://127.0.0.1:$port/readyz"
    echo "A daemon runs at port $port: process $!"
    edits="$edits;s/127.0.0.1:777$number\$/127.0.0.1:$port/"
    number=$((number + 1))
done

sed "$edits" "$proxy" >haproxy.cfg
start haproxy haproxy -db -f haproxy.cfg
until_done ask --fail "http://127.0.0.1:$front/readyz"

echo "Ready at http://localhost:$front, with daemons at $daemons"

# The others do a dead daemon's work; nobody does that of the engine and of HAProxy.
while sleep 1; do
    look
    for name in $dead; do
        case $name in
        daemon-*)
            port=${name#daemon-}
            echo "The daemon at port $port has ended. To start it again:"
            echo "  AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY" \
                "AWS_REGION=$AWS_REGION $twistd -n --pidfile= gostore --store s3://blobs/main" \
                "--s3-endpoint http://127.0.0.1:$s3 -s 127.0.0.1:$port"
            ;;
        *) ended "$name" ;;
        esac
        kept=
        for each in $started; do [ "${each%%=*}" = "$name" ] || kept="$kept $each"; done
        started=$kept
    done
done
