/* What the page was made with, and what it shows now. */

import {byId} from './dom.js';
import {byItself, readBooks} from './planner/book.js';
import {readTrials} from './trials.js';

export const content = JSON.parse(byId('data').textContent);
export const planning = content.planning; // null where no law could be fitted
/** The law books of the page, its own first; none where no law could be fitted. */
export const books = planning ? readBooks(planning) : [];
/** The page's own law book, or null. */
export const book = books[0] ?? null;
/** Each of the books as it is where no other is asked. */
const alone = books.map((_, i) => byItself(planning, books, i));
/** The law books that are asked. name: of one; empty for all, of which the nearest answers. */
export const booksOf = (name) => (name ? alone.filter((one) => one.name === name) : books);
export const measureName = content.measure === 'loss' ? 'held-out loss, nats per pair' : content.measure;
export const unit = content.measure === 'loss' ? 'nats per pair' : `as ${content.measure}`;

export const trialData = readTrials(content.trials);
/** Label of a method -> its law. */
export const lawOf = new Map((book?.laws ?? []).map((law) => [law.label, law]));

export let current = null; // {question, answer}: what the page shows; null while a control is wrong

export function setCurrent(shown) {
  current = shown;
}
