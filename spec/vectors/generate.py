"""Writes the golden vectors beside this file. Independent of the Rust code: numpy, scipy, and the equations of spec/*.md.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 && venv/bin/python spec/vectors/generate.py

Made with Python 3.11.7, numpy 2.4.6, scipy 1.17.1. The output does not depend on the machine beyond the last digits.
Numbers that JSON cannot hold are the strings "inf", "-inf" and "nan".
"""

import json
import math
import pathlib
from itertools import product

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats

HERE = pathlib.Path(__file__).parent
MASK64 = (1 << 64) - 1


def plain(x):
    """Numbers as JSON can hold them."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, np.ndarray):
        return plain(x.tolist())
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    if isinstance(x, (float, np.floating)):
        x = float(x)
        if math.isnan(x):
            return "nan"
        return ("inf" if x > 0 else "-inf") if math.isinf(x) else x
    return x


def write(name, about, tolerance, cases):
    text = {
        "about": about,
        "generator": "spec/vectors/generate.py, Python 3.11.7, numpy 2.4.6, scipy 1.17.1",
        "tolerance": {"rule": "|got - expected| <= absolute + relative * |expected|", **tolerance},
    }
    head = json.dumps(text, indent=1)[:-2]
    body = ",\n".join("  " + json.dumps(plain(case)) for case in cases)
    (HERE / f"{name}.json").write_text(f'{head},\n "cases": [\n{body}\n ]\n}}\n')


# --- the keyed generator -----------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox 4x32-10 (Salmon et al., 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def mix(z):
    """SplitMix64's finaliser."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def words(seed, purpose, step, clip, action):
    key = mix((mix((seed + 0x9E3779B97F4A7C15) & MASK64) + purpose) & MASK64) ^ mix((step + 0xD1B54A32D192ED03) & MASK64)
    counter = [clip & 0xFFFFFFFF, clip >> 32, action & 0xFFFFFFFF, action >> 32]
    return philox(counter, [key & 0xFFFFFFFF, key >> 32])


def uniform(seed, purpose, step, clip, action):
    a, b, _, _ = words(seed, purpose, step, clip, action)
    return (((a << 32) | b) >> 11) / (1 << 53)


def random_vectors():
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    cases = []
    for seed, step, clip, action in [(0, 0, 0, 0), (1, 2, 3, 4), (MASK64, 10**12, 2**40 + 7, 2**33 + 1)]:
        key = (seed, 12, step, clip, action)
        cases.append({
            "function": "words", "seed": str(seed), "purpose": "test", "step": step, "clip": clip, "action": action,
            "words": words(*key), "uniform": uniform(*key),
        })
    write("random", "The keyed generator; purpose 12 is `Test`. The seed is a string: it fills 64 bits.",
          {"absolute": 0.0, "relative": 0.0}, cases)


# --- tokens ------------------------------------------------------------------------------------------------------


def token_vectors(rng):
    cases = []
    for levels, frames in [(0, 3), (1, 1), (2, 3), (4, 2)]:
        semantic = rng.integers(0, 1024, frames)
        coarse = rng.integers(0, 1024, (2 * frames, levels))
        rows = [[int(semantic[t]), *coarse[2 * t].tolist(), *coarse[2 * t + 1].tolist()] for t in range(frames)]
        cases.append({
            "function": "interleave", "coarse_levels": levels, "semantic": semantic, "coarse": coarse.reshape(-1),
            "slots": 1 + 2 * levels, "ids": [i for row in rows for i in row],
        })
    for delays, frames in [([0, 1, 2, 3], 5), ([0], 2), ([2, 0, 2], 3), ([1, 4], 1), ([0, 3], 0)]:
        pad, books = 2048, len(delays)
        ids = rng.integers(0, 2048, (frames, books))
        steps = np.full((frames + max(delays), books), pad)
        for k, delay in enumerate(delays):
            steps[delay:delay + frames, k] = ids[:, k]
        cases.append({
            "function": "delay", "delays": delays, "pad": pad, "ids": ids.reshape(-1), "delayed": steps.reshape(-1),
            "mask": (steps != pad).reshape(-1),
        })
    write("tokens", "Interleaving and delay patterns, both ways.", {"absolute": 0.0, "relative": 0.0}, cases)


# --- reinforcement learning --------------------------------------------------------------------------------------


def log_softmax(x):
    with np.errstate(divide="ignore"):
        return x - scipy.special.logsumexp(x)


def row_terms(l, r, a):
    """log-probability, entropy, KL and the gradients of the first and the last with respect to l."""
    lp, lq = log_softmax(l), log_softmax(r)
    p = np.exp(lp)
    some = p > 0
    ratio = np.where(some, lp - np.where(np.isfinite(lq), lq, 0.0), 0.0)
    entropy = -(p[some] * lp[some]).sum()
    kl = (p * ratio).sum()
    # Through the Jacobian of softmax, not the closed form that the Rust code uses.
    jacobian = np.diag(p) - np.outer(p, p)
    return lp[a], entropy, kl, np.eye(len(l))[a] - p, jacobian @ (ratio + some), lq[a]


def divisor(mask, normalisation):
    return max(1, mask.any(axis=1).sum() if normalisation == "clips" else mask.sum())


def rl_case(name, policy, reference, actions, mask, rewards, values, alpha, normalisation, group, tolerance=None):
    clips, steps, _ = policy.shape
    log_prob, entropy, kl, k1 = (np.zeros((clips, steps)) for _ in range(4))
    gradient = np.zeros_like(policy)
    at_end, returns = np.zeros((clips, steps)), np.zeros((clips, steps))
    for b in range(clips):
        counted = np.flatnonzero(mask[b])
        if len(counted):
            at_end[b, counted[-1]] = rewards[b]
        for t in range(steps):
            returns[b, t] = (at_end[b] * mask[b])[t:].sum()
    advantages = np.where(mask, returns - values, 0.0)
    n = divisor(mask, normalisation)
    loss = 0.0
    for b, t in product(range(clips), range(steps)):
        if not mask[b, t]:
            continue
        lp, h, d, g_lp, g_kl, lq = row_terms(policy[b, t], reference[b, t], actions[b, t])
        log_prob[b, t], entropy[b, t], kl[b, t], k1[b, t] = lp, h, d, lp - lq
        loss -= ((1 - alpha) * advantages[b, t] * lp - alpha * d) / n
        gradient[b, t] = -((1 - alpha) * advantages[b, t] * g_lp - alpha * g_kl) / n
    loo = np.zeros((clips, steps))
    for b, t in product(range(clips), range(steps)):
        others = [j for j in range(b // group * group, b // group * group + group) if j != b and mask[j, t]]
        if mask[b, t] and others:
            loo[b, t] = returns[b, t] - np.mean([returns[j, t] for j in others])
    white, centred = np.zeros((clips, steps)), np.zeros((clips, steps))
    if mask.any():
        centred[mask] = returns[mask] - returns[mask].mean()
        if advantages[mask].std() > 1e-6 * np.abs(advantages[mask]).max():
            white[mask] = (advantages[mask] - advantages[mask].mean()) / advantages[mask].std()
    value_loss = ((returns - values)[mask] ** 2).sum() / n
    case = {
        "function": "rl", "name": name, "shape": policy.shape,
        "policy": policy.reshape(-1), "reference": reference.reshape(-1), "actions": actions.reshape(-1),
        "mask": mask.reshape(-1), "rewards": rewards, "values": values.reshape(-1), "alpha": alpha,
        "normalisation": normalisation, "group_clips": group,
        "expected": {
            "log_prob": log_prob, "entropy": entropy, "kl": kl, "k1": k1, "k2": k1**2 / 2,
            "k3": np.exp(-np.clip(k1, -80, None)) - 1 + k1, "rewards_at_end": at_end, "returns": returns,
            "value_advantages": advantages, "leave_one_out": loo, "batch_mean": centred, "whitened": white,
            "loss": loss, "gradient": gradient, "value_loss": value_loss,
        },
    }
    case["expected"] = {k: np.asarray(v).reshape(-1) for k, v in case["expected"].items()}
    if tolerance:
        case["tolerance"] = tolerance
    return case


def check_gradient(case):
    """The loss's gradient against central differences, so that the vector does not rest on one derivation."""
    policy = np.array(case["policy"])
    clips, steps, _ = case["shape"]
    mask = np.array(case["mask"]).reshape(clips, steps)
    advantages = case["expected"]["value_advantages"].reshape(clips, steps)

    def loss(flat):
        p, r = flat.reshape(case["shape"]), np.array(case["reference"]).reshape(case["shape"])
        a = np.array(case["actions"]).reshape(clips, steps)
        total = 0.0
        for b, t in product(range(clips), range(steps)):
            if mask[b, t]:
                lp, _, kl, *_ = row_terms(p[b, t], r[b, t], a[b, t])
                total -= (1 - case["alpha"]) * advantages[b, t] * lp - case["alpha"] * kl
        return total / divisor(mask, case["normalisation"])

    for i in np.flatnonzero(np.isfinite(policy)):
        up, down = policy.copy(), policy.copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        assert abs((loss(up) - loss(down)) / 2e-5 - case["expected"]["gradient"][i]) < 1e-6, (case["name"], i)


def rl_vectors(rng):
    def draw(name, clips, steps, codebook, alpha, normalisation="clips", group=None, edit=None, tolerance=None, mask=None):
        policy, reference = (np.round(rng.normal(0, 2, (clips, steps, codebook)), 3) for _ in range(2))
        actions = rng.integers(0, codebook, (clips, steps))
        mask = rng.random((clips, steps)) < 0.8 if mask is None else np.full((clips, steps), mask)
        if edit:
            edit(policy, reference, actions)
        rewards, values = np.round(rng.normal(0, 1, clips), 3), np.round(rng.normal(0, 1, (clips, steps)), 3)
        case = rl_case(name, policy, reference, actions, mask, rewards, values, alpha, normalisation, group or clips, tolerance)
        if not tolerance:
            check_gradient(case)
        return case

    def forbid(policy, reference, actions):
        # The last two tokens are forbidden in both, one more in the policy alone.
        actions %= policy.shape[2] - 3
        policy[..., -3:] = -np.inf
        reference[..., -2:] = -np.inf

    def extreme(policy, reference, actions):
        policy[..., 0], reference[..., 1] = 1e4, -1e4
        policy[0, 0], reference[0, 0] = 1e4, -1e4

    cases = [
        draw("ordinary", 4, 5, 6, 0.3, "clips", 2),
        draw("mean over actions", 3, 4, 5, 0.5, "actions"),
        draw("rewards alone", 2, 3, 4, 0.0),
        draw("KL alone", 2, 3, 4, 1.0),
        draw("one frame of one slot, one clip", 1, 1, 7, 0.2, mask=True),
        draw("a codebook of one entry", 2, 3, 1, 0.4, mask=True),
        draw("nothing counts", 2, 3, 4, 0.4, mask=False),
        draw("forbidden tokens", 2, 4, 8, 0.6, edit=forbid),
        draw("extreme logits", 2, 3, 5, 0.5, edit=extreme, tolerance={"absolute": 1e-2, "relative": 1e-4}, mask=True),
    ]
    refused = [
        ("NaN", [math.nan, 0.0], [0.0, 0.0], 1, True), ("NaN under the mask", [math.nan, 0.0], [0.0, 0.0], 1, False),
        ("+inf", [math.inf, 0.0], [0.0, 0.0], 1, True), ("no allowed token", [-math.inf] * 2, [0.0, 0.0], 1, True),
        ("the chosen token is forbidden", [0.0, -math.inf], [0.0, -math.inf], 1, True),
        ("only the reference forbids", [0.0, 0.0], [-math.inf, 0.0], 1, True),
        ("an action outside the codebook", [0.0, 0.0], [0.0, 0.0], 2, True),
    ]
    cases += [
        {"function": "refused", "name": n, "shape": [1, 1, 2], "policy": p, "reference": r, "actions": [a], "mask": [m]}
        for n, p, r, a, m in refused
    ]
    write("rl", "KL-regularised REINFORCE. Matrices are flat, row by row: shape is [clips, actions, codebook]. `returns` are "
          "those of `rewards_at_end`; `value_advantages`, `whitened` (of them), `loss` and `gradient` (with respect to the "
          "policy's logits) follow from them.", {"absolute": 2e-5, "relative": 2e-5}, cases)


# --- preference --------------------------------------------------------------------------------------------------


def davidson(d, nu):
    with np.errstate(divide="ignore"):
        return log_softmax(np.array([d / 2, -d / 2, np.log(nu)]))


def target(outcome, nu):
    tie = [0, 0, 1] if nu > 0 else [0.5, 0.5, 0]
    return np.array({"better-a": [1, 0, 0], "better-b": [0, 1, 0], "tie": tie, "both-bad": tie, "skipped": [0, 0, 0]}[outcome])


def preference_vectors(rng):
    outcomes = ["better-a", "better-b", "tie", "both-bad", "skipped"]
    cases = []
    for name, nu, scale, margins in [("plain", 0.0, 2, False), ("ties", 0.7, 2, False), ("margins", 0.4, 2, True), ("extreme", 0.4, 1e4, False)]:
        n = 10
        a, b = np.round(rng.normal(0, scale, n), 3), np.round(rng.normal(0, scale, n), 3)
        said = [outcomes[i % 5] for i in range(n)]
        margin = np.round(rng.random(n), 3) if margins else np.zeros(n)
        weight = np.round(rng.random(n) * 2, 3)

        def loss(a):
            total = weights = 0.0
            for i in range(n):
                sign = {"better-a": 1, "better-b": -1}.get(said[i], 0)
                log_p, t = davidson(a[i] - b[i] - sign * margin[i], nu), target(said[i], nu)
                total -= weight[i] * (t[t > 0] * log_p[t > 0]).sum()
                weights += 0 if said[i] == "skipped" else weight[i]
            return total / weights

        steps = np.eye(n) * 1e-5
        gradient = [(loss(a + s) - loss(a - s)) / 2e-5 for s in steps]
        case = {
            "function": "bradley_terry", "name": name, "scores_a": a, "scores_b": b, "outcomes": said, "margins": margin,
            "weights": weight, "tie_strength": nu, "loss": loss(a), "gradient_a": gradient,
        }
        cases.append(case)
    pairs = np.round(rng.normal(-50, 10, (6, 4)), 2)
    pairs[0] = [-2e4, -1e4, -1e4, -1e4]
    logits = [0.1 * ((p[0] - p[2]) - (p[1] - p[3])) for p in pairs]
    cases.append({"function": "dpo", "pairs": pairs, "beta": 0.1, "loss": np.mean(np.logaddexp(0, -np.array(logits)))})
    cases.append(strengths_case("with ties", [(0, 1, 5, 2, 1), (1, 2, 4, 3, 2), (2, 3, 6, 5, 0), (3, 0, 2, 9, 1)], 4, 0.0))
    cases.append(strengths_case("without ties", [(0, 1, 5, 2, 0), (1, 2, 4, 3, 0), (2, 0, 2, 6, 0)], 3, 0.0))
    cases.append(strengths_case("with a prior", [(0, 1, 5, 0, 0), (1, 2, 4, 1, 2)], 3, 1.5))
    write("preference", "Bradley-Terry losses with Davidson's ties, DPO, and strengths (games are [a, b, wins of a, wins of b, "
          "ties]; maximum likelihood by scipy.optimize). A DPO pair is [policy chosen, policy rejected, reference chosen, "
          "reference rejected].", {"absolute": 2e-5, "relative": 2e-5}, cases)


def strengths_case(name, games, items, prior):
    tied = any(g[4] for g in games)

    def negative(x):
        s, nu = x[:items], math.exp(x[items]) if tied else 0.0
        total = 0.0
        for a, b, wins, losses, ties in games:
            log_p = davidson(s[a] - s[b], nu)
            total -= wins * log_p[0] + losses * log_p[1] + (ties * log_p[2] if ties else 0.0)
        total += prior / 2 * (np.logaddexp(0, s) + np.logaddexp(0, -s)).sum()
        return total + (s.sum() ** 2 if prior == 0 else 0.0)

    fit = scipy.optimize.minimize(negative, np.zeros(items + tied), method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000})
    return {
        "function": "strengths", "name": name, "items": items, "games": games, "prior_games": prior,
        "scores": fit.x[:items], "tie_strength": math.exp(fit.x[items]) if tied else 0.0,
    }


# --- statistics --------------------------------------------------------------------------------------------------


def exact_wilcoxon(d, zeros):
    """All sign assignments, one by one."""
    d = np.asarray(d, float)
    ranks = (scipy.stats.rankdata(np.abs(d[d != 0])) if zeros == "wilcox" else scipy.stats.rankdata(np.abs(d))[d != 0])
    w = ranks[d[d != 0] > 0].sum()
    sums = np.array([(ranks * np.array(s)).sum() for s in product([0, 1], repeat=len(ranks))])
    at_least, at_most = (sums >= w - 1e-9).mean(), (sums <= w + 1e-9).mean()
    return w, {"two-sided": min(1.0, 2 * min(at_least, at_most)), "greater": at_least, "less": at_most}


def stats_vectors(rng):
    cases = []
    for name, d in [("continuous", np.round(rng.normal(0.4, 1, 12), 4)), ("ratings", rng.integers(-3, 4, 14)), ("one", [2.0])]:
        for zeros in ["wilcox", "pratt"]:
            w, p = exact_wilcoxon(d, zeros)
            cases.append({"function": "wilcoxon", "name": name, "differences": d, "zeros": zeros, "w_plus": w, "p": p})
    big = rng.integers(-6, 9, 120) / 2
    for zeros in ["wilcox", "pratt"]:
        p = {alt: scipy.stats.wilcoxon(big, zero_method=zeros, alternative=alt, method="approx", correction=False).pvalue
             for alt in ["two-sided", "greater", "less"]}
        w = scipy.stats.wilcoxon(big, zero_method=zeros, alternative="greater", method="approx").statistic
        cases.append({"function": "wilcoxon", "name": "normal", "differences": big, "zeros": zeros, "w_plus": w, "p": p})
    p = np.round(rng.random(7) ** 3, 5)
    order, adjusted, top = np.argsort(p), np.zeros(7), 0.0
    for i, j in enumerate(order):
        top = max(top, min(1.0, (7 - i) * p[j]))
        adjusted[j] = top
    cases.append({"function": "holm", "p_values": p, "adjusted": adjusted})
    x, noise = rng.integers(0, 9, 30), rng.normal(0, 2, 30)
    y = np.round(x + noise)
    cases.append({
        "function": "correlation", "x": x, "y": y, "pearson": scipy.stats.pearsonr(x, y).statistic,
        "spearman": scipy.stats.spearmanr(x, y).statistic, "kendall": scipy.stats.kendalltau(x, y).statistic,
    })
    predicted = np.round(rng.random(40), 3)
    happened = rng.random(40) < predicted
    bins = np.minimum((predicted * 10).astype(int), 9)
    gaps = [abs(happened[bins == b].mean() - predicted[bins == b].mean()) * (bins == b).sum() for b in range(10) if (bins == b).any()]
    cases.append({
        "function": "calibration", "predicted": predicted, "happened": happened, "bins": 10,
        "brier": np.mean((predicted - happened) ** 2), "calibration_error": sum(gaps) / 40,
    })
    values, clusters = np.round(rng.normal(1, 1, 24), 3), rng.integers(0, 6, 24)
    groups = [values[clusters == c] for c in sorted(set(clusters.tolist()))]
    means = []
    for resample in range(200):
        picks = [min(int(uniform(5, 8, 0, resample, i) * len(groups)), len(groups) - 1) for i in range(len(groups))]
        means.append(np.concatenate([groups[i] for i in picks]).mean())
    cases.append({
        "function": "bootstrap", "values": values, "clusters": clusters, "seed": 5, "resamples": 200, "confidence": 0.9,
        "estimate": values.mean(), "low": np.quantile(means, 0.05), "high": np.quantile(means, 0.95),
        "standard_error": np.std(means, ddof=1),
    })
    write("stats", "Statistics in double precision. Exact Wilcoxon p-values by enumeration of all signs; the rest by scipy and "
          "numpy. The bootstrap uses the keyed generator (purpose 8) with one clip a resample.",
          {"absolute": 1e-10, "relative": 1e-10}, cases)


def frechet(a, b, share_a, share_b):
    """Squared distance of the Gaussians of two point sets, covariances drawn to the identity by the shares."""
    def covariance(x, share):
        s = np.cov(x, rowvar=False)
        return (1 - share) * s + share * np.trace(s) / len(s) * np.eye(len(s))

    s, t = covariance(a, share_a), covariance(b, share_b)
    root = scipy.linalg.sqrtm(scipy.linalg.sqrtm(s) @ t @ scipy.linalg.sqrtm(s)).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s) + np.trace(t) - 2 * np.trace(root)


def ledoit_wolf(x):
    """The share of Ledoit and Wolf (2004), term by term."""
    c = x - x.mean(0)
    n, d = c.shape
    s = c.T @ c / n
    level = np.trace(s) / d
    spread = np.sum((s - level * np.eye(d)) ** 2)
    noise = sum(np.sum((np.outer(row, row) - s) ** 2) for row in c) / n**2
    return min(noise, spread) / spread


def mmd(a, b, kernel):
    """The unbiased estimate, pair by pair."""
    within = lambda x: np.mean([kernel(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j])
    return within(a) + within(b) - 2 * np.mean([kernel(p, q) for p in a for q in b])


def distribution_vectors(rng):
    cases = []
    for name, n, m, d in [("plane", 6, 9, 2), ("more points than dimensions", 20, 25, 6), ("fewer", 5, 7, 9)]:
        a = np.round(rng.normal(0, 1, (n, d)) * np.linspace(0.5, 2, d), 3)
        b = np.round(rng.normal(0.4, 1, (m, d)), 3)
        shares = ledoit_wolf(a), ledoit_wolf(b)
        bandwidth = round(float(np.median(np.linalg.norm(a[:, None] - a[None], axis=-1))), 3)
        groups = rng.integers(0, 3, n)
        unit = a / np.linalg.norm(a, axis=1, keepdims=True)
        apart = 1 - unit @ unit.T
        pairs = [(i, j) for i in range(n) for j in range(i)]
        within = {}
        for i, j in pairs:
            if groups[i] == groups[j]:
                within.setdefault(int(groups[i]), []).append(apart[i, j])
        cases.append({
            "function": "distribution", "name": name, "dim": d, "a": a.ravel(), "b": b.ravel(),
            # Without shrinkage the root of a singular covariance is beyond sqrtm.
            "frechet": frechet(a, b, 0, 0) if n > d and m > d else None,
            "shrinkage": shares, "frechet_shrunk": frechet(a, b, *shares), "bandwidth": bandwidth,
            "mmd_gaussian": mmd(a, b, lambda p, q: math.exp(-np.sum((p - q) ** 2) / (2 * bandwidth**2))),
            "mmd_polynomial": mmd(a, b, lambda p, q: (p @ q / d + 1) ** 3),
            "groups": groups, "within": np.mean([np.mean(v) for v in within.values()]),
            "between": np.mean([apart[i, j] for i, j in pairs if groups[i] != groups[j]]),
        })
    write("distribution", "Distances of point sets (rows of dim numbers): the squared Frechet distance of their Gaussians by "
          "scipy's matrix square root, the shrinkage of Ledoit and Wolf and the unbiased squared discrepancy term by term, "
          "cosine distances within and between groups of a.", {"absolute": 1e-9, "relative": 1e-8}, cases)


if __name__ == "__main__":
    random_vectors()
    token_vectors(np.random.default_rng(1))
    rl_vectors(np.random.default_rng(2))
    preference_vectors(np.random.default_rng(3))
    stats_vectors(np.random.default_rng(4))
    distribution_vectors(np.random.default_rng(5))
