'use strict';
/* The page: reads the controls, plans, shows the answer. */

const content = JSON.parse(byId('data').textContent);
const planning = content.planning && {...content.planning, laws: readLaws(content.planning.laws)};
const measureName = content.measure === 'loss' ? 'held-out loss, nats per pair' : content.measure;
const unit = content.measure === 'loss' ? 'nats per pair' : `as ${content.measure}`;

let current = null; // {question, answer, spent}: what the page shows; null while a control is wrong

function show() {
  chooseKind(kindOf(given('budget')));
  const question = asked();
  let error = '';
  current = null;
  try {
    current = question && answered(question);
  } catch (thrown) {
    error = thrown.message;
  }
  byId('budget-error').textContent = error;
  byId('budget').setAttribute('aria-invalid', String(Boolean(error)));
  byId('refusal').textContent = current ? '' : 'No recipe: see what is marked beside the controls.';
  for (const id of ['recipe', 'runners', 'mind']) byId(id).hidden = !current;
  showControls();
  if (current) showAnswer(current);
  showFrontierSoon(question);
}

function answered(question) {
  if (!planning.menus[question.suite].length)
    throw new Error(
      'None of the measured models was found where this page was made; choose other models under Limits.',
    );
  return {
    question,
    answer: plan(planning, question),
    spent: readBudget(question.budget, question.machine, planning.units.seconds).flops,
  };
}

function listen() {
  byId('ask').addEventListener('submit', (event) => event.preventDefault());
  byId('ask').addEventListener('reset', () => setTimeout(startOver));
  byId('slider').addEventListener('input', sliderMoved);
  byId('machine').addEventListener('input', (event) => {
    event.stopPropagation();
    machineChosen();
  });
  for (const radio of document.querySelectorAll('[name="kind"]'))
    radio.addEventListener('input', (event) => {
      event.stopPropagation();
      kindChosen(radio.value);
    });
  byId('slider').addEventListener('input', (event) => event.stopPropagation());
  byId('ask').addEventListener('input', show);
  byId('methods').addEventListener('input', show);
  byId('all-candidates').addEventListener('click', () => toggleCandidates(current.answer));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
}

/** The largest measured budget: the answer that rests on most. */
function startOver() {
  for (const box of document.querySelectorAll('#methods input')) box.checked = true;
  byId('budget').value = plain(planning.span.flops[1]);
  show();
}

const trialData = readTrials(content.trials);
const methodPlaces = new Map((planning?.laws ?? []).map((law, place) => [law.label, place]));
const methodNames = new Map((planning?.laws ?? []).map((law) => [law.label, law.name]));
const chartTrials = trialData.trials
  .filter((trial) => trial.measured > 0 && trial.flops > 0 && methodPlaces.has(trial.method))
  .map(({place, flops, measured, method, excluded}) => ({
    place,
    flops,
    loss: measured,
    method,
    name: methodNames.get(method),
    entered: !excluded,
  }));
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
