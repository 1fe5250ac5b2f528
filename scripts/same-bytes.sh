#!/usr/bin/env bash
# Two builds of the program must make the same bytes of the same recipe: a corpus, a clip, judged pairs and two steps of
# `align` by each, in a temporary folder, and all that they left there compared. usage: scripts/same-bytes.sh PROGRAM OTHER
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 PROGRAM OTHER" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/recipe.toml" <<'RECIPE'
seed = 1

[base]
path = "embedded"

[captions]
source = "etudes"
count = 64
held_out_fraction = 0.125

[[stage]]
name = "same"
steps = 2
batch = 16
clips_per_caption = 4
baseline = "linear"
baseline_first = 1
lambda = 0.95
whiten = true
kl = { alpha = 0.003, rule = "budget", budget = 50.0 }
rewards = [{ name = "text_adherence", weight = 1.0 }, { name = "true_utility_village", weight = 0.0 }]

[stage.policy_optimiser]
learning_rate = 1e-4
RECIPE
number=0
for program in "$@"; do
    number=$((number + 1))
    program=$(realpath "$program")
    mkdir "$work/$number"
    (
        cd "$work/$number"
        "$program" corpus etudes corpus --train-clips 8 --heldout-clips 4
        "$program" generate "a slow piano waltz" --out clips
        "$program" preferences collect --bundle embedded --population village --pairs 8 --out pairs
        "$program" align ../recipe.toml --out run
    ) >"$work/$number.log" 2>&1 || { cat "$work/$number.log" >&2; exit 1; }
done
# What holds times of the clock, or names the build, is left out.
find "$work" \( -name timings.jsonl -o -name tensorboard -o -name versions.json \) -exec rm -r {} +
if diff -rq "$work/1" "$work/2"; then
    echo "the same bytes: $(find "$work/1" -type f | wc -l) files"
else
    echo "the builds differ" >&2
    exit 1
fi
