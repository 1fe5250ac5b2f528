"""A checkpoint of MusicGen small's sizes with random weights, for measuring memory and time: 24 layers of width 1024, T5
base, EnCodec at 32 kHz. Its tokeniser knows words of a few letters.

    python3 scripts/random-musicgen-small.py FOLDER

needs torch 2.9.0 and transformers 5.23.0.
"""

import json
import pathlib
import sys

import torch
from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, T5Config
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(1)
text = T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128, feed_forward_proj="relu")
codec = EncodecConfig(
    sampling_rate=32000, target_bandwidths=[2.2], audio_channels=1, num_filters=64, upsampling_ratios=[8, 5, 4, 4],
    hidden_size=128, codebook_size=2048, codebook_dim=128, use_causal_conv=False, use_conv_shortcut=False,
    norm_type="weight_norm", num_residual_layers=1, normalize=False, chunk_length_s=None, overlap=None,
)
config = MusicgenConfig(
    text_encoder=text.to_dict(), audio_encoder=codec.to_dict(), decoder=MusicgenDecoderConfig().to_dict()
)
model = MusicgenForConditionalGeneration(config).eval()
with torch.no_grad():
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_(0.0, 0.3)
model.save_pretrained(folder)
words = ["<pad>", "</s>", "<unk>", "a", "calm", "fast", "piano", "flute", "piece", "with", "drums", "and"]
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None, "decoder": None,
    "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {word: i for i, word in enumerate(words)}},
}
(folder / "tokenizer.json").write_text(json.dumps(tokenizer))
print(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters")
