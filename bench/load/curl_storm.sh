#!/bin/sh
# Submit one audio file many times with plain curl, then ask for every accepted job until it is over.
#
#   python -m jobqueue serve examples/audio.py:queue        # in another shell
#   sh bench/load/curl_storm.sh speech.wav [COUNT] [URL]         # 2000 times to http://127.0.0.1:8080 by default
#
# Prints how many were answered how, and how the accepted ones ended; exits 1 if one was neither
# accepted nor refused with a reason, or if an accepted one was never seen to end.
set -eu
file=${1:?usage: curl_storm.sh FILE [COUNT] [URL]}
count=${2:-2000}
url=${3:-http://127.0.0.1:8080}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

n=0
while [ "$n" -lt "$count" ]; do
    n=$((n + 1))
    curl -s -m 120 -D "$folder/headers" -o "$folder/answer" -w '%{http_code}\n' "$url/v1/jobs" \
        -F 'job={"type":"transcode","args":{"rate":16000,"channels":1}}' -F "audio=@$file" >> "$folder/codes" || true
    case $(tail -n 1 "$folder/codes") in
        202) echo "$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$folder/answer")" >> "$folder/ids" ;;
        503) grep -qi '^retry-after:' "$folder/headers" || echo 1 >> "$folder/bare"
             grep -o '"type":"[^"]*"' "$folder/answer" >> "$folder/reasons" || echo none >> "$folder/reasons" ;;
        *) cat "$folder/answer" >&2 ;;
    esac
    [ $((n % 200)) -eq 0 ] && echo "$n submitted" >&2
done
touch "$folder/ids" "$folder/reasons" "$folder/bare"
echo "answers:"; sort "$folder/codes" | uniq -c
echo "reasons of refusals:"; sort "$folder/reasons" | uniq -c
echo "$(wc -l < "$folder/bare") refused without Retry-After"

accepted=$(wc -l < "$folder/ids")
ended=0
while read -r id; do
    tries=0
    while [ "$tries" -lt 600 ]; do
        code=$(curl -s -m 30 -I -o "$folder/head" -w '%{http_code}' "$url/v1/jobs/$id" || true)
        [ "$code" = 202 ] || break
        tries=$((tries + 1))
        sleep 1
    done
    if [ "$code" = 200 ]; then
        ended=$((ended + 1))
        tr -d '\r' < "$folder/head" | sed -n 's/^Job-State: //p' >> "$folder/states"
    else
        echo "job $id: $code" >&2
    fi
done < "$folder/ids"
touch "$folder/states"
echo "ends of the accepted:"; sort "$folder/states" | uniq -c
refused=$(grep -c '"type"' "$folder/reasons" || true)
echo "$count submitted = $accepted accepted + $refused refused with a reason; $ended of the accepted seen to end"
[ "$((accepted + refused))" -eq "$count" ] && [ "$ended" -eq "$accepted" ]
