#!/usr/bin/env bash
# Trains with and without augmentation on equal seeds, splits and numbers of steps, and prints the mean test Dice of each run
# and of both kinds.
#
#     tools/compare_augmentation.sh DATA OUT [PRESET] [STEPS] [SEEDS]
#     tools/compare_augmentation.sh hippocampus compare small 1000 "0 1 2"
#
# PRESET is small unless given, STEPS are the preset's, SEEDS are "0 1 2". A run that is finished is not repeated; one that
# was interrupted goes on. Set ENGINE to the program [target/release/vnet-engine] and ADAPTER to what it is run through
# [tools/with-adapter]; further arguments for every training go into TRAIN.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
data=$1 out=$2 preset=${3:-small} steps=${4:-} seeds=${5:-0 1 2}
engine=${ENGINE:-$root/target/release/vnet-engine}
adapter=${ADAPTER-$root/tools/with-adapter}
mkdir -p "$out"

for seed in $seeds; do
    for enabled in true false; do
        run=$out/$preset-seed$seed-augmentation-$enabled
        [ -e "$run/test/scores.json" ] && continue
        arguments=(train --data "$data" --out "$run" --seed "$seed" --set "augmentation.enabled=$enabled")
        [ -n "$steps" ] && arguments+=(--steps "$steps")
        if [ -e "$run/config.toml" ]; then
            arguments+=(--resume)
        else
            rm -rf "$run"
            arguments+=(--preset "$preset")
        fi
        # shellcheck disable=SC2086 # several words each, on purpose
        $adapter "$engine" "${arguments[@]}" ${TRAIN:-} >"$run.out" 2>"$run.err" || { tail -n 3 "$run.err" >&2; exit 1; }
    done
done

python3 - "$out" "$preset" "$seeds" <<'PYTHON'
import json
import statistics
import sys
from pathlib import Path

out, preset, seeds = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split()


def dice(seed, enabled):
    lines = (out / f"{preset}-seed{seed}-augmentation-{enabled}" / "log.jsonl").read_text().splitlines()
    return [event["mean_dice"] for event in map(json.loads, lines) if event["event"] == "test"][-1]


print("seed   with     without  difference")
pairs = [(dice(seed, "true"), dice(seed, "false")) for seed in seeds]
for seed, (a, b) in zip(seeds, pairs):
    print(f"{seed:4}   {a:.4f}   {b:.4f}   {a - b:+.4f}")
a, b = (statistics.mean(column) for column in zip(*pairs))
print(f"mean   {a:.4f}   {b:.4f}   {a - b:+.4f}")
if len(pairs) > 1:
    print(f"standard deviation of the difference: {statistics.stdev(x - y for x, y in pairs):.4f}")
PYTHON
