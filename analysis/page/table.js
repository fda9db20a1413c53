'use strict';
/* Trials: read from columns, sorted, filtered, shown by the page; one opens with its training curve. */

const ROWS = 50; // shown at once

/** The trials as objects with names; numbers that are missing are NaN. */
function readTrials(columns) {
  const floats = (packed) =>
    Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, unpacked(text, 'f')]));
  const said = (name) => columns[name].places.map((place) => columns[name].words[place]);
  const [model, method, status, reason, excluded] = ['model', 'method', 'status', 'reason', 'excluded'].map(said);
  const {lr, loss, measured, start, accuracy, flops, tokens, epochs, seconds} = floats(columns.numbers);
  const scores = floats(columns.scores);
  const trials = columns.key.map((key, i) => ({
    place: i,
    key,
    steps: columns.steps[i],
    seed: columns.seed[i],
    model: model[i],
    method: method[i],
    status: status[i],
    reason: reason[i],
    excluded: excluded[i],
    why: reason[i] || excluded[i],
    lr: lr[i],
    loss: loss[i],
    measured: measured[i],
    start: start[i],
    accuracy: accuracy[i],
    flops: flops[i],
    tokens: tokens[i],
    epochs: epochs[i],
    seconds: seconds[i],
  }));
  return {trials, scores};
}

const numberText = (value, digits) => (Number.isFinite(value) ? g(value, digits) : '');

/** id: field of a trial. text: how it is shown. number: sorted as one, and to the right. */
const COLUMNS = [
  {id: 'key', title: 'trial', text: (trial) => trial.key.slice(0, 8)},
  {id: 'model', title: 'model', text: (trial) => trial.model},
  {id: 'method', title: 'method', text: (trial) => trial.method},
  {id: 'flops', title: 'FLOP', number: true, text: (trial) => (trial.flops > 0 ? plain(trial.flops) : '')},
  {id: 'loss', title: 'loss', number: true, text: (trial) => (Number.isFinite(trial.loss) ? lossText(trial.loss) : '')},
  {id: 'lr', title: 'learning rate', number: true, text: (trial) => numberText(trial.lr, 3)},
  {id: 'steps', title: 'steps', number: true, text: (trial) => whole(trial.steps)},
  {id: 'tokens', title: 'tokens', number: true, text: (trial) => (trial.tokens > 0 ? short(trial.tokens) : '')},
  {id: 'seed', title: 'seed', number: true, text: (trial) => String(trial.seed)},
  {
    id: 'seconds',
    title: 'seconds',
    number: true,
    text: (trial) => (trial.seconds > 0 ? numberText(trial.seconds, 3) : ''),
  },
  {id: 'status', title: 'became', text: (trial) => trial.status},
  {id: 'why', title: 'why, or why in no law', text: (trial) => trial.why, long: true},
];

/** Sorted by a column; what is missing comes last either way. */
function sorted(trials, id, descending) {
  const {number} = COLUMNS.find((column) => column.id === id);
  const sign = descending ? -1 : 1;
  const compare = number
    ? (a, b) => Number.isNaN(a[id]) - Number.isNaN(b[id]) || sign * (a[id] - b[id]) || 0
    : (a, b) => (a[id] === '') - (b[id] === '') || sign * (a[id] < b[id] ? -1 : a[id] > b[id] ? 1 : 0);
  return [...trials].sort(compare);
}

function matching(trials, {text, model, method, status}) {
  const wanted = text.trim().toLowerCase();
  return trials.filter(
    (trial) =>
      (!model || trial.model === model) &&
      (!method || trial.method === method) &&
      (!status || trial.status === status) &&
      (!wanted ||
        [trial.key, trial.model, trial.method, trial.status, trial.why].some((field) =>
          field.toLowerCase().includes(wanted),
        )),
  );
}

/** The table of trials with its filters and pages. open: called with a trial. */
class TrialTable {
  constructor(trials, methods, open) {
    Object.assign(this, {trials, methods, open, sortBy: 'flops', descending: true, first: 0});
    for (const [id, name] of [
      ['find-model', 'model'],
      ['find-method', 'method'],
      ['find-status', 'status'],
    ])
      this.choices(byId(id), [...new Set(trials.map((trial) => trial[name]))].sort());
    byId('filters').addEventListener('input', () => {
      this.first = 0;
      this.show();
    });
    byId('filters').addEventListener('submit', (event) => event.preventDefault());
    byId('earlier').addEventListener('click', () => this.turn(-ROWS));
    byId('later').addEventListener('click', () => this.turn(ROWS));
    this.show();
  }

  choices(select, values) {
    fill(
      select,
      element('option', {value: ''}, 'all'),
      ...values.map((value) => element('option', {value}, shortened(value, 60))),
    );
  }

  turn(rows) {
    this.first += rows;
    this.show();
  }

  sort(id) {
    this.descending = this.sortBy === id && !this.descending;
    this.sortBy = id;
    this.first = 0;
    this.show();
    byId('trial-table').querySelector(`[data-sort="${id}"]`).focus();
  }

  show() {
    const asked = {
      text: byId('find').value,
      model: byId('find-model').value,
      method: byId('find-method').value,
      status: byId('find-status').value,
    };
    const found = sorted(matching(this.trials, asked), this.sortBy, this.descending);
    const shown = found.slice(this.first, this.first + ROWS);
    fill(byId('trial-table'), this.head(), element('tbody', {}, ...shown.map((trial) => this.row(trial))));
    const part = found.length > ROWS ? `, ${whole(this.first + 1)} to ${whole(this.first + shown.length)} shown` : '';
    byId('found').textContent = this.trials.length
      ? `${whole(found.length)} of ${whole(this.trials.length)} trials${part}`
      : 'The folder holds no trial.';
    byId('earlier').disabled = this.first === 0;
    byId('later').disabled = this.first + ROWS >= found.length;
    byId('earlier').parentElement.hidden = found.length <= ROWS;
  }

  head() {
    const cells = COLUMNS.map(({id, title, number}) => {
      const sorts = this.sortBy === id;
      const button = element(
        'button',
        {type: 'button', 'data-sort': id},
        title,
        sorts ? (this.descending ? ' ↓' : ' ↑') : '',
      );
      button.addEventListener('click', () => this.sort(id));
      const order = this.descending ? 'descending' : 'ascending';
      return element(
        'th',
        {scope: 'col', 'aria-sort': sorts ? order : 'none', ...(number ? {class: 'number'} : {})},
        button,
      );
    });
    return element('thead', {}, element('tr', {}, ...cells));
  }

  row(trial) {
    const cells = COLUMNS.map((column) => {
      if (column.id === 'key') return cell(this.opener(trial));
      const text = shortened(column.text(trial), 160);
      const inside =
        column.id === 'method' && this.methods.has(trial.method) ? this.marked(trial.method, text) : words(text);
      return cell(inside, column.number ? 'number' : column.long ? 'long' : '');
    });
    return element('tr', {}, ...cells);
  }

  marked(method, text) {
    return element('span', {class: 'mark'}, markImage(this.methods.get(method)), words(text));
  }

  opener(trial) {
    const button = element('button', {type: 'button', 'aria-label': `open trial ${trial.key}`}, trial.key.slice(0, 8));
    button.addEventListener('click', () => this.open(trial));
    return button;
  }
}

/** The dialog of one trial. */
class TrialDialog {
  constructor(columns, scores, methods, measureName) {
    Object.assign(this, {columns, scores, methods, measureName, chart: null});
    byId('close-trial').addEventListener('click', () => byId('trial').close());
    byId('trial').addEventListener('close', () => {
      this.chart?.dispose();
      this.chart = null;
    });
  }

  /** Steps and losses of the i-th curve; read when the first one is wanted. */
  curve(i) {
    const {lengths, steps, losses} = this.columns.curves;
    this.steps ??= unpacked(steps, 'I');
    this.losses ??= unpacked(losses, 'f');
    const begin = lengths.slice(0, i).reduce((sum, length) => sum + length, 0);
    const end = begin + lengths[i];
    return [Array.from(this.steps.subarray(begin, end)), Array.from(this.losses.subarray(begin, end))];
  }

  show(trial) {
    fill(byId('trial-title'), words(trial.model), ' with ', words(trial.method));
    byId('trial-reason').textContent =
      trial.status === 'done' ? '' : `${trial.status}: ${trial.reason || 'no reason was recorded'}`;
    fill(byId('trial-facts'), ...this.facts(trial));
    this.evaluations(trial);
    byId('trial').showModal();
    this.draw(trial);
  }

  facts(trial) {
    const rows = [
      ['trial', trial.key],
      ['FLOP', trial.flops > 0 ? plain(trial.flops) : ''],
      ['learning rate', numberText(trial.lr, 4)],
      ['steps', whole(trial.steps)],
      ['tokens', trial.tokens > 0 ? short(trial.tokens) : ''],
      ['epochs', numberText(trial.epochs, 3)],
      ['seed', String(trial.seed)],
      ['held-out loss', Number.isFinite(trial.loss) ? `${g(trial.loss, 5)} nats per pair` : 'none'],
      ['before training', numberText(trial.start, 5)],
      ['accuracy', numberText(trial.accuracy, 3)],
      ['training took', trial.seconds > 0 ? `${g(trial.seconds, 3)} s` : ''],
      ['part of a law', trial.excluded ? 'no' : 'yes', trial.excluded],
      ...Object.entries(this.scores).map(([name, values]) => [name, numberText(values[trial.place], 4)]),
    ];
    return rows
      .filter(([, value]) => value !== '')
      .map(([name, value, remark]) => term(name, words(value), remark || ''));
  }

  draw(trial) {
    const [steps, losses] = this.curve(trial.place);
    const usable = losses.filter((loss) => loss > 0 && Number.isFinite(loss)).length;
    byId('trial-chart').hidden = usable < 2;
    byId('trial-means').textContent =
      usable < 2
        ? 'No training curve: fewer than two losses were recorded.'
        : `Training loss${steps.length >= this.columns.points ? `, ${this.columns.points} points, each the mean of its stretch of steps` : ''}.`;
    if (usable < 2) return;
    byId('trial-chart').setAttribute(
      'aria-label',
      `Training loss over ${whole(steps[steps.length - 1])} steps, from ${g(losses[0], 3)} to ${g(losses[losses.length - 1], 3)} nats per pair`,
    );
    this.chart = echarts.init(byId('trial-chart'));
    this.chart.setOption(curveOption(steps, losses, trial.loss, this.methods.get(trial.method) ?? 5));
  }

  evaluations(trial) {
    const rows = this.columns.evaluations[trial.place] ?? [];
    const names = [...new Set(rows.flatMap(Object.keys))];
    const cells = (row) =>
      element('tr', {}, ...names.map((name) => cell(name in row ? g(row[name], 4) : '', 'number')));
    const table = element('table', {}, head(names), element('tbody', {}, ...rows.map(cells)));
    fill(
      byId('trial-evaluations'),
      ...(rows.length
        ? [
            element('h2', {}, 'Evaluations during training'),
            element('div', {class: 'scroll', role: 'region', 'aria-label': 'Evaluations', tabindex: '0'}, table),
          ]
        : []),
    );
  }
}
