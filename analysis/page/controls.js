'use strict';
/* The controls: what they ask of `plan`, what is wrong with it, and the command that asks the same. */

const SLIDER = [1 / 10, 1e4]; // times the lowest and the highest budget of the evidence

/** Limits of `plan`. id: of the field, and in asked.limits. */
const LIMITS = [
  {id: 'maxParams', flag: '--max-params', label: 'parameters at most', what: 'parameters', example: '1.4B'},
  {id: 'maxDim', flag: '--max-dim', label: 'dimensions at most', what: 'dimensions', example: '1024'},
  {id: 'memory', flag: '--memory', label: 'memory per chip', what: 'bytes', example: '24GB'},
  {id: 'maxPairs', flag: '--max-pairs', label: 'unique pairs at hand', what: 'pairs', example: '2M'},
  {id: 'maxEpochs', flag: '--max-epochs', label: 'epochs at most', what: 'epochs', example: '4'},
  {id: 'minSteps', flag: '--min-steps', label: 'steps at least', what: 'steps', example: '50'},
  {id: 'serveTokens', flag: '--serve-tokens', label: 'tokens to serve', what: 'tokens', example: '1T'},
];
const UNLIMITED = {
  maxParams: Infinity,
  maxDim: Infinity,
  memory: Infinity,
  maxPairs: Infinity,
  maxEpochs: Infinity,
  serveTokens: 0,
};

function wholeNumber(flag, text) {
  if (!/^\d+$/.test(text) || Number(text) < 1)
    throw new Error(`${flag} is '${text}'; it must be a whole number, 1 or more`);
  return Number(text);
}

const given = (id) => byId(id).value.trim();

/** What `read` gives, or null with the error beside the field `id`. */
function checked(id, read) {
  let error = '';
  let value = null;
  try {
    value = read();
  } catch (thrown) {
    error = thrown.message;
  }
  byId(`${id}-error`).textContent = error;
  byId(id).setAttribute('aria-invalid', String(Boolean(error)));
  return {value, wrong: Boolean(error)};
}

function askedMachine() {
  const name = given('machine');
  if (!name) return {value: null, wrong: false};
  const kind = planning.machines[name];
  const counted = given('chips') && name !== 'this';
  const count = checked('chips', () => (counted ? wholeNumber('--hardware', given('chips')) : kind.count));
  const price = checked('price', () => readMachine(kind, name, 1, '', given('price')));
  const mfu = checked('mfu', () => readMachine(kind, name, 1, given('mfu'), ''));
  if (count.wrong || price.wrong || mfu.wrong) return {value: null, wrong: true};
  return {value: readMachine(kind, name, count.value, given('mfu'), given('price')), wrong: false};
}

function askedLimits() {
  const limits = {...UNLIMITED, minSteps: planning.constants.minSteps};
  const wrong = LIMITS.map((limit) => {
    const read = checked(limit.id, () =>
      given(limit.id) === '' ? limits[limit.id] : readLimit(limit, given(limit.id)),
    );
    limits[limit.id] = read.value;
    return read.wrong;
  });
  return {value: limits, wrong: wrong.some(Boolean)};
}

function readLimit({flag, what}, text) {
  const {bytes, counts} = planning.units;
  if (what === 'steps') return wholeNumber(flag, text);
  if (what === 'bytes') return withUnit(flag, text, bytes, 'a positive number of bytes such as 24GB or 80GiB');
  return withUnit(flag, text, counts, `a positive number of ${what} such as 1.4B or 2e12`);
}

function askedMethods() {
  const boxes = [...document.querySelectorAll('#methods input')];
  return new Set(boxes.filter((box) => box.checked).map((box) => box.value));
}

/** All that the controls ask for, or null where one of them is wrong. */
function asked() {
  const machine = askedMachine();
  const limits = askedLimits();
  const methods = askedMethods();
  byId('methods-error').textContent = methods.size ? '' : 'Choose at least one method.';
  if (machine.wrong || limits.wrong || !methods.size) return null;
  const [budget, suite, count] = ['budget', 'suite', 'count'].map(given);
  return {budget, machine: machine.value, limits: limits.value, methods, suite, count};
}

/** The command that gives the same answer. */
function command(question) {
  const {budget, machine, methods, suite, count} = question;
  const all = new Set(planning.laws.map((law) => law.name));
  const number = given('chips') && machine?.name !== 'this' ? `${given('chips')}x` : '';
  const flags = [
    ['--suite', suite],
    ['--methods', methods.size < all.size && [...methods].join(',')],
    ['--flops', count !== 'exact' && count],
    ['--hardware', machine && number + machine.name],
    ['--mfu', machine && given('mfu')],
    ['--price', machine && given('price')],
    ...LIMITS.map(({id, flag}) => [flag, given(id)]),
  ];
  const said = flags.filter(([, value]) => value).map(([flag, value]) => `${flag} ${value}`);
  return ['plan --budget', budget.startsWith('$') ? `'${budget}'` : budget, content.laws, ...said]
    .filter(Boolean)
    .join(' ');
}

// ---- budget: the box, its kind and the slider say the same

const sliderSpan = () => planning.span.flops.map((flops, i) => flops * SLIDER[i]);

/** FLOPs as the kind of budget that is chosen, as a text of the box. */
function budgetText(flops, kind, machine) {
  if (kind === 'flops' || !machine) return plain(flops);
  const hours = flops / machine.rate / 3600;
  if (kind === 'money') return `$${plain(hours * machine.count * machine.price)}`;
  const [name, seconds] = timeUnit(hours);
  return `${plain((hours * 3600) / seconds)}${name}`;
}

/** The largest unit of which it is one at least: [name, seconds]. */
function timeUnit(hours) {
  return Object.entries(planning.units.seconds).findLast(([, length]) => hours * 3600 >= length) ?? ['s', 1];
}

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
  slider.value = String((1000 * Math.log(flops / low)) / Math.log(high / low));
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

// ---- how they look

/** What is set, what the machine does, and where the slider stands. */
function showControls() {
  const machine = askedMachine().value;
  const kind = kindOf(given('budget'));
  const set =
    LIMITS.filter(({id}) => given(id)).length + Number(given('suite') !== '') + Number(given('count') !== 'exact');
  byId('limits-set').textContent = set ? `${set} set` : 'none set';
  byId('machine-set').textContent = given('machine') || 'none';
  const [low, high] = sliderSpan().map((flops) => budgetText(flops, kind, machine));
  byId('slider-low').textContent = low;
  byId('slider-high').textContent = high;
  byId('budget-means').textContent =
    kind === 'flops' ? 'FLOP' : current ? `${plain(current.answer.budget.flops)} FLOP` : '';
  showMachine(machine);
  if (current) placeSlider(current.spent);
}

function showMachine(machine) {
  const kind = planning.machines[given('machine')];
  for (const id of ['chips', 'price', 'mfu']) byId(id).disabled = !kind;
  byId('chips').placeholder = kind ? String(kind.count) : '1';
  byId('mfu').placeholder = kind ? g(kind.mfu, 2) : '';
  byId('machine-means').textContent = machine ? `${plain(machine.rate)} FLOP/s: ${machine.source}` : '';
}

function setUpControls() {
  const names = [...new Set(planning.laws.map((law) => law.name))];
  fill(byId('methods'), element('legend', {class: 'unseen'}, 'Methods to choose from'), ...names.map(methodBox));
  const choices = (id, names, said) =>
    byId(id).append(...names.map((value) => element('option', {value}, said(value))));
  choices('machine', Object.keys(planning.machines), (name) => (name === 'this' ? 'this (measured)' : name));
  choices('suite', Object.keys(planning.menus), (name) => name || 'the measured ones');
  choices('count', planning.counts, (name) => (name === 'exact' ? 'exactly' : `by the ${name}'s rule`));
  fill(byId('limit-fields'), ...LIMITS.map(limitField));
}

/** A method, with the mark of each of its settings that has a law. */
function methodBox(name) {
  const box = element('input', {type: 'checkbox', value: name, checked: ''});
  const places = planning.laws.flatMap((law, place) => (law.name === name ? [place] : []));
  const mark = (place, text) => element('span', {class: 'mark'}, markImage(place), words(shortened(text, 60)));
  if (places.length === 1) return element('label', {}, box, mark(places[0], planning.laws[places[0]].label));
  const settings = (place) => planning.laws[place].label.slice(name.length).trim();
  return element('label', {}, box, words(name), ...places.map((place) => mark(place, settings(place))));
}

function limitField({id, label, what, example}) {
  const placeholder = what === 'steps' ? String(planning.constants.minSteps) : `such as ${example}`;
  const input = element('input', {
    id,
    type: 'text',
    placeholder,
    'aria-describedby': `${id}-error`,
    spellcheck: 'false',
  });
  return element(
    'div',
    {},
    element('label', {for: id}, label),
    input,
    element('p', {class: 'error', id: `${id}-error`}),
  );
}
