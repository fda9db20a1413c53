'use strict';
/* planner/extrapolation.py, planner/warnings.py and planner/published.py: how far an answer lies beyond the evidence. */

function beyond(value, [low, high]) {
  const times = Math.max(value / high, low / value);
  return times > 1.05 ? times : 1;
}

const measured = (reach) => Math.max(reach.flops, reach.params, reach.tokens) === 1;

/** Names of those of {flops, params, tokens} that lie below the smallest measured one; span: of the law. */
function below(asked, span) {
  return Object.keys(asked).filter((name) => beyond(asked[name], span[name]) > 1 && asked[name] < span[name][0]);
}

function reachText({reach, smaller}) {
  const names = {flops: 'compute', params: 'model', tokens: 'data size'};
  const factor = (times) => (times < 1e4 ? g(times, 2) : exponential(times, 0).replace('e+0', 'e').replace('e+', 'e'));
  const end = (name) => (smaller.includes(name) ? 'below the smallest' : 'beyond the largest');
  const parts = Object.keys(names)
    .filter((name) => reach[name] > 1)
    .map((name) => `${factor(reach[name])}x ${end(name)} ${names[name]} measured`);
  return parts.length ? parts.join(', ') : 'within the measured range';
}

/** What a reader of the answer must know, beside what the fit has said already: [{code, text}]. */
function notices(planning, best, fits, budget) {
  return [
    ...distance(planning, best, fits[0]),
    ...choice(planning, best, fits),
    ...data(planning, best, fits[0], budget),
    ...repeats(planning, best),
    ...time(planning, best),
    ...planning.warnings,
  ];
}

/** How much wider the interval of the answer is than that of the same option at its largest measured budget. */
function wider(best, option) {
  const edge = option.law.span.flops[1];
  if (option.refusal(edge)) return '';
  const [low, high] = interval(option.law, option.inputs(option.tokens(edge)));
  const times = high > low ? Math.log(best.high / best.low) / Math.log(high / low) : 1;
  return times > 1.05 ? `, ${g(times, 2)}x as wide as at ${g(edge, 2)} FLOP,` : '';
}

function distance(planning, best, option) {
  const found = [];
  if (!measured(best.reach))
    found.push({
      code: 'extrapolated',
      text: `${reachText(best)}: the interval${wider(best, option)} holds if the law keeps its shape, which nobody measured`,
    });
  if (!planning.measured.includes(best.model))
    found.push({
      code: 'other-suite',
      text: `${best.model} was not measured: the law is of ${planning.measured.join(', ')}`,
    });
  return found;
}

function choice(planning, best, fits) {
  const {sure, fewRows} = planning.constants;
  const {law} = fits[0];
  const found = [];
  if (best.best === null)
    found.push({
      code: 'no-draws',
      text: 'the law holds no bootstrap draws: nothing is known of how sure this choice is',
    });
  else if (best.best < sure && fits.length > 1)
    found.push({
      code: 'not-told-apart',
      text: `the top candidates are statistically tied: this one is best with probability ${fixed(best.best, 2)} and gives away ${g(best.regret, 3)} nats on average`,
    });
  const sizes = fits.map((one) => one.model.params);
  const smallest = Math.min(...sizes);
  const largest = Math.max(...sizes);
  if (smallest < largest && [smallest, largest].includes(best.params))
    found.push({
      code: 'edge-of-menu',
      text: `the ${best.params === largest ? 'largest' : 'smallest'} model that this budget can train wins: one beyond the models at hand may be better`,
    });
  if (law.rows < fewRows) {
    const shared = law.shared && planning.source.with;
    const lent = shared ? `, its exponents on ${shared.observations} of ${shared.name} too` : '';
    found.push({code: 'few-rows', text: `the law of ${law.label} rests on ${law.rows} trials${lent}`});
  }
  return found;
}

function data(planning, best, option, budget) {
  const found = [];
  const left = budget - best.servingFlops - best.flops;
  if (left > 0.05 * budget && best.epochs !== null)
    found.push({
      code: 'data-limited',
      text: `data, not compute, is the limit: ${g(left, 3)} FLOP stay unspent at ${g(best.epochs, 3)} epochs`,
    });
  if (best.epochs !== null && best.epochs > 1 && option.law.family !== 'repeated') {
    const strong = best.epochs > planning.constants.epochs ? ', far more than data keep their value for' : '';
    found.push({
      code: 'repeated-data',
      text: `${g(best.epochs, 3)} epochs${strong}: what repeats are worth was measured on pretraining, not here`,
    });
  }
  return found;
}

function repeats(planning, best) {
  const unique = planning.source.unique_tokens;
  if (best.epochs !== null || !unique || best.tokens <= unique) return [];
  return [
    {
      code: 'repeated-data',
      text: `the recipe makes ${g(best.tokens / unique, 3)} passes over the pairs that the law was measured on, and its loss holds for fresh ones: bring more, or limit the unique pairs`,
    },
  ];
}

function time(planning, best) {
  if (best.hours === null || (best.hours * 3600) / best.steps >= planning.constants.shortestStep) return [];
  const each = g((best.hours * 3.6e6) / best.steps, 2);
  return [
    {
      code: 'short-steps',
      text: `a step of ${planning.training.batch_size} pairs would take ${each} ms: too little work for this machine, which will take longer than is said here`,
    },
  ];
}

function provenance(planning, asked, best, option) {
  const {law} = option;
  const source = planning.source.name ?? 'a sweep';
  const shared = planning.source.with;
  const seen = measured(best.reach) ? 'measured here' : reachText(best);
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

/** Published findings, where the laws have seen neither the answer's model nor as much compute: [{text, agrees}]. */
function facts(planning, best, {law, known}) {
  if (planning.measured.includes(best.model) && best.reach.flops === 1) return [];
  const {
    budgets: [first, last],
    crossover,
    ranks: [low, high],
    paper,
  } = planning.published;
  const spent = known.counts.paper * best.pairs;
  const chosen = spent <= crossover ? 'full' : 'lora';
  const where = first <= spent && spent <= last ? '' : `; ${g(spent, 3)} FLOP lies outside the budgets it tried`;
  return [
    {
      text: `full tuning is best up to ${g(crossover, 3)} FLOP and LoRA above, hence ${chosen} here (Pythia 14M to 2.8B, one seed, no interval given${where})`,
      citation: `${paper}, section 4.4`,
      agrees: law.name === chosen,
    },
    {
      text: `LoRA is best at rank ${low} or ${high} at nearly every size and budget; both 8 and 2048 are worse (scale 8 / rank there, which shrinks the step at high ranks)`,
      citation: `${paper}, section 4.2`,
      agrees: law.rank === null ? null : low <= law.rank && law.rank <= high,
    },
    {
      text: 'freezing the first blocks is never the predicted best but close to it, easier and lighter on memory',
      citation: `${paper}, section 4.4`,
      agrees: null,
    },
    {
      text: 'tuning biases only is worse than every other method at equal FLOPs',
      citation: `${paper}, section 4`,
      agrees: law.name === 'bias' ? false : null,
    },
  ];
}
