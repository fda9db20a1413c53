/* The dialog of one trial, with its training curve. */

import {curveOption} from './charts.js';
import {byId, cell, element, fill, head, methodText, numberText, plain, term, whole, words} from './dom.js';
import {unpacked} from './planner/book.js';
import {short} from './planner/generated.js';
import {g} from './planner/python.js';

/** The dialog of one trial. */
export class TrialDialog {
  constructor(columns, scores) {
    Object.assign(this, {columns, scores, chart: null});
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
    fill(byId('trial-title'), words(trial.model), ' with ', words(methodText(trial.method)));
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
    this.chart.setOption(curveOption(steps, losses, trial.loss, trial.method));
  }

  evaluations(trial) {
    const {names: kinds, trials} = this.columns.evaluations;
    const [kind, rows] = trials[trial.place] ?? [0, []];
    const names = kinds[kind] ?? [];
    const cells = (row) =>
      element('tr', {}, ...row.map((value) => cell(value === null ? '' : g(value, 4), 'number')));
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
