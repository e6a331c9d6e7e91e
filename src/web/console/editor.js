// A show as it is written, before it begins: everything that a show file can say.

import { confirmed, el, tell } from './dom.js';
import {
  checkField, incompleteFields, momentField, moneyField, numberField, showProblems, textField,
} from './fields.js';
import { Questions } from './questions.js';
import { del, get, put } from './server.js';
import { count, t } from './words.js';

/** Keys of the show file with the least, and what stands where nothing is said. */
const TIMING = [
  ['countdown_ms', 100, 10_000], ['display_slack_ms', 0, 1_000], ['lead_ms', 1, 200],
  ['ticket_life_ms', 0, 2_000], ['stream_delay_ms', 0, 0], ['extension_max_ms', 0, 10_000],
  ['early_push_max_ms', 0, 0],
];
const PACE = [
  ['lobby_ms', 0, 5_000], ['reveal_pause_ms', 0, 1_000], ['next_pause_ms', 0, 2_000],
  ['end_pause_ms', 0, 10_000],
];
const DURATION_MS_MAX = 3_600_000;
const RAINS_MAX = 64;
const RAIN = [
  ['packets', 1, 1_048_576, 100], ['duration_ms', 1, 600_000, 30_000], ['win_per_10000', 1, 10_000, 5_000],
  ['taps_max', 1, 16, 3], ['show_packets_max', 0, 65_535, 0],
];

/** Years, months, days and the time: an id that no other show has had. */
function freshId() {
  const now = new Date();
  const parts = [now.getFullYear() % 100, now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes()];
  return Number(parts.map((part) => String(part).padStart(2, '0')).join(''));
}

/** Numbers of a table in a show file. */
function numbers(path, rows, values) {
  const fields = rows.map(([name, least, usual]) =>
    [name, numberField(t(name), `${path}.${name}`, values?.[name] ?? usual, {
      min: least, max: DURATION_MS_MAX, required: true,
    })]);
  return {
    elements: fields.map(([, field]) => field.element),
    read: () => Object.fromEntries(fields.map(([name, field]) => [name, field.read()])),
  };
}

/** The rains of a show. */
class Rains {
  constructor(rains) {
    this.rains = rains.map((rain) => this.#rain(rain));
    this.list = el('div', { 'data-key': 'rains', tabindex: -1 });
    this.adding = el('button', {
      type: 'button', 'data-do': 'add-rain', onclick: () => { this.rains.push(this.#rain({})); this.#draw(); },
    }, t('add_rain'));
    this.element = el('div', {}, this.list, this.adding);
    this.#draw();
  }

  #rain(values) {
    const pool = moneyField(t('rain_pool'), '', values.pool_cents);
    const fields = RAIN.map(([name, min, max, usual]) =>
      [name, numberField(t(name), '', values[name] ?? usual, { min, max, required: true })]);
    const after = numberField(t('after_question'), '',
      values.after_question === undefined ? undefined : values.after_question + 1,
      { min: 1, max: 65_535 }, t('after_question_hint'));
    const place = el('legend', {});
    const rain = { pool, fields, after, place };
    rain.element = el('fieldset', {}, place,
      el('div', { class: 'fields' }, pool.element, ...fields.map(([, field]) => field.element), after.element),
      el('button', {
        type: 'button', onclick: () => { this.rains = this.rains.filter((it) => it !== rain); this.#draw(); },
      }, t('remove_rain')));
    return rain;
  }

  #draw() {
    this.rains.forEach(({ pool, fields, after, place }, index) => {
      place.textContent = t('rain_number', index + 1);
      pool.control.dataset.key = `rains[${index}].pool_cents`;
      for (const [name, field] of fields) field.control.dataset.key = `rains[${index}].${name}`;
      after.control.dataset.key = `rains[${index}].after_question`;
    });
    this.list.replaceChildren(...this.rains.map(({ element }) => element));
    this.adding.disabled = this.rains.length >= RAINS_MAX;
  }

  read() {
    return this.rains.map(({ pool, fields, after }) => {
      const rain = { pool_cents: pool.read() };
      for (const [name, field] of fields) rain[name] = field.read();
      if (after.read() !== undefined) rain.after_question = after.read() - 1;
      return rain;
    });
  }
}

export class EditorPage {
  /** `filed` is what is changed; without it, or with a copy of one, a show is made. */
  constructor(filed, isNew) {
    this.version = isNew ? undefined : filed.version;
    const show = filed?.show ?? {};
    this.id = numberField(t('show_id'), 'id', isNew ? freshId() : show.id,
      { min: 1, max: Number.MAX_SAFE_INTEGER, required: true, readonly: !isNew, name: 'id' });
    this.title = textField(t('title'), 'title', show.title ?? '', { required: true, maxlength: 200, name: 'title' });
    this.room = numberField(t('room'), 'room', isNew ? undefined : show.room,
      { min: 1, max: Number.MAX_SAFE_INTEGER, name: 'room' }, t('room_hint'));
    this.startsAt = momentField(t('starts_at'), 'starts_at', isNew ? undefined : show.starts_at);
    this.pool = moneyField(t('pool'), 'prize_pool_cents', show.prize_pool_cents ?? 0, { name: 'pool' });
    this.account = textField(t('remainder_account'), 'remainder_account', show.remainder_account ?? 'remainder',
      { required: true, maxlength: 200 });
    const revive = show.revive ?? { wrong: true, late: false, unreachable: false };
    this.revive = ['wrong', 'late', 'unreachable'].map((name) =>
      [name, checkField(t(`revive_${name}`), `revive.${name}`, revive[name])]);
    this.timing = numbers('timing', TIMING, show.timing);
    this.paced = checkField(t('runs_by_itself'), 'pace', show.pace !== undefined);
    this.pace = numbers('pace', PACE, show.pace);
    this.rains = new Rains(show.rains ?? []);
    this.questions = new Questions(show.questions ?? []);
    this.element = this.#build(isNew);
  }

  #build(isNew) {
    const section = (name, ...children) => el('section', { 'aria-labelledby': `${name}-heading` },
      el('h2', { id: `${name}-heading` }, t(name)), ...children);
    const fields = (...made) => el('div', { class: 'fields' }, ...made.map((field) => field.element ?? field));
    const paces = fields(...this.pace.elements);
    const showPaces = () => { paces.hidden = !this.paced.read(); };
    this.paced.control.addEventListener('change', showPaces);
    showPaces();
    this.problems = el('section', { class: 'problems', role: 'alert', hidden: true });
    this.save = el('button', { class: 'next', 'data-do': 'save' }, t(isNew ? 'create' : 'save'));
    this.form = el('form', { class: 'editor', novalidate: true, onsubmit: (event) => this.#submit(event) },
      el('h1', {}, t(isNew ? 'new_show' : 'edit_show')),
      this.problems,
      section('basics', fields(this.title, this.id, this.room, this.startsAt, this.pool, this.account)),
      section('questions', this.questions.element),
      section('revive', ...this.revive.map(([, field]) => field.element)),
      section('pace', this.paced.element, paces),
      section('rains', this.rains.element),
      section('timing', el('details', {}, el('summary', {}, t('timing_summary')), fields(...this.timing.elements))),
      el('div', { class: 'row' }, this.save, ...(isNew ? [] : [this.#withdrawing()])));
    return this.form;
  }

  read() {
    return {
      id: this.id.read(),
      title: this.title.read(),
      room: this.room.read(),
      starts_at: this.startsAt.read(),
      prize_pool_cents: this.pool.read(),
      remainder_account: this.account.read(),
      revive: Object.fromEntries(this.revive.map(([name, field]) => [name, field.read()])),
      timing: this.timing.read(),
      pace: this.paced.read() ? this.pace.read() : undefined,
      rains: this.rains.read(),
      questions: this.questions.read(),
    };
  }

  get #version() { return this.version === undefined ? '' : `?version=${this.version}`; }

  async #submit(event) {
    event.preventDefault();
    const show = this.read();
    const incomplete = incompleteFields(this.form);
    if (incomplete.length > 0) {
      showProblems(this.form, this.problems, incomplete);
      return;
    }
    this.save.disabled = true;
    try {
      await put(`shows/${show.id}${this.#version}`, show);
      tell(t('saved', show.title));
      location.hash = `#/show/${show.id}`;
    } catch (error) {
      showProblems(this.form, this.problems, error.problems ?? [{ key: '', reason: error.message }]);
      if (error.code === 'moved_on' || error.code === 'not_now') this.#offerNewest(show.id);
    } finally {
      this.save.disabled = false;
    }
  }

  /** What was written here stays until somebody decides. */
  #offerNewest(id) {
    this.problems.append(el('p', { class: 'row' },
      el('a', { href: `#/show/${id}` }, t('look_at_show')),
      el('button', { type: 'button', onclick: () => window.dispatchEvent(new Event('hashchange')) }, t('load_newest'))));
  }

  #withdrawing() {
    return el('button', {
      type: 'button', class: 'danger', 'data-do': 'withdraw', onclick: async () => {
        const lines = [t('withdraw_lines', this.title.read())];
        const wording = { title: t('ask_title', t('withdraw_show')), lines, yes: t('ask_yes', t('withdraw_show')), no: t('no') };
        if (!await confirmed(wording)) return;
        try {
          await del(`shows/${this.id.read()}${this.#version}`);
          tell(t('done', t('withdraw_show')));
          location.hash = '#/';
        } catch (error) {
          showProblems(this.form, this.problems, [{ key: '', reason: error.message }]);
          this.#offerNewest(this.id.read());
        }
      },
    }, t('withdraw_show'));
  }
}

/** The page on which a show is changed, or made; as a copy of another one if that is named. */
export async function editorPage(id, isCopy) {
  if (id === undefined) return new EditorPage(undefined, true);
  const filed = await get(`shows/${id}/file`);
  if (isCopy) return new EditorPage(filed, true);
  if (filed.has_begun) throw new Error(t('has_begun', count(filed.show.id)));
  return new EditorPage(filed, false);
}
