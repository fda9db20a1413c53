/* Written by `python -m analysis.page.generate` from planner/*.py: change those, then run it again. */
import {truth, either, both, list, len, items, get, any, all, sum, unique, enumerate, range, repeat, zip, join, removesuffix, has, sorted, min, named, replace, kept, cached, ord, repr, round, fixed, exponential, g, percent, grouped} from './python.js';
import {FLOPS, _log, bundled, exact_flops, forward_flops, micro_tokens, positive, rate_by_size, scaled, training_memory, unseen_of} from './shapes.js';

/** Expected held-out loss as a function of what was spent: a sum of positive terms. */
export class Law {
  /** `loss` with whichever of the four the formula needs, so that callers need not know the family. */
  at(N, D, S = 1, U = Infinity) {
    const given = {N: N, D: D, S: S, U: U};
    return this.loss(...list(this.inputs).map((name) => given[name]));
  }
  /** Whether the formula itself tells what repeated tokens are worth. */
  get knows_repetition() {
    return has(this.inputs, 'U');
  }
}
Law.prototype.inputs = ['N', 'D'];

/** L = E + A / N**alpha + B / D**beta (Hoffmann et al. 2022, section 3.3). E is the irreducible loss. */
export class Chinchilla extends Law {
  constructor({E, A, alpha, B, beta}) {
    super();
    Object.assign(this, {E, A, alpha, B, beta});
  }
  loss(N, D) {
    return this.E + this.A / N ** this.alpha + this.B / D ** this.beta;
  }
}
Chinchilla.prototype.factors = ['E', 'A', 'B'];

/** L = E + A / N**alpha + B / D**alpha: the plain law with one exponent. */
export class Tied extends Law {
  constructor({E, A, B, alpha}) {
    super();
    Object.assign(this, {E, A, B, alpha});
  }
  loss(N, D) {
    return this.E + this.A / N ** this.alpha + this.B / D ** this.alpha;
  }
}
Tied.prototype.factors = ['E', 'A', 'B'];

/** L = E + A / (N**alpha * D**beta) (Zhang et al. 2024, fine-tuning). */
export class Multiplicative extends Law {
  constructor({E, A, alpha, beta}) {
    super();
    Object.assign(this, {E, A, alpha, beta});
  }
  loss(N, D) {
    return this.E + this.A / (N ** this.alpha * D ** this.beta);
  }
}
Multiplicative.prototype.factors = ['E', 'A'];

/** L = A / (N**alpha * D**beta): no irreducible loss; for sweeps too small to tell one. */
export class Power extends Law {
  constructor({A, alpha, beta}) {
    super();
    Object.assign(this, {A, alpha, beta});
  }
  loss(N, D) {
    return this.A / (N ** this.alpha * D ** this.beta);
  }
}
Power.prototype.factors = ['A'];

/** L = E + A / N**alpha + B / (D_l + D**beta): D_l is what pretraining was already worth (Lin et al. 2024). */
export class Rectified extends Law {
  constructor({E, A, alpha, B, beta, D_l}) {
    super();
    Object.assign(this, {E, A, alpha, B, beta, D_l});
  }
  loss(N, D) {
    return this.E + this.A / N ** this.alpha + this.B / (this.D_l + D ** this.beta);
  }
}
Rectified.prototype.factors = ['E', 'A', 'B'];

/** L = E + A (N**(-alpha/k) + r D**(-beta/k))**k: N and D interact (Kaplan et al. 2020, equation 1.5, with E). */
export class Joined extends Law {
  constructor({E, A, alpha, beta, k, r}) {
    super();
    Object.assign(this, {E, A, alpha, beta, k, r});
  }
  loss(N, D) {
    const k = this.k;
    return this.E + this.A * (N ** (-this.alpha / k) + this.r * D ** (-this.beta / k)) ** k;
  }
}
Joined.prototype.factors = ['E', 'A'];

/** L = E + (a_d ln D + b_d) / N**alpha + (a_s (1 - S)**b_s + c_s) / D**beta (Ziarko et al. 2024, section 4.3). */
export class TrainableShare extends Law {
  constructor({E, a_d, b_d, alpha, a_s, b_s, c_s, beta}) {
    super();
    Object.assign(this, {E, a_d, b_d, alpha, a_s, b_s, c_s, beta});
  }
  loss(N, D, S = 1) {
    const height = this.a_d * _log(D) + this.b_d;
    return this.E + height * (height > 0) / N ** this.alpha + (this.a_s * (1 - S) ** this.b_s + this.c_s) / D ** this.beta;
  }
}
TrainableShare.prototype.inputs = ['N', 'D', 'S'];
TrainableShare.prototype.factors = ['E', 'a_d', 'b_d', 'a_s', 'c_s'];

/** Fresh tokens that `tokens` over `unique` ones are worth; `repeats` as in Repeated. Floats or arrays. */
export function worth(tokens, unique, repeats) {
  let rounds;
  rounds = tokens / unique - 1;
  rounds = rounds * (rounds > 0);
  const fresh = tokens / (1 + rounds);
  return fresh * (1 + repeats * (1 - Math.E ** (-rounds / repeats)));
}

/** L = E + A / N**alpha + B / D'**beta: D' is what D tokens over U unique ones are worth (Muennighoff et al. 2023). */
export class Repeated extends Law {
  constructor({E, A, alpha, B, beta, repeats}) {
    super();
    Object.assign(this, {E, A, alpha, B, beta, repeats});
  }
  loss(N, D, U = Infinity) {
    return this.E + this.A / N ** this.alpha + this.B / worth(D, U, this.repeats) ** this.beta;
  }
}
Repeated.prototype.inputs = ['N', 'D', 'U'];
Repeated.prototype.factors = ['E', 'A', 'B'];

export const LAWS = {chinchilla: Chinchilla, tied: Tied, multiplicative: Multiplicative, power: Power, rectified: Rectified, joined: Joined, trainable: TrainableShare, repeated: Repeated};

/** The share of its training tokens that a batch size makes use of. */
export class BatchTerm {
}

/** share = 1 / (1 + s (u + 1/u - 2)) with u = B / B*, B* = k D**q. */
export class Balanced extends BatchTerm {
  constructor({k, q, s}) {
    super();
    Object.assign(this, {k, q, s});
  }
  best(D) {
    return this.k * D ** this.q;
  }
  share(D, B) {
    const u = B / (this.k * D ** this.q);
    return 1 / (1 + this.s * (u + 1 / u - 2));
  }
}

/** share in proportion to 1 / ((1 + B / Bc) (1 + Bn / B)): Bc = k D**q, the critical batch; Bn = s, below which */
export class TwoSided extends BatchTerm {
  constructor({k, q, s}) {
    super();
    Object.assign(this, {k, q, s});
  }
  best(D) {
    return (this.k * D ** this.q * this.s) ** 0.5;
  }
  share(D, B) {
    const critical = this.k * D ** this.q;
    const most = (1 + (this.s / critical) ** 0.5) ** 2;
    return most / ((1 + B / critical) * (1 + this.s / B));
  }
}

export const TERMS = {balanced: Balanced, ['two-sided']: TwoSided};

export const INVERTING = 30;

export const CLOSE = 1e-12;

/** How many tokens in batches of this size are worth `tokens` at the best one: by secants in ln D. */
export function same_worth(term, tokens, batch) {
  let before, off_before, found;
  const aim = Math.log(tokens);
  [before, off_before] = [aim, Math.log(term.share(tokens, batch))];
  found = before - off_before;
  for (const _ of range(INVERTING)) {
    const off = found + Math.log(term.share(Math.exp(found), batch)) - aim;
    if (Math.abs(off) < CLOSE) {
      break;
    }
    const change = off * (found - before) / (off - off_before);
    [before, off_before, found] = [found, off, found - change];
  }
  return Math.exp(found);
}

/** A law as it is for trainings of one batch size: of N and D alone. */
export class AtBatch extends Law {
  constructor({law, term, batch, own}) {
    super();
    Object.assign(this, {law, term, batch, own});
  }
  loss(N, D) {
    let worth;
    worth = D * this.term.share(D, this.batch);
    if (truth(this.own)) {
      worth = same_worth(this.term, worth, this.own);
    }
    return this.law.loss(N, worth);
  }
}
AtBatch.prototype.inputs = ['N', 'D'];
AtBatch.prototype.factors = [];

/** Linear quantile of a sorted list, as numpy.quantile gives it. */
export function quantile(ordered, share) {
  const place = share * (len(ordered) - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, len(ordered) - 1);
  return ordered[low] + (place - low) * (ordered[high] - ordered[low]);
}

/** What a sweep of several batch sizes found of them, for one tuning method. */
export class BatchLaw {
  constructor({term, draws, sizes, tokens, runs, own = 0, backtest = {}}) {
    Object.assign(this, {term, draws, sizes, tokens, runs, own, backtest});
  }
  /** B*: pairs of the best batch for so many tokens. */
  best(tokens) {
    return Number(this.term.best(tokens));
  }
  /** 90 % interval of B*; None without draws. */
  interval(tokens) {
    const drawn = sorted(list(this.draws).map((term) => Number(term.best(tokens))));
    return truth(drawn) ? [quantile(drawn, 0.05), quantile(drawn, 0.95)] : null;
  }
  /** The term of a draw of the method's law; terms of another sweep take turns. */
  term_of(draw) {
    return truth(this.draws) ? this.draws[draw % len(this.draws)] : this.term;
  }
}

export const CHOICES = list(range(3, 21).map((power) => 2 ** power));

/** All laws of one sweep and what they hold under. */
export class LawBook {
  constructor({laws, measured, models = [], training = null, pair = null, source = {}, excluded = [], warnings = [], created_by = '', scores = [], folder = null}) {
    Object.assign(this, {laws, measured, models, training, pair, source, excluded, warnings, created_by, scores, folder});
  }
  /** What the book is called: the folder of its sweep, or of its facts. */
  get name() {
    return String(get(this.source, 'name', 'the laws'));
  }
  /** The paper whose printed facts the laws come from; "" for laws of runs. */
  get published() {
    return get(this.source, 'kind') === 'published' ? String(get(this.source, 'citation', '')) : '';
  }
  /** What the laws predict: the loss, or 1 less a score. */
  get measure() {
    return String(get(this.source, 'measure', 'loss'));
  }
}

/** What the rows of a law cover: (lowest, highest) of each quantity. */
export class MeasuredRange {
  constructor({flops, params, tokens}) {
    Object.assign(this, {flops, params, tokens});
  }
}

/** The mean of laws of several families: no run says which of them is true, so none of them decides alone. */
export class Weighted extends Law {
  constructor({parts, weights}) {
    super();
    Object.assign(this, {parts, weights});
  }
  loss(N, D) {
    let total;
    total = 0;
    for (const [part, weight] of zip(this.parts, this.weights)) {
      total = total + weight * part.loss(N, D);
    }
    return total;
  }
}
Weighted.prototype.factors = [];

/** Name of a law's family in LAWS; of a mean, that of the family with the largest weight. */
export function family_of(law) {
  const first = (law instanceof Weighted) ? law.parts[0] : law;
  for (const [name, kind] of items(LAWS)) {
    if ((first instanceof kind)) {
      return name;
    }
  }
  throw new Error(`${law} is of no family in LAWS`);
}

/** Returns the name of a method, under "name", and its settings, as tables and figures print them. */
export function label_of(settings) {
  const options = Object.fromEntries(items(settings).filter(([key, value]) => key !== 'name'));
  const shown = items(options).map(([key, value]) => `${key} ${(typeof value === 'string') ? value : `${g(value, 6)}`}`);
  return join(' ', [String(settings['name']), ...list(shown)]);
}

export const NORMAL = 1.645;

/** The law of one tuning method, and how it was fitted. */
export class MethodLaw {
  constructor({settings, family, law, intervals, draws, noise, rows, measured, objective = 0, delta = null, intervals_95 = {}, backtest = {}, learning_rates = {}, rates_from = '', rates_batch = null, rate_rule = null, temperature_rule = null, shared = [], variants = {}, isoflop = {}, profiles = {}, noise_slope = 0, scatter = {}, drift = null, batch = null}) {
    Object.assign(this, {settings, family, law, intervals, draws, noise, rows, measured, objective, delta, intervals_95, backtest, learning_rates, rates_from, rates_batch, rate_rule, temperature_rule, shared, variants, isoflop, profiles, noise_slope, scatter, drift, batch});
  }
  /** The law without a batch size put in: of its own one, or of the best for every D. */
  get any_batch() {
    return (this.law instanceof AtBatch) ? this.law.law : this.law;
  }
  /** The law as it is for batches of so many pairs; itself where batch size is not in it. */
  at_batch(size) {
    const batch = this.batch;
    if (batch == null || (this.law instanceof AtBatch)) {
      return this;
    }
    const draws = enumerate(this.draws).map(([place, draw]) => new AtBatch({law: draw, term: batch.term_of(place), batch: size, own: batch.own}));
    return replace(this, {law: new AtBatch({law: this.law, term: batch.term, batch: size, own: batch.own}), draws: list(draws)});
  }
  /** Family -> its weight in the law, the largest first. */
  get weights() {
    const whole = this.any_batch;
    if ((whole instanceof Weighted)) {
      return Object.fromEntries(zip(whole.parts, whole.weights).map(([part, weight]) => [family_of(part), weight]));
    }
    return {[this.family]: 1};
  }
  /** Name and settings, as Method.label prints them. */
  get label() {
    return label_of(this.settings);
  }
  /** Sd of the log loss of one run of so many tokens. */
  noise_at(tokens) {
    const [low, high] = this.measured.tokens;
    const within = Math.min(Math.max(tokens, low), high) / Math.sqrt(low * high);
    return truth(this.noise_slope) ? this.noise * within ** (-this.noise_slope) : this.noise;
  }
  /** 90 % interval of the loss of one run (`run`), or of the law itself, nats per pair. */
  interval(N, D, S = 1, U = Infinity, run = true, drift = []) {
    let losses;
    const centre = Math.log(this.law.at(N, D, S, U));
    losses = list(this.draws).map((law) => law.at(N, D, S, U));
    if (truth(drift)) {
      losses = zip(losses, drift).map(([loss, factor]) => loss * factor);
    }
    const drawn = either(sorted(list(losses).map((loss) => Math.log(loss))), () => [centre]);
    const noise = truth(run) ? NORMAL * this.noise_at(D) : 0;
    const below = Math.hypot(Math.max(centre - quantile(drawn, 0.05), 0), noise);
    const above = Math.hypot(Math.max(quantile(drawn, 0.95) - centre, 0), noise);
    return [Math.exp(centre - below), Math.exp(centre + above)];
  }
}

/** Something that a reader of the laws must know. */
export class Caveat {
  constructor({code, text, method = ''}) {
    Object.assign(this, {code, text, method});
  }
}

/** What may be spent on training and serving. */
export class Budget {
  constructor({flops, asked, kind = 'flops'}) {
    Object.assign(this, {flops, asked, kind});
  }
}

export const SECONDS = {s: 1, min: 60, h: 3600, d: 86400};

/** A positive number with one of `units` behind it, or bare. */
export function with_unit(flag, text, units, wanted) {
  for (const unit of sorted(units, {key: len, reverse: true})) {
    if (text.endsWith(unit)) {
      return positive(flag, text, wanted, removesuffix(text, unit)) * units[unit];
    }
  }
  return positive(flag, text, wanted);
}

export const CHIPS = ['a100', 'a100-40gb', 'h100', 'h200', 'b200', 'l4', 'l40s', 'rtx4090', 'mi300x', 'cpu'];

/** `1e19` FLOPs, `24h` on the machine or `$500` of it. Raises ValueError naming what is missing. */
export function read_budget(text, machine = null) {
  const wanted = 'a positive number of FLOP such as 1e19, a time such as 24h, or money such as \'$500\'';
  if (text.startsWith('$')) {
    const dollars = positive('`budget`', text, wanted, text.slice(1).replaceAll(',', ''));
    if (machine == null || machine.price == null) {
      throw new Error(`\`budget\` is ${repr(text)}: money needs \`hardware\` such as 8xh100 and \`price\` per chip and hour`);
    }
    return new Budget({flops: dollars / (machine.count * machine.price) * 3600 * machine.rate, asked: text, kind: 'money'});
  }
  if (any(list(SECONDS).map((unit) => text.endsWith(unit)))) {
    const seconds = with_unit('`budget`', text, SECONDS, wanted);
    if (machine == null) {
      throw new Error(`\`budget\` is ${repr(text)}: time needs \`hardware\` such as 8xh100; known: ${join(', ', CHIPS)}`);
    }
    return new Budget({flops: seconds * machine.rate, asked: text, kind: 'time'});
  }
  return new Budget({flops: positive('`budget`', text, wanted), asked: text});
}

export const COUNTS = {k: 1000, K: 1000, M: 1000000, B: 1000000000, G: 1000000000, T: 1000000000000};

export const EXAMPLES = {epochs: '4', dimensions: '1024', pairs: '2M'};

/** How many: 1.4B, 200M or 2e12. */
export function count(flag, text, what) {
  return with_unit(flag, text, COUNTS, `a positive number of ${what} such as ${get(EXAMPLES, what, '1.4B or 2e12')}`);
}

export const BYTES = {kB: 1000, MB: 1000000, GB: 1000000000, TB: 1000000000000, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40};

/** Bytes. */
export function memory(flag, text) {
  return with_unit(flag, text, BYTES, 'a positive number of bytes such as 24GB or 80GiB');
}

/** A count as people say it: 302 M, 8.1 B, 1e+15. */
export function short(value) {
  if (value >= 1000000000000000) {
    return `${g(value, 3)}`;
  }
  for (const unit of ['T', 'B', 'M', 'k']) {
    if (value >= COUNTS[unit]) {
      return `${g(value / COUNTS[unit], 3)} ${unit}`;
    }
  }
  return `${g(value, 3)}`;
}

export const MOST_EPOCHS = 4;

/** What a plan must respect. */
export class Limits {
  constructor({min_steps = 50, max_steps = 1000000, max_params = Infinity, max_dim = Infinity, memory = Infinity, max_pairs = Infinity, max_epochs = null, serve_tokens = 0}) {
    Object.assign(this, {min_steps, max_steps, max_params, max_dim, memory, max_pairs, max_epochs, serve_tokens}); this.__post_init__();
  }
  __post_init__() {
    if (this.min_steps < 1) {
      throw new Error(`\`min_steps\` is ${repr(this.min_steps)}; it must be 1 or more`);
    }
    if (this.max_steps < this.min_steps) {
      throw new Error(`\`max_steps\` is ${repr(this.max_steps)}; it must be \`min_steps\` (${this.min_steps}) or more`);
    }
    if (this.max_epochs != null && this.max_pairs === Infinity) {
      throw new Error(`\`max_epochs\` is ${g(this.max_epochs, 6)}, which needs \`max_pairs\`, the number of pairs`);
    }
  }
  /** Passes over the unique pairs at most; without end where their number is unknown. */
  get epochs() {
    if (this.max_epochs != null) {
      return this.max_epochs;
    }
    return this.max_pairs < Infinity ? MOST_EPOCHS : Infinity;
  }
}

/** The laws of the same method with any settings, `law` among them. */
export function kin_of(book, law) {
  return list(list(book.laws).filter((other) => other.settings['name'] === law.settings['name']));
}

export function _smaller(sizes, most) {
  return list(sizes).filter((size) => size < most);
}

/** The methods that a law speaks for and `names` names (all when empty): its own, and then the same over a backbone */
export function tunings(law, names) {
  const every = [law.method, law.method.quantized()];
  return list(every).filter((method) => method != null && (!truth(names) || has(names, method.name)));
}

export const SHARE = {cpu: 0.25, cuda: 0.8};

/** How a batch goes through the memory of a chip. */
export class BatchMemory {
  constructor({micro_batch_tokens, second_forward, peak_bytes, pass_tokens = Infinity, sharded = false, recompute = false}) {
    Object.assign(this, {micro_batch_tokens, second_forward, peak_bytes, pass_tokens, sharded, recompute});
  }
  /** Forward passes of the trained blocks beyond the first, as a share of the batch, 0 to 2. */
  get repeated() {
    return this.second_forward + (truth(this.recompute) ? 1 : 0);
  }
}

/** The ways in which `batch` tokens on each of `chips` go through `limit` bytes, the simplest first: with the model */
export function fit_batch(model, method, batch, longest, limit = Infinity, mixed = false, chips = 1) {
  const [kind, ways] = [truth(mixed) ? 'cuda' : 'cpu', []];
  for (const shards of list(unique([1, truth(method.bits) ? 1 : chips]))) {
    for (const recompute of [false, true]) {
      const memory = training_memory(model, method, mixed, recompute);
      const affordable = (limit - memory.fixed(shards)) / memory.token;
      if (affordable >= longest) {
        const kept = Math.max(Number(longest), SHARE[kind] * affordable);
        const tokens = kept >= batch ? Math.ceil(batch) : Math.trunc(kept);
        const [again, together] = [Math.max(0, 1 - tokens / batch), Math.min(tokens, micro_tokens(model, kind))];
        const peak = memory.peak(tokens, shards);
        ways.push(new BatchMemory({micro_batch_tokens: tokens, second_forward: again, peak_bytes: peak, pass_tokens: together, sharded: shards > 1, recompute}));
      }
    }
  }
  return list(ways);
}

/** The ways in which a batch of such pairs goes through the memory of the chips that share it. */
export function _ways(model, method, pair, context, limits, mixed, chips) {
  return fit_batch(model, method, pair.batch_size * pair.tokens / chips, context, limits.memory, mixed, chips);
}

export function _too_short(model, context) {
  return model.context < context ? `reads at most ${model.context} tokens, fewer than the context of ${context}` : '';
}

/** Why a size is larger than allowed; empty where it is not. */
export function too_many(params, most) {
  return params > most ? `N is ${short(params)}, over the limit of ${short(most)} parameters` : '';
}

export function _too_large(model, limits) {
  let reason;
  if (truth(reason = too_many(model.params, limits.max_params))) {
    return reason;
  }
  if (model.width > limits.max_dim) {
    return `its vectors have ${model.width} dimensions, over the limit of ${g(limits.max_dim, 6)}`;
  }
  return '';
}

/** A model with a method that cannot be chosen. */
export class Refusal {
  constructor({model, method, reason}) {
    Object.assign(this, {model, method, reason});
  }
}

export function _no_room(limits) {
  return `a single text does not fit in ${g(limits.memory / 1000000000, 3)} GB`;
}

export const MODULUS = 2 ** 31 - 1;

export const SKIPPED = 4;

export const MULTIPLIER = 48271;

/** So many normal numbers that belong to a name; their mean is 0 and their sd 1 exactly. */
export const normals = cached((name, count) => {
  let state;
  state = 1;
  for (const letter of list(name)) {
    state = (state * 31 + ord(letter)) % MODULUS;
  }
  state = either(state, () => 1);
  const uniform = [];
  for (const _ of range(2 * (count + SKIPPED))) {
    state = state * MULTIPLIER % MODULUS;
    uniform.push(state / MODULUS);
  }
  const drawn = range(SKIPPED, count + SKIPPED).map((i) => Math.sqrt(-2 * Math.log(uniform[2 * i])) * Math.cos(2 * Math.PI * uniform[2 * i + 1]));
  const mean = sum(drawn) / count;
  const sd = either(Math.sqrt(sum(list(drawn).map((value) => (value - mean) ** 2)) / count), () => 1);
  return list(list(drawn).map((value) => (value - mean) / sd));
});

/** The logs with normal errors of this sd, which belong to a name, added. */
export function _moved(logs, spread, name) {
  const errors = normals(name, len(logs));
  return zip(logs, errors).map(([log, error]) => log + spread * error);
}

export const FACTOR_SPREAD = 0.3;

export const METHOD_SPREAD = 0.1;

export const LEVEL_SPREAD = 0.8;

/** What a factor of a law is multiplied with in each draw. */
export function _spread(label, factor, suite, data, count) {
  let logs;
  logs = repeat([0], count);
  if (truth(suite)) {
    logs = _moved(logs, FACTOR_SPREAD, `${suite} ${factor}`);
    logs = _moved(logs, METHOD_SPREAD, `${suite} ${factor} ${label}`);
  }
  if (truth(data)) {
    logs = _moved(logs, LEVEL_SPREAD, `${data} level`);
    logs = _moved(logs, METHOD_SPREAD, `${data} ${factor} ${label}`);
  }
  return list(logs).map((log) => Math.exp(log));
}

/** The law on a suite and on data that it has not seen: the same coefficients, draws with a wider spread. */
export function carried(law, suite, data) {
  const count = len(law.draws);
  if (!truth(count) || !(truth(suite) || truth(data))) {
    return law;
  }
  const names = new Set(list(law.draws).flatMap((draw) => list(draw.factors)));
  const spreads = Object.fromEntries(list(names).map((name) => [name, _spread(law.label, name, suite, data, count)]));
  const draws = [];
  for (const [place, draw] of enumerate(law.draws)) {
    draws.push(scaled(draw, Object.fromEntries(list(draw.factors).map((name) => [name, spreads[name][place]]))));
  }
  return replace(law, {draws: list(draws)});
}

/** What a step of so many pairs counts as, in tokens of the runs that the law is of. */
export function _law_step_tokens(book, law, size) {
  return (truth(law.batch) ? size : Math.min(size, book.pair.batch_size)) * book.pair.tokens;
}

export const ENOUGH_STEPS = 1000;

export const PUBLISHED_REPEATS = 15.387756;

export const TOLERANCE = 1.05;

/** How many times `value` lies beyond the measured range (lowest, highest), on either side; 1 inside. */
export function extrapolation_factor(value, measured) {
  const [low, high] = measured;
  const factor = Math.max(value / high, low / value);
  return factor > TOLERANCE ? factor : 1;
}

export const ELSEWHERE = 1;

export const NAMES = {flops: 'compute', params: 'model', tokens: 'data size'};

/** 1.6x, 83x, 610x, 1e6x. */
export function times(factor) {
  if (99.5 <= factor && factor < 10000) {
    return `${grouped(Number(`${g(factor, 2)}`), 0)}x`;
  }
  return factor < 10000 ? `${g(factor, 2)}x` : `${exponential(factor, 0)}x`.replaceAll('e+0', 'e').replaceAll('e+', 'e');
}

/** How many times an answer lies beyond the measured range of its law, on either side; 1 inside. */
export class Extrapolation {
  constructor({flops, params, tokens, below = [], evidence = 'measured', unseen = []}) {
    Object.assign(this, {flops, params, tokens, below, evidence, unseen});
  }
  /** How far a recipe that spends these lies beyond what the law was measured on. */
  static of(flops, params, tokens, law, unseen = []) {
    const asked = {flops: flops, params: params, tokens: tokens};
    const factors = Object.fromEntries(items(asked).map(([name, value]) => [name, extrapolation_factor(value, law.measured[name])]));
    const below = list(list(asked).filter((name) => factors[name] > 1 && asked[name] < law.measured[name][0]));
    return new this({...factors, below, evidence: truth(law.rows) ? 'measured' : 'published', unseen});
  }
  /** Whether the answer lies inside the measured range in all three. */
  get within_range() {
    return Math.max(this.flops, this.params, this.tokens) === 1;
  }
  /** Decades beyond the range in that of the three which lies farthest. */
  get decades() {
    return Math.log10(Math.max(this.flops, this.params, this.tokens));
  }
  /** Decades beyond the range in compute, N and D together; a suite or data that was not seen counts as one. */
  get distance() {
    return Math.log10(this.flops * this.params * this.tokens) + ELSEWHERE * len(this.unseen);
  }
  to_json() {
    return Object.fromEntries(list(NAMES).map((name) => [name, this[name]]));
  }
  toString() {
    if (truth(this.within_range)) {
      return `within the ${this.evidence} range`;
    }
    return join(', ', items(this.to_json()).filter(([name, factor]) => factor > 1).map(([name, factor]) => this._sentence(name)));
  }
  _sentence(name) {
    const end = has(this.below, name) ? 'below the smallest' : 'beyond the largest';
    return `${times(this[name])} ${end} ${NAMES[name]} ${this.evidence}`;
  }
}

export const DRIFT = 0.03;

/** Sd of the log loss for every decade beyond the measured range: learnt by the fit, else assumed. */
export function drift_sd(law) {
  return law.drift == null ? DRIFT : law.drift;
}

/** By what the loss of each draw is multiplied for the decades beyond the measured compute, N and D. */
export function drift(law, flops, params, tokens) {
  const [count, measured] = [len(law.draws), law.measured];
  const compute = Math.log10(extrapolation_factor(flops, measured.flops));
  const size = Math.log10(extrapolation_factor(params, measured.params));
  const data = Math.log10(extrapolation_factor(tokens, measured.tokens));
  if (!truth(count) || !(truth(compute) || truth(size) || truth(data))) {
    return [];
  }
  const [common, by_size, by_data] = [normals('compute', count), normals(`size ${law.label}`, count), normals(`data ${law.label}`, count)];
  const sd = drift_sd(law);
  return list(zip(common, by_size, by_data).map(([a, b, c]) => Math.exp(sd * (compute * a + size * b + data * c))));
}

/** One model with one tuning method: what it costs, and the loss that it would reach. */
export class Candidate {
  constructor({model, law, method, pair, count, batch, limits, law_step_tokens, kin, unseen = [], ways = [], step_seconds = null, whole_steps = false, sizes = [], relative_speed = 1}) {
    Object.assign(this, {model, law, method, pair, count, batch, limits, law_step_tokens, kin, unseen, ways, step_seconds, whole_steps, sizes, relative_speed});
  }
  /** B: text pairs in a step. */
  get batch_size() {
    return this.pair.batch_size;
  }
  /** Whether the law is of another method: the same with its backbone in more bits. */
  get borrows() {
    return this.method.name !== this.law.settings['name'];
  }
  /** Training FLOPs of a pair by the exact count. */
  get exact_pair_flops() {
    return kept(this, 'exact_pair_flops', () => {
      return exact_flops(this.model, this.method, this.pair, this.batch.repeated);
    });
  }
  /** Training FLOPs of a pair by the count in use. */
  get pair_flops() {
    return kept(this, 'pair_flops', () => {
      return this.count === 'exact' ? this.exact_pair_flops : FLOPS[this.count](this.model, this.method, this.pair);
    });
  }
  /** FLOPs a second on the machine, by the count in use. */
  get rate() {
    return kept(this, 'rate', () => {
      return this.pair_flops * this.batch_size / this.step_seconds;
    });
  }
  /** FLOPs of embedding `serve_tokens`; adapters are merged by then. */
  get serving() {
    return kept(this, 'serving', () => {
      return forward_flops(this.model, this.pair.times(this.limits.serve_tokens / this.pair.tokens));
    });
  }
  /** N. */
  get params() {
    return kept(this, 'params', () => {
      return this.model.params;
    });
  }
  /** U: tokens of the unique pairs, as the law counts them. */
  get unique_tokens() {
    return kept(this, 'unique_tokens', () => {
      return this.limits.max_pairs / this.batch_size * this.law_step_tokens;
    });
  }
  /** S: share of the parameters that is trained; adapters larger than their backbone count as all of it. */
  get trained_share() {
    return kept(this, 'trained_share', () => {
      return Math.min(1, this.method.trainable(this.model) / this.params);
    });
  }
  /** Whole optimiser steps that the allowed epochs hold. */
  get epoch_steps() {
    return kept(this, 'epoch_steps', () => {
      const steps = this.limits.max_pairs * this.limits.epochs / this.batch_size;
      return steps < Infinity ? Math.floor(steps) : steps;
    });
  }
  /** Whether the allowed epochs hold fewer steps than a training needs. */
  get lacks_pairs() {
    return this.epoch_steps < this.limits.min_steps;
  }
  /** The candidate with the batch size that it would have at this budget. */
  at(budget) {
    if (!truth(this.sizes)) {
      return this;
    }
    return truth(this.law.batch) ? this._at_best(budget) : this._of_enough_steps(budget);
  }
  /** With the batch of the laws, or the largest of the smaller ones that makes ENOUGH_STEPS. */
  _of_enough_steps(budget) {
    if (truth(this.refusal(budget)) || this.steps(budget) >= ENOUGH_STEPS) {
      return this;
    }
    const enough = list(this.sizes).filter((each) => each.steps(budget) >= ENOUGH_STEPS);
    return truth(enough) ? enough.at(-1) : this.sizes[0];
  }
  /** With the batch size of the lowest loss, of those whose steps are allowed. */
  _at_best(budget) {
    let place;
    const [last, best] = [len(this.sizes) - 1, this.law.batch.best(Math.max(this.tokens(budget), 1))];
    place = 0;
    while (place < last && this.sizes[place + 1].batch_size <= best) {
      place += 1;
    }
    while (place > 0 && this.sizes[place].steps(budget) < this.limits.min_steps) {
      place -= 1;
    }
    while (place < last && this.sizes[place].steps(budget) > this.limits.max_steps) {
      place += 1;
    }
    while (place < last && truth(this._better(budget, place + 1, place))) {
      place += 1;
    }
    while (place > 0 && truth(this._better(budget, place - 1, place))) {
      place -= 1;
    }
    return this.sizes[place];
  }
  /** Whether one batch size can be trained with the budget and reaches a lower loss than the other. */
  _better(budget, one, other) {
    const [first, second] = [this.sizes[one], this.sizes[other]];
    if (truth(first.refusal(budget))) {
      return false;
    }
    return first.loss(first.tokens(budget)) < second.loss(second.tokens(budget));
  }
  /** Optimiser steps that the budget buys, fractions included. */
  affordable_steps(budget) {
    return (this.relative_speed * budget - this.serving) / (this.pair_flops * this.batch_size);
  }
  /** Whole optimiser steps: to the nearest, as sweeps count them, and never beyond the allowed epochs. */
  steps(budget) {
    const affordable = this.affordable_steps(budget);
    return Math.trunc(Math.min(truth(this.whole_steps) ? Math.floor(affordable) : round(affordable), this.epoch_steps));
  }
  /** D: what the budget buys before rounding to whole steps, cut at the allowed epochs. */
  tokens(budget) {
    return Math.min(this.affordable_steps(budget), this.epoch_steps) * this.law_step_tokens;
  }
  /** FLOPs of `min_steps` steps and of serving. */
  least_flops() {
    return this.serving + this.limits.min_steps * this.batch_size * this.pair_flops;
  }
  /** Why this budget cannot train the candidate; empty when it can. */
  refusal(budget) {
    if (this.relative_speed * budget <= this.serving) {
      return `serving ${short(this.limits.serve_tokens)} tokens takes ${g(this.serving, 3)} FLOP, all of the budget`;
    }
    const steps = this.steps(budget);
    if (steps > this.limits.max_steps) {
      return `${grouped(steps, 0)} steps of ${grouped(this.batch_size, 0)} pairs, over the maximum of ${grouped(this.limits.max_steps, 0)}`;
    }
    if (steps >= this.limits.min_steps) {
      return '';
    }
    if (truth(this.lacks_pairs)) {
      return `the allowed epochs over ${short(this.limits.max_pairs)} pairs give ${fixed(this.epoch_steps, 0)} steps`;
    }
    return `${steps} steps, under the minimum of ${this.limits.min_steps}; needs ${g(this.least_flops(), 3)} FLOP`;
  }
  /** N, D, S, U as Law.at takes them; laws that do not know repetition get what the tokens are worth. */
  inputs(tokens) {
    let unique;
    unique = this.unique_tokens;
    if (!has(this.law.law.inputs, 'U') && tokens > unique) {
      [tokens, unique] = [worth(tokens, unique, PUBLISHED_REPEATS), Infinity];
    }
    return [this.params, tokens, this.trained_share, unique];
  }
  /** Those of `inputs` that this candidate's law takes, picked once and not for every bootstrap draw. */
  arguments(tokens) {
    const given = Object.fromEntries(zip('NDSU', this.inputs(tokens)));
    return list(list(this.law.law.inputs).map((name) => given[name]));
  }
  loss(tokens) {
    return this.law.law.loss(...list(this.arguments(tokens)));
  }
  /** Geometric mean of the draws' losses, nats per pair; the law's own without draws. */
  expected_loss(tokens) {
    const [laws, given] = [this.law.draws, this.arguments(tokens)];
    if (!truth(laws)) {
      return this.law.law.loss(...list(given));
    }
    const drift = this.drift(tokens);
    const logs = sum(list(laws).map((law) => Math.log(law.loss(...list(given))))) + sum(list(drift).map((factor) => Math.log(factor)));
    return Math.exp(logs / len(laws));
  }
  /** How far training on so many tokens, as the law counts them, lies beyond what the law was measured on. */
  extrapolation(tokens) {
    return Extrapolation.of(this.exact_spent(tokens), this.params, tokens, this.law, this.unseen);
  }
  /** By what the loss of each draw is multiplied for the distance from the law's range; empty within it. */
  drift(tokens) {
    return drift(this.law, this.exact_spent(tokens), this.params, tokens);
  }
  /** Training FLOPs by the exact count of so many tokens, as the law counts them. */
  exact_spent(tokens) {
    return tokens / this.law_step_tokens * this.batch_size * this.exact_pair_flops;
  }
}

/** Every model with every method of the laws that `methods` names (all when empty); and those that cannot be. */
export function candidates(book, models, methods, limits, count = 'exact', chips = 1, mixed = false, pair = null, context = 0, data = '', sizes = []) {
  let ways;
  [pair, context] = [either(pair, () => book.pair), either(context, () => book.training.context)];
  const [possible, refused] = [[], []];
  for (const law of list(book.laws)) {
    const kin = kin_of(book, law);
    const known = {};
    const own = truth(law.batch) ? sizes : truth(book.published) ? _smaller(sizes, pair.batch_size) : [];
    const roomy = [];
    for (const method of list(tunings(law, methods))) {
      for (const model of list(models)) {
        if (method !== law.method && has(roomy, model.name)) {
          continue;
        }
        ways = _ways(model, method, pair, context, limits, mixed, chips);
        const reason = either(method.refusal(model), () => either(_too_short(model, context), () => _too_large(model, limits)));
        if (truth(ways) || truth(reason)) {
          roomy.push(model.name);
        }
        if (truth(reason) || !truth(ways)) {
          refused.push(new Refusal({model: model.name, method: method.label, reason: either(reason, () => _no_room(limits))}));
          continue;
        }
        const [suite, other] = unseen_of(book, model, data);
        const unseen = list([suite, other].filter((name) => truth(name)));
        const made = [];
        for (const size of [pair.batch_size, ...list(own)]) {
          if (!has(known, [suite, size])) {
            known[[suite, size]] = carried(law, suite, other).at_batch(size);
          }
          const here = replace(pair, {batch_size: size});
          ways = _ways(model, method, here, context, limits, mixed, chips);
          const [step, here_law] = [_law_step_tokens(book, law, size), known[[suite, size]]];
          made.push(new Candidate({model, law: here_law, method, pair: here, count, batch: ways[0], limits, law_step_tokens: step, kin, unseen, ways}));
        }
        possible.push(replace(made[0], {sizes: list(made.slice(1))}));
      }
    }
  }
  return [possible, refused];
}

export function _step_seconds(candidate, way, machine) {
  const [model, method, pair] = [candidate.model, candidate.method, candidate.pair];
  return machine.step_seconds(model, method, pair, way.repeated, way.pass_tokens, way.sharded);
}

export const WORTH_AN_OPTION = 0.9;

/** The place of the way that a step takes the fewest seconds in. A simpler one goes first unless the other saves a */
export function fastest(seconds) {
  let best;
  best = 0;
  for (const [place, taken] of enumerate(seconds)) {
    if (taken < WORTH_AN_OPTION * seconds[best]) {
      best = place;
    }
  }
  return best;
}

export function _fastest(candidate, machine) {
  const seconds = list(candidate.ways).map((way) => _step_seconds(candidate, way, machine));
  const best = fastest(seconds);
  const sizes = list(list(candidate.sizes).map((each) => _fastest(each, machine)));
  return replace(candidate, {batch: candidate.ways[best], step_seconds: seconds[best], sizes: sizes});
}

/** The candidates with the time that a step of each takes on the machine, in the way that is fastest there. */
export function on_machine(possible, machine) {
  return truth(machine) ? list(possible).map((candidate) => _fastest(candidate, machine)) : list(possible);
}

export function _at_speed(candidate, machine) {
  const sizes = list(list(candidate.sizes).map((each) => _at_speed(each, machine)));
  return replace(candidate, {relative_speed: candidate.rate / machine.rate, whole_steps: true, sizes: sizes});
}

/** The candidates at their speed on the machine: in a budget of time, the faster ones make more FLOPs. */
export function timed(possible, budget, machine) {
  if (machine == null || budget.kind === 'flops') {
    return list(possible);
  }
  return list(possible).map((candidate) => _at_speed(candidate, machine));
}

/** The contenders that this budget can train, lowest predicted loss first. */
export function ranked(contenders, budget) {
  const chosen = list(contenders).map((contender) => contender.at(budget));
  const fits = list(chosen).filter((contender) => !(truth(contender.refusal(budget))));
  return sorted(fits, {key: (contender) => contender.loss(contender.tokens(budget))});
}

/** The candidates that this budget can train, lowest predicted loss first, and the others with the reason. */
export function feasible(possible, budget) {
  let reason;
  const others = list(possible).flatMap((candidate) => (truth(reason = candidate.at(budget).refusal(budget))) ? [new Refusal({model: candidate.model.name, method: candidate.method.label, reason})] : []);
  return [ranked(possible, budget), others];
}

/** Log-spaced budgets, both ends among them. */
export function budget_grid(low, high, per_decade) {
  const count = Math.max(1, Math.ceil(Math.log10(high / low) * per_decade));
  return range(count + 1).map((place) => low * (high / low) ** (place / count));
}

/** The draws of a contender's law, what they are asked at a budget, and what each answer is multiplied with. */
export function _column(contender, budget) {
  const tokens = contender.tokens(budget);
  return [contender.law.draws, contender.arguments(tokens), contender.drift(tokens)];
}

export function _drawn(laws, given, drift, draw) {
  const loss = laws[draw].loss(...list(given));
  return truth(drift) ? loss * drift[draw] : loss;
}

/** How surely a contender is the best at a budget, over the paired bootstrap draws of the laws. */
export class Odds {
  constructor({best, regret, share}) {
    Object.assign(this, {best, regret, share});
  }
}

/** The odds of every contender; None when some law has no draws. */
export function odds(contenders, budget) {
  let logs, least;
  const draws = min(list(contenders).map((contender) => len(contender.law.draws)), {default: 0});
  if (!truth(draws)) {
    return null;
  }
  const columns = list(contenders).map((contender) => _column(contender, budget));
  const [wins, regrets] = [repeat([0], len(contenders)), repeat([0], len(contenders))];
  [logs, least] = [repeat([0], len(contenders)), 0];
  for (const draw of range(draws)) {
    const losses = list(columns).map(([laws, given, drift]) => _drawn(laws, given, drift, draw));
    const best = min(losses);
    wins[losses.indexOf(best)] += 1;
    for (const [place, loss] of enumerate(losses)) {
      regrets[place] += loss - best;
      logs[place] += Math.log(loss);
    }
    least += Math.log(best);
  }
  return zip(wins, regrets, logs).map(([win, regret, log]) => new Odds({best: win / draws, regret: regret / draws, share: (log - least) / draws}));
}

/** The contenders with their odds, the lowest expected regret first; in the order given without draws. */
export function by_regret(fits, budget) {
  const chances = odds(fits, budget);
  if (chances == null) {
    return list(fits).map((contender) => [contender, null]);
  }
  const order = sorted(range(len(fits)), {key: (place) => chances[place].share});
  return list(order).map((place) => [fits[place], chances[place]]);
}

/** Label of the method with the lowest predicted loss; empty where the budget can train no contender. */
export function best_method(contenders, budget) {
  const fits = ranked(contenders, budget);
  return truth(fits) ? fits[0].law.label : '';
}

export function _bisect(contenders, low, high, below) {
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (best_method(contenders, middle) === below) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return Math.sqrt(low * high);
}

export const NEAREST = 4;

/** For every budget: the columns of the NEAREST best contenders that it can train. */
export function _columns(contenders, grid) {
  return list(grid).map((budget) => list(ranked(contenders, budget).slice(0, NEAREST)).map((contender) => _column(contender, budget)));
}

export const DRAWS = 100;

/** By how much the second frontier lies above the first at every budget, in one draw. */
export function _gap(first, second, draw) {
  const ends = [first, second].map((side) => list(side).map((columns) => min(list(columns).map((column) => _drawn(...list(column), draw)), {default: Infinity})));
  return zip(...list(ends)).map(([a, b]) => a === b ? 0 : b - a);
}

/** 90 % interval of places on a grid; None for an end at 0 or infinity, which lies beyond the grid, or of none. */
export function open_interval(places) {
  const ordered = sorted(places);
  if (!truth(ordered)) {
    return [null, null];
  }
  const ends = [0.05, 0.95].map((share) => ordered[round(share * (len(ordered) - 1))]);
  const [low, high] = list(ends).map((end) => 0 < end && end < Infinity ? end : null);
  return [low, high];
}

/** Where the gap turns negative, nearest to `near`; 0 or infinity when it always or never is. */
export function _sign_change(grid, gap, near) {
  const changes = [];
  for (const place of range(1, len(grid))) {
    const [before, after] = [gap[place - 1], gap[place]];
    if (before > 0 && 0 >= after) {
      const share = Number.isFinite(before - after) ? before / (before - after) : 0.5;
      changes.push(grid[place - 1] * (grid[place] / grid[place - 1]) ** share);
    }
  }
  if (truth(changes)) {
    return min(changes, {key: (place) => Math.abs(Math.log(place / near))});
  }
  return gap.at(-1) < 0 ? 0 : Infinity;
}

/** A budget at which the best method changes. */
export class Crossover {
  constructor({flops, low, high, below, above}) {
    Object.assign(this, {flops, low, high, below, above});
  }
}

/** The crossover with the spread of its nearest counterpart in every draw. */
export function _with_interval(contenders, flops, below, above, low, high) {
  const grid = budget_grid(Math.max(low, flops / 1000), Math.min(high, flops * 1000), 3);
  const sides = [below, above].map((label) => list(contenders).filter((contender) => contender.law.label === label));
  const draws = min(list(sides).flatMap((side) => list(side).map((contender) => len(contender.law.draws))));
  const [first, second] = list(sides).map((side) => _columns(side, grid));
  const gaps = range(Math.min(draws, DRAWS)).map((draw) => _gap(first, second, draw));
  const [low_end, high_end] = open_interval(list(gaps).map((gap) => _sign_change(grid, gap, flops)));
  return new Crossover({flops, low: low_end, high: high_end, below, above});
}

/** Every change of the best method between two budgets, lowest first. */
export function crossovers(contenders, low, high) {
  const changes = [];
  const grid = budget_grid(low, high, 6);
  const labels = list(grid).map((budget) => best_method(contenders, budget));
  for (const place of range(1, len(grid))) {
    const [below, above] = [labels[place - 1], labels[place]];
    if (truth(below) && truth(above) && below !== above) {
      const flops = _bisect(contenders, grid[place - 1], grid[place], below);
      if (any(list(ranked(contenders, flops / 1.01)).map((contender) => contender.law.label === above))) {
        changes.push(_with_interval(contenders, flops, below, above, low, high));
      }
    }
  }
  return changes;
}

/** The lowest loss that a method reaches with a budget. */
export class FrontierPoint {
  constructor({budget, loss, low, high}) {
    Object.assign(this, {budget, loss, low, high});
  }
}

export function _point(contenders, budget) {
  const fits = ranked(contenders, budget);
  if (!truth(fits)) {
    return null;
  }
  const [best, tokens] = [fits[0], fits[0].tokens(budget)];
  const ends = best.law.interval(...list(best.inputs(tokens)), false, best.drift(tokens));
  return new FrontierPoint(named(['budget', 'loss', 'low', 'high'], [budget, best.loss(tokens), ...list(ends)]));
}

/** What the contenders of one method reach along budgets; None where a budget can train none of them. */
export function frontier(contenders, budgets) {
  return list(budgets).map((budget) => _point(contenders, budget));
}

export const LARGEST_BUDGET = 1e+30;

/** Where crossovers are searched: the measured and the asked budgets, ten times further below, and far above. */
export function searched_budgets(measured, budget) {
  const [low, high] = measured;
  return [Math.min(low, budget) / 10, Math.min(Math.max(high, budget) * 10, Math.max(high, LARGEST_BUDGET))];
}

/** Of which family a law is, or of which families with their weights. */
export function _form(law) {
  if (len(law.weights) === 1) {
    return law.family;
  }
  return `weighted mean of ${join(', ', items(law.weights).map(([name, weight]) => `${name} ${fixed(weight, 2)}`))}`;
}

export const ASKED = 'as asked';

/** A batch size to two digits: 130, 2,100. */
export function rounded(pairs) {
  return pairs < 99.5 ? `${fixed(pairs, 0)}` : `${grouped(Number(`${g(pairs, 2)}`), 0)}`;
}

/** Where the batch size comes from, the best one with its interval, and the regret of the one taken. */
export function _batch_origin(recipe, under) {
  const batch = recipe.batch;
  const parts = [truth(batch.best) || batch.source === ASKED ? batch.source : `${batch.source}, ${under}`];
  if (batch.best != null) {
    const ends = batch.interval;
    const between = truth(ends) ? `, 90 % ${rounded(ends[0])} to ${rounded(ends[1])}` : '';
    parts.push(`best for ${g(recipe.tokens, 3)} tokens ${rounded(batch.best)} pairs${between}`);
  }
  if (batch.given_away != null) {
    parts.push(`regret of ${grouped(recipe.trial.training.batch_size, 0)} pairs ${g(100 * Math.max(batch.given_away, 0), 2)} %`);
  }
  return join('; ', [...list(parts), ...list(truth(batch.beside) ? [batch.beside] : [])]);
}

/** Warm-up, cooldown and weight decay of a recipe in words. */
export function _schedule(recipe) {
  const [training, steps] = [recipe.trial.training, recipe.trial.steps];
  const warm = either(training.warmup_steps, () => round(training.warmup * steps));
  const falls = training.schedule === 'wsd' ? `the last ${percent(training.cooldown, 0)} falling to 0` : 'a half cosine to 0';
  return `${training.schedule}: ${grouped(warm, 0)} steps of warm-up, then ${falls}; weight decay ${g(training.weight_decay, 6)}`;
}

export const SCHEDULE = ['schedule', 'warmup', 'warmup_steps', 'cooldown', 'weight_decay'];

/** Whose schedule and weight decay these are. */
export function _as_in(book, recipe) {
  let whose;
  const [training, under] = [recipe.trial.training, book.training];
  const own = list(SCHEDULE).filter((name) => training[name] !== under[name]);
  whose = `those of the runs of ${book.name}, which tried no others`;
  if (truth(book.published)) {
    whose = `those of ${book.published}, section 4.1 and appendix E`;
  }
  return truth(own) ? `${whose}, but for ${join(', ', own)}, as asked` : whose;
}

export const QUANTIZED = '4 bits cost no accuracy in Dettmers et al. 2023 (section 4), on other tasks; not measured here';

/** Part of the answer -> where it comes from. */
export function provenance(book, recipe, candidate, machine, count) {
  let here, what, under, shared;
  const [law, source] = [candidate.law, get(book.source, 'name', 'a sweep')];
  [here, what, under] = ['measured here', `${law.rows} trials of ${source}`, `in ${source}`];
  if (truth(book.published)) {
    under = `in ${either(book.weighed_by, () => book.published)}`;
    [here, what] = ['within its grid', `facts printed in ${book.published}`];
  }
  const distance = truth(recipe.extrapolation.within_range) ? here : String(recipe.extrapolation);
  const drawn = truth(book.published) ? 'draws of laws that agree with the facts' : 'paired bootstrap draws';
  const origins = {loss: `law of ${law.label}, ${what}; ${distance}`, law: _form(law), choice: `lowest expected regret among the candidates; ${len(law.draws)} ${drawn}`, learning_rate: recipe.lr_source, batch_size: _batch_origin(recipe, under), temperature: recipe.temperature_source, ['schedule, weight decay']: `${_schedule(recipe)}; ${_as_in(book, recipe)}`, tokens: `${count} FLOPs of this shape; ${g(candidate.pair.tokens, 4)} tokens per pair`, memory: 'estimated from the shape and from what the trainer keeps' + (truth(recipe.sharded) ? ', sharded' : '') + (truth(recipe.recompute) ? ', gradient checkpointing' : '')};
  if (truth(candidate.borrows)) {
    origins['method'] = `${candidate.method.label} by the law of ${law.label}: ${QUANTIZED}`;
  }
  if (truth(shared = get(book.source, 'with'))) {
    origins['exponents'] = `${join(', ', shared['shared'])} shared with ${shared['observations']} trials of ${shared['name']}; ${join(', ', shared['own'])} from ${source} alone`;
  }
  if (candidate.limits.max_pairs < Infinity && !truth(law.law.knows_repetition)) {
    origins['repeated data'] = 'published: Muennighoff et al. 2023, R* = 15.4, pretraining';
  }
  if (truth(machine)) {
    origins['hours'] = machine.origin(candidate.model, candidate.method);
  }
  return origins;
}

export const FARTHEST = 3;

/** What the loss is predicted from where the conditions are not those of the laws. */
export function _counted(book, recipe, candidate) {
  if (truth(candidate.law.batch)) {
    return 'the loss is predicted from the pairs and the batch size alone';
  }
  const share = recipe.trial.training.batch_size / book.training.batch_size;
  if (share < 1) {
    return `a step counts as ${g(share, 2)} of a measured step, by its pairs`;
  }
  return 'the loss is predicted from the number of steps alone';
}

/** What is to be told of a longer context where nobody said how long the texts are. */
export function _as_short(book, recipe, tokens) {
  if (recipe.trial.training.context <= book.training.context || tokens !== book.pair.tokens) {
    return '';
  }
  return `; pairs are assumed to have ${g(tokens, 3)} tokens, as in the laws: say how many yours have`;
}

export function _distance(book, candidate, recipe, conditions) {
  let text, suites;
  const [far, data, caveats] = [recipe.extrapolation, recipe.trial.training.data, []];
  if (far.decades > FARTHEST) {
    text = `more than ${grouped(10 ** FARTHEST, 0)}x beyond what was measured: no loss, no probability; the recipe is a guess`;
    caveats.push(new Caveat({code: 'too-far', text}));
  } else if (!truth(far.within_range)) {
    const [law, here] = [candidate.law, candidate.law.drift == null ? 'assumed' : 'from the backtest'];
    text = `${far}: interval, probability and regret include a model error of ${percent(drift_sd(law), 1)} per decade`;
    caveats.push(new Caveat({code: 'extrapolated', text: `${text} (${here})`}));
  }
  if (truth(suites = list(far.unseen).filter((name) => name !== data))) {
    text = `${suites[0]} was not measured: the loss is predicted from N, the cost from its shapes; the laws' factors`;
    caveats.push(new Caveat({code: 'other-suite', text: `${text} are assumed to differ by ${percent(FACTOR_SPREAD, 0)}`}));
  }
  if (has(far.unseen, data) && truth(book.training)) {
    text = `laws measured on ${book.training.data}: on ${data} all losses may be ${g(Math.exp(LEVEL_SPREAD), 2)}x higher`;
    caveats.push(new Caveat({code: 'other-data', text: `${text} or lower (one standard deviation), with the same ranking and exponents`}));
  }
  const differ = sorted(items(conditions)).filter(([name, value]) => truth(book.training) && value !== book.training[name] && !(name === 'batch_size' && truth(candidate.law.batch))).map(([name, value]) => `${name} ${value}`);
  if (truth(differ)) {
    text = `the laws were not measured at ${join(', ', differ)}; ${_counted(book, recipe, candidate)}`;
    text += _as_short(book, recipe, candidate.pair.tokens);
    caveats.push(new Caveat({code: 'other-conditions', text}));
  }
  return caveats;
}

/** Far below its runs a law gives losses above chance, the ln of the pairs that a query is told from (nats). */
export function _above_chance(book, recipe) {
  if (recipe.loss == null || !truth(book.training)) {
    return [];
  }
  const pairs = Math.max(book.training.batch_size, book.training.pool_size);
  if (recipe.loss <= Math.log(pairs)) {
    return [];
  }
  const text = `this loss is above chance, ln ${grouped(pairs, 0)} = ${fixed(Math.log(pairs), 2)} nats: the laws do not hold here`;
  return [new Caveat({code: 'above-chance', text})];
}

export const AS_ASKED = 'as asked';

/** The peak learning rate of a recipe. */
export class PeakRate {
  constructor({rate, source, interval = null}) {
    Object.assign(this, {rate, source, interval});
  }
}

export const MEASURED = 'measured: the best of the rates tried for this model';

export const LETTERS = {params: 'N', batch_size: 'B', rank: 'rank'};

/** How far a model, a batch size and a rank lie beyond those that rates were searched for. */
export function _beyond(rule, asked) {
  let factor;
  const [told, what] = [[], {params: 'models', batch_size: 'batch sizes', rank: 'ranks'}];
  for (const [name, [low, high]] of items(rule.ranges)) {
    if ((factor = extrapolation_factor(asked[name], [low, high])) === 1) {
      continue;
    }
    if (low === high) {
      told.push(`its exponent of ${LETTERS[name]} is assumed: only one value was searched`);
    } else {
      told.push(`extrapolated ${times(factor)} beyond the ${what[name]} searched`);
    }
  }
  return told;
}

/** The best rate tried for the model at the batch size, else what the rule says. */
export function _by_rule(rule, candidate) {
  let text, best;
  const [batch, rank] = [candidate.batch_size, Number(get(candidate.method.options, 'rank', 1))];
  const [rate, sd] = rule.predict(candidate.params, batch, rank);
  const interval = [rate * Math.exp(-NORMAL * sd), rate * Math.exp(NORMAL * sd)];
  const own = get(candidate.method.options, 'rank') === get(candidate.law.settings, 'rank');
  if (truth(own) && truth(best = rule.measured(candidate.model.name, batch))) {
    return new PeakRate({rate: best, source: `${MEASURED} and batch size`, interval});
  }
  text = `rule of ${rule.searches} searches: ${rule.formula()}`;
  text += truth(rule.batches_from) ? `, exponent of B from ${rule.batches_from}` : '';
  text += `, 90 % ${g(interval[0], 2)} to ${g(interval[1], 2)}`;
  const asked = {params: Number(candidate.params), batch_size: Number(batch), rank: rank};
  return new PeakRate({rate, source: join('; ', [text, ...list(_beyond(rule, asked))]), interval});
}

export const BATCH_SLOPE = 0.25;

/** The peak rate. Raises ValueError when the law book holds none for the method. */
export function learning_rate(candidate) {
  const law = candidate.law;
  if (truth(law.rate_rule)) {
    return _by_rule(law.rate_rule, candidate);
  }
  const [peak, batch] = [rate_by_size(candidate), law.rates_batch];
  if (batch == null || batch === candidate.batch_size) {
    return peak;
  }
  const factor = (candidate.batch_size / batch) ** BATCH_SLOPE;
  const text = `${peak.source}; times (B / ${grouped(batch, 0)})^${g(BATCH_SLOPE, 6)}, assumed: half-way between no scaling and a square root`;
  return new PeakRate({rate: factor * peak.rate, source: text});
}

export const RATE_STEP = 3;

export function _rate(recipe, candidate) {
  if (recipe.lr_source !== AS_ASKED || !(truth(candidate.law.rate_rule) || truth(candidate.law.learning_rates))) {
    return [];
  }
  const usual = learning_rate(candidate).rate;
  const factor = Math.max(recipe.trial.lr / usual, usual / recipe.trial.lr);
  if (factor < RATE_STEP) {
    return [];
  }
  const side = recipe.trial.lr > usual ? 'above' : 'below';
  const text = `the learning rate is ${times(factor)} ${side} the best one, about ${g(usual, 2)}, for which the loss is predicted`;
  return [new Caveat({code: 'other-rate', text: `${text}: expect a higher loss`})];
}

export const WORTH_TELLING = 0.005;

/** The regret of a batch size that was asked for. */
export function _batch(recipe) {
  const batch = recipe.batch;
  if (batch.source !== ASKED || batch.best == null || batch.given_away == null || batch.given_away < WORTH_TELLING) {
    return [];
  }
  const [size, given] = [recipe.trial.training.batch_size, 100 * batch.given_away];
  return [new Caveat({code: 'batch-size', text: `batch size ${grouped(size, 0)} has a regret of ${g(given, 2)} % of the loss against ${rounded(batch.best)}`})];
}

export const SURE = 0.9;

/** The name of the candidate's suite where the laws have not seen it; "" where they have. */
export function _unseen_suite(candidate, recipe) {
  const names = list(candidate.unseen).filter((name) => name !== recipe.trial.training.data);
  return truth(names) ? names[0] : '';
}

export const FEW_ROWS = 15;

/** What else the exponents of a law rest on, where another sweep shares them. */
export function _borrowed(law, book) {
  const shared = get(book.source, 'with');
  if (!truth(shared) || !truth(law.shared)) {
    return '';
  }
  return `, its exponents on ${shared['observations']} of ${shared['name']} too`;
}

export function _choice(book, recipe, fits) {
  let text;
  const [candidate, caveats] = [fits[0], []];
  if (!truth(candidate.law.draws)) {
    text = 'the law has no bootstrap draws: the uncertainty of this choice is not known';
    caveats.push(new Caveat({code: 'no-draws', text}));
  } else if (recipe.best != null && recipe.best < SURE && len(fits) > 1) {
    text = `the top candidates are statistically tied: this one is best with probability ${fixed(recipe.best, 2)}`;
    text += `, expected regret ${g(recipe.regret, 3)} nats`;
    caveats.push(new Caveat({code: 'not-told-apart', text}));
  }
  const suites = new Set(list(fits).map((other) => _unseen_suite(other, recipe)));
  if (len(suites) > 1) {
    text = 'suites without measurements are compared by size and cost alone: another one may be better';
    caveats.push(new Caveat({code: 'suites-unknown', text: `${text} than this answer; only runs can show it`}));
  }
  const sizes = sorted(new Set(list(fits).map((other) => other.model.params)));
  if (len(sizes) > 1 && has([sizes[0], sizes.at(-1)], recipe.params)) {
    const [end, beyond] = recipe.params === sizes.at(-1) ? ['largest', 'larger'] : ['smallest', 'smaller'];
    text = `the ${end} model within these limits wins: a ${beyond} one may be better`;
    caveats.push(new Caveat({code: 'edge-of-menu', text}));
  }
  if (candidate.law.rows < FEW_ROWS && !truth(book.published)) {
    text = `the law of ${candidate.law.label} rests on ${candidate.law.rows} trials${_borrowed(candidate.law, book)}`;
    caveats.push(new Caveat({code: 'few-rows', text}));
  }
  return caveats;
}

export function _borrows(candidate) {
  if (!truth(candidate.borrows)) {
    return [];
  }
  const text = `${candidate.method.name} has no law of its own and is predicted by that of ${candidate.law.label}`;
  return [new Caveat({code: 'borrowed-law', text: `${text}: ${QUANTIZED}`})];
}

export function _data(recipe, candidate, budget, published) {
  let text;
  const caveats = [];
  const unspent = budget - recipe.serving_flops - recipe.flops;
  if (unspent > 0.05 * budget && recipe.epochs != null) {
    text = `pairs are the limit: ${percent(unspent / budget, 0)} of the budget stays unspent at ${g(recipe.epochs, 3)} epochs`;
    if (truth(published)) {
      text += '; the paper also takes the largest model then (appendix D)';
    }
    caveats.push(new Caveat({code: 'data-limited', text}));
  }
  if (recipe.epochs != null && recipe.epochs > 1 && !truth(candidate.law.law.knows_repetition)) {
    text = `the value of ${g(recipe.epochs, 3)} epochs was measured on pretraining, not here: monitor a held-out score`;
    caveats.push(new Caveat({code: 'repeated-data', text}));
  }
  return caveats;
}

/** Unless the pairs are counted, the tokens are taken as fresh; the data of the law may be fewer. */
export function _repeats(book, recipe) {
  const unique = get(book.source, 'unique_tokens');
  const data = recipe.trial.training.data;
  if (recipe.epochs != null || has(recipe.extrapolation.unseen, data) || !truth(unique) || recipe.tokens <= unique) {
    return [];
  }
  const passes = `${g(recipe.tokens / unique, 3)} passes over the pairs that the laws were measured on`;
  const text = `the recipe makes ${passes}, and its loss is predicted for fresh pairs: say how many pairs there are`;
  return [new Caveat({code: 'pairs-unknown', text})];
}

export const IDLE = 0.05;

/** A time as people say it: 4.4 ms, 14 s, 6.5 min, 24 h. */
export function time_text(seconds) {
  for (const [unit, size] of [['h', 3600], ['min', 60], ['s', 1]]) {
    if (seconds >= size) {
      return `${g(seconds / size, 3)} ${unit}`;
    }
  }
  return `${g(1000 * seconds, 3)} ms`;
}

export function _time(recipe) {
  let text;
  if (recipe.utilisation == null || recipe.step_seconds == null || recipe.utilisation >= IDLE) {
    return [];
  }
  text = `a step of ${recipe.trial.training.batch_size} pairs takes ${time_text(recipe.step_seconds)}`;
  text += ` at ${percent(recipe.utilisation, 1)} of the machine's peak rate`;
  text += recipe.chips > 1 ? ': fewer chips would be nearly as fast' : '';
  return [new Caveat({code: 'short-steps', text})];
}

/** The warnings of an answer, and after them those that the fit gave already. */
export function warnings(book, recipes, fits, budget, conditions) {
  const [recipe, candidate] = [recipes[0], fits[0]];
  return [...list(_distance(book, candidate, recipe, conditions)), ...list(_above_chance(book, recipe)), ...list(_rate(recipe, candidate)), ...list(_batch(recipe)), ...list(_choice(book, recipe, fits)), ...list(_borrows(candidate)), ...list(_data(recipe, candidate, budget, book.published !== '')), ...list(_repeats(book, recipe)), ...list(_time(recipe)), ...list(book.warnings)];
}

export const REACH = 6;

/** Decades that a budget lies beyond those of a law book, on either side; 0 within. */
export function decades_of_compute(book, flops) {
  return Math.log10(extrapolation_factor(flops, book.measured.flops));
}

/** Raises ValueError for a budget (FLOPs) that lies so far above every law book that no answer means anything. */
export function check_reach(books, flops) {
  const nearest = min(books, {key: (book) => decades_of_compute(book, flops)});
  const most = nearest.measured.flops[1] * 10 ** REACH;
  if (flops > most) {
    throw new Error(`\`budget\` of ${g(flops, 3)} FLOP lies ${fixed(decades_of_compute(nearest, flops), 0)} decades beyond the nearest law book (${nearest.name}, up to ${g(nearest.measured.flops[1], 2)} FLOP); \`plan\` answers up to ${g(most, 1)}`);
  }
}

/** What one law book says to a question. */
export class Consulted {
  constructor({book, considered, refused, ranked, size, budget, data}) {
    Object.assign(this, {book, considered, refused, ranked, size, budget, data});
  }
  /** The answer. */
  get best() {
    return this.ranked[0][0];
  }
  /** Decades from what the book has measured; planner/evidence.py has the rule. */
  get distance() {
    const asked = this.budget.flops / this.best.relative_speed;
    const far = this.best.extrapolation(this.best.tokens(asked));
    return replace(far, {flops: Math.max(far.flops, extrapolation_factor(asked, this.best.law.measured.flops))}).distance;
  }
  get sentence() {
    return `${this.best.model.name} with ${this.best.method.label}`;
  }
}

/** A law book without an answer. */
export class Silent {
  constructor({book, reason, few_pairs}) {
    Object.assign(this, {book, reason, few_pairs});
  }
}

/** The training temperature of a recipe. */
export class TemperatureChoice {
  constructor({temperature, source}) {
    Object.assign(this, {temperature, source});
  }
}

/** What is known of a temperature that was asked for. */
export function _asked(asked, own, rule) {
  if (asked === own) {
    return 'that of the laws';
  }
  if (rule == null) {
    return `the laws were measured at ${g(own, 6)} only`;
  }
  const [best, low, high] = rule.best(rule.batch_size);
  const beyond = rule.tried[0] <= asked && asked <= rule.tried[1] ? '' : `, ${g(rule.tried[0], 6)} to ${g(rule.tried[1], 6)} were tried`;
  return `best ${g(best, 2)}, 90 % ${g(low, 2)} to ${g(high, 2)} (${rule.runs})${beyond}`;
}

/** The temperature of a recipe by a law. conditions: settings that were asked for. */
export function temperature_choice(law, book, batch_size, conditions) {
  let told, factor;
  const [own, rule] = [book.training.temperature, law.temperature_rule];
  if (has(conditions, 'temperature')) {
    const asked = Number(conditions['temperature']);
    return new TemperatureChoice({temperature: asked, source: `as asked; ${_asked(asked, own, rule)}`});
  }
  if (truth(book.published)) {
    return new TemperatureChoice({temperature: own, source: `published: ${either(book.weighed_by, () => book.published)}`});
  }
  if (rule == null) {
    return new TemperatureChoice({temperature: own, source: `default: as in the runs of ${book.name}, which tried no other`});
  }
  const [best, low, high] = rule.best(Math.min(Math.max(Number(batch_size), rule.batches[0]), rule.batches[1]));
  told = `measured (${rule.runs}, ${rule.curves} curves): best ${g(best, 2)}, 90 % ${g(low, 2)} to ${g(high, 2)}`;
  told += join('', items(rule.by_scores).map(([name, temperature]) => `; by ${name} ${g(temperature, 2)}`));
  if ((factor = extrapolation_factor(batch_size, rule.batches)) > 1) {
    told += `; the batch size lies ${times(factor)} beyond those tried, so the nearest one's is taken`;
  }
  if (low <= own && own <= high) {
    return new TemperatureChoice({temperature: own, source: told});
  }
  return new TemperatureChoice({temperature: Number(`${g(best, 2)}`), source: `${told}; the loss is predicted for, and measured at, ${g(own, 6)} as in the laws`});
}

/** One training run, completely described. */
export class Trial {
  constructor({model, method, training, lr, steps, seed = 0, budget = 0, model_hash = ''}) {
    Object.assign(this, {model, method, training, lr, steps, seed, budget, model_hash});
  }
  /** Training pairs seen, repeats counted. */
  get pairs() {
    return this.steps * this.training.batch_size;
  }
}

export const NODE = 8;

/** A trial and what is predicted of it. */
export class Recipe {
  constructor({trial, params, dim, tokens, epochs, flops, exact_flops, serving_flops, loss, low, high, best, regret, share, lr_source, lr_interval, temperature_source, batch, memory, micro_batch_tokens, second_forward, chips, sharded, recompute, step_seconds, utilisation, hours, cost, extrapolation}) {
    Object.assign(this, {trial, params, dim, tokens, epochs, flops, exact_flops, serving_flops, loss, low, high, best, regret, share, lr_source, lr_interval, temperature_source, batch, memory, micro_batch_tokens, second_forward, chips, sharded, recompute, step_seconds, utilisation, hours, cost, extrapolation});
  }
  /** Training pairs, repeats counted. */
  get pairs() {
    return this.trial.pairs;
  }
  /** The command that trains the recipe in `file`. */
  train_command(file) {
    const options = (truth(this.sharded) ? ' --shard' : '') + (truth(this.recompute) ? ' --recompute' : '');
    if (this.chips === 1) {
      return `embed train ${file}${options}`;
    }
    const each = Math.min(this.chips, NODE);
    const nodes = this.chips > each ? `--nnodes ${Math.ceil(this.chips / each)} ` : '';
    return `torchrun ${nodes}--nproc-per-node ${each} -m runner.cli train ${file}${options}`;
  }
  /** Whether the recipe lies within what was measured and is the best with high probability. */
  get sure() {
    return both(this.extrapolation.distance === 0, () => both(this.best != null, () => this.best >= SURE));
  }
  /** What is expected of the trial, under the names of the JSON document. */
  predicted() {
    return {params: this.params, dim: this.dim, tokens: this.tokens, pairs: this.pairs, epochs: this.epochs, flops: this.flops, exact_flops: this.exact_flops, serving_flops: this.serving_flops, loss: this.loss, interval: this.low == null ? null : [this.low, this.high], best_probability: this.best, expected_regret: this.regret, expected_regret_share: this.share, lr_source: this.lr_source, lr_interval: this.lr_interval, temperature_source: this.temperature_source, batch_source: this.batch.source, batch_best: this.batch.best, batch_interval: this.batch.interval == null ? null : list(this.batch.interval), batch_given_away: this.batch.given_away, memory_bytes: this.memory, micro_batch_tokens: this.micro_batch_tokens, second_forward: this.second_forward, chips: this.chips, sharded: this.sharded, recompute: this.recompute, step_seconds: this.step_seconds, utilisation: this.utilisation, hours: this.hours, cost: this.cost};
  }
}

export const PUBLISHED = 'published';

export const OF_THE_LAWS = 'that of the laws, measured at one batch size';

/** The batch size of a recipe and where it comes from. */
export class BatchChoice {
  constructor({source, best = null, interval = null, given_away = null, beside = ''}) {
    Object.assign(this, {source, best, interval, given_away, beside});
  }
  /** Whether a law chose it. */
  get by_law() {
    return both(this.best != null, () => this.source !== ASKED);
  }
}

export const BATCHES = 'batch';

/** What a book knows of batch size for a method: of the same settings, else of the same name, else of any method. */
export function batch_law_of(book, law) {
  const name = String(law.settings['name']);
  const every = list(book.laws).filter((other) => truth(other.batch));
  const ranked = sorted(every, {key: (other) => [other.label !== law.label, other.settings['name'] !== name]});
  return truth(ranked) ? ranked[0].batch : null;
}

/** What our own runs of several batch sizes would say, however far they lie from the question; "" without any. */
export function _beside(candidate, tokens) {
  const lender = bundled(BATCHES);
  const batch = truth(lender) ? batch_law_of(lender, candidate.law) : null;
  if (batch == null) {
    return '';
  }
  const [best, ends] = [batch.best(tokens), batch.interval(tokens)];
  const between = truth(ends) ? `, 90 % ${rounded(ends[0])} to ${rounded(ends[1])}` : '';
  const far = times(extrapolation_factor(tokens, batch.tokens));
  const text = `our own runs (sweep ${batch.runs}) give ${rounded(best)} pairs as the best${between}`;
  return `${text}; extrapolated ${far} in tokens`;
}

export const WITHIN = 'measured';

export function _at_best(candidate, best, tokens) {
  const law = candidate.law.law;
  const given = candidate.arguments(tokens);
  return Number(replace(law, {batch: best}).loss(...list(given)));
}

/** Where the batch size of a recipe of so many tokens comes from, as the law counts them. */
export function batch_choice(candidate, tokens, book, asked) {
  let plain;
  const batch = candidate.law.batch;
  if (batch == null) {
    plain = truth(book.published) && !truth(book.weighed_by) ? PUBLISHED : OF_THE_LAWS;
    if (candidate.batch_size !== book.training.batch_size) {
      plain += ` ${grouped(book.training.batch_size, 0)}, reduced to allow ${grouped(ENOUGH_STEPS, 0)} steps`;
    }
    return new BatchChoice({source: truth(asked) ? ASKED : plain, beside: _beside(candidate, tokens)});
  }
  const [size, best] = [candidate.batch_size, batch.best(tokens)];
  const tried = [Number(batch.sizes[0]), Number(batch.sizes.at(-1))];
  const beyond = Math.max(extrapolation_factor(tokens, batch.tokens), extrapolation_factor(size, tried));
  const source = beyond === 1 ? WITHIN : `by law, extrapolated ${times(beyond)}`;
  const given = candidate.loss(tokens) / _at_best(candidate, best, tokens) - 1;
  return new BatchChoice({source: truth(asked) ? ASKED : `${source} (sweep ${batch.runs})`, best, interval: batch.interval(tokens), given_away: given});
}

/** The recipe that this candidate of a book makes of the budget, in whole steps. */
export function recipe_of(candidate, budget, question, book, chance = null) {
  let training;
  const machine = question.machine;
  const peak = question.lr == null ? learning_rate(candidate) : new PeakRate({rate: question.lr, source: AS_ASKED});
  const [steps, spent] = [candidate.steps(budget), candidate.relative_speed * budget];
  training = replace(question.training(book), {batch_size: candidate.batch_size});
  const temperature = temperature_choice(candidate.law, book, candidate.batch_size, question.conditions);
  if (!has(question.conditions, 'temperature') && temperature.temperature !== training.temperature) {
    const held_out = either(training.loss_temperature, () => training.temperature);
    training = replace(training, {temperature: temperature.temperature, loss_temperature: held_out});
  }
  const trial = new Trial({model: candidate.model.name, method: candidate.method, training, lr: peak.rate, steps, seed: 0, budget: spent});
  const law_tokens = steps * candidate.law_step_tokens;
  const far = candidate.extrapolation(law_tokens);
  const known = far.decades <= FARTHEST;
  const drift = candidate.drift(law_tokens);
  const [low, high] = candidate.law.interval(...list(candidate.inputs(law_tokens)), true, drift);
  const exact = trial.pairs * candidate.exact_pair_flops;
  const hours = candidate.step_seconds == null ? null : steps * candidate.step_seconds / 3600;
  return new Recipe({trial, params: candidate.model.params, dim: candidate.model.width, tokens: trial.pairs * candidate.pair.tokens, epochs: candidate.limits.max_pairs < Infinity ? trial.pairs / candidate.limits.max_pairs : null, flops: trial.pairs * candidate.pair_flops, exact_flops: exact, serving_flops: candidate.serving, loss: truth(known) ? candidate.expected_loss(law_tokens) : null, low: truth(known) ? low : null, high: truth(known) ? high : null, best: truth(chance) && truth(known) ? chance.best : null, regret: truth(chance) && truth(known) ? chance.regret : null, share: truth(chance) && truth(known) ? chance.share : null, lr_source: peak.source, lr_interval: peak.interval, temperature_source: temperature.source, batch: batch_choice(candidate, law_tokens, book, question.fixes_batch), memory: candidate.batch.peak_bytes, micro_batch_tokens: candidate.batch.micro_batch_tokens, second_forward: candidate.batch.second_forward, chips: truth(machine) && truth(machine.kind.mixed) ? machine.count : 1, sharded: candidate.batch.sharded, recompute: candidate.batch.recompute, step_seconds: candidate.step_seconds, utilisation: truth(machine) && truth(hours) ? machine.utilisation(exact, hours) : null, hours, cost: truth(machine) && hours != null ? machine.cost(hours) : null, extrapolation: far});
}

/** A task's score that is to be expected of a recipe. */
export class ExpectedScore {
  constructor({task, score, low, high, within_range}) {
    Object.assign(this, {task, score, low, high, within_range});
  }
}

/** What is to be expected on every task of a law book (`LawBook.scores`) at a predicted loss, nats per pair. */
export function expected_scores(laws, loss, low, high, params) {
  return list(list(laws).map((law) => new ExpectedScore(named(['task', 'score', 'low', 'high', 'within_range'], [law.score, law.at(loss, params), ...list(law.interval(loss, low, high, params)), both(law.losses[0] <= loss && loss <= law.losses[1], () => law.params[0] <= params && params <= law.params[1])]))));
}

/** The answer to a budget, and what stands behind it. */
export class Plan {
  constructor({budget, candidates, method_chances, model_chances, evidence, refused, size, warnings, provenance, facts, curve, laws, considered}) {
    Object.assign(this, {budget, candidates, method_chances, model_chances, evidence, refused, size, warnings, provenance, facts, curve, laws, considered});
  }
  /** The answer. */
  get recipe() {
    return this.candidates[0];
  }
  /** What is to be expected on the tasks of the law book; empty without tasks or without a loss. */
  get scores() {
    const recipe = this.recipe;
    if (recipe.loss == null || recipe.low == null || recipe.high == null) {
      return [];
    }
    return expected_scores(this.laws.scores, recipe.loss, recipe.low, recipe.high, recipe.params);
  }
  /** Budgets at which the best method changes, lowest first. */
  get crossovers() {
    return kept(this, 'crossovers', () => {
      const ends = searched_budgets(this.laws.measured.flops, this.budget.flops);
      return list(crossovers(this.considered, ...list(ends)));
    });
  }
}

/** Name of a method or a model -> probability that one of its candidates is the best, the likeliest first. */
export function _chances(ranked, name) {
  const chances = {};
  for (const [candidate, chance] of list(ranked)) {
    if (truth(chance)) {
      chances[name(candidate)] = get(chances, name(candidate), 0) + chance.best;
    }
  }
  return Object.fromEntries(sorted(items(chances), {key: (row) => -row[1]}));
}

/** The law book that answers, and how far it lies from the question. */
export class Evidence {
  constructor({book, kind, extrapolation, others = []}) {
    Object.assign(this, {book, kind, extrapolation, others});
  }
}

/** What a reader must know where the two rules would take different sizes. */
export function size_caveat(rule) {
  const differ = both(rule != null, () => rule.model !== rule.law_model);
  return truth(differ) ? [new Caveat({code: 'size-rule', text: String(rule)})] : [];
}

export const WHOLE = {full: 'freeze'};

export const PROBE = [1000000, 100000000, 0.5];

/** Whether two laws in the trained share are one law of several settings of a method; freezing of nothing is full */
export function one_law(one, other) {
  const names = [one, other].map((law) => get(WHOLE, law.settings['name'], law.settings['name']));
  const known = [one, other].map((law) => has(law.law.inputs, 'S'));
  return both(names[0] === names[1], () => both(all(known), () => one.law.at(...list(PROBE)) === other.law.at(...list(PROBE))));
}

export const PLACES = 200;

/** The value at `share` on the lines through (share, value). */
export function _along(points, share) {
  let place;
  place = 1;
  while (place < len(points) - 1 && share > points[place][0]) {
    place += 1;
  }
  const [[low, first], [high, second]] = [points[place - 1], points[place]];
  return first + (second - first) * (share - low) / (high - low);
}

/** The share with the lowest loss. */
export function _lowest(law, params, shares, tokens) {
  const losses = zip(shares, tokens).map(([S, D]) => law.at(params, D, S));
  return shares[losses.indexOf(min(losses))];
}

/** The share of the parameters whose training has the lowest loss at a budget (FLOPs) on the model of the answer, */
export function best_share(fits, best, budget) {
  let points;
  if (!has(best.law.law.inputs, 'S')) {
    return null;
  }
  const own = list(fits).filter((each) => each.model === best.model && truth(one_law(each.law, best.law)));
  points = sorted(list(own).map((each) => [each.trained_share, each.tokens(budget)]));
  points = enumerate(points).filter(([place, point]) => place === 0 || point[0] > points[place - 1][0]).map(([place, point]) => point);
  if (len(points) < 2) {
    return null;
  }
  const [low, high] = [points[0][0], points.at(-1)[0]];
  const shares = range(PLACES + 1).map((place) => low + (high - low) * place / PLACES);
  const tokens = list(shares).map((share) => _along(points, share));
  const drawn = sorted(list(best.law.draws).map((law) => _lowest(law, best.params, shares, tokens)));
  const most_likely = _lowest(best.law.law, best.params, shares, tokens);
  return [most_likely, quantile(either(drawn, () => [most_likely]), 0.05), quantile(either(drawn, () => [most_likely]), 0.95)];
}

export function _provenance(consulted, recipe, question) {
  let share;
  const told = provenance(consulted.book, recipe, consulted.best, question.machine, question.flops);
  const [best, budget] = [consulted.best, question.budget.flops];
  if (truth(share = best_share(list(consulted.ranked).map(([candidate, ]) => candidate), best, budget))) {
    told['trained share'] = `${fixed(share[0], 2)} of the parameters by the law (90 % ${fixed(share[1], 2)} to ${fixed(share[2], 2)}), if every share were possible on ${best.model.name}; ${best.method.label} trains ${g(best.trained_share, 2)}`;
  }
  return truth(consulted.data.how) ? {...told, data: consulted.data.how} : told;
}

export const BUDGETS = [1500000000000000, 1.5e+18];

export const CROSSOVER = 9.06e+16;

export const LORA_RANKS = [32, 128];

/** A published finding beside a plan. */
export class Fact {
  constructor({text, citation, agrees = null}) {
    Object.assign(this, {text, citation, agrees});
  }
}

export const PAPER = 'Ziarko et al. 2024, arXiv 2406.04165';

/** The findings that bear on a choice of method at `budget` FLOPs, the paper's count. */
export function facts(budget, method, rank) {
  const inside = BUDGETS[0] <= budget && budget <= BUDGETS[1];
  const where = truth(inside) ? '' : `; ${g(budget, 3)} FLOP lies outside the budgets it tried`;
  const chosen = budget <= CROSSOVER ? 'full' : 'lora';
  const [low, high] = LORA_RANKS;
  return [new Fact({text: `full fine-tuning is best up to ${g(CROSSOVER, 3)} FLOP and LoRA above, hence ${chosen} here (Pythia 14M to 2.8B, one seed, no interval given${where})`, citation: `${PAPER}, section 4.4`, agrees: method === chosen}), new Fact({text: `LoRA is best at rank ${low} or ${high} at nearly every size and budget; both 8 and 2048 are worse (scale 8 / rank there, which shrinks the step at high ranks)`, citation: `${PAPER}, section 4.2`, agrees: rank == null ? null : low <= rank && rank <= high}), new Fact({text: 'full fine-tuning and freezing take a tenth of the peak rate of pretraining (Pythia: 1e-4 at 14M to 1.2e-5 at 12B), LoRA and biases 1e-3 at any size, in batches of 1,024 pairs at temperature 0.025; weight decay (0.1) matters little, temperature a lot', citation: `${PAPER}, appendix E and the authors' code`}), new Fact({text: 'freezing the first blocks is never the predicted best but close to it, simpler and takes less memory', citation: `${PAPER}, section 4.4`}), new Fact({text: 'tuning biases only is worse than every other method at equal FLOPs', citation: `${PAPER}, section 4`, agrees: method === 'bias' ? false : null})];
}

/** Published findings, where laws of runs have measured neither the answer's model nor as much compute. */
export function facts_of(book, recipe, candidate) {
  if (truth(book.published) || (has(book.models, recipe.trial.model) && recipe.extrapolation.flops === 1)) {
    return [];
  }
  const spent = FLOPS['paper'](candidate.model, candidate.method, candidate.pair.times(recipe.pairs));
  return facts(spent, String(candidate.law.settings['name']), get(candidate.method.options, 'rank'));
}

/** Whether both are tuned by the same method. */
export function _alike(one, other) {
  return both(one.law.label === other.law.label, () => one.method.label === other.method.label);
}

/** The candidates, that of the first one's method and of the rule's model moved to the front where it chooses. */
export function led_by(rule, ranked) {
  if (rule == null || truth(rule.doubt) || rule.model === rule.law_model) {
    return ranked;
  }
  const first = ranked[0][0];
  const places = enumerate(ranked).filter(([i, pair]) => pair[0].model.name === rule.model && truth(_alike(pair[0], first))).map(([i, pair]) => i);
  return [ranked[places[0]], ...enumerate(ranked).filter(([i, pair]) => i !== places[0]).map(([i, pair]) => pair)];
}

export const FEWEST = 6;

/** Lower end, middle and upper end of N*, with its 90 % interval, at so many FLOPs. */
export function _carried(line, flops) {
  const away = Math.log(flops / line['budget']);
  const pairs = zip(line['draws']['log_params'], line['draws']['exponent']);
  const logs = sorted(list(pairs).map(([height, slope]) => height + slope * away));
  const middle = line['log_params'] + line['exponent'] * away;
  return [Math.exp(Math.min(quantile(logs, 0.05), middle)), Math.exp(middle), Math.exp(Math.max(quantile(logs, 0.95), middle))];
}

export const FOLLOWED = 2;

export const BEYOND = 10;

export const TRUST = 4;

/** What isoFLOP minima carried on say of the size of the answer, where they chose better than the law. */
export class SizeRule {
  constructor({params, low, high, model, law_model, decisions, given_away, law_given_away, law_worst, error, doubt}) {
    Object.assign(this, {params, low, high, model, law_model, decisions, given_away, law_given_away, law_worst, error, doubt});
  }
  /** Whether the answer's size is theirs. */
  get chooses() {
    return !truth(this.doubt);
  }
  /** Their regret, in words. */
  get record() {
    return `in ${this.decisions} decisions at larger budgets extrapolated isoFLOP minima had a mean regret of ${g(100 * this.given_away, 2)} % of the loss, the law ${g(100 * this.law_given_away, 2)} %`;
  }
  toString() {
    const size = `N ${short(this.params)} (90 %: ${short(this.low)} to ${short(this.high)})`;
    if (truth(this.chooses)) {
      const other = this.model === this.law_model ? 'the law agrees' : `the law would choose ${this.law_model}`;
      return `size by isoFLOP minima, ${size}; ${other}; ${this.record}`;
    }
    const model = this.model === this.law_model ? 'the same model, ' : truth(this.model) ? `${this.model}, ` : '';
    return `${this.record}; they would choose ${model}${size}; the law is used: ${this.doubt}`;
  }
}

/** What a method's isoFLOP minima say of its size at so many training FLOPs by the exact count. */
export function heard(law, flops) {
  let doubt;
  const [told, line] = [get(law.isoflop, 'verdict'), get(law.isoflop, 'line')];
  if (!truth(told) || !truth(line) || told['decisions'] < FEWEST || told['gap'] <= told['error']) {
    return null;
  }
  const [low, middle, high] = _carried(line, flops);
  doubt = '';
  if (told['gap'] <= FOLLOWED * told['error']) {
    doubt = `the difference is less than ${g(FOLLOWED, 6)} standard errors`;
  } else if (flops > BEYOND * line['largest']) {
    doubt = `the budget lies ${g(flops / line['largest'], 2)} times beyond the largest minimum`;
  } else if (high > TRUST * low) {
    doubt = 'their interval is too wide';
  }
  const shares = told['given_away'];
  const [worst, error] = [told['worst']['law'], told['error']];
  return new SizeRule({params: middle, low, high, model: '', law_model: '', decisions: told['decisions'], given_away: shares['isoflop'], law_given_away: shares['law'], law_worst: worst, error, doubt});
}

/** The rule, in doubt where, by the law, its size has a larger regret than the law's own choices ever had. */
export function contradicted(rule, share) {
  if (truth(rule.doubt) || share <= rule.law_worst) {
    return rule;
  }
  const told = `by the law their regret is ${g(100 * share, 2)} %; its own was never above ${g(100 * rule.law_worst, 2)} %`;
  return replace(rule, {doubt: told});
}

/** What isoFLOP minima say of the size of the first candidate, at a budget in FLOPs of the machine's usual rate. */
export function size_rule(ranked, budget) {
  let doubt;
  const first = ranked[0][0];
  const tokens = first.tokens(budget);
  const rule = heard(first.law, first.exact_spent(tokens));
  if (rule == null) {
    return null;
  }
  const [middle, alike] = [rule.params, list(ranked).filter(([each, ]) => truth(_alike(each, first))).map(([each, ]) => each)];
  const nearest = min(alike, {key: (each) => Math.abs(Math.log(each.params / middle))});
  doubt = rule.doubt;
  if (!truth(doubt) && truth(first.unseen)) {
    doubt = `${first.unseen[0]} was not measured`;
  } else if (!truth(doubt) && tokens < first.affordable_steps(budget) * first.law_step_tokens) {
    doubt = 'the number of pairs, not the budget, ends the training';
  }
  const share = nearest.expected_loss(nearest.tokens(budget)) / first.expected_loss(tokens) - 1;
  return contradicted(replace(rule, {model: nearest.model.name, law_model: first.model.name, doubt: doubt}), share);
}

/** The best recipe at budgets a quarter of a decade apart; None at those that train no candidate. */
export function _curve(considered, ends, question, book) {
  const rows = [];
  for (const budget of list(truth(ends) ? budget_grid(...list(ends), 4) : [])) {
    const [fits, ] = feasible(considered, budget);
    if (!truth(fits)) {
      rows.push([budget, null]);
      continue;
    }
    const by_law = by_regret(fits, budget);
    const [best, chance] = led_by(size_rule(by_law, budget), by_law)[0];
    rows.push([budget, recipe_of(best, budget, question, book, chance)]);
  }
  return list(rows);
}

export function _plan(consulted, others, question, top, curve) {
  const [book, ranked, budget] = [consulted.book, consulted.ranked, question.budget.flops];
  const recipes = list(list(ranked.slice(0, top)).map(([candidate, chance]) => recipe_of(candidate, budget, question, book, chance)));
  const [best, fits] = [consulted.best, list(ranked).map(([candidate, ]) => candidate)];
  const known = recipes[0].best != null;
  const kind = truth(book.published) ? 'published' : 'measured';
  return new Plan({budget: consulted.budget, candidates: recipes, method_chances: truth(known) ? _chances(ranked, (candidate) => candidate.method.name) : {}, model_chances: truth(known) ? _chances(ranked, (candidate) => candidate.model.name) : {}, evidence: new Evidence({book: book.name, kind, extrapolation: recipes[0].extrapolation, others: list(others)}), refused: consulted.refused, size: consulted.size, warnings: [...list(warnings(book, recipes, fits, consulted.budget.flops, question.conditions)), ...list(size_caveat(consulted.size))], provenance: _provenance(consulted, recipes[0], question), facts: facts_of(book, recipes[0], best), curve: _curve(consulted.considered, curve, question, book), laws: book, considered: consulted.considered});
}

/** Measured ones come first, and of these the one of more runs: of books at the same distance the first answers. */
export function by_evidence(books) {
  const most = sorted(books, {key: (book) => -sum(list(book.laws).map((law) => law.rows))});
  return sorted(most, {key: (book) => book.published !== ''});
}

/** Raises ValueError for a count of FLOPs or a number of recipes that there is not. */
export function check_choices(flops, top, asked) {
  if (!has(FLOPS, flops)) {
    throw new Error(`\`flops\` is ${repr(flops)}; known: ${join(', ', FLOPS)}`);
  }
  if (flops !== 'exact' && asked.kind !== 'flops') {
    throw new Error(`\`flops\` is ${repr(flops)}; a budget of ${asked.asked} is counted in exact FLOPs`);
  }
  if (top < 1) {
    throw new Error(`\`top\` is ${repr(top)}; it must be 1 or more`);
  }
}

export const METHODS = ['full', 'lora', 'dora', 'qlora', 'freeze', 'bias'];

export function check_methods(methods, book) {
  const known = list(unique(list(book.laws).flatMap((law) => list(tunings(law, [])).map((method) => method.name))));
  for (const name of list(methods)) {
    if (!has(METHODS, name)) {
      throw new Error(`\`methods\` has ${repr(name)}; known: ${join(', ', METHODS)}`);
    }
    if (!has(known, name)) {
      throw new Error(`\`methods\` has ${repr(name)}; the laws of ${book.name} know only ${join(', ', known)}`);
    }
  }
}

/** Settings of Training that follow from those asked for. */
export function implied(conditions) {
  const shared = both(!has(conditions, 'warmup'), () => either(!has(conditions, 'schedule'), () => conditions['schedule'] === 'wsd'));
  return truth(shared) ? {} : {warmup_steps: 0};
}

/** Whether the given pairs make too few steps with every candidate. */
export function lack_pairs(chosen) {
  return both(len(chosen) > 0, () => all(list(chosen).map((candidate) => candidate.lacks_pairs)));
}

/** A law book that lies farther from the question than the one that answers. */
export class Other {
  constructor({book, distance, answer, differs}) {
    Object.assign(this, {book, distance, answer, differs});
  }
}

/** What the nearest law book says, and what the others would have said. free: whether no models were asked for. */
export function nearest_of(books, said, silent, budget, free) {
  if (!truth(said)) {
    throw new Error(min(silent, {key: (each) => decades_of_compute(each.book, budget)}).reason);
  }
  const ranked = sorted(said, {key: (consulted) => round(1000000 * consulted.distance)});
  const nearest = ranked[0];
  const closest = min(books, {key: (book) => decades_of_compute(book, budget)});
  for (const each of list(silent)) {
    if (each.book === closest && truth(each.few_pairs) && truth(free)) {
      throw new Error(`${each.reason}; or \`laws\` ${nearest.book.name}, which answers ${nearest.sentence}`);
    }
  }
  const others = list(ranked.slice(1)).map((other) => new Other({book: other.book.name, distance: other.distance, answer: other.sentence, differs: other.sentence !== nearest.sentence}));
  return [nearest, [...list(others), ...list(silent).map((each) => new Other({book: each.book.name, distance: null, answer: each.reason, differs: true}))]];
}

export function _serving(candidate) {
  return truth(candidate.serving) ? `, ${g(candidate.serving, 3)} of them for serving` : '';
}

/** What to change where the allowed passes over the given pairs make too few steps. */
export function _too_few_pairs(candidate) {
  const [limits, batch] = [candidate.limits, candidate.batch_size];
  const [smaller, enough] = [Math.trunc(limits.max_pairs * limits.epochs / limits.min_steps), limits.min_steps * batch / limits.epochs];
  const change = smaller > 1 ? `set \`batch_size\` to ${grouped(smaller, 0)} or less, or ` : '';
  return `${short(limits.max_pairs)} pairs give ${grouped(candidate.epoch_steps, 0)} steps of ${grouped(batch, 0)} pairs in ${g(limits.epochs, 3)} epochs, under the minimum of ${limits.min_steps}: ${change}take ${grouped(Math.ceil(enough), 0)} pairs or more`;
}

export const REASONS = 3;

/** Why nothing is left: the first REASONS reasons, each with the first model that it refuses. */
export function reasons_against(refused) {
  const reasons = [];
  const told = [];
  for (const refusal of list(refused)) {
    if (!has(reasons, refusal.reason)) {
      reasons.push(refusal.reason);
      told.push(`${refusal.model} with ${refusal.method}: ${refusal.reason}`);
    }
  }
  const more = len(told) > REASONS ? `; and ${len(told) - REASONS} more` : '';
  return `${join('; ', told.slice(0, REASONS))}${more}`;
}

/** Why a budget (FLOP) buys no recipe: the candidate that comes nearest, or what refuses each. */
export function nothing_fits(budget, at_speed, refused) {
  let near, steps, most;
  const allowed = list(at_speed).filter((candidate) => !truth(candidate.lacks_pairs));
  const long = list(allowed).filter((candidate) => candidate.steps(budget) > candidate.limits.max_steps);
  if (truth(long)) {
    near = min(long, {key: (candidate) => candidate.steps(budget)});
    [steps, most] = [near.steps(budget), near.limits.max_steps];
    const wanted = near.batch_size * steps / most;
    return `\`budget\` ${g(near.relative_speed * budget, 3)} FLOP is too large for every candidate: ${near.model.name} with ${near.method.label} comes nearest with ${grouped(steps, 0)} steps, over the maximum of ${grouped(most, 0)}; choose from larger models (\`suite\`), or set \`batch_size\` to ${grouped(wanted, 0)} or more`;
  }
  if (truth(allowed)) {
    near = min(allowed, {key: (candidate) => candidate.least_flops() / candidate.relative_speed});
    steps = Math.max(0, near.steps(budget));
    return `\`budget\` ${g(near.relative_speed * budget, 3)} FLOP is too small for every candidate: ${near.model.name} with ${near.method.label} comes nearest with ${steps} steps; ${near.limits.min_steps} need ${g(near.least_flops(), 3)} FLOP${_serving(near)}`;
  }
  if (truth(at_speed)) {
    return _too_few_pairs(at_speed[0]);
  }
  return `no candidate is left: ${reasons_against(refused)}`;
}

export const CANDIDATE = ['model', 'method', 'steps', 'lr', 'loss', '90 % interval', 'best', 'regret'];

export const RECIPE = 'recipe.toml';

export const USUAL = 5;

export const FAR = 1;

export const DISTANT = ['too-far', 'extrapolated', 'other-suite', 'other-data'];

/** What to say above an answer that lies far from the evidence: FAR decades or more; none nearer by. */
export function banner_lines(plan) {
  if (plan.recipe.extrapolation.distance < FAR) {
    return [];
  }
  return list(plan.warnings).filter((warning) => has(DISTANT, warning.code)).map((warning) => warning.text);
}

export function _other(other) {
  if (other.distance == null) {
    return `${other.book}: no answer: ${other.answer}`;
  }
  return `${other.book}, ${g(other.distance, 2)} decades away: ${other.answer}`;
}

/** The law book that answers and the others, the nearest first. */
export function book_lines(plan) {
  const evidence = plan.evidence;
  const first = `${evidence.book} (${evidence.kind}), ${g(evidence.extrapolation.distance, 2)} decades away: answers`;
  return [first, ...list(evidence.others).map((other) => _other(other))];
}

export function _loss(recipe) {
  if (recipe.loss == null) {
    return ['', ''];
  }
  return [`${fixed(recipe.loss, 3)}`, `${fixed(recipe.low, 3)} to ${fixed(recipe.high, 3)}`];
}

/** A candidate as its line of the table shows it; CANDIDATE names the columns. */
export function candidate_row(recipe) {
  let chance;
  const trial = recipe.trial;
  chance = ['', ''];
  if (recipe.best != null && recipe.share != null) {
    chance = [`${fixed(recipe.best, 2)}`, `${g(100 * recipe.share, 2)} %`];
  }
  return [trial.model, trial.method.label, `${grouped(trial.steps, 0)}`, `${g(trial.lr, 2)}`, ...list(_loss(recipe)), ...list(chance)];
}

/** The 90 % interval of a crossover in words, FLOP. */
export function interval_text(crossover) {
  const [low, high] = [crossover.low, crossover.high];
  if (low == null && high == null) {
    return '90 %: unbounded';
  }
  if (low == null || high == null) {
    return low == null ? `90 %: below ${g(high, 2)}` : `90 %: above ${g(low, 2)}`;
  }
  return `90 %: ${g(low, 2)} to ${g(high, 2)}`;
}

/** Where the best method changes, in words. measured: lowest and highest budget of the laws, FLOP. */
export function crossover_text(crossover, measured) {
  const factor = extrapolation_factor(crossover.flops, measured);
  const far = factor > 1 ? `; ${g(factor, 2)}x outside the measured budgets` : '';
  const interval = interval_text(crossover);
  return `${crossover.below} up to ${g(crossover.flops, 2)} FLOP (${interval}${far}), then ${crossover.above}`;
}

/** A published finding, where it stands, and whether the answer is in line with it. */
export function fact_text(fact) {
  const verdict = {[true]: '; agrees with this answer', [false]: '; contradicts this answer', [null]: ''}[fact.agrees];
  return `${fact.text} (${fact.citation})${verdict}`;
}

export const LIKELY = 3;

export function _prediction(plan) {
  const [recipe, book] = [plan.recipe, plan.laws];
  if (recipe.loss == null || recipe.low == null || recipe.high == null) {
    return {loss: 'not predicted this far from the evidence'};
  }
  const unit = book.measure === 'loss' ? 'nats per pair' : `as ${book.measure}`;
  const ends = `${g(recipe.low, 3, true)} to ${g(recipe.high, 3, true)}`;
  const rows = {loss: `${fixed(recipe.loss, 3)} ${unit}, held out; 90 % prediction interval ${ends}`};
  const scores = list(plan.scores.slice(0, LIKELY)).map((score) => `${score.task} ${fixed(score.score, 3)} (${fixed(score.low, 3)} to ${fixed(score.high, 3)})`);
  return truth(scores) ? {...rows, scores: join('; ', scores)} : rows;
}

export function _sureness(plan) {
  const recipe = plan.recipe;
  if (recipe.best == null || recipe.regret == null || recipe.share == null) {
    return {sure: 'unknown'};
  }
  const regret = `expected regret ${g(100 * recipe.share, 2)} % of the loss (${g(recipe.regret, 2)} nats)`;
  const chance = recipe.best >= 0.005 ? `probability ${fixed(recipe.best, 2)}` : 'a probability under 0.01';
  const first = `best with ${chance}; ${regret}`;
  if (recipe.best >= SURE) {
    return {sure: first};
  }
  const shares = [plan.method_chances, plan.model_chances].map((chances) => join(', ', list(list(items(chances)).slice(0, LIKELY)).filter(([name, chance]) => chance >= 0.005).map(([name, chance]) => `${name} ${fixed(chance, 2)}`)));
  return {sure: `${first}\n${join('; ', shares)}`};
}

export function _evidence(plan) {
  let kind, lines, other;
  const [evidence, book] = [plan.evidence, plan.laws];
  const paper = book.published.split(', arXiv')[0];
  kind = truth(book.published) ? `published (${paper}), not measured by us` : `measured (${book.name})`;
  if (truth(book.weighed_by)) {
    kind = `published (${paper}) and the runs of ${book.weighed_by}`;
  }
  const unseen = join('', list(evidence.extrapolation.unseen).map((name) => `, ${name} not seen`));
  lines = `${kind}: ${evidence.extrapolation}${unseen}`;
  if (truth(plan.size) && truth(plan.size.chooses)) {
    lines += `\n${plan.size}`;
  }
  if (truth(plan.recipe.batch.by_law)) {
    lines += `\nbatch size: ${plan.recipe.batch.source}`;
  }
  const differs = list(evidence.others).filter((other) => truth(other.differs) && other.distance != null);
  if (truth(differs)) {
    other = differs[0];
    lines += `\nnext nearest law book, ${other.book} (${g(other.distance, 2)} decades away): ${other.answer}`;
  }
  return {evidence: lines};
}

export const SHOWN = ['too-far', 'borrowed-law', 'above-chance', 'data-limited', 'pairs-unknown', 'other-conditions', 'other-rate', 'batch-size', 'suites-unknown', 'few-rows', 'no-draws', 'edge-of-menu', 'short-steps', 'lack_of_fit', 'experiments', 'scattered', 'exponents_differ'];

/** The warnings that change what a reader does and stand in no other line; of the fit, those of this law. */
export function _notes(plan) {
  const size = truth(plan.size) && !truth(plan.size.chooses) ? ['size-rule'] : [];
  const [told, about] = [[...list(SHOWN), ...list(size)], ['', plan.recipe.trial.method.label]];
  const notes = list(plan.warnings).filter((warning) => has(told, warning.code) && has(about, warning.method)).map((warning) => warning.text);
  return truth(notes) ? {note: join('\n', notes.slice(0, 2))} : {};
}

/** What the recipe reaches, how sure that is, what it rests on and its caveats: name of a line -> its text. */
export function outlook_rows(plan) {
  return {..._prediction(plan), ..._sureness(plan), ..._evidence(plan), ..._notes(plan)};
}

/** What a recipe file says under [predicted]. */
export function predicted_table(plan) {
  const scores = Object.fromEntries(list(plan.scores).map((each) => [each.task, [each.score, each.low, each.high]]));
  return {...plan.recipe.predicted(), measure: plan.laws.measure, ...(truth(scores) ? {scores: scores} : {})};
}

/** Whether the data were named; those of a paper come with no plan. */
export function _own_data(plan) {
  return has(plan.recipe.extrapolation.unseen, plan.recipe.trial.training.data);
}

/** What to add to the command that asked, so that it writes the recipe. */
export function recipe_flags(plan) {
  const own = plan.evidence.kind === 'measured' || truth(_own_data(plan)) ? '' : '--data PAIRS.jsonl ';
  return `${own}--out ${RECIPE}`;
}

/** What stands at the top of a recipe file of this name. */
export function recipe_remarks(plan, name) {
  return [`\`plan --budget ${plan.budget.asked}\` chose this; \`${plan.recipe.train_command(name)}\` trains it.`, `Evidence: ${plan.recipe.extrapolation}.`];
}

export function _recipe_lines(plan) {
  const recipe = plan.recipe;
  const [trial, training] = [recipe.trial, recipe.trial.training];
  const theirs = both(plan.evidence.kind === 'published', () => !(truth(_own_data(plan))));
  const data = truth(theirs) && recipe.epochs != null ? 'your pairs' : training.data;
  const epochs = recipe.epochs == null ? '' : `: ${g(recipe.epochs, 3)} epochs of ${short(recipe.pairs / recipe.epochs)}`;
  return {model: `${trial.model}, N = ${short(recipe.params)}, vectors of ${recipe.dim} dimensions`, method: trial.method.label, data: `${short(recipe.pairs)} pairs${epochs}, ${short(recipe.tokens)} tokens of ${data}`, steps: `${grouped(trial.steps, 0)} of ${grouped(training.batch_size, 0)} pairs, learning rate ${g(trial.lr, 2)}, temperature ${g(training.temperature, 6)}, ${training.pooling} pooling, context ${training.context}`};
}

/** Bytes as people say them: 311 MB, 24 GB. */
export function memory_text(value) {
  for (const unit of ['TB', 'GB', 'MB', 'kB']) {
    if (value >= BYTES[unit]) {
      return `${g(value / BYTES[unit], 3)} ${unit}`;
    }
  }
  return `${g(value, 3)} B`;
}

export function _machine(recipe) {
  let memory;
  if (recipe.hours == null) {
    return {};
  }
  const cost = recipe.cost == null ? '' : `, cost ${grouped(recipe.cost, 2)}`;
  const reached = recipe.utilisation == null ? '' : `, ${percent(recipe.utilisation, 0)} of the peak rate`;
  memory = `${memory_text(recipe.memory)} per chip` + (truth(recipe.sharded) ? ', sharded (FSDP)' : '');
  memory += truth(recipe.recompute) ? ', gradient checkpointing' : '';
  return {time: `${time_text(3600 * recipe.hours)}${cost}${reached}; ${memory}`};
}

/** The recipe as the first screen says it: name of a line -> its text. */
export function recipe_rows(plan) {
  return {..._recipe_lines(plan), ..._machine(plan.recipe)};
}

export function _kept_for_serving(recipe) {
  return truth(recipe.serving_flops) ? `, ${g(recipe.serving_flops, 3)} kept for serving` : '';
}

/** What training takes: FLOPs and memory. */
export function spent_lines(recipe) {
  const spent = `${g(recipe.flops, 4)} FLOP of training${_kept_for_serving(recipe)}; ${g(recipe.exact_flops, 4)} by the exact count`;
  const again = truth(recipe.second_forward) ? `, ${percent(recipe.second_forward, 0)} of the batch embedded twice` : '';
  const where = recipe.hours == null ? 'memory on one device without a limit' : 'memory per chip';
  const held = `${where}: ${memory_text(recipe.memory)}, micro-batches of ${short(recipe.micro_batch_tokens)} tokens${again}`;
  return [spent, held];
}

export const SWEEP_FILE = 'calibrate.toml';

/** What to add to it, so that it writes the sweep for a share of the budget that lowers the expected regret. */
export function sweep_flags(share) {
  return `--calibrate ${percent(share, 0)} --sweep-out ${SWEEP_FILE}`;
}

/** How a task's score follows the held-out loss L: lowest + (1 - lowest) / (1 + exp(-(a + b L + c ln N))). */
export class ScoreLaw {
  constructor({score, lowest, a, b, c, covariance, noise, width, rows, losses, params, correlation}) {
    Object.assign(this, {score, lowest, a, b, c, covariance, noise, width, rows, losses, params, correlation});
  }
  /** The score of a model with so many parameters at a loss in nats per pair. */
  at(loss, params) {
    return this._of(this._odds(loss, params));
  }
  /** 90 % interval of one trial's score where the loss is predicted with a 90 % interval from `low` to `high`. */
  interval(loss, low, high, params) {
    const x = [1, loss, Math.log(params)];
    const variance = sum(range(3).flatMap((i) => range(3).map((j) => x[i] * x[j] * this.covariance[i][j])));
    const [doubt, noise] = [this.width * Math.sqrt(Math.max(0, variance)), this.width * this.noise];
    const [odds, score] = [this._odds(loss, params), this.at(loss, params)];
    const below = Math.hypot(score - this._of(odds - doubt), score - Math.min(score, this.at(high, params)), noise);
    const above = Math.hypot(this._of(odds + doubt) - score, Math.max(score, this.at(low, params)) - score, noise);
    return [Math.max(this.lowest, score - below), Math.min(1, score + above)];
  }
  _odds(loss, params) {
    return this.a + this.b * loss + this.c * Math.log(params);
  }
  _of(odds) {
    return this.lowest + (1 - this.lowest) * 0.5 * (1 + Math.tanh(odds / 2));
  }
}

/** The candidates without settings that come to the same on their model, as shares of few blocks do. */
export function distinct(possible) {
  const kept = [];
  const seen = [];
  for (const candidate of list(possible)) {
    const [law, method] = [candidate.law, candidate.method];
    const trained = `${candidate.model.name} ${law.settings['name']} ${method.bits} ${method.trainable(candidate.model)}`;
    if (!has(law.law.inputs, 'S') || !has(seen, trained)) {
      kept.push(candidate);
    }
    seen.push(trained);
  }
  return kept;
}

/** Tokens of a mean pair of the laws where the context of `training` may cut it; None where it does not. */
export function cut_by_context(book, training) {
  return training.context < book.training.context ? book.pair.tokens : null;
}

/** Texts that go through a model. A mean over pairs is a Work of one pair; `times` makes it that of many. */
export class Work {
  constructor({pairs, tokens, sum_sq_lengths, batch_size}) {
    Object.assign(this, {pairs, tokens, sum_sq_lengths, batch_size});
  }
  times(factor) {
    return new Work({pairs: this.pairs * factor, tokens: this.tokens * factor, sum_sq_lengths: this.sum_sq_lengths * factor, batch_size: this.batch_size});
  }
}

/** The mean pair in batches of `training`, and what to say of its length. */
export function mean_pair(book, training, mean_tokens, squares, tokens) {
  if (tokens == null) {
    return [new Work({pairs: 1, tokens: mean_tokens, sum_sq_lengths: squares, batch_size: training.batch_size}), []];
  }
  const cut_tokens = Math.min(tokens, (2 + training.hard_negatives) * training.context);
  const uneven = book.pair.sum_sq_lengths * (cut_tokens / book.pair.tokens) ** 2;
  const pair = new Work({pairs: 1, tokens: cut_tokens, sum_sq_lengths: Math.min(uneven, cut_tokens * training.context), batch_size: training.batch_size});
  const cut = cut_tokens < tokens ? `, cut at a context of ${training.context}` : '';
  return [pair, [`${short(cut_tokens)} tokens per pair, as asked${cut}`]];
}

export const MOST_SD = 50;

/** Best peak rate of a method = rate (N / N0)**a (B / B0)**b (rank / rank0)**c, where it has a rank. */
export class RateRule {
  constructor({rate, at, exponents, covariance, scatter, searches, ranges, tried = {}, left_out = {}, batches_from = ''}) {
    Object.assign(this, {rate, at, exponents, covariance, scatter, searches, ranges, tried, left_out, batches_from});
  }
  /** The best rate tried for a model at a batch size; None where none was. */
  measured(model, batch_size) {
    return get(get(this.tried, model, {}), String(batch_size));
  }
  /** The best rate by the rule, and the sd of its ln. */
  predict(params, batch_size, rank = 1) {
    const given = {params: params, batch_size: batch_size, rank: rank};
    const logs = Object.fromEntries(list(this.exponents).map((name) => [name, Math.log(given[name] / this.at[name])]));
    const centre = Math.log(this.rate) + sum(items(logs).map(([name, log]) => this.exponents[name] * log));
    const row = [1, ...items(logs).map(([, log]) => log)];
    const products = list(this.covariance).map((line) => sum(zip(row, line).map(([x, c]) => x * c)));
    const variance = sum(zip(row, products).map(([x, c]) => x * c));
    return [Math.exp(centre), Math.min(Math.sqrt(Math.max(variance, 0) + this.scatter ** 2), MOST_SD)];
  }
  /** The rule as people write it: 0.0021 (N / 1e+05)^-0.30 (B / 24)^0.31. */
  formula() {
    const parts = items(this.exponents).map(([name, power]) => `(${LETTERS[name]} / ${g(this.at[name], 3)})^${fixed(power, 2)}`);
    return join(' ', [`${g(this.rate, 2)}`, ...list(parts)]);
  }
}

/** Temperature of the lowest held-out loss, read at one temperature: temperature (B / batch_size)**exponent. */
export class TemperatureRule {
  constructor({runs, temperature, batch_size, exponent, covariance, scatter, curves, tried, batches, given_away = {}, by_scores = {}}) {
    Object.assign(this, {runs, temperature, batch_size, exponent, covariance, scatter, curves, tried, batches, given_away, by_scores});
  }
  /** The best temperature at a batch size, and the ends of its 90 % interval. */
  best(batch_size) {
    const log = Math.log(batch_size / this.batch_size);
    const centre = Math.log(this.temperature) + this.exponent * log;
    const [[level, both], [, power]] = this.covariance;
    const half = 1.645 * Math.sqrt(Math.max(level + 2 * both * log + power * log ** 2, 0));
    return [Math.exp(centre), Math.exp(centre - half), Math.exp(centre + half)];
  }
}

/** Bytes that training takes on each chip. */
export class Memory {
  constructor({state, folded, gathered, working, token}) {
    Object.assign(this, {state, folded, gathered, working, token});
  }
  /** Bytes that are there whatever the tokens. shards: chips that share the model out; 1: each has it whole. */
  fixed(shards = 1) {
    const whole = shards === 1 ? this.state + this.folded : this.state / shards + this.gathered;
    return whole + this.working;
  }
  /** Bytes with the graphs of `tokens` held at once. */
  peak(tokens, shards = 1) {
    return this.fixed(shards) + this.token * tokens;
  }
}

export const ESTIMATED = 'utilisation estimated from the shapes and MosaicML\'s published MPT benchmarks';

export const NOMINAL = 0.3;

export const LAUNCH = 7e-06;

/** Returns the seconds in which the kernels of a step are started: no step is shorter. */
export function launch_seconds(work, pair, count, micro_tokens, sharded = false) {
  const kernels = work.kernels + (truth(sharded) ? work.shard_kernels : 0);
  return Math.ceil(pair.batch_size / count * pair.tokens / micro_tokens) * kernels * LAUNCH;
}

export const ATTENTION = 0.5;

export const LINK_REACHED = 0.8;

export const NETWORK = 50000000000;

/** Returns the seconds of one step of `pair.batch_size` pairs on `count` chips. */
export function step_seconds(work, pair, chip, count, micro_tokens, sharded) {
  let busy;
  const pairs = pair.batch_size / count;
  const passes = Math.ceil(pairs * pair.tokens / micro_tokens);
  const rate = chip.peak * chip.products;
  busy = pairs * (work.products / rate + work.attention / (rate * ATTENTION));
  const moved = pairs * work.moved + passes * work.pass_moved + work.step_moved / (truth(sharded) ? count : 1);
  busy = Math.max(busy + moved / chip.bandwidth, launch_seconds(work, pair, count, micro_tokens, sharded));
  const link = LINK_REACHED * (count <= NODE ? chip.link : Math.min(chip.link, NETWORK));
  const others = (count - 1) / count;
  if (truth(sharded)) {
    return Math.max(busy, others * passes * work.gathered / link);
  }
  return busy + 2 * others * work.gradients / link;
}
