// What operators order. While one order is under way no other can be given, and each names the event
// up to which its page has seen the show: the server refuses it if there is another one since.

import { confirmed, el, tell } from './dom.js';
import { moneyField, numberField } from './fields.js';
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

/** Where they are not called as on the page. */
const PATHS = { card: 'cards', expire: 'expire-cards' };

export class Orders {
  /** `path` is where the server has the show; `changed` is called when an order has ended, well or not. */
  constructor(path, changed) {
    this.path = path;
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
        return post(`${this.path}/commands/${word}`, { event: show.event });
      });
    });
  }

  rains(show) {
    const fund = show.rain_fund_cents > 0
      ? [el('p', { class: 'quiet' }, t('rain_fund', money(show.rain_fund_cents)))] : [];
    if (show.rains.length === 0) return [...fund, el('p', { class: 'quiet' }, t('no_rains'))];
    return [...fund, ...show.rains.map(({ rain, phase, pool_cents: pool, packets }) => {
      const label = t('rain', rain + 1, money(pool), packets);
      const order = (word) => () =>
        post(`${this.path}/rains/${rain}/${word}`, { event: show.event });
      const row = el('p', { class: 'row' }, el('span', {}, `${label} · ${phase}`));
      if (phase === 'planned' && !show.is_planned) {
        row.append(this.button({ 'data-order': 'rain-start' }, t('rain_start'), order('start')));
      }
      if (phase === 'falling') {
        row.append(this.button({ 'data-order': 'rain-end' }, t('rain_end'), order('end')));
      }
      return row;
    })];
  }

  /** One more rain for a show that has begun. What its fund lacks is put in first. */
  rainForm(show) {
    if (!this.path.startsWith('shows/')) return [];
    const pool = moneyField(t('rain_pool'), '', undefined, { name: 'rain-pool' });
    const packets = numberField(t('packets'), '', 100, { name: 'rain-packets', min: 1, max: 1_048_576, required: true });
    const seconds = numberField(t('rain_seconds'), '', 30, { name: 'rain-seconds', min: 1, max: 600, required: true });
    const plan = this.button({ 'data-order': 'rain-plan' }, t('plan_rain'), async () => {
      if (![pool, packets, seconds].every(({ control }) => control.reportValidity())) return false;
      const { rain_fund_cents: fund, title, is_planned: isPlanned } = show();
      if (isPlanned) throw new Error(t('rain_not_begun'));
      const cents = pool.read();
      const short = Math.max(0, cents - fund);
      const wording = {
        title: t('ask_title', t('plan_rain')), lines: t('rain_lines', money(cents), money(short), title),
        yes: t('ask_yes', t('plan_rain')), no: t('no'),
      };
      if (!await confirmed(wording)) return false;
      let { event } = show();
      if (short > 0) ({ event } = await post(`${this.path}/rain-fund`, { event, cents: short }));
      const rain = { pool_cents: cents, packets: packets.read(), duration_ms: 1_000 * seconds.read() };
      await post(`${this.path}/rains`, { event, rain });
      return true;
    });
    return [el('details', {}, el('summary', {}, t('plan_rain')),
      el('div', { class: 'fields' }, pool.element, packets.element, seconds.element), plan)];
  }

  /** Another option is correct: first what that means, then whether it is to be so. */
  rejudge(show, script) {
    const question = script?.[show.question];
    if (!show.allowed.includes('rejudge') || !question) return [];
    const choice = el('select', { name: 'correct' }, question.options.map((option, index) =>
      el('option', { value: index, selected: index === question.correct }, option)));
    const give = this.button({ class: 'danger', 'data-order': 'rejudge' }, t('rejudge'), async () => {
      const order = { event: show.event, question: show.question, correct: Number(choice.value) };
      const path = `${this.path}/commands/rejudge`;
      const { preview } = await post(path, order);
      const wording = {
        title: t('ask_title', t('rejudge')),
        lines: t('rejudge_lines', question.options[preview.correct_before], question.options[preview.correct_after],
          [preview.in_play_before, preview.in_play_after],
          [money(preview.per_head_cents_before), money(preview.per_head_cents_after)]),
        yes: t('ask_yes', t('rejudge')), no: t('no'),
      };
      if (!await confirmed(wording)) return false;
      await post(path, { ...order, confirm: true });
      question.correct = order.correct;
      return true;
    });
    return [el('section', { 'aria-labelledby': 'rejudge-heading' },
      el('h2', { id: 'rejudge-heading' }, t('rejudge')), el('p', {}, question.text),
      el('label', {}, t('correct_option'), choice), give)];
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
        return post(path(PATHS[word] ?? word), body(), key);
      });
    return [
      el('div', { class: 'row' },
        el('label', {}, t('user'), user), el('label', {}, t('minutes'), minutes)),
      el('div', { class: 'row' },
        button('mute', () => ({ seconds: 60 * Number(minutes.value) })),
        button('unmute', () => ({})),
        button('card', () => ({})),
        button('expire', () => ({}), true),
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
