/* The laws and the machines of the page's data, as the planner knows them. */

import {
  BatchLaw, ESTIMATED, LAWS, LawBook, Memory, MethodLaw, NOMINAL, RateRule, ScoreLaw, TERMS, TemperatureRule, Weighted,
  Work, launch_seconds, step_seconds,
} from './generated.js';
import {g, percent, replace, repr} from './python.js';
import {exact_flops, positive, standBeside, step_work} from './shapes.js';

/** What rests on the shape of one model. source: of its learning rate. */
const readCell = ({memory: {fp32, mixed}, ...cell}, source) => {
  const read = (numbers) =>
    numbers.map(([state, folded, gathered, working, token]) => new Memory({state, folded, gathered, working, token}));
  return {...cell, lr_source: source, memory: {fp32: read(fp32), mixed: read(mixed)}};
};

/** A tuning method of a law. smaller: the same over a backbone in 4 bits, where there is one. */
class Method {
  constructor(label, {name, ...options}, {cells, sources: {words, places}}, smaller = null) {
    const read = cells.map((cell, i) => readCell(cell, words[places[i]]));
    Object.assign(this, {label, name, options, cells: read, smaller});
  }

  quantized() {
    return this.smaller && new Method(this.smaller.label, this.smaller.settings, this.smaller);
  }

  trainable(model) {
    return this.cells[model.place].trainable;
  }

  get bits() {
    return this.cells[0].bits;
  }

  refusal(model) {
    return this.cells[model.place].refusal;
  }
}

const ARRAYS = {d: Float64Array, f: Float32Array, I: Uint32Array};

/** Numbers that analysis/page/planning.py packed. */
export function unpacked(text, kind = 'd') {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new ARRAYS[kind](bytes.buffer);
}

/** The draws of one family, in their order. columns: coefficient -> its value in each. */
function drawsOf([family, columns]) {
  const names = Object.keys(columns);
  const values = Object.values(columns).map((text) => unpacked(text));
  const law = (_, i) => new LAWS[family](Object.fromEntries(names.map((name, k) => [name, values[k][i]])));
  return Array.from(values[0], law);
}

/** The law of every draw. families: of each, its place among those of the columns. */
function readDraws({families, columns}) {
  const waiting = Object.entries(columns).map((one) => drawsOf(one).values());
  return families.map((place) => waiting[place].next().value);
}

/** What batch size is worth; null where the law knows one. */
function readBatch(batch) {
  if (!batch) return null;
  const {form, coefficients, draws, ...fields} = batch;
  const columns = Object.entries(draws).map(([name, text]) => [name, unpacked(text)]);
  const term = (_, i) => new TERMS[form](Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
  return new BatchLaw({...fields, term: new TERMS[form](coefficients), draws: Array.from(columns[0][1], term)});
}

/** What a law may have from another book. */
const readLendable = ({batch, rate_rule: rates, temperature_rule: temperatures}) => ({
  batch: readBatch(batch),
  rate_rule: rates && new RateRule(rates),
  temperature_rule: temperatures && new TemperatureRule(temperatures),
});

function readLaw({law: {parts: coefficients, weights, draws, ...fields}, cells, sources, smaller}, place) {
  const parts = Object.entries(coefficients).map(([family, own]) => new LAWS[family](own));
  const whole = parts.length > 1 ? new Weighted({parts, weights}) : parts[0];
  const law = new MethodLaw({...fields, ...readLendable(fields), law: whole, draws: readDraws(draws)});
  return Object.assign(law, {place, method: new Method(law.label, law.settings, {cells, sources}, smaller)});
}

/** A law book as the planner knows it. `place` of a law and of a model: where it stands in its list. known: places of
    the models that it chooses from; unseenSuite: by place of a model its suite, where the book has not seen that. */
function readBook({laws, book, known, missing, unseen}) {
  const read = new LawBook({
    ...book,
    pair: new Work(book.pair),
    laws: laws.map(readLaw),
    scores: book.scores.map((law) => new ScoreLaw(law)),
  });
  return Object.assign(read, {known, missing, unseenSuite: unseen.places.map((place) => unseen.words[place])});
}

/** The law books of the page, its own first. */
export function readBooks({books, beside}) {
  standBeside(beside.map(({settings, batch}) => new MethodLaw({settings, batch: readBatch(batch)})));
  return books.map(readBook);
}

/** The i-th of them as `plan` has it where no other is asked. */
export function byItself({books}, read, i) {
  const {alone} = books[i];
  if (!alone) return read[i];
  return replace(read[i], {laws: read[i].laws.map((law, k) => replace(law, readLendable(alone[k])))});
}

/** Chips that train together. kind: peak, memory, mixed and source of one; profile: rates and their origins where
    `embed bench` measured this machine, else null. */
export class Machine {
  constructor({name, kind, count, mfu, price = null, profile = null}) {
    Object.assign(this, {name, kind, count, mfu, price, profile, memory: kind.memory});
  }

  get rate() {
    return this.kind.peak * this.count * (this.mfu ?? NOMINAL);
  }

  step_seconds(model, method, pair, second_forward, micro, sharded) {
    const flops = pair.batch_size * exact_flops(model, method, pair, second_forward);
    if (this.profile) return flops / this.profile.rates[method.label][model.place];
    const work = step_work(model, method, pair, second_forward);
    if (this.mfu === null) return step_seconds(work, pair, this.kind, this.count, micro, sharded);
    return Math.max(flops / this.rate, this.kind.mixed ? launch_seconds(work, pair, this.count, micro, sharded) : 0);
  }

  origin(model, method) {
    if (this.profile) {
      const {words, places} = this.profile.origins[method.label];
      return words[places[model.place]];
    }
    const {peak, source} = this.kind;
    return `peak ${g(peak, 4)} FLOP/s per chip (${source}), ${this.mfu === null ? ESTIMATED : `${percent(this.mfu, 0)} of it reached`}`;
  }

  utilisation(flops, hours) {
    return flops / (hours * 3600 * this.kind.peak * this.count);
  }

  cost(hours) {
    return this.price === null ? null : hours * this.count * this.price;
  }
}

/** One of the page's machines with what was given of it: texts, empty where nothing was. */
export function readMachine(name, {kind, count, mfu, profile}, given) {
  const wanted = 'a share of the peak rate above 0 and up to 1, such as 0.4';
  if (given.mfu && profile)
    throw new Error(`\`mfu\` is ${repr(given.mfu)}: what \`hardware\` this reaches was measured; leave one of the two out`);
  const share = given.mfu ? positive('`mfu`', given.mfu, wanted) : mfu;
  if (given.mfu && share > 1) throw new Error(`\`mfu\` is ${repr(given.mfu)}; it must be ${wanted}`);
  const hourly = 'the price of one chip for an hour, such as 2.5';
  const price = given.price ? positive('`price`', given.price, hourly) : null;
  return new Machine({name, kind, count: given.count ?? count, mfu: share, price, profile});
}
