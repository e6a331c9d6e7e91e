// The questions of a show: written one by one, or taken from a file.

import { el, tell, write } from './dom.js';
import { areaField, mark } from './fields.js';
import { sendBytes } from './server.js';
import { t } from './words.js';

const OPTIONS_MIN = 2;
const OPTIONS_MAX = 6;
const QUESTIONS_MAX = 100;
const letter = (option) => String.fromCharCode('A'.charCodeAt(0) + option);

let groups = 0;

/** One question. */
class Question {
  constructor(list, { text = '', options = ['', ''], correct } = {}) {
    this.list = list;
    this.group = `correct-${groups += 1}`;
    this.text = areaField(t('question_text'), '', text, { required: true, maxlength: 1024 });
    this.options = options.map((option, index) => this.#option(option, index === correct));
    this.place = el('legend', {});
    this.rows = el('div', {});
    this.more = el('button', { type: 'button', onclick: () => this.#add() }, t('add_option'));
    const act = (label, does) => el('button', { type: 'button', onclick: does }, label);
    this.up = act(t('move_up'), () => list.move(this, -1));
    this.down = act(t('move_down'), () => list.move(this, 1));
    this.element = el('fieldset', { class: 'question' }, this.place, this.text.element, this.rows,
      el('div', { class: 'row' }, this.more, this.up, this.down,
        act(t('remove_question'), () => list.remove(this))));
  }

  #option(text, isCorrect) {
    const input = el('input', { value: text, maxlength: 1024, required: true });
    const wrong = el('span', { class: 'wrong', hidden: true });
    input.wrongPlace = wrong;
    input.addEventListener('input', () => mark(input, ''));
    const radio = el('input', { type: 'radio', name: this.group, checked: isCorrect, required: true });
    const drop = el('button', { type: 'button', class: 'plain' }, '✕');
    const row = el('div', { class: 'answer' }, radio, input, drop, wrong);
    const option = { input, radio, drop, row };
    drop.addEventListener('click', () => {
      this.options = this.options.filter((other) => other !== option);
      this.list.draw();
    });
    return option;
  }

  #add() {
    this.options.push(this.#option('', false));
    this.list.draw();
    this.options.at(-1).input.focus();
  }

  draw(index, count) {
    const key = `questions[${index}]`;
    write(this.place, t('question_number', index + 1));
    this.text.control.dataset.key = `${key}.text`;
    this.rows.dataset.key = key;
    this.options.forEach(({ input, radio, drop }, at) => {
      input.dataset.key = `${key}.options[${at}]`;
      input.setAttribute('aria-label', t('option_letter', letter(at)));
      radio.dataset.key = at === 0 ? `${key}.correct` : '';
      radio.setAttribute('aria-label', t('option_correct', letter(at)));
      drop.setAttribute('aria-label', t('remove_option', letter(at)));
      drop.disabled = this.options.length <= OPTIONS_MIN;
    });
    this.rows.replaceChildren(el('p', { class: 'quiet' }, t('mark_correct')),
      ...this.options.map(({ row }) => row));
    this.more.disabled = this.options.length >= OPTIONS_MAX;
    this.up.disabled = index === 0;
    this.down.disabled = index === count - 1;
  }

  read() {
    const correct = this.options.findIndex(({ radio }) => radio.checked);
    return {
      text: this.text.read(),
      options: this.options.map(({ input }) => input.value),
      ...(correct >= 0 ? { correct } : {}),
    };
  }

  get isEmpty() {
    return this.text.read().trim() === '' && this.options.every(({ input }) => input.value.trim() === '');
  }
}

/** All questions of a show, and the way to take some from elsewhere. */
export class Questions {
  constructor(questions) {
    this.questions = questions.map((question) => new Question(this, question));
    if (this.questions.length === 0) this.questions.push(new Question(this));
    this.list = el('div', { 'data-key': 'questions', tabindex: -1 });
    this.count = el('p', { class: 'quiet', role: 'status' });
    this.adding = el('button', { type: 'button', 'data-do': 'add-question', onclick: () => this.#add() },
      t('add_question'));
    this.element = el('div', {}, this.#importing(), this.count, this.list, this.adding);
    this.draw();
  }

  read() { return this.questions.map((question) => question.read()); }

  draw() {
    this.questions.forEach((question, index) => question.draw(index, this.questions.length));
    this.list.replaceChildren(...this.questions.map((question) => question.element));
    write(this.count, t('question_count', this.questions.length));
    this.adding.disabled = this.questions.length >= QUESTIONS_MAX;
  }

  move(question, by) {
    const from = this.questions.indexOf(question);
    this.questions.splice(from, 1);
    this.questions.splice(from + by, 0, question);
    this.draw();
    (by < 0 ? question.up : question.down).focus();
  }

  remove(question) {
    this.questions = this.questions.filter((other) => other !== question);
    this.draw();
    this.adding.focus();
  }

  #add() {
    this.questions.push(new Question(this));
    this.draw();
    this.questions.at(-1).text.control.focus();
  }

  #take(questions, replacing) {
    const kept = replacing ? [] : this.questions.filter((question) => !question.isEmpty);
    this.questions = [...kept, ...questions.map((question) => new Question(this, question))];
    this.draw();
    tell(t('taken', questions.length));
  }

  #importing() {
    const file = el('input', { type: 'file', name: 'questions-file', accept: '.csv,.json,text/csv,application/json' });
    const pasted = el('textarea', { name: 'questions-pasted', rows: 4, spellcheck: 'false' });
    const outcome = el('div', { class: 'outcome', role: 'status' });
    const check = el('button', { type: 'button', 'data-do': 'check' }, t('check'));
    // Whatever is chosen or pasted next is not what was checked.
    for (const source of [file, pasted]) {
      source.addEventListener('input', () => outcome.replaceChildren());
    }
    check.addEventListener('click', async () => {
      const source = file.files[0] ?? pasted.value;
      check.disabled = true;
      try {
        outcome.replaceChildren(...this.#found(await checked(source)));
      } catch (error) {
        outcome.replaceChildren(...wrongLines(error));
      } finally {
        check.disabled = false;
      }
    });
    return el('details', { class: 'import' },
      el('summary', {}, t('import')),
      el('p', { class: 'quiet' }, t('import_form')),
      el('pre', {}, 'text,option_1,option_2,option_3,correct\nWhich river is the longest?,Nile,Amazon,Rhine,2'),
      el('label', {}, t('file'), file), el('label', {}, t('paste'), pasted), check, outcome);
  }

  #found(questions) {
    const take = (replacing) => () => this.#take(questions, replacing);
    return [
      el('p', { class: 'good' }, t('found', questions.length)),
      el('ol', {}, questions.slice(0, 5).map(({ text, options, correct }) =>
        el('li', {}, `${text} (${options[correct]})`))),
      ...(questions.length > 5 ? [el('p', { class: 'quiet' }, t('and_more', questions.length - 5))] : []),
      el('div', { class: 'row' },
        el('button', { type: 'button', 'data-do': 'replace', onclick: take(true) }, t('replace_questions')),
        el('button', { type: 'button', 'data-do': 'append', onclick: take(false) }, t('append_questions'))),
    ];
  }
}

/** What the server makes of a file or of a text. */
async function checked(source) {
  const name = source.name ?? '';
  const begins = typeof source === 'string' ? source : await source.slice(0, 64).text();
  const isJson = /\.json$/i.test(name) || (!/\.csv$/i.test(name) && /^[\s\uFEFF]*[[{]/.test(begins));
  const type = isJson ? 'application/json' : 'text/csv';
  return (await sendBytes('questions/check', type, source)).questions;
}

function wrongLines(error) {
  if (!error.problems) return [el('p', { class: 'wrong', role: 'alert' }, error.message)];
  const rows = error.problems.map(({ line, key, reason }) => el('tr', {},
    el('td', { class: 'number' }, line ?? '–'), el('td', {}, key), el('td', { class: 'long' }, reason)));
  return [
    el('p', { class: 'wrong', role: 'alert' }, t('problems', rows.length)),
    el('div', { class: 'wide', tabindex: 0 }, el('table', {},
      el('thead', {}, el('tr', {}, ...['line', 'place', 'reason'].map((name) =>
        el('th', { scope: 'col', class: name === 'line' ? 'number' : '' }, t(name))))),
      el('tbody', {}, rows))),
  ];
}
