'use strict';
/* The page: reads the controls, plans, shows the answer. */

const content = JSON.parse(byId('data').textContent);
const planning = content.planning && {...content.planning, laws: readLaws(content.planning.laws)};
const measureName = content.measure === 'loss' ? 'held-out loss, nats per pair' : content.measure;
const unit = content.measure === 'loss' ? 'nats per pair' : `as ${content.measure}`;
const SLIDER = [1 / 10, 1e4]; // times the lowest and the highest budget of the evidence
const SHOWN = 6; // candidates before all are asked for

// ---- the controls

/** Limits of `plan`: field of asked.limits, flag, label, unit table, example. */
const LIMITS = [
  {id: 'maxParams', flag: '--max-params', label: 'parameters at most', example: '1.4B', units: 'counts', wanted: 'a positive number of parameters such as 1.4B or 2e12'},
  {id: 'maxDim', flag: '--max-dim', label: 'dimensions at most', example: '1024', units: 'counts', wanted: 'a positive number of dimensions such as 1.4B or 2e12'},
  {id: 'memory', flag: '--memory', label: 'memory per chip', example: '24GB', units: 'bytes', wanted: 'a positive number of bytes such as 24GB or 80GiB'},
  {id: 'maxPairs', flag: '--max-pairs', label: 'unique pairs at hand', example: '2M', units: 'counts', wanted: 'a positive number of pairs such as 1.4B or 2e12'},
  {id: 'maxEpochs', flag: '--max-epochs', label: 'epochs at most', example: '4', units: 'counts', wanted: 'a positive number of epochs such as 1.4B or 2e12'},
  {id: 'minSteps', flag: '--min-steps', label: 'steps at least', example: '50', whole: true},
  {id: 'serveTokens', flag: '--serve-tokens', label: 'tokens to serve', example: '1T', units: 'counts', wanted: 'a positive number of tokens such as 1.4B or 2e12'},
];
const UNLIMITED = {maxParams: Infinity, maxDim: Infinity, memory: Infinity, maxPairs: Infinity, maxEpochs: Infinity, serveTokens: 0};

function wholeNumber(flag, text) {
  if (!/^\d+$/.test(text) || Number(text) < 1) throw new Error(`${flag} is '${text}'; it must be a whole number, 1 or more`);
  return Number(text);
}

const given = (id) => byId(id).value.trim();

/** What `read` gives, or null with the error beside the field `id`. */
function checked(id, read) {
  let error = '', value = null;
  try { value = read(); } catch (thrown) { error = thrown.message; }
  byId(`${id}-error`).textContent = error;
  byId(id).setAttribute('aria-invalid', String(Boolean(error)));
  return {value, wrong: Boolean(error)};
}

function askedMachine() {
  const name = given('machine');
  if (!name) return {value: null, wrong: false};
  const kind = planning.machines[name];
  const count = checked('chips', () => (given('chips') && name !== 'this' ? wholeNumber('--hardware', given('chips')) : kind.count));
  const price = checked('price', () => readMachine(kind, name, 1, '', given('price')));
  const mfu = checked('mfu', () => readMachine(kind, name, 1, given('mfu'), ''));
  if (count.wrong || price.wrong || mfu.wrong) return {value: null, wrong: true};
  return {value: readMachine(kind, name, count.value, given('mfu'), given('price')), wrong: false};
}

function askedLimits() {
  const limits = {...UNLIMITED, minSteps: planning.constants.minSteps};
  const wrong = LIMITS.map(({id, flag, units, wanted, whole: steps}) => {
    const read = checked(id, () => (given(id) === '' ? limits[id]
      : steps ? wholeNumber(flag, given(id)) : withUnit(flag, given(id), planning.units[units], wanted)));
    limits[id] = read.value;
    return read.wrong;
  });
  return {value: limits, wrong: wrong.some(Boolean)};
}

function askedMethods() {
  const boxes = [...document.querySelectorAll('#methods input')];
  return new Set(boxes.filter((box) => box.checked).map((box) => box.value));
}

/** All that the controls ask for, or null where one of them is wrong. */
function asked() {
  const machine = askedMachine(), limits = askedLimits(), methods = askedMethods();
  byId('methods-error').textContent = methods.size ? '' : 'Choose at least one method.';
  if (machine.wrong || limits.wrong || !methods.size) return null;
  return {budget: given('budget'), machine: machine.value, limits: limits.value, methods, suite: given('suite'), count: given('count')};
}

/** The command that gives the same answer. */
function command(question) {
  const {budget, machine, limits, methods, suite, count} = question;
  const all = new Set(planning.laws.map((law) => law.name));
  const parts = ['plan --budget', budget.startsWith('$') ? `'${budget}'` : budget, content.laws];
  if (suite) parts.push('--suite', suite);
  if (methods.size < all.size) parts.push('--methods', [...methods].join(','));
  if (count !== 'exact') parts.push('--flops', count);
  if (machine) parts.push('--hardware', given('chips') && machine.name !== 'this' ? `${machine.count}x${machine.name}` : machine.name);
  for (const [id, flag] of [['mfu', '--mfu'], ['price', '--price']]) if (machine && given(id)) parts.push(flag, given(id));
  for (const {id, flag} of LIMITS) if (given(id)) parts.push(flag, given(id));
  return parts.filter(Boolean).join(' ');
}

// ---- budget: the box, its kind and the slider say the same

const sliderSpan = () => planning.span.flops.map((flops, i) => flops * SLIDER[i]);

/** FLOPs as the kind of budget that is chosen, as a text of the box. */
function budgetText(flops, kind, machine) {
  if (kind === 'flops' || !machine) return plain(flops);
  const hours = flops / machine.rate / 3600;
  if (kind === 'money') return `$${plain(hours * machine.count * machine.price)}`;
  const [name, seconds] = Object.entries(planning.units.seconds).findLast(([, length]) => hours * 3600 >= length) ?? ['s', 1];
  return `${plain(hours * 3600 / seconds)}${name}`;
}

/** 3e12: as people write a budget, and as the box reads it. */
const plain = (value) => g(value, 3).replace(/e\+?(-?)0*/, 'e$1');

function kindOf(text) {
  if (text.startsWith('$')) return 'money';
  return Object.keys(planning.units.seconds).some((name) => text.endsWith(name)) ? 'time' : 'flops';
}

function chooseKind(kind) {
  document.querySelector(`[name="kind"][value="${kind}"]`).checked = true;
}

function placeSlider(flops) {
  const [low, high] = sliderSpan();
  const slider = byId('slider');
  slider.value = String(1000 * Math.log(flops / low) / Math.log(high / low));
  slider.setAttribute('aria-valuetext', `${given('budget')}${kindOf(given('budget')) === 'flops' ? ' FLOP' : ''}`);
}

function sliderMoved() {
  const [low, high] = sliderSpan();
  setBudget(low * (high / low) ** (Number(byId('slider').value) / 1000));
}

/** The box says this many FLOPs in its kind. */
function setBudget(flops) {
  byId('budget').value = budgetText(flops, kindOf(given('budget')), askedMachine().value);
  show();
}

/** Another kind: the same budget in it, on a machine if there was none. */
function kindChosen(kind) {
  const before = current?.spent ?? planning.span.flops[1];
  if (kind !== 'flops' && !given('machine')) byId('machine').value = 'this' in planning.machines ? 'this' : 'cpu';
  if (kind === 'money' && !given('price')) byId('price').value = '1';
  if (kind !== 'flops') byId('machine-details').open = true;
  const machine = askedMachine().value;
  byId('budget').value = budgetText(before, machine ? kind : 'flops', machine);
  if (kind !== 'flops') byId('count').value = 'exact';
  show();
}

function machineChosen() {
  if (!given('machine') && kindOf(given('budget')) !== 'flops') kindChosen('flops');
  else show();
}

// ---- showing

let current = null; // {question, answer, spent}: what the page shows; null while a control is wrong
let chart = null;
let charted = ''; // what the lines of the chart were drawn for
let allCandidates = false;

function show() {
  chooseKind(kindOf(given('budget')));
  const question = asked();
  byId('limits-set').textContent = limitsSet();
  byId('machine-set').textContent = given('machine') || 'none';
  let error = '';
  current = null;
  if (question) {
    try {
      if (!planning.menus[question.suite].length) throw new Error('None of the measured models was found where this page was made; choose other models under Limits.');
      const answer = plan(planning, question);
      const machine = question.machine, flops = readBudget(question.budget, machine, planning.units.seconds).flops;
      current = {question, answer, spent: flops};
    } catch (thrown) { error = thrown.message; }
  }
  byId('budget-error').textContent = error;
  byId('budget').setAttribute('aria-invalid', String(Boolean(error)));
  byId('refusal').textContent = current ? '' : 'No recipe: see what is marked beside the controls.';
  for (const id of ['recipe', 'runners', 'mind']) byId(id).hidden = !current;
  showMachine();
  if (current) showAnswer();
  showFrontierSoon(question);
}

function limitsSet() {
  const set = LIMITS.filter(({id}) => given(id)).length + (given('suite') ? 1 : 0) + (given('count') !== 'exact' ? 1 : 0);
  return set ? `${set} set` : 'none set';
}

function showMachine() {
  const [low, high] = sliderSpan(), kind = kindOf(given('budget'));
  const machine = askedMachine().value;
  byId('slider-low').textContent = budgetText(low, machine ? kind : 'flops', machine);
  byId('slider-high').textContent = budgetText(high, machine ? kind : 'flops', machine);
  byId('budget-means').textContent = current && current.answer.budget.kind !== 'flops' ? `${plain(current.answer.budget.flops)} FLOP` : kind === 'flops' ? 'FLOP' : '';
  const off = !given('machine');
  for (const id of ['chips', 'price', 'mfu']) byId(id).disabled = off;
  const kindOfMachine = planning.machines[given('machine')];
  byId('mfu').placeholder = kindOfMachine ? `${g(kindOfMachine.mfu, 2)}` : '';
  byId('chips').placeholder = kindOfMachine ? String(kindOfMachine.count) : '1';
  byId('machine-means').textContent = machine ? `${plain(machine.rate)} FLOP/s: ${machine.source}` : '';
}

function showAnswer() {
  const {question, answer, spent} = current, best = answer.recipe(0);
  placeSlider(spent);
  fill(byId('headline'), words(best.model), ' ', element('small', {}, 'tuned with '), words(best.method));
  byId('loss').textContent = `Expected loss ${lossText(best.loss)} ${unit}, held out; 90 % of runs in ${lossText(best.low)} to ${lossText(best.high)}.`;
  fill(byId('facts'), ...parts(question, best));
  byId('command').textContent = command(question);
  fill(byId('notices'), ...answer.notices.map((notice) => element('li', {}, words(notice.text))));
  byId('published').hidden = !answer.facts.length;
  fill(byId('published-list'), ...answer.facts.map(published));
  fill(byId('provenance'), ...Object.entries(answer.provenance).map(([part, source]) => term(part.replaceAll('_', ' '), words(source))).flatMap((pair) => [...pair.children]));
  showCandidates(answer);
  say(`${best.model} with ${best.method}, expected loss ${lossText(best.loss)}`);
}

function published({text, citation, agrees}) {
  const verdict = agrees === null ? '' : agrees ? ' In line with this answer.' : ' Against this answer.';
  return element('li', {}, `${text} (${citation}).${verdict}`);
}

/** What the recipe is made of. */
function parts(question, best) {
  const {batch_size: batch, temperature} = planning.training;
  const sure = best.best === null ? term('best with probability', 'not known', 'the laws hold no draws')
    : term('best with probability', fixed(best.best, 2), `regret ${g(best.regret, 2)} ${content.measure === 'loss' ? 'nats' : ''}`);
  const found = [
    sure,
    term('evidence', measured(best.reach) ? 'measured' : 'extrapolated', measured(best.reach) ? 'within the measured range' : reachText(best.reach).replace('extrapolated ', ''), measured(best.reach) ? '' : 'far'),
    term('learning rate', best.lr === null ? 'not known' : g(best.lr, 3), ''),
    term('steps', whole(best.steps), `of ${batch} pairs, temperature ${g(temperature, 6)}`),
    term('data', `${short(best.tokens)} tokens`, `${short(best.pairs)} pairs${best.epochs === null ? '' : `, ${g(best.epochs, 3)} epochs`}`),
    term('compute', `${plain(best.flops)} FLOP`, best.servingFlops ? `${plain(best.servingFlops)} kept for serving` : ''),
    term('model size', `${short(best.params)} parameters`, `${best.dim} dimensions`),
    term('memory', `${short(best.memory)}B`, best.secondForward ? `${percent(best.secondForward)} of the batch embedded twice` : `${short(best.microTokens)} tokens in one graph`),
  ];
  if (best.hours !== null) {
    const machine = question.machine;
    found.push(term('time', timeText(best.hours), machine.count > 1 ? `${g(best.hours * machine.count, 3)} chip-hours` : ''));
  }
  if (best.cost !== null) found.push(term('cost', best.cost >= 0.01 ? best.cost.toLocaleString('en-US', {maximumFractionDigits: 2}) : g(best.cost, 2), 'in the currency of the price'));
  return found;
}

function timeText(hours) {
  const [name, seconds] = Object.entries(planning.units.seconds).findLast(([, length]) => hours * 3600 >= length) ?? ['s', 1];
  return `${g(hours * 3600 / seconds, 3)} ${name}`;
}

function showCandidates(answer) {
  const shown = allCandidates ? answer.fits.length : Math.min(SHOWN, answer.fits.length);
  const rows = Array.from({length: shown}, (_, i) => candidate(answer.recipe(i), answer.fits[i], i));
  fill(byId('candidates'), head(['model', 'method', 'loss', '90 % interval', 'best', 'regret', 'steps', 'learning rate'], 2), element('tbody', {}, ...rows));
  const more = byId('all-candidates');
  more.textContent = allCandidates ? `Show the first ${SHOWN}` : `Show all ${answer.fits.length}`;
  more.parentElement.hidden = answer.fits.length <= SHOWN;
  byId('refused').hidden = !answer.refused.length;
  byId('refused-title').textContent = `Not possible: ${answer.refused.length}`;
  fill(byId('refused-list'), ...answer.refused.map((one) => element('li', {}, words(one.model), ' with ', words(one.method), `: ${one.reason}`)));
}

function candidate(recipe, option, i) {
  const chance = recipe.best === null ? ['', ''] : [fixed(recipe.best, 2), g(recipe.regret, 3)];
  const method = element('span', {class: 'mark'}, markImage(option.lawPlace), words(recipe.method));
  return element('tr', i ? {} : {class: 'best'}, cell(words(recipe.model)), cell(method), cell(lossText(recipe.loss), 'number'),
    cell(`${lossText(recipe.low)} to ${lossText(recipe.high)}`, 'number'), ...chance.map((text) => cell(text, 'number')),
    cell(whole(recipe.steps), 'number'), cell(recipe.lr === null ? '' : g(recipe.lr, 3), 'number'));
}

let saying = 0;

/** To screen readers, once the slider rests. */
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => { byId('said').textContent = text; }, 600);
}

// ---- the chart

function trialTip(place) {
  const trial = trialData.trials[place];
  return tip(`${shortened(trial.model, 60)}, ${shortened(trial.method, 60)}`, `loss ${lossText(trial.loss)} at ${plain(trial.flops)} FLOP`,
    `learning rate ${g(trial.lr, 3)}, ${whole(trial.steps)} steps`, shortened(trial.excluded || 'in its law', 120));
}

let awaited = null; // what the chart is to show at the next frame

/** Once a frame, however fast the slider moves. */
function showFrontierSoon(question) {
  if (!awaited) requestAnimationFrame(() => { showFrontier(awaited.question); awaited = null; });
  awaited = {question};
}

/** The lines are drawn anew where a control changes them; the budget alone moves the mark. */
function showFrontier(question) {
  if (!question) {
    showShapes();
    return;
  }
  const spent = current ? current.answer.budget.flops : planning.span.flops[1];
  const span = chartSpan(planning, spent);
  const narrow = byId('chart').clientWidth < 560;
  const [options] = menu(planning, question);
  const drawn = JSON.stringify([span, [...question.methods], question.suite, question.count, question.limits, question.machine?.memory, question.machine?.count, narrow, theme()]);
  chart ??= startChart();
  if (drawn !== charted) {
    const along = budgets(...span, Math.min(PER_DECADE, MOST_POINTS / Math.log10(span[1] / span[0])));
    const lines = planning.laws.map((law, place) => ({law, place, points: frontier(options, law, along)})).filter(({law, points}) => question.methods.has(law.name) && points.some(Boolean));
    const shown = apart(chartTrials.filter((trial) => question.methods.has(trial.name)));
    chart.setOption(frontierOption(planning, span, lines, shown, narrow, measureName), {notMerge: true});
    frontierTable(lines, span);
    lined = narrow ? [] : lines;
    charted = drawn;
  }
  const best = current && current.answer.recipe(0);
  showShapes();
  byId('chart-means').textContent = chartMeans();
  byId('chart').setAttribute('aria-label', best ? `Loss against training compute, one line per method. At ${plain(spent)} FLOP ${best.model} with ${best.method} is expected to reach ${lossText(best.loss)}.` : 'Loss against training compute, one line per method.');
}

let lined = []; // the lines that the chart shows, where there is room for their names
let shapes = []; // over the chart: these names, and the mark of the answer

function showShapes() {
  if (!chart) return;
  const zr = chart.getZr();
  for (const shape of shapes) zr.remove(shape);
  const now = current ? nowShapes(chart, current.answer.budget.flops, current.answer.recipe(0), current.answer.fits[0].lawPlace) : [];
  shapes = [...labelShapes(chart, lined), ...now];
  for (const shape of shapes) zr.add(shape);
}

function chartMeans() {
  const many = chartTrials.length > MANY ? ', one where several lie on one another' : '';
  const shown = content.trials.count ? `Points: trials, pale where they entered no law${many}. ` : '';
  return `${shown}Lines: the law with the best model at each budget, dashed beyond the largest trial; bands: 90 % interval of the law. The mark: the recipe, with where 90 % of runs fall. Click a point to open its trial, anywhere else to set the budget.`;
}

function startChart() {
  const made = echarts.init(byId('chart'));
  new ResizeObserver(() => { made.resize(); show(); }).observe(byId('chart'));
  made.on('click', ({seriesType, data}) => { if (seriesType === 'scatter' && data) dialog.show(trialData.trials[data[2]]); });
  made.getZr().on('click', ({target, offsetX, offsetY}) => {
    if (target || !made.containPixel('grid', [offsetX, offsetY])) return;
    setBudget(10 ** made.convertFromPixel('grid', [offsetX, offsetY])[0]);
  });
  return made;
}

function frontierTable(lines, span) {
  const along = fewer(ticks(...span), 12);
  const rows = along.map((budget) => {
    const cells = lines.map(({points}) => {
      const near = points.find((point) => point && Math.abs(Math.log10(point.budget / budget)) < 0.5 / PER_DECADE);
      return cell(near ? `${lossText(near.loss)} (${lossText(near.low)} to ${lossText(near.high)}), ${near.model}` : 'too small', 'number');
    });
    return element('tr', {}, element('th', {scope: 'row'}, `${plain(budget)} FLOP`), ...cells);
  });
  fill(byId('frontier-table'), head(['budget', ...lines.map(({law}) => law.label)], 1), element('tbody', {}, ...rows));
}

// ---- beginning

function setUpControls() {
  const names = [...new Set(planning.laws.map((law) => law.name))];
  fill(byId('methods'), element('legend', {class: 'unseen'}, 'Methods to choose from'), ...names.map(methodBox));
  byId('machine').append(...Object.keys(planning.machines).map((name) => element('option', {value: name}, name === 'this' ? 'this (measured)' : name)));
  const suites = Object.keys(planning.menus).map((name) => element('option', {value: name}, name || 'the measured ones'));
  fill(byId('suite'), ...suites);
  fill(byId('count'), ...planning.counts.map((name) => element('option', {value: name}, name === 'exact' ? 'exactly' : `by the ${name}'s rule`)));
  fill(byId('limit-fields'), ...LIMITS.map(limitField));
}

/** A method, with the mark of each of its settings that has a law. */
function methodBox(name) {
  const box = element('input', {type: 'checkbox', value: name, checked: ''});
  const places = planning.laws.flatMap((law, place) => (law.name === name ? [place] : []));
  const mark = (place, text) => element('span', {class: 'mark'}, markImage(place), words(shortened(text, 60)));
  if (places.length === 1) return element('label', {}, box, mark(places[0], planning.laws[places[0]].label));
  return element('label', {}, box, words(name), ...places.map((place) => mark(place, planning.laws[place].label.slice(name.length).trim())));
}

function limitField({id, label, example, whole: steps}) {
  const input = element('input', {id, type: 'text', inputmode: steps ? 'numeric' : 'text', placeholder: steps ? example : `such as ${example}`, 'aria-describedby': `${id}-error`, spellcheck: 'false'});
  return element('div', {}, element('label', {for: id}, label), input, element('p', {class: 'error', id: `${id}-error`}));
}

function listen() {
  byId('ask').addEventListener('submit', (event) => event.preventDefault());
  byId('ask').addEventListener('reset', () => setTimeout(startOver));
  byId('slider').addEventListener('input', sliderMoved);
  byId('machine').addEventListener('input', (event) => { event.stopPropagation(); machineChosen(); });
  for (const radio of document.querySelectorAll('[name="kind"]'))
    radio.addEventListener('input', (event) => { event.stopPropagation(); kindChosen(radio.value); });
  byId('slider').addEventListener('input', (event) => event.stopPropagation());
  byId('ask').addEventListener('input', show);
  byId('methods').addEventListener('input', show);
  byId('all-candidates').addEventListener('click', () => { allCandidates = !allCandidates; showCandidates(current.answer); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
}

/** The largest measured budget: the answer that rests on most. */
function startOver() {
  for (const box of document.querySelectorAll('#methods input')) box.checked = true;
  byId('budget').value = plain(planning.span.flops[1]);
  show();
}

function about() {
  const source = planning?.source ?? {}, training = planning?.training;
  const rows = {
    sweep: content.name,
    laws: planning && `${planning.laws.length}, fitted to ${source.observations} of ${content.trials.count} trials; rows ${source.rows_hash}`,
    'entered the fit': source.filters?.join(', '),
    models: planning?.measured.join(', '),
    conditions: training && Object.entries(training).map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : value ?? 'none'}`).join(', '),
    curves: content.trials.thinned ? `thinned to ${content.trials.points} points a trial, each the mean of its stretch of steps` : 'every recorded point',
    'numbers of trials': 'as measured, kept with seven digits',
    'made by': content.createdBy,
    charts: 'Apache ECharts 6.1.0 (Apache-2.0) with zrender (BSD-3-Clause, Baidu Inc.) and parts of d3 (BSD-3-Clause, Mike Bostock)',
    network: 'none: this file holds all that it shows, and its policy lets it load nothing',
  };
  fill(byId('about'), ...Object.entries(rows).filter(([, value]) => value).flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, words(value))]));
}

function summary() {
  const {count} = content.trials;
  const failed = trialData.trials.filter((trial) => trial.status !== 'done').length;
  const parts = [`${whole(count)} ${count === 1 ? 'trial' : 'trials'}${failed ? `, ${whole(failed)} of them without a loss` : ''}`];
  if (planning) {
    parts.push(`${planning.measured.length} models, ${planning.laws.length} ${planning.laws.length === 1 ? 'method' : 'methods'}`);
    parts.push(`${planning.span.flops.map((flops) => g(flops, 2).replace('e+', 'e')).join(' to ')} FLOP measured`);
    if (planning.missing.length) parts.push(`no shape found for ${planning.missing.join(', ')}: no recipes for these`);
  }
  return `${parts.join('; ')}.`;
}

/** In words, where there is no law to plan with. */
function showWithout() {
  byId('without').hidden = false;
  byId('why').textContent = content.why || 'The laws are not there.';
  byId('without-trials').textContent = content.trials.count
    ? 'Every trial is below, with what became of it.' : 'The folder holds no trial yet.';
  byId('without').append(...content.broken.map((text) => element('p', {class: 'muted'}, words(text))));
}

const trialData = readTrials(content.trials);
const methodPlaces = new Map((planning?.laws ?? []).map((law, place) => [law.label, place]));
const methodNames = new Map((planning?.laws ?? []).map((law) => [law.label, law.name]));
const chartTrials = trialData.trials
  .filter((trial) => trial.loss > 0 && trial.flops > 0 && methodPlaces.has(trial.method))
  .map(({place, flops, loss, method, excluded}) => ({place, flops, loss, method, name: methodNames.get(method), entered: !excluded}));
const dialog = new TrialDialog(content.trials, trialData.scores, methodPlaces, measureName);

fill(byId('title'), 'What to train, by the sweep ', words(content.name));
byId('summary').textContent = summary();
about();
new TrialTable(trialData.trials, methodPlaces, (trial) => dialog.show(trial));
if (planning) {
  byId('plan').hidden = false;
  setUpControls();
  listen();
  startOver();
} else {
  showWithout();
}
document.documentElement.dataset.ready = 'yes';
