// A rehearsal: how it is begun, the live page of it while it runs, and how it ended.

import { el, tell } from './dom.js';
import { checkField, numberField } from './fields.js';
import { LivePage } from './live.js';
import { del, get, post } from './server.js';
import { count, money, moment, t } from './words.js';

const LOOK_MS = 2_000;

/** The page. `id` is the show that is offered first. */
export async function rehearsalPage({ id, role, failed }) {
  const [shows, first] = await Promise.all([get('shows'), get('rehearsal')]);
  return new RehearsalPage({ id, role, failed, shows, first });
}

class RehearsalPage {
  constructor({ id, role, failed, shows, first }) {
    Object.assign(this, { role, failed, shows, first });
    this.body = el('div', {});
    this.note = el('p', { class: 'quiet' });
    this.element = el('div', {}, el('h1', {}, t('rehearsal')), el('p', { class: 'quiet' }, t('rehearsal_about')),
      this.note, this.body);
    this.chosen = id;
    this.start = () => this.#draw(first);
    this.stop = () => this.#stop();
  }

  #stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.live?.stop();
  }

  #draw(rehearsal) {
    if (this.stopped) return;
    const runs = rehearsal.state === 'runs';
    if (runs && !this.live) {
      this.live = new LivePage({ role: this.role, failed: (error) => this.#liveFailed(error), path: 'rehearsal/show' });
      this.note.textContent = t('rehearsal_runs', rehearsal.title, count(rehearsal.robots), rehearsal.by);
      const end = el('button', { type: 'button', class: 'danger', 'data-do': 'end-rehearsal' }, t('end_rehearsal'));
      end.addEventListener('click', async () => {
        end.disabled = true;
        try { await del('rehearsal'); } catch (error) { tell(error.message, 'wrong'); end.disabled = false; }
      });
      this.body.replaceChildren(el('p', {}, end), this.live.element);
      this.live.start();
    } else if (!runs) {
      this.live?.stop();
      this.live = undefined;
      this.note.textContent = '';
      this.body.replaceChildren(...outcome(rehearsal), this.#form());
      return;
    }
    this.timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  /** What is over is no error: the next look says how it ended. */
  #liveFailed(error) {
    if (error?.code !== 'not_now') this.failed(error);
  }

  async #look() {
    try {
      this.#draw(await get('rehearsal'));
    } catch (error) {
      this.failed(error);
      if (!this.stopped) this.timer = setTimeout(() => this.#look(), LOOK_MS);
    }
  }

  #form() {
    if (this.shows.length === 0) return el('p', { class: 'quiet' }, t('no_shows'));
    const show = el('select', { name: 'show' }, this.shows.map((it) =>
      el('option', { value: it.id, selected: String(it.id) === this.chosen }, `${it.title} (${it.id})`)));
    const robots = numberField(t('robots'), '', 100, { min: 1, max: 500, required: true, name: 'robots' });
    const byHand = checkField(t('by_hand'), '', false);
    const begin = el('button', { class: 'next', 'data-do': 'begin-rehearsal' }, t('begin_rehearsal'));
    const submit = async (event) => {
      event.preventDefault();
      begin.disabled = true;
      try {
        const wanted = { show: Number(show.value), robots: robots.read(), by_hand: byHand.read() };
        this.#draw(await post('rehearsal', wanted));
      } catch (error) {
        tell(error.message, 'wrong');
        begin.disabled = false;
      }
    };
    return el('form', { class: 'card', onsubmit: submit },
      el('div', { class: 'fields' }, el('label', {}, t('shows'), show), robots.element), byHand.element, begin);
  }
}

/** How the last one ended. */
function outcome({ state, title, robots, by, began_at_ms: began, reason, last }) {
  if (state === 'none') return [];
  const heading = el('h2', {}, t('last_rehearsal', title, moment(began), by));
  const why = el('p', { class: state === 'failed' ? 'wrong' : '' }, t('rehearsal_over', t(reason)));
  if (!last) return [el('section', { class: 'outcome' }, heading, why)];
  const { settlement } = last;
  const rows = last.questions.map(({ question, is_voided: isVoided, counts, in_play: inPlay }) => el('tr', {},
    el('td', {}, t('question_number', question + 1), isVoided ? ` (${t('phase_voided')})` : ''),
    ...[counts?.answered, counts?.correct, counts?.late, counts?.silent, counts?.unreachable, inPlay].map((value) =>
      el('td', { class: 'number' }, count(value)))));
  const names = ['question', 'answered', 'right', 'late', 'silent', 'unreachable_players', 'in_play'];
  return [el('section', { class: 'outcome' }, heading, why,
    el('p', {}, t('rehearsal_joined', count(last.joined), count(robots))),
    el('p', {}, settlement
      ? t('rehearsal_settled', count(settlement.winners), money(settlement.per_head_cents)) : t('rehearsal_unsettled')),
    el('div', { class: 'wide', tabindex: 0 }, el('table', {},
      el('thead', {}, el('tr', {}, names.map((name, index) =>
        el('th', { scope: 'col', class: index > 0 ? 'number' : '' }, t(name))))),
      el('tbody', {}, rows))))];
}
