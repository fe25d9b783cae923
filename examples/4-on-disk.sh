#!/bin/sh
# A blob is a directory with two plain files: its bytes, and its state with its history, newest first.
data=${DATA:-./data}

for directory in "$data"/[0-9]*/; do
    printf '%s\n' "$directory"
    cat "$directory/blob_state.base64.json"
    echo
done
