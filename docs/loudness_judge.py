"""A judge for musicrl: the root mean square of a clip, in decibels below full scale (see own-reward.md)."""
import json, math, struct, sys, wave

for line in sys.stdin:
    clip = json.loads(line)
    with wave.open(clip["audio"]) as file:
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    rms = math.sqrt(sum(s * s for s in samples) / len(samples)) / 32768
    verdict = {"score": 20 * math.log10(rms)} if rms > 1e-4 else {"unscorable": "silence"}
    print(json.dumps({"id": clip["id"], **verdict}), flush=True)
