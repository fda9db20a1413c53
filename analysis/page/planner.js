'use strict';
/* What planner/ does for a budget, in the browser. Functions carry the names of their originals; what hangs on no
   control comes with the data. tests/test_page_browser.py holds every number and sentence to those of `plan --json`. */

// ---- planner/laws.py

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
  return tokens / (1 + rounds) * (1 + repeats * (1 - Math.E ** (-rounds / repeats)));
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

// ---- reading the data

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
      Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
    return {...law, draws, loss: LAWS[law.family]};
  });
}

// ---- planner/quantities.py and sweeps/console.py

const NUMBER = /^\s*\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A positive finite number, or an error that names the flag, the whole text and what is wanted. */
function positive(flag, text, wanted, number = text) {
  const value = NUMBER.test(number) ? Number(number) : NaN;
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`${flag} is '${text}'; it must be ${wanted}`);
  return value;
}

function withUnit(flag, text, units, wanted) {
  const unit = Object.keys(units).sort((a, b) => b.length - a.length).find((name) => text.endsWith(name));
  return unit ? positive(flag, text, wanted, text.slice(0, -unit.length)) * units[unit] : positive(flag, text, wanted);
}

// ---- planner/hardware.py and sweeps/hardware.py

/** count of `kind`, one of data.machines; mfu and price as texts, empty where not given. */
function readMachine(kind, name, count, mfu, price) {
  const machine = {...kind, name, count, price: null};
  if (mfu) {
    const wanted = 'a share of the peak rate above 0 and up to 1, such as 0.4';
    if (kind.rates) throw new Error(`--mfu is '${mfu}': what --hardware this reaches was measured; leave one of the two out`);
    machine.mfu = positive('--mfu', mfu, wanted);
    if (machine.mfu > 1) throw new Error(`--mfu is '${mfu}'; it must be ${wanted}`);
  }
  if (price) machine.price = positive('--price', price, 'the price of one chip for an hour, such as 2.5');
  machine.rate = machine.peak * machine.count * machine.mfu;
  return machine;
}

function rateOf(machine, option) {
  return machine.rates ? machine.rates[option.lawPlace][option.modelPlace] : machine.rate;
}

function origin(machine, option) {
  return machine.origins ? machine.origins[option.lawPlace][option.modelPlace]
    : `peak ${g(machine.peak, 4)} FLOP/s a chip (${machine.source}), ${percent(machine.mfu)} of it reached`;
}

/** {flops, kind} of `1e19`, `24h` or `$500`. */
function readBudget(text, machine, seconds) {
  const wanted = "a positive number of FLOP such as 1e19, a time such as 24h, or money such as '$500'";
  if (text.startsWith('$')) {
    const dollars = positive('--budget', text, wanted, text.slice(1).replaceAll(',', ''));
    if (!machine || machine.price === null)
      throw new Error(`--budget is '${text}': money needs --hardware such as 8xh100 and --price per chip and hour`);
    return {flops: dollars / (machine.count * machine.price) * 3600 * machine.rate, kind: 'money'};
  }
  if (Object.keys(seconds).some((unit) => text.endsWith(unit))) {
    const spent = withUnit('--budget', text, seconds, wanted);
    if (!machine) throw new Error(`--budget is '${text}': time needs --hardware such as 8xh100`);
    return {flops: spent * machine.rate, kind: 'time'};
  }
  return {flops: positive('--budget', text, wanted), kind: 'flops'};
}

/** How a batch goes through memory; null when even one text does not fit. */
function fitBatch(still, each, batch, longest, limit) {
  const room = (limit - still) / each;
  if (room < longest) return null;
  const tokens = room >= batch ? Math.ceil(batch) : Math.trunc(room);
  return {tokens, secondForward: Math.max(0, 1 - tokens / batch), bytes: still + each * tokens};
}

// ---- planner/menu.py

/** As Python rounds: halves to the even side. */
function round(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

class Option {
  constructor(planning, asked, lawPlace, modelPlace, fit) {
    const known = planning.options[lawPlace][modelPlace];
    const [once, twice] = known.exact;
    this.law = planning.laws[lawPlace];
    this.model = planning.models[modelPlace];
    Object.assign(this, {lawPlace, modelPlace, fit, known, limits: asked.limits, pace: 1});
    this.batch = planning.training.batch_size;
    this.pairTokens = planning.pairTokens;
    this.exactPairFlops = once + (twice - once) * fit.secondForward;
    this.pairFlops = asked.count === 'exact' ? this.exactPairFlops : known.counts[asked.count];
    this.serving = known.serving * asked.limits.serveTokens;
    this.uniqueTokens = asked.limits.maxPairs * this.pairTokens;
    const steps = asked.limits.maxPairs * asked.limits.maxEpochs / this.batch;
    this.mostSteps = Math.floor(steps);
    this.publishedRepeats = planning.constants.repeats;
  }

  bought(budget) {
    return (this.pace * budget - this.serving) / (this.pairFlops * this.batch);
  }

  steps(budget) {
    return Math.min(round(this.bought(budget)), this.mostSteps);
  }

  tokens(budget) {
    return Math.min(this.bought(budget), this.mostSteps) * this.batch * this.pairTokens;
  }

  needs() {
    return this.serving + this.limits.minSteps * this.batch * this.pairFlops;
  }

  refusal(budget) {
    const {limits} = this;
    if (this.pace * budget <= this.serving)
      return `serving ${short(limits.serveTokens)} tokens takes ${g(this.serving, 3)} FLOP, all of the budget`;
    const steps = this.steps(budget);
    if (steps >= limits.minSteps) return '';
    if (this.mostSteps < limits.minSteps) return `the allowed epochs over ${short(limits.maxPairs)} pairs hold ${steps} steps`;
    return `${steps} steps, under the ${limits.minSteps} of --min-steps; needs ${g(this.needs(), 3)} FLOP`;
  }

  inputs(tokens) {
    const worn = this.law.family !== 'repeated' && tokens > this.uniqueTokens;
    const [fresh, unique] = worn ? [worth(tokens, this.uniqueTokens, this.publishedRepeats), Infinity]
      : [tokens, this.uniqueTokens];
    return [this.model.params, fresh, this.known.share, unique];
  }

  loss(tokens) {
    return this.law.loss(this.law.coefficients, ...this.inputs(tokens));
  }
}

/** asked: {methods, suite, count, limits, machine}. Options, and {model, method, reason} of those that cannot be. */
function menu(planning, asked) {
  const {limits, machine} = asked;
  const [mixed, chips] = machine && machine.mixed ? [1, machine.count] : [0, 1];
  const memory = machine ? Math.min(limits.memory, machine.memory) : limits.memory;
  const batch = planning.training.batch_size * planning.pairTokens / chips;
  const options = [], refused = [];
  planning.laws.forEach((law, lawPlace) => {
    if (!asked.methods.has(law.name)) return;
    for (const modelPlace of planning.menus[asked.suite]) {
      const known = planning.options[lawPlace][modelPlace], model = planning.models[modelPlace];
      const fit = known.refused ? null
        : fitBatch(known.still, known.each[mixed], batch, planning.training.context, memory);
      const reason = known.refused || tooLarge(model, limits, fit, memory);
      if (reason) refused.push({model: model.name, method: law.label, reason});
      else options.push(new Option(planning, asked, lawPlace, modelPlace, fit));
    }
  });
  return [options, refused];
}

function tooLarge(model, limits, fit, memory) {
  if (model.params > limits.maxParams)
    return `N is ${short(model.params)}, over the ${short(limits.maxParams)} of --max-params`;
  if (model.dim > limits.maxDim)
    return `its vectors have ${model.dim} dimensions, over the ${g(limits.maxDim, 6)} of --max-dim`;
  return fit ? '' : `one text at a time does not fit in ${g(memory / 1e9, 3)} GB`;
}

/** Of a budget of time a measured machine lets each option make as many FLOPs as it reaches. */
function pace(options, budget, machine) {
  for (const option of options)
    option.pace = machine && machine.rates && budget.kind !== 'flops' ? rateOf(machine, option) / machine.rate : 1;
}

function feasible(options, budget) {
  const fits = [], others = [];
  for (const option of options) {
    const reason = option.refusal(budget);
    if (reason) others.push({model: option.model.name, method: option.law.label, reason});
    else fits.push({option, loss: option.loss(option.tokens(budget))});
  }
  return [fits.sort((a, b) => a.loss - b.loss).map((one) => one.option), others];
}

// ---- planner/frontier.py

/** {best, regret} of every option from the paired bootstrap draws; null where some law has none. */
function odds(options, budget) {
  const draws = Math.min(...options.map((option) => option.law.draws.length));
  if (!draws) return null;
  const inputs = options.map((option) => option.inputs(option.tokens(budget)));
  const wins = new Array(options.length).fill(0), regrets = new Array(options.length).fill(0);
  for (let draw = 0; draw < draws; draw++) {
    const losses = options.map(({law}, i) => law.loss(law.draws[draw], ...inputs[i]));
    const best = losses.reduce((low, loss) => Math.min(low, loss), Infinity);
    wins[losses.indexOf(best)] += 1;
    losses.forEach((loss, i) => { regrets[i] += loss - best; });
  }
  return options.map((_, i) => ({best: wins[i] / draws, regret: regrets[i] / draws}));
}

function budgets(low, high, perDecade) {
  const count = Math.max(1, Math.ceil(Math.log10(high / low) * perDecade));
  return Array.from({length: count + 1}, (_, place) => low * (high / low) ** (place / count));
}

/** What each law's best model reaches along budgets: null where none can be trained, else {budget, option, ...}. */
function frontier(options, law, along) {
  const mine = options.filter((option) => option.law === law);
  return along.map((budget) => {
    const [best] = feasible(mine, budget)[0];
    if (!best) return null;
    const inputs = best.inputs(best.tokens(budget));
    const [low, high] = interval(law, inputs, false);
    return {budget, model: best.model.name, loss: law.loss(law.coefficients, ...inputs), low, high};
  });
}

// ---- planner/recipe.py

/** asked.budget: a text. The answer of `plan`; recipe(i) is the i-th candidate. Throws where plan has an error. */
function plan(planning, asked) {
  const budget = readBudget(asked.budget, asked.machine, planning.units.seconds);
  if (asked.count !== 'exact' && budget.kind !== 'flops')
    throw new Error(`--flops is '${asked.count}': a machine does every FLOP, so a budget of ${asked.budget} needs exact`);
  if (asked.limits.maxEpochs < Infinity && asked.limits.maxPairs === Infinity)
    throw new Error(`--max-epochs is ${g(asked.limits.maxEpochs, 6)}: passes over which pairs? give --max-pairs too`);
  const [options, never] = menu(planning, asked);
  pace(options, budget, asked.machine);
  const [fits, tooSmall] = feasible(options, budget.flops);
  const refused = [...never, ...tooSmall];
  if (!fits.length) throw new Error(nothingFits(budget.flops, options, refused));
  const chances = odds(fits, budget.flops);
  const recipe = (i) => makeRecipe(planning, asked, fits[i], budget.flops, chances && chances[i]);
  const spent = fits[0].pace * budget.flops;
  return {
    budget: {flops: spent, kind: budget.kind}, options, fits, refused, recipe,
    notices: notices(planning, recipe(0), fits, spent),
    provenance: provenance(planning, asked, recipe(0), fits[0]),
    facts: facts(planning, recipe(0), fits[0]),
  };
}

function nothingFits(budget, options, refused) {
  const enough = options.filter((option) => option.mostSteps >= option.limits.minSteps);
  if (!enough.length)
    return `no candidate is left: ${[...new Set(refused.map((one) => `${one.model} with ${one.method}: ${one.reason}`))].join('; ')}`;
  const near = enough.reduce((a, b) => (b.needs() / b.pace < a.needs() / a.pace ? b : a));
  const serving = near.serving ? `, ${g(near.serving, 3)} of them for serving` : '';
  return `--budget ${g(near.pace * budget, 3)} FLOP is too small for every candidate: ${near.model.name} with `
    + `${near.law.label} comes nearest with ${Math.max(0, near.steps(budget))} steps; ${near.limits.minSteps} need `
    + `${g(near.needs(), 3)} FLOP${serving}`;
}

function makeRecipe(planning, asked, option, budget, chance) {
  const {law, model, limits} = option, {machine} = asked;
  const steps = option.steps(budget), pairs = steps * option.batch, tokens = pairs * option.pairTokens;
  const exact = pairs * option.exactPairFlops;
  const [low, high] = interval(law, option.inputs(tokens));
  const hours = machine ? exact / rateOf(machine, option) / 3600 : null;
  return {
    model: model.name, method: law.label, lr: option.known.lr, lrSource: option.known.lrSource, steps, pairs, tokens,
    params: model.params, dim: model.dim,
    epochs: limits.maxPairs < Infinity ? pairs / limits.maxPairs : null,
    flops: pairs * option.pairFlops, exactFlops: exact, servingFlops: option.serving,
    loss: option.loss(tokens), low, high,
    best: chance ? chance.best : null, regret: chance ? chance.regret : null,
    memory: option.fit.bytes, microTokens: option.fit.tokens, secondForward: option.fit.secondForward,
    hours, cost: machine && machine.price !== null ? hours * machine.count * machine.price : null,
    reach: {flops: beyond(exact, law.span.flops), params: beyond(model.params, law.span.params),
      tokens: beyond(tokens, law.span.tokens)},
  };
}

// ---- planner/evidence.py

function beyond(value, [low, high]) {
  const times = Math.max(value / high, low / value);
  return times > 1.05 ? times : 1;
}

const measured = (reach) => Math.max(reach.flops, reach.params, reach.tokens) === 1;

function reachText(reach) {
  const parts = [['C', reach.flops], ['N', reach.params], ['D', reach.tokens]].filter(([, times]) => times > 1);
  const said = (times) => (times < 1e4 ? g(times, 2) : exponential(times, 0).replace('e+0', 'e').replace('e+', 'e'));
  return parts.length ? `extrapolated ${parts.map(([name, times]) => `${said(times)} times in ${name}`).join(', ')}`
    : 'within the measured range';
}

/** What a reader of the answer must know, beside what the fit has said already: [{code, text}]. */
function notices(planning, best, fits, budget) {
  return [
    ...distance(planning, best, fits[0]), ...choice(planning, best, fits), ...data(planning, best, fits[0], budget),
    ...repeats(planning, best), ...time(planning, best), ...planning.warnings,
  ];
}

/** How much wider the interval of the answer is than that of the same option at its largest measured budget. */
function wider(best, option) {
  const edge = option.law.span.flops[1];
  if (option.refusal(edge)) return '';
  const [low, high] = interval(option.law, option.inputs(option.tokens(edge)));
  const times = high > low ? Math.log(best.high / best.low) / Math.log(high / low) : 1;
  return times > 1.05 ? `, ${g(times, 2)} times as wide as at ${g(edge, 2)} FLOP,` : '';
}

function distance(planning, best, option) {
  const found = [];
  if (!measured(best.reach))
    found.push({code: 'extrapolated', text: `${reachText(best.reach)} beyond the evidence: the interval${wider(best, option)} holds if the law keeps its shape, which nobody measured`});
  if (!planning.measured.includes(best.model))
    found.push({code: 'other-suite', text: `${best.model} was not measured: the law is of ${planning.measured.join(', ')}`});
  return found;
}

function choice(planning, best, fits) {
  const {sure, fewRows} = planning.constants, {law} = fits[0], found = [];
  if (best.best === null)
    found.push({code: 'no-draws', text: 'the law holds no bootstrap draws: nothing is known of how sure this choice is'});
  else if (best.best < sure && fits.length > 1)
    found.push({code: 'not-told-apart', text: `the laws do not tell the first candidates apart: this one is best with probability ${fixed(best.best, 2)} and gives away ${g(best.regret, 3)} nats on average`});
  const sizes = fits.map((one) => one.model.params), smallest = Math.min(...sizes), largest = Math.max(...sizes);
  if (smallest < largest && [smallest, largest].includes(best.params))
    found.push({code: 'edge-of-menu', text: `the ${best.params === largest ? 'largest' : 'smallest'} model that this budget can train wins: a menu beyond it may hold better`});
  if (law.rows < fewRows) {
    const shared = law.shared && planning.source.with;
    const lent = shared ? `, its exponents on ${shared.observations} of ${shared.name} too` : '';
    found.push({code: 'few-rows', text: `the law of ${law.label} rests on ${law.rows} trials${lent}`});
  }
  return found;
}

function data(planning, best, option, budget) {
  const found = [], left = budget - best.servingFlops - best.flops;
  if (left > 0.05 * budget && best.epochs !== null)
    found.push({code: 'data-limited', text: `data, not compute, is the limit: ${g(left, 3)} FLOP stay unspent at ${g(best.epochs, 3)} epochs`});
  if (best.epochs !== null && best.epochs > 1 && option.law.family !== 'repeated') {
    const strong = best.epochs > planning.constants.epochs ? ', far more than data keep their value for' : '';
    found.push({code: 'repeated-data', text: `${g(best.epochs, 3)} epochs${strong}: what repeats are worth was measured on pretraining, not here`});
  }
  return found;
}

function repeats(planning, best) {
  const unique = planning.source.unique_tokens;
  if (best.epochs !== null || !unique || best.tokens <= unique) return [];
  return [{code: 'repeated-data', text: `the recipe makes ${g(best.tokens / unique, 3)} passes over the pairs that the law was measured on, and its loss holds for fresh ones: bring more, or count repeats with --max-pairs`}];
}

function time(planning, best) {
  if (best.hours === null || best.hours * 3600 / best.steps >= planning.constants.shortestStep) return [];
  const each = g(best.hours * 3.6e6 / best.steps, 2);
  return [{code: 'short-steps', text: `a step of ${planning.training.batch_size} pairs would take ${each} ms: too little work for this machine, which will take longer than is said here`}];
}

function provenance(planning, asked, best, option) {
  const {law} = option, source = planning.source.name ?? 'a sweep', shared = planning.source.with;
  const seen = measured(best.reach) ? 'measured here' : reachText(best.reach);
  const found = {
    loss: `${law.family} law of ${law.label}, ${law.rows} trials of ${source}; ${seen}`,
    choice: `lowest predicted loss among the candidates; paired bootstrap draws: ${law.draws.length}`,
    learning_rate: best.lrSource,
    'batch_size, temperature': 'the conditions that the law was measured under',
    tokens: `${asked.count} FLOPs of this shape; ${g(option.pairTokens, 4)} real tokens a pair of ${planning.training.data}`,
    memory: 'estimated from the shape (Korthikanti et al. 2022)',
  };
  if (shared)
    found.exponents = `${shared.shared.join(', ')} shared with ${shared.observations} trials of ${shared.name}; ${shared.own.join(', ')} from ${source} alone`;
  if (asked.limits.maxPairs < Infinity && law.family !== 'repeated')
    found['repeated data'] = 'published: Muennighoff et al. 2023, R* = 15.4, pretraining';
  if (asked.machine) found.hours = origin(asked.machine, option);
  return found;
}

// ---- planner/published.py

/** Published findings, where the laws have seen neither the answer's model nor as much compute: [{text, agrees}]. */
function facts(planning, best, {law, known}) {
  if (planning.measured.includes(best.model) && best.reach.flops === 1) return [];
  const {budgets: [first, last], crossover, ranks: [low, high], paper} = planning.published;
  const spent = known.counts.paper * best.pairs, chosen = spent <= crossover ? 'full' : 'lora';
  const where = first <= spent && spent <= last ? '' : `; ${g(spent, 3)} FLOP lies outside the budgets it tried`;
  return [
    {text: `full tuning is best up to ${g(crossover, 3)} FLOP and LoRA above, hence ${chosen} here (Pythia 14M to 2.8B, one seed, no interval given${where})`,
      citation: `${paper}, section 4.4`, agrees: law.name === chosen},
    {text: `LoRA is best at rank ${low} or ${high} at nearly every size and budget; both 8 and 2048 are worse (scale 8 / rank there, which shrinks the step at high ranks)`,
      citation: `${paper}, section 4.2`, agrees: law.rank === null ? null : low <= law.rank && law.rank <= high},
    {text: 'freezing the first blocks is never the predicted best but close to it, easier and lighter on memory', citation: `${paper}, section 4.4`, agrees: null},
    {text: 'tuning biases only is worse than every other method at equal FLOPs', citation: `${paper}, section 4`, agrees: law.name === 'bias' ? false : null},
  ];
}

// ---- numbers as Python's formats print them

/** What toFixed or toExponential gives, but halves to the even side. */
function even(value, method, digits) {
  const [mantissa, tail] = value[method](Math.min(100, digits + 50)).split('e');
  const end = mantissa.indexOf('.') + (digits ? digits + 1 : 0);
  const kept = mantissa.slice(0, end);
  const half = /^\.?50*$/.test(mantissa.slice(end)) && '02468'.includes(kept[kept.length - 1]);
  return half ? kept + (tail ? `e${tail}` : '') : value[method](digits);
}

/** `:.{digits}f` */
const fixed = (value, digits) => even(value, 'toFixed', digits);

/** `:.{digits}g` */
function g(value, digits) {
  if (!Number.isFinite(value) || value === 0) return value === 0 ? '0' : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  const bare = (text) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  const [mantissa, tail] = exponential(value, digits - 1).split('e'), power = Number(tail);
  return power >= -4 && power < digits ? bare(fixed(value, digits - 1 - power)) : `${bare(mantissa)}e${tail}`;
}

/** `:.{digits}e` */
function exponential(value, digits) {
  const [mantissa, power] = even(value, 'toExponential', digits).split('e');
  return `${mantissa}e${power[0]}${power.slice(1).padStart(2, '0')}`;
}

/** `:.0%` */
const percent = (value) => `${fixed(100 * value, 0)}%`;

/** A count as people say it: 302 M, 8.1 G, 1e+15. */
function short(value) {
  if (value >= 1e15) return g(value, 3);
  const units = [['T', 1e12], ['G', 1e9], ['M', 1e6], ['k', 1e3]];
  const found = units.find(([, size]) => value >= size);
  return found ? `${g(value / found[1], 3)} ${found[0]}` : g(value, 3);
}
