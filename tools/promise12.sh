#!/usr/bin/env bash
# The comparison of Table 2 and Figs. 4 to 6 of the V-Net paper: Dice loss against weighted logistic loss.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat <<'USAGE'
usage: tools/promise12.sh DATA [--out DIR] [--fold I/K] [--preset P] [--steps N] [--seed S] [--set KEY=VALUE]...
                               [--observer FILE]

Trains two networks on DATA that differ in nothing but the loss (Dice, weighted logistic), segments the cases that
neither saw, scores both, whole organ, apex and base, and compares them case by case. DATA is PROMISE12's folder of
CaseNN.mhd and CaseNN_segmentation.mhd, or images/ and labels/ with equal names.

  --out DIR        folder for everything [promise12-results]; a second call goes on where the first one stopped
  --fold I/K       hold out fold I (from 0) of K instead of the test part of one split
  --preset P       configuration to start from [paper]
  --steps N        optimiser steps [those of the preset]
  --seed S         seed of split, weights and order [0]
  --set KEY=VALUE  one key of the configuration, for both networks; may be repeated
  --observer FILE  second observer's means (see evaluate --help): adds the challenge's score

Writes DIR/results.md, DIR/{dice,weighted}/scores/ and DIR/comparison/. Neither network is chosen by held-out cases: the
last step's is taken. VNET_ENGINE names the program, else it is built.
USAGE
}

die() { echo "promise12: $*" >&2; exit 2; }

data='' out=promise12-results fold='' observer='' preset=paper
train=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --out | --fold | --observer | --preset | --steps | --seed | --set)
            (($# > 1)) || die "$1: expected a value"
            case $1 in
                --out) out=$2 ;;
                --fold) fold=$2 ;;
                --observer) observer=$2 ;;
                --preset) preset=$2 ;;
                *) train+=("$1" "$2") ;;
            esac
            shift 2 ;;
        -*) die "unknown option $1; see --help" ;;
        *) [[ -z $data ]] || die "$1: expected one folder"; data=$1; shift ;;
    esac
done
[[ -n $data ]] || { usage >&2; exit 2; }
[[ -d $data ]] || die "$data: no such folder"
[[ -z $observer || -f $observer ]] || die "$observer: no such file"
[[ -z $fold ]] || train+=(--fold "$fold")
train+=(--preset "$preset" --set training.validate_every=0)

engine=${VNET_ENGINE:-$root/target/release/vnet-engine}
[[ -n ${VNET_ENGINE:-} ]] || (cd "$root" && cargo build --release --bin vnet-engine)
run() { "$root/tools/with-adapter" "$engine" "$@"; }

mkdir -p "$out"
settings="$(cd "$data" && pwd) $(printf '%q ' "${train[@]}")"
if [[ -f $out/settings ]]; then
    [[ $(<"$out/settings") == "$settings" ]] || die "$out: holds results of other data or settings; give another --out"
fi
echo "$settings" >"$out/settings"

declare -A loss=([dice]=dice [weighted]=weighted_cross_entropy)
for name in dice weighted; do
    to=$out/$name/run
    if [[ -f $to/report.html ]]; then
        echo "promise12: $to is complete" >&2
    elif [[ -f $to/config.toml ]]; then
        run train --data "$data" --out "$to" --resume
    else
        rm -rf "$to"
        run train --data "$data" --out "$to" "${train[@]}" --set "training.loss=${loss[$name]}"
    fi
done

# The cases that neither network was trained on nor looked at: the part named "test", or the fold.
part=test
[[ -z $fold ]] || part=validation
mapfile -t cases < <(awk -v part="\"$part\"" '
    index($1, part) { inside = 1; next }
    inside && /\]/ { exit }
    inside { gsub(/[",]/, ""); print $1 }' "$out/dice/run/split.json")
((${#cases[@]})) || die "$out/dice/run/split.json: no case in $part"
rm -rf "$out/held-out"
mkdir -p "$out/held-out/images" "$out/held-out/labels"
shopt -s nullglob
link() { # folder, case, to
    local file
    for file in "$1/$2".*; do ln -s "$(cd "$1" && pwd)/${file##*/}" "$3/"; done
}
for case in "${cases[@]}"; do
    if [[ -d $data/images ]]; then
        link "$data/images" "$case" "$out/held-out/images"
        link "$data/labels" "$case" "$out/held-out/labels"
    else
        link "$data" "$case" "$out/held-out/images"
        link "$data" "${case}_segmentation" "$out/held-out/labels"
    fi
done

scored=()
[[ -z $observer ]] || scored=(--observer "$observer")
for name in dice weighted; do
    run segment --model "$out/$name/run" --input "$out/held-out/images" --output "$out/$name/predictions" --force
    run evaluate --predictions "$out/$name/predictions" --labels "$out/held-out/labels" --out "$out/$name/scores" \
        --images "$out/held-out/images" --regions "${scored[@]}" | tee "$out/$name/scores.txt"
done
run evaluate --compare "$out/dice/predictions" "$out/weighted/predictions" --names "Dice loss,weighted logistic" \
    --labels "$out/held-out/labels" --images "$out/held-out/images" --regions --out "$out/comparison"

{
    echo "# Dice loss against weighted logistic loss"
    echo
    echo "${#cases[@]} held-out cases of $(basename "$data")${fold:+, fold $fold}; settings: \`${train[*]}\`."
    echo
    cat "$out/comparison/comparison.md"
    for name in dice weighted; do
        if [[ -n $observer ]]; then echo && echo "$name: $(grep '^PROMISE12 score' "$out/$name/scores.txt")"; fi
    done
    echo
    echo "The paper (Table 2, the challenge's 30 hidden cases): Dice 0.869 ± 0.033 against 0.739 ± 0.088, Hausdorff distance"
    echo "5.71 ± 1.20 mm against 10.55 ± 5.38 mm, score 82.39 against 63.30."
    echo
    echo "Figures: \`dice/scores/\` and \`weighted/scores/\` (metrics.svg, dice.svg as Fig. 5, overlays/ as Fig. 4),"
    echo "\`comparison/\` (comparison.svg, overlays/ as Fig. 6)."
} >"$out/results.md"
echo "results: $out/results.md"
