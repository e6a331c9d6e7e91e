// One show, live: asked for once a second, and drawn where it differs.

import { bar, line, tile } from './charts.js';
import { el, write } from './dom.js';
import { Orders } from './orders.js';
import { get } from './server.js';
import { count, money, rate, t } from './words.js';

const EVERY_MS = 1_000;
/** When nobody looks, or nobody answers. */
const SELDOM_MS = 5_000;
/** Looks that the charts show. */
const LOOKS_MAX = 120;
const TILES = ['online', 'users', 'joined', 'in_play', 'answered', 'right', 'late', 'eliminated',
  'revived', 'cards', 'pool', 'per_head', 'reached'];

/** How many of those who were to get the last closed question had it. */
function reached(show) {
  const closed = show.questions.findLast((question) => question.counts);
  if (!closed) return '–';
  const { answered, silent, unreachable } = closed.counts;
  const all = answered + silent + unreachable;
  return all === 0 ? '–' : `${(100 * (answered + silent) / all).toFixed(1)} %`;
}

const letter = (option) => String.fromCharCode('A'.charCodeAt(0) + option);

export class LivePage {
  /** `path` is where its server has it: a show, or what is rehearsed. */
  constructor({ id, role, failed, path = `shows/${id}` }) {
    this.id = id;
    this.path = path;
    this.isRehearsal = id === undefined;
    this.mayOperate = role !== 'viewer';
    this.failed = failed;
    this.looks = [];
    this.orders = new Orders(path, () => this.look());
    this.tiles = Object.fromEntries(TILES.map((name) => [name, tile(t(name))]));
    this.parts = {};
    for (const name of ['title', 'where', 'left', 'last', 'controls', 'question', 'rains', 'notices',
      'shards', 'online_chart', 'egress_chart', 'egress_now', 'written', 'rejudge']) {
      this.parts[name] = el(name === 'title' ? 'h1' : 'div', { id: name });
    }
    this.drawn = {};
    this.element = this.#build();
  }

  #build() {
    const { parts } = this;
    const section = (name, ...children) =>
      el('section', { class: name, 'aria-labelledby': `${name}-heading` },
        el('h2', { id: `${name}-heading` }, t(name)), ...children);
    const operator = (...made) => (this.mayOperate ? made : []);
    parts.left.setAttribute('role', 'timer');
    return el('div', { class: 'live' },
      el('div', { class: 'head' }, parts.title, parts.where, parts.left, parts.last, parts.written),
      ...operator(section('control', parts.controls)),
      section('question', parts.question),
      section('figures', el('dl', { class: 'tiles' }, ...TILES.map((name) => this.tiles[name].element))),
      section('online_chart', parts.online_chart),
      section('egress_chart', parts.egress_now, parts.egress_chart),
      ...operator(
        section('rains', parts.rains, ...this.orders.rainForm(() => this.show)),
        parts.rejudge,
        ...(this.isRehearsal ? [] : [
          section('message', ...this.orders.message(() => this.show.room)),
          section('people', ...this.orders.people()),
        ]),
        section('notices', parts.notices)),
      section('health', parts.shards));
  }

  async start() {
    this.timer = setInterval(() => this.#countDown(), 250);
    if (this.mayOperate) {
      try { this.script = await get(`${this.path}/script`); } catch (error) { this.failed(error); }
    }
    while (!this.stopped) {
      const isWell = await this.look();
      const pause = isWell && !document.hidden ? EVERY_MS : SELDOM_MS;
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Asks and draws; whether an answer came. */
  async look() {
    let seen;
    try { seen = await get(this.path); } catch (error) {
      if (!this.stopped) this.failed(error);
      return false;
    }
    if (this.stopped) return false;
    // Answers may overtake each other; the newer one stands.
    if (this.seen && seen.now_ms < this.seen.now_ms) return true;
    this.failed(undefined);
    this.seen = seen;
    this.show = seen.show;
    this.aheadMs = seen.now_ms - Date.now();
    this.#remember(seen);
    this.#drawHead();
    this.#drawFigures();
    this.#drawQuestion();
    if (this.mayOperate) this.#drawControls();
    this.#drawGateway();
    return true;
  }

  /** Calls `drawing` for a part whose figures are others than before. */
  #when(name, figures, drawing) {
    const now = JSON.stringify(figures);
    if (this.drawn[name] === now) return;
    this.drawn[name] = now;
    this.parts[name].replaceChildren(...drawing());
  }

  #remember({ now_ms: at, online, gateway }) {
    const before = this.looks.at(-1);
    const seconds = before ? (at - before.at) / 1_000 : 0;
    const perSecond = seconds > 0 ? Math.max(0, gateway.wire_bytes - before.bytes) / seconds : 0;
    this.looks.push({ at, bytes: gateway.wire_bytes, online: online ?? 0, perSecond });
    if (this.looks.length > LOOKS_MAX) this.looks.shift();
  }

  #drawHead() {
    const { show, parts, seen: { last, now_ms: now } } = this;
    write(parts.title, show.title);
    document.title = `${show.title} · tidegate`;
    const place = show.question === null ? t('no_question')
      : t('of', show.question + 1, show.question_count);
    this.#when('where', [show.phase, place], () => [
      el('span', { class: 'phase', 'data-phase': show.phase }, t(`phase_${show.phase}`)),
      el('span', {}, place),
    ]);
    if (this.mayOperate && !this.isRehearsal) {
      this.#when('written', [show.is_planned], () => [
        ...(show.is_planned ? [el('a', { href: `#/edit/${this.id}`, 'data-do': 'edit' }, t('edit'))] : []),
        el('a', { href: `#/rehearsal/${this.id}`, 'data-do': 'rehearse' }, t('rehearse')),
        el('a', { href: `#/new/${this.id}`, 'data-do': 'copy' }, t('copy')),
      ]);
    }
    const seconds = last && Math.max(0, Math.round((now - last.at_ms) / 1_000));
    write(parts.last, last ? t('last_order', last.account, last.action, seconds) : '');
    this.#countDown();
  }

  #countDown() {
    if (!this.show) return;
    const question = this.show.questions.at(-1);
    const isOpen = ['open', 'closing'].includes(this.show.phase) && question;
    const leftMs = isOpen ? question.answer_by_ms - Date.now() - this.aheadMs : 0;
    write(this.parts.left, isOpen ? t('seconds_left', Math.max(0, Math.ceil(leftMs / 1_000))) : '');
  }

  #drawFigures() {
    const { show, seen: { online, gateway } } = this;
    const { live } = show;
    const figures = {
      online: count(online), users: count(gateway.users), joined: count(show.joined),
      in_play: count(show.in_play), answered: count(live.answered), right: count(live.correct),
      late: count(live.late), eliminated: count(live.eliminated), revived: count(live.revived),
      cards: count(show.cards_used), pool: money(show.prize_pool_cents),
      per_head: money(show.per_head_cents), reached: reached(show),
    };
    for (const [name, value] of Object.entries(figures)) write(this.tiles[name].value, value);
  }

  #drawQuestion() {
    const { show, script } = this;
    const upcoming = show.question === null ? 0 : show.question + 1;
    const waits = ['announced', 'lobby', 'revealed', 'voided', 'paused_in_lobby', 'paused_in_revealed',
      'paused_in_voided'].includes(show.phase);
    const next = waits ? script?.[upcoming] : undefined;
    this.#when('question', [show.question, show.live, upcoming, waits, Boolean(script)], () => {
      const made = [];
      if (show.question !== null) made.push(...this.#options(script?.[show.question], show.live));
      if (next) {
        made.push(el('h3', {}, t('next_question')), el('p', {}, next.text),
          el('ol', { class: 'upcoming' }, next.options.map((option, index) =>
            el('li', {}, option, index === next.correct ? ` (${t('correct')})` : ''))));
      }
      return made.length > 0 ? made : [el('p', { class: 'quiet' }, t('no_question'))];
    });
  }

  /** A question with its answers as they arrive; viewers have neither before the reveal. */
  #options(question, live) {
    const made = question ? [el('p', { class: 'asked' }, question.text)] : [];
    if (!live.options) return made;
    const whole = live.options.reduce((sum, each) => sum + each, 0);
    const shown = question ? question.options.length : live.options.findLastIndex((each) => each > 0) + 1;
    for (let option = 0; option < shown; option += 1) {
      const answers = t('answers', count(live.options[option]));
      const text = question ? `${letter(option)}. ${question.options[option]}` : letter(option);
      const isCorrect = question?.correct === option;
      made.push(el('div', { class: isCorrect ? 'option correct' : 'option' },
        el('span', {}, text, isCorrect ? ` ✓ ${t('correct')}` : ''),
        el('span', { class: 'number' }, answers),
        bar(`${text}: ${answers}`, live.options[option], whole)));
    }
    return made;
  }

  #drawControls() {
    const { show } = this;
    this.#when('controls', [show.event, show.allowed], () => this.orders.commands(show));
    this.#when('rains', [show.event, show.rains, show.rain_fund_cents, show.is_planned],
      () => this.orders.rains(show));
    this.#when('rejudge', [show.event, show.allowed], () => this.orders.rejudge(show, this.script));
    this.#when('notices', [show.notices, show.journals_standing], () => {
      const standing = show.journals_standing.length > 0
        ? [el('p', { class: 'wrong' }, t('journals', show.journals_standing.join(', ')))] : [];
      return [...standing, ...show.notices.toReversed().map(({ kind, text }) =>
        el('p', { class: kind === 'void_needed' ? 'wrong' : '' }, text))];
    });
  }

  #drawGateway() {
    const { gateway } = this.seen;
    const limit = gateway.wire_budget_bytes_per_s;
    const now = this.looks.at(-1).perSecond;
    write(this.parts.egress_now, t('egress', rate(now), limit > 0 ? rate(limit) : ''));
    this.parts.online_chart.replaceChildren(
      line(t('online_chart'), this.looks.map((look) => look.online)));
    this.parts.egress_chart.replaceChildren(
      line(t('egress_chart'), this.looks.map((look) => look.perSecond), limit));
    this.#when('shards', gateway.shards, () => gateway.shards.map(({ shard, age_ms: age, healthy }) =>
      el('p', { class: healthy ? '' : 'wrong' }, t('shard', shard, age, healthy))));
  }
}
