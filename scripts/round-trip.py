"""A MusicGen checkpoint there and back: made small with random weights, aligned for 5 steps by `musicrl align`, given back
by `musicrl export`, and loaded by the library that it came from, which must find every key and compute our logits.

    python3 scripts/round-trip.py [PROGRAM]

needs torch 2.9.0 and transformers 5.23.0 (studio/zoo/tests/fixtures/generate/requirements.txt). Ends with 0 when it holds.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import MusicgenForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "studio/zoo/tests/fixtures/generate"))
import musicgen  # noqa: E402

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else str(ROOT / "target/release/musicrl")
WORDS = ["<pad>", "</s>", "<unk>", "a", "calm", "fast", "piano", "flute", "piece", "with", "drums"]
RECIPE = """
seed = 1
[base]
path = "checkpoint"
[captions]
source = "file"
path = "captions.txt"
held_out_fraction = 0.25
[[stage]]
name = "length"
steps = 5
batch = 4
clips_per_caption = 2
clip_seconds = 0.1
baseline = "leave_one_out"
LORA
kl = { alpha = 0.05 }
sampling = { temperature = 1.0, top_k = 0, top_p = 1.0, guidance = 3.0 }
policy_optimiser = { learning_rate = 0.01, warmup_steps = 1 }
rewards = [{ name = "first", weight = 1.0, process = { command = ["sh", "judge.sh"], audio = false, tokens = true } }]
[stage.evaluation]
every = 0
[stage.checkpoint]
every = 5
"""
JUDGE = """while read -r line; do
    id=${line#*'"id":'}; tokens=${line#*'"tokens":['}
    printf '{"id": %s, "score": %s}\\n' "${id%%,*}" "${tokens%%,*}"
done
"""


def tokenizer():
    model = {"type": "WordLevel", "unk_token": "<unk>", "vocab": {word: i for i, word in enumerate(WORDS)}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None, "decoder": None,
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "model": model,
    }


def run(folder, *args):
    print("$ musicrl", *args)
    subprocess.run([PROGRAM, *args], cwd=folder, check=True)


def check(folder, name, lora):
    (folder / "recipe.toml").write_text(RECIPE.replace("LORA", lora))
    run(folder, "align", "recipe.toml", "--out", f"run-{name}")
    run(folder, "export", f"run-{name}", "--to", f"given-{name}")
    given = folder / f"given-{name}"
    model, info = MusicgenForConditionalGeneration.from_pretrained(given, output_loading_info=True, dtype=torch.float32)
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        assert not info[kind], f"{name}: {kind} {info[kind]}"
    model.eval()
    run(folder, "zoo", "run", f"given-{name}", "--inputs", "inputs.safetensors", "--outputs", "ours.safetensors")
    ours = load_file(folder / "ours.safetensors")["out.logits"]
    inputs = {k.removeprefix("in."): v for k, v in load_file(folder / "inputs.safetensors").items()}
    codebooks, pad = model.decoder.config.num_codebooks, model.decoder.config.pad_token_id
    fed = musicgen.delayed(inputs["codes"], list(range(codebooks)), pad)[..., :-1]

    def logits(of):
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        return of(input_ids=ids, attention_mask=mask, decoder_input_ids=fed.reshape(-1, fed.shape[-1])).logits

    with torch.no_grad():
        theirs = logits(model)
        before = logits(MusicgenForConditionalGeneration.from_pretrained(folder / "checkpoint").eval())
    difference, moved = float((ours - theirs).abs().max()), float((theirs - before).abs().max())
    print(f"{name}: largest difference of logits {difference:.2e} (standard deviation {float(theirs.std()):.2f}); "
          f"alignment moved them by up to {moved:.2f}")
    assert difference <= 1e-4 * float(theirs.std()), "the logits differ"
    assert moved > 1e-3, "nothing was learned"


def main():
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp)
        model, _ = musicgen.mono(11)
        model.save_pretrained(folder / "checkpoint")
        (folder / "checkpoint/tokenizer.json").write_text(json.dumps(tokenizer()))
        moods, sounds = ["calm", "fast"], ["piano", "flute"]
        lines = [f"a {m} {s} piece{end}" for m in moods for s in sounds for end in ["", " with drums"]]
        (folder / "captions.txt").write_text("\n".join(lines) + "\n")
        (folder / "judge.sh").write_text(JUDGE)
        save_file({f"in.{k}": v.contiguous() for k, v in musicgen.inputs_of(12, 1, 64).items()}, folder / "inputs.safetensors")
        check(folder, "lora", "lora = { rank = 4 }")
        check(folder, "all", "")
    print("round trip: the reference library loads both without a missing or unexpected key, and computes our logits")


if __name__ == "__main__":
    main()
