'use strict';
/* planner/candidates.py: every model with every measured method, what it costs and what it would reach. */

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
    const steps = (asked.limits.maxPairs * asked.limits.maxEpochs) / this.batch;
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
    if (this.mostSteps < limits.minSteps)
      return `the allowed epochs over ${short(limits.maxPairs)} pairs hold ${steps} steps`;
    return `${steps} steps, under the minimum of ${limits.minSteps}; needs ${g(this.needs(), 3)} FLOP`;
  }

  inputs(tokens) {
    const worn = this.law.family !== 'repeated' && tokens > this.uniqueTokens;
    const [fresh, unique] = worn
      ? [worth(tokens, this.uniqueTokens, this.publishedRepeats), Infinity]
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
  const batch = (planning.training.batch_size * planning.pairTokens) / chips;
  const options = [];
  const refused = [];
  planning.laws.forEach((law, lawPlace) => {
    if (!asked.methods.has(law.name)) return;
    for (const modelPlace of planning.menus[asked.suite]) {
      const known = planning.options[lawPlace][modelPlace];
      const model = planning.models[modelPlace];
      const fit = known.refused
        ? null
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
    return `N is ${short(model.params)}, over the limit of ${short(limits.maxParams)}`;
  if (model.dim > limits.maxDim)
    return `its vectors have ${model.dim} dimensions, over the limit of ${g(limits.maxDim, 6)}`;
  return fit ? '' : `one text at a time does not fit in ${g(memory / 1e9, 3)} GB`;
}

/** Of a budget of time a measured machine lets each option make as many FLOPs as it reaches. */
function pace(options, budget, machine) {
  for (const option of options)
    option.pace = machine && machine.rates && budget.kind !== 'flops' ? rateOf(machine, option) / machine.rate : 1;
}

function feasible(options, budget) {
  const fits = [];
  const others = [];
  for (const option of options) {
    const reason = option.refusal(budget);
    if (reason) others.push({model: option.model.name, method: option.law.label, reason});
    else fits.push({option, loss: option.loss(option.tokens(budget))});
  }
  return [fits.sort((a, b) => a.loss - b.loss).map((one) => one.option), others];
}
