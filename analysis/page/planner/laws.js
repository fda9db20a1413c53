'use strict';
/* planner/laws.py: what each family predicts. LAWS lists them. N, D, S, U as there. */

const LAWS = {
  chinchilla: (c, N, D) => c.E + c.A / N ** c.alpha + c.B / D ** c.beta,
  tied: (c, N, D) => c.E + c.A / N ** c.alpha + c.B / D ** c.alpha,
  multiplicative: (c, N, D) => c.E + c.A / (N ** c.alpha * D ** c.beta),
  power: (c, N, D) => c.A / (N ** c.alpha * D ** c.beta),
  rectified: (c, N, D) => c.E + c.A / N ** c.alpha + c.B / (c.D_l + D ** c.beta),
  trainable: (c, N, D, S) =>
    c.E + (c.a_d * Math.log(D) + c.b_d) / N ** c.alpha + (c.a_s * (1 - S) ** c.b_s + c.c_s) / D ** c.beta,
  repeated: (c, N, D, S, U) => c.E + c.A / N ** c.alpha + c.B / worth(D, U, c.repeats) ** c.beta,
};

function worth(tokens, unique, repeats) {
  const rounds = Math.max(0, tokens / unique - 1);
  return (tokens / (1 + rounds)) * (1 + repeats * (1 - Math.E ** (-rounds / repeats)));
}

function quantile(ordered, share) {
  const place = share * (ordered.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, ordered.length - 1);
  return ordered[low] + (place - low) * (ordered[high] - ordered[low]);
}

/** 90 % interval of the loss of one run, or of the law itself: [low, high], nats per pair. */
function interval(law, inputs, run = true) {
  const centre = Math.log(law.loss(law.coefficients, ...inputs));
  const drawn = Float64Array.from(law.draws, (draw) => Math.log(law.loss(draw, ...inputs))).sort();
  const ordered = drawn.length ? drawn : [centre];
  const noise = run ? 1.645 * law.noise : 0;
  const below = Math.hypot(Math.max(centre - quantile(ordered, 0.05), 0), noise);
  const above = Math.hypot(Math.max(quantile(ordered, 0.95) - centre, 0), noise);
  return [Math.exp(centre - below), Math.exp(centre + above)];
}

const BYTES_EACH = {d: Float64Array, f: Float32Array, I: Uint32Array};

/** Numbers that analysis/page/menu.py packed. */
function unpacked(text, kind = 'd') {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new BYTES_EACH[kind](bytes.buffer);
}

/** The laws with their formula, and each draw as coefficients by name. */
function readLaws(laws) {
  return laws.map((law) => {
    const columns = Object.entries(law.draws).map(([name, text]) => [name, unpacked(text)]);
    const draws = Array.from(columns[0][1], (_, i) =>
      Object.fromEntries(columns.map(([name, values]) => [name, values[i]])),
    );
    return {...law, draws, loss: LAWS[law.family]};
  });
}
