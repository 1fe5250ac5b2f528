#!/usr/bin/env bash
# The whole path on a folder of real recordings, with the time of each part: import, five trainings, alignment,
# generation. docs/real-recordings.md explains each command; LOG.md has the figures that this script printed for
# Debian's wesnoth-1.16-music.
#
#   apt-get download wesnoth-1.16-music && dpkg -x wesnoth-1.16-music_*.deb wesnoth
#   scripts/real-recordings.sh wesnoth runs/wesnoth
#
# What was stopped goes on where it was when the script is run again.
set -euo pipefail
recordings=${1:?a folder of recordings}
work=${2:-runs/real}
musicrl=${MUSICRL:-target/release/musicrl}
mkdir -p "$work"
total=$SECONDS

part() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@"
    printf '=== %s took %d s\n' "$name" $((SECONDS - start))
}
train() {
    local name=$1
    shift
    part "train $name" "$musicrl" train "$name" --preset small --corpus "$work/corpus" --out "$work/$name" "$@"
}

[ -d "$work/corpus" ] || part import "$musicrl" corpus import "$recordings" "$work/corpus" --segment-seconds 20
train codec --steps 1000 --bundle "$work/bundle"
train semantic --steps 600 --bundle "$work/bundle"
train text-audio --steps 600 --bundle "$work/bundle"
train policy --steps 1100 --bundle "$work/bundle"
part "codec beside Opus" "$musicrl" bench codec --bundle "$work/bundle" --corpus "$work/corpus"
# Into a copy: a fine stage of so few steps may be worse than none, and alignment is several times faster without it.
[ -d "$work/bundle-fine" ] || cp -r "$work/bundle" "$work/bundle-fine"
train fine --steps 600 --bundle "$work/bundle-fine"
part "fine stage" "$musicrl" bench fine --bundle "$work/bundle-fine" --corpus "$work/corpus"

cat >"$work/align.toml" <<RECIPE
seed = 1

[base]
path = "bundle"

[captions]
source = "corpus"
path = "corpus"

[[stage]]
name = "text-adherence"
steps = 40
batch = 16
clips_per_caption = 4
baseline = "leave_one_out"
whiten = true
trainable = ["trunk.start_embedding", "trunk.condition_projection"]
kl = { alpha = 0.003, rule = "budget", budget = 50.0 }
rewards = [{ name = "text_adherence", weight = 1.0 }]
policy_optimiser = { learning_rate = 1.5e-3, warmup_steps = 3, decay_steps = 40, weight_decay = 0.0 }
evaluation = { every = 20, clips = 32, samples = 4 }
RECIPE
part align "$musicrl" align "$work/align.toml" --out "$work/aligned"
part generate "$musicrl" generate --bundle "$work/aligned/bundle" --out "$work/clips" "a battle theme" "a sad melody"
printf '\n=== all parts took %d s\n' $((SECONDS - total))
