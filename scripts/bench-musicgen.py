"""Generation by MusicGen beside the library that it came from: seconds a step of `musicrl generate` and of
`transformers`, same checkpoint, guidance 3, one clip, the same threads, taken as the difference of a long and a short clip,
so that loading does not count. One run prints both and their ratio.

    python3 scripts/bench-musicgen.py CHECKPOINT [PROGRAM]

CHECKPOINT for example from scripts/random-musicgen-small.py.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
from transformers import MusicgenForConditionalGeneration

checkpoint = sys.argv[1]
root = pathlib.Path(__file__).resolve().parent.parent
program = str(pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else root / "target/release/musicrl").resolve())
threads = len(os.sched_getaffinity(0))
SHORT, LONG, CAPTION = 1, 3, "a calm piano piece"


def ours(seconds):
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        subprocess.run(
            [program, "generate", "--bundle", checkpoint, "--guidance", "3", "--seconds", str(seconds), "--out", out,
             "--threads", str(threads), CAPTION],
            check=True, capture_output=True,
        )
        return time.perf_counter() - start


torch.set_num_threads(threads)
model = MusicgenForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
rate = model.audio_encoder.config.frame_rate
g = model.generation_config
g.pad_token_id = g.bos_token_id = g.decoder_start_token_id = model.decoder.config.vocab_size


def theirs(seconds):
    start = time.perf_counter()
    steps = seconds * rate + model.decoder.config.num_codebooks - 1
    with torch.no_grad():
        model.generate(
            input_ids=torch.tensor([[3, 4, 6, 8]]), attention_mask=torch.ones(1, 4, dtype=torch.long), do_sample=True,
            top_k=0, guidance_scale=3.0, max_new_tokens=steps,
        )
    return time.perf_counter() - start


theirs(SHORT)
steps = (LONG - SHORT) * rate
rounds = [((ours(LONG) - ours(SHORT)) / steps, (theirs(LONG) - theirs(SHORT)) / steps) for _ in range(3)]
a, b = (sorted(values)[1] for values in zip(*rounds))
print(f"{threads} threads, medians of 3: musicrl {a * 1000:.0f} ms a step, transformers {b * 1000:.0f} ms; ratio {a / b:.2f}")
