#!/usr/bin/env bash
# Makes the base that ships inside the program (studio/pipeline/base), from nothing but the seed: etudes, codec,
# semantic tokeniser, text-audio embedding, policy. Everything can be stopped and run again; each part goes
# on from its last checkpoint. On two cores it takes about half an hour; LOG.md has the
# figures.
set -euo pipefail
work=${1:-runs/base}
musicrl=${MUSICRL:-target/release/musicrl}
mkdir -p "$work"
[ -d "$work/etudes" ] || "$musicrl" corpus etudes "$work/etudes" --train-clips 2400 --heldout-clips 160
train() {
    local part=$1
    shift
    "$musicrl" train "$part" --corpus "$work/etudes" --bundle "$work/bundle" --out "$work/$part" --precision f16 "$@"
}
train codec --steps 1400 --evaluate-every 700
train semantic --steps 700 --evaluate-every 350
train text-audio --steps 900 --evaluate-every 450
train policy --steps 700 --evaluate-every 350 --checkpoint-every 100
# No fine stage: from the two coarse levels of this codec it guesses the other six worse than silence does (LOG.md), so
# the base sounds from its coarse tokens. To measure one: train it and run `musicrl bench fine`.
echo "copy $work/bundle/* to studio/pipeline/base/ to ship it"
