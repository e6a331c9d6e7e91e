// What operators order. While one order is under way no other can be given, and each names the event
// up to which its page has seen the show: the server refuses it if there is another one since.

import { confirmed, el, tell } from './dom.js';
import { newKey, post } from './server.js';
import { money, t } from './words.js';

/** In the order of the page; the first that is possible of these is what comes next. */
const STEPS = ['open-lobby', 'publish', 'reveal', 'resume', 'settle', 'end'];
const OTHERS = ['push-early', 'withdraw', 'pause', 'void', 'cancel'];

/** What has to be agreed to, with what it means in money. */
const CONSEQUENCES = {
  void: (show) => t('void_lines', money(show.prize_pool_cents)),
  settle: (show) =>
    t('settle_lines', money(show.prize_pool_cents), show.in_play, money(show.per_head_cents)),
  cancel: (show) => t('cancel_lines', money(show.prize_pool_cents)),
  end: () => t('end_lines'),
};

export class Orders {
  /** `changed` is called when an order has ended, well or not. */
  constructor(changed) {
    this.changed = changed;
    this.underWay = false;
    this.buttons = new Set();
  }

  /** A button that cannot be pressed while an order is under way. */
  button(attributes, text, order) {
    const button = el('button', { type: 'button', ...attributes }, text);
    button.addEventListener('click', () => this.give(text, order));
    button.disabled = this.underWay;
    this.buttons.add(button);
    return button;
  }

  async give(what, order) {
    if (this.underWay) return;
    this.#setUnderWay(true);
    try {
      if (await order() !== false) tell(t('done', what));
    } catch (error) {
      const why = error.code === 'moved_on' ? `${t('moved_on')} ${error.message}` : error.message;
      tell(t('failed', what, why), 'wrong');
    } finally {
      await this.changed();
      this.#setUnderWay(false);
    }
  }

  #setUnderWay(underWay) {
    this.underWay = underWay;
    for (const button of this.buttons) {
      if (button.isConnected) button.disabled = underWay;
      else this.buttons.delete(button);
    }
  }

  /** The buttons of what is possible now. */
  commands(show) {
    const next = STEPS.find((word) => show.allowed.includes(word));
    return [...STEPS, ...OTHERS].filter((word) => show.allowed.includes(word)).map((word) => {
      const kind = word === next ? 'next' : CONSEQUENCES[word] ? 'danger' : '';
      return this.button({ class: kind, 'data-order': word }, t(word), async () => {
        if (CONSEQUENCES[word] && !await confirmed({
          title: t('ask_title', t(word)),
          lines: CONSEQUENCES[word](show),
          yes: t('ask_yes', t(word)),
          no: t('no'),
        })) return false;
        return post(`shows/${show.id}/commands/${word}`, { event: show.event });
      });
    });
  }

  rains(show) {
    if (show.rains.length === 0) return [el('p', { class: 'quiet' }, t('no_rains'))];
    return show.rains.map(({ rain, phase, pool_cents: pool, packets }) => {
      const label = t('rain', rain + 1, money(pool), packets);
      const order = (word) => () =>
        post(`shows/${show.id}/rains/${rain}/${word}`, { event: show.event });
      const row = el('p', { class: 'row' }, el('span', {}, `${label} · ${phase}`));
      if (phase === 'planned') {
        row.append(this.button({ 'data-order': 'rain-start' }, t('rain_start'), order('start')));
      }
      if (phase === 'falling') {
        row.append(this.button({ 'data-order': 'rain-end' }, t('rain_end'), order('end')));
      }
      return row;
    });
  }

  /** What is done about one player. */
  people() {
    const user = el('input', { name: 'user', inputmode: 'numeric', pattern: '[1-9][0-9]*', required: true });
    const minutes = el('input', { name: 'minutes', type: 'number', min: 1, max: 525_600, value: 10 });
    // Digits all the way: a number of JavaScript would lose some of a long one.
    const path = (word) => `users/${user.value}/${word}`;
    const button = (word, body, ask = false) =>
      this.button({ 'data-order': word, class: ask ? 'danger' : '' }, t(word), async () => {
        if (!user.reportValidity() || !minutes.reportValidity()) return false;
        const key = newKey();
        const lines = [t('ask_user', t(word), user.value)];
        const wording = { title: t('ask_title', t(word)), lines, yes: t('ask_yes', t(word)), no: t('no') };
        if (ask && !await confirmed(wording)) return false;
        return post(path(word === 'card' ? 'cards' : word), body(), key);
      });
    return [
      el('div', { class: 'row' },
        el('label', {}, t('user'), user), el('label', {}, t('minutes'), minutes)),
      el('div', { class: 'row' },
        button('mute', () => ({ seconds: 60 * Number(minutes.value) })),
        button('unmute', () => ({})),
        button('card', () => ({})),
        button('ban', () => ({}), true),
        button('unban', () => ({}))),
    ];
  }

  /** What is said to all. */
  message(room) {
    const kept = localStorage.getItem('tidegate-kind') ?? '1';
    const text = el('textarea', { name: 'text', rows: 2, maxlength: 300, required: true });
    const kind = el('input', { name: 'kind', type: 'number', min: 1, max: 4_294_967_295, value: kept, required: true });
    const send = this.button({ 'data-order': 'say' }, t('send'), async () => {
      if (!text.reportValidity() || !kind.reportValidity()) return false;
      const key = newKey();
      const lines = [text.value];
      const wording = { title: t('ask_title', t('message')), lines, yes: t('ask_yes', t('send')), no: t('no') };
      if (!await confirmed(wording)) return false;
      localStorage.setItem('tidegate-kind', kind.value);
      await post(`rooms/${room()}/say`, { text: text.value, kind: Number(kind.value) }, key);
      text.value = '';
      return true;
    });
    return [
      el('label', {}, t('text'), text),
      el('div', { class: 'row' }, el('label', {}, t('kind'), kind), send),
    ];
  }
}
