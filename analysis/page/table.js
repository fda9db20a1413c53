/* The table of trials: sorted, filtered, shown by the page; one opens. */

import {byId, byNumbers, cell, element, fill, shortened, whole, words} from './dom.js';
import {markImage} from './looks.js';
import {COLUMNS, matching, sortedBy} from './trials.js';

const FIRST = 10; // shown before more are asked for
const ROWS = 50; // shown at once then

/** The table of trials with its filters and pages. open: called with a trial. */
export class TrialTable {
  constructor(trials, open) {
    Object.assign(this, {trials, open, sortBy: 'flops', descending: true, first: 0, many: false});
    const sizes = new Set(trials.map((trial) => trial.batch));
    this.columns = COLUMNS.filter(({id}) => id !== 'batch' || sizes.size > 1);
    for (const [id, name] of [
      ['find-model', 'model'],
      ['find-method', 'method'],
      ['find-status', 'status'],
    ])
      this.choices(byId(id), byNumbers([...new Set(trials.map((trial) => trial[name]))]));
    byId('filters').addEventListener('input', () => {
      this.first = 0;
      this.show();
    });
    byId('filters').addEventListener('submit', (event) => event.preventDefault());
    byId('earlier').addEventListener('click', () => this.turnPage(-ROWS));
    byId('later').addEventListener('click', () => this.turnPage(ROWS));
    byId('more-trials').addEventListener('click', () => {
      Object.assign(this, {many: !this.many, first: 0});
      this.show();
    });
    this.show();
  }

  get rows() {
    return this.many ? ROWS : FIRST;
  }

  choices(select, values) {
    fill(
      select,
      element('option', {value: ''}, 'all'),
      ...values.map((value) => element('option', {value}, shortened(value, 60))),
    );
  }

  turnPage(rows) {
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
    const matches = sortedBy(matching(this.trials, asked), this.sortBy, this.descending);
    const {rows} = this;
    const shown = matches.slice(this.first, this.first + rows);
    fill(byId('trial-table'), this.head(), element('tbody', {}, ...shown.map((trial) => this.row(trial))));
    const part = matches.length > rows ? `, ${whole(this.first + 1)} to ${whole(this.first + shown.length)} shown` : '';
    byId('match-count').textContent = this.trials.length
      ? `${whole(matches.length)} of ${whole(this.trials.length)} trials${part}`
      : 'The folder holds no trial.';
    byId('earlier').disabled = this.first === 0;
    byId('later').disabled = this.first + rows >= matches.length;
    for (const id of ['earlier', 'later']) byId(id).hidden = !this.many || matches.length <= ROWS;
    const paged = matches.length > ROWS ? `, ${ROWS} at a time` : '';
    byId('more-trials').textContent = this.many ? `Show ${FIRST}` : `Show all ${whole(matches.length)}${paged}`;
    byId('more-trials').hidden = matches.length <= FIRST;
  }

  head() {
    const cells = this.columns.map(({id, title, number}) => {
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
    const cells = this.columns.map((column) => {
      if (column.id === 'key') return cell(this.opener(trial));
      const text = shortened(column.text(trial), 160);
      const inside = column.id === 'method' ? this.marked(trial.method, text) : words(text);
      return cell(inside, column.number ? 'number' : column.long ? 'long' : '');
    });
    return element('tr', {}, ...cells);
  }

  marked(method, text) {
    return element('span', {class: 'mark'}, markImage(method), words(text));
  }

  opener(trial) {
    const button = element('button', {type: 'button', 'aria-label': `open trial ${trial.key}`}, trial.key.slice(0, 8));
    button.addEventListener('click', () => this.open(trial));
    return button;
  }
}
