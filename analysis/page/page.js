/* The page: reads the controls, plans, shows the answer. */

import {about, showWithout, summary} from './about.js';
import {readAddress, writeAddress, writeAddressSoon} from './address.js';
import {copy, explain, showAnswer, toggleCandidates} from './answer.js';
import {
  asked, chooseKind, kindChosen, kindOf, machineChosen, setUpControls, showControls, sliderMoved,
} from './controls.js';
import {TrialDialog} from './dialog.js';
import {byId, fill, plain, words} from './dom.js';
import {asFlags, given} from './fields.js';
import {setUpFit, showFit} from './fit.js';
import {showFrontierSoon, startFrontier} from './frontier.js';
import {setColours} from './looks.js';
import {setUpMeanings} from './meanings.js';
import {plan} from './planner/plan.js';
import {download} from './recipe_file.js';
import {book, content, current, planning, setCurrent, trialData} from './state.js';
import {TrialTable} from './table.js';

function show() {
  chooseKind(kindOf(given('budget')));
  const question = asked();
  let error = '';
  setCurrent(null);
  try {
    if (question) setCurrent({question, answer: plan(question.books, question)});
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
  writeAddressSoon();
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
  byId('download').addEventListener('click', () => {
    download(current.answer);
    byId('download-means').textContent = 'recipe.toml is saved; `embed train recipe.toml` trains it.';
  });
  byId('copy-link').addEventListener('click', () => {
    writeAddress();
    byId('link').textContent = location.href;
    copy(byId('copy-link'));
  });
  addEventListener('hashchange', () => {
    if (!location.hash.includes('=')) return; // a place in the page
    setUsual();
    readAddress();
    show();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    setColours();
    show();
    showFit();
  });
}

/** The largest measured budget: the answer that rests on most. */
function setUsual() {
  for (const one of byId('ask').querySelectorAll('input[type=text], select'))
    one.value = one.matches('select') ? one.options[0].value : '';
  for (const box of document.querySelectorAll('#methods input')) box.checked = true;
  byId('budget').value = plain(book.measured.flops[1]);
}

function startOver() {
  setUsual();
  byId('address-error').textContent = '';
  show();
}

setColours();
const dialog = new TrialDialog(content.trials, trialData.scores);
const openDialog = (trial) => dialog.show(trial);

fill(byId('title'), 'What to train? Answers of the ', book?.published ? 'findings of ' : 'sweep ', words(book?.published || content.name));
byId('summary').textContent = summary();
about();
byId('trials').hidden = Boolean(book?.published);
new TrialTable(trialData.trials, openDialog);
if (planning) {
  byId('plan').hidden = false;
  setUpControls();
  startFrontier(openDialog);
  setUpFit(openDialog);
  listen();
  setUsual();
  readAddress();
  show();
} else {
  showWithout();
}
setUpMeanings();
document.documentElement.dataset.ready = 'yes';
