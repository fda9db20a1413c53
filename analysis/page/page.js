/* The page: reads the controls, plans, shows the answer. */

import {about, showWithout, summary} from './about.js';
import {copy, explain, showAnswer, toggleCandidates} from './answer.js';
import {
  asFlags, asked, chooseKind, given, kindChosen, kindOf, machineChosen, setUpControls, showControls, sliderMoved,
} from './controls.js';
import {TrialDialog} from './dialog.js';
import {byId, fill, plain, words} from './dom.js';
import {showFrontierSoon, startFrontier} from './frontier.js';
import {plan} from './planner/plan.js';
import {book, content, current, lawOf, planning, setCurrent, trialData} from './state.js';
import {TrialTable} from './table.js';

function show() {
  chooseKind(kindOf(given('budget')));
  const question = asked();
  let error = '';
  setCurrent(null);
  try {
    if (question) setCurrent(answered(question));
  } catch (thrown) {
    error = asFlags(thrown.message);
  }
  byId('budget-error').textContent = error;
  byId('budget').setAttribute('aria-invalid', String(Boolean(error)));
  byId('refusal').textContent = current ? '' : 'No recipe: see what is marked beside the controls.';
  byId('recipe').hidden = !current;
  showControls(question);
  if (current) showAnswer(current);
  showFrontierSoon(question);
}

function answered(question) {
  if (!question.models.length)
    throw new Error(
      'None of the measured models was found where this page was made; choose other models under Limits.',
    );
  return {question, answer: plan(book, question)};
}

function listen() {
  byId('ask').addEventListener('submit', (event) => event.preventDefault());
  byId('ask').addEventListener('reset', () => setTimeout(startOver));
  const alone = (control, handler) =>
    control.addEventListener('input', (event) => {
      event.stopPropagation(); // what it changes is heard of instead
      handler();
    });
  alone(byId('slider'), sliderMoved);
  alone(byId('machine'), machineChosen);
  for (const radio of document.querySelectorAll('[name="kind"]')) alone(radio, () => kindChosen(radio.value));
  byId('ask').addEventListener('input', show);
  byId('methods').addEventListener('input', show);
  byId('all-candidates').addEventListener('click', () => toggleCandidates(current.answer));
  byId('explain').addEventListener('toggle', () => current && byId('explain').open && explain(current.answer));
  for (const button of document.querySelectorAll('.copy')) button.addEventListener('click', () => copy(button));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
}

/** The largest measured budget: the answer that rests on most. */
function startOver() {
  for (const box of document.querySelectorAll('#methods input')) box.checked = true;
  byId('budget').value = plain(book.measured.flops[1]);
  show();
}

const dialog = new TrialDialog(content.trials, trialData.scores, lawOf);
const openDialog = (trial) => dialog.show(trial);

fill(byId('title'), 'What to train, by the ', book?.published ? 'findings of ' : 'sweep ', words(book?.published || content.name));
byId('summary').textContent = summary();
about();
byId('trials').hidden = Boolean(book?.published);
new TrialTable(trialData.trials, lawOf, openDialog);
if (planning) {
  byId('plan').hidden = false;
  setUpControls();
  startFrontier(openDialog);
  listen();
  startOver();
} else {
  showWithout();
}
document.documentElement.dataset.ready = 'yes';
