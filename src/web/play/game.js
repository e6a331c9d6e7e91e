// The game as one player sees it: what the client hears becomes fields, without a document. Every
// change calls `changed`; the page then shows what is here.

import { Tidegate } from '../tidegate.js';

/** So many lines of the chat are kept. */
const LINES_MAX = 50;

/** Close codes that the page has words for; others are named by their number. */
const CLOSED = { 4000: 'replaced', 4001: 'tokenRefused', 4006: 'tokenRefused' };

const isSame = (one, other) =>
  one !== undefined && other !== undefined
  && one.showId === other.showId && one.question === other.question;

export class Game {
  #client;
  #changed;

  /** @param {() => void} changed is called after every change */
  constructor(changed) {
    this.#changed = changed;
    this.#reset();
  }

  #reset() {
    this.connection = 'idle';
    /** Why the player is not in a room any more: `key` and `code` of the sentence. */
    this.farewell = undefined;
    this.online = undefined;
    this.lines = [];
    this.show = undefined;
    this.standing = undefined;
    this.cards = 0;
    this.#begin();
  }

  /** Another show: what was of the one before is gone. */
  #begin() {
    this.#forgetQuestion();
    this.isSealedHere = false;
    this.settled = undefined;
    this.prizeCents = 0;
    this.rain = undefined;
    /** What was in the packets of this player's taps, by slot. */
    this.packets = new Map();
    this.isTappedOut = false;
  }

  #forgetQuestion() {
    this.question = undefined;
    this.isShown = false;
    this.chosen = undefined;
    /** `none`, `sending`, `recorded` or `refused`. */
    this.answer = 'none';
    this.refusal = undefined;
    this.reveal = undefined;
    this.verdict = undefined;
    this.isRejudged = false;
    this.isVoided = false;
    this.isDoubtful = false;
  }

  // What the player does ------------------------------------------------------------------------

  /** Connects and enters the room. */
  enter(token, room) {
    this.#client?.close();
    this.#reset();
    const client = new Tidegate({ url: location.origin, token, room });
    this.#client = client;
    for (const [type, hear] of Object.entries(this.#hearing())) {
      client.addEventListener(type, ({ detail }) => {
        if (this.#client !== client) return;
        hear(detail);
        this.#changed();
      });
    }
    // Why it was in vain is told by the event `disconnected`.
    client.connect().catch(() => undefined);
  }

  leave() {
    this.#client?.close();
    this.#client = undefined;
    this.#reset();
    this.#changed();
  }

  /** The gateway's clock. */
  now() { return this.#client?.now() ?? Date.now(); }

  get userId() { return this.#client?.userId; }

  /** Whether the question on the screen takes answers. */
  get isOpen() {
    return this.isShown && !this.isVoided && this.reveal === undefined
      && this.now() <= this.question.answerByMs;
  }

  /** Whether this player may answer, and has not. */
  get mayAnswer() {
    return this.isOpen && this.answer === 'none' && !this.isWatching;
  }

  get isWatching() { return this.standing === 'out' || this.standing === 'spectator'; }

  async choose(option) {
    if (!this.mayAnswer) return;
    const { question } = this;
    this.chosen = option;
    this.answer = 'sending';
    this.#changed();
    const refusal = await this.#client.answer(question, option).then(() => undefined, ({ reason }) => reason);
    if (this.question !== question) return;
    this.answer = refusal === undefined ? 'recorded' : 'refused';
    this.refusal = refusal;
    this.#changed();
  }

  get isRaining() {
    return this.rain?.phase === 'falling' && this.now() <= this.rain.endsAtMs;
  }

  async tap() {
    const { rain } = this;
    if (!this.isRaining || this.isTappedOut) return;
    const grabbed = await this.#client.grab(rain).catch(() => undefined);
    if (!grabbed || this.rain?.rain !== rain.rain) return;
    this.packets.set(grabbed.slot, grabbed.cents);
    this.isTappedOut = this.packets.size >= rain.tapsMax;
    this.#changed();
  }

  /** Says a text in the room; resolves with why it was refused, or with nothing. */
  say(text) { return this.#client.chat(text).then(() => undefined, ({ reason }) => reason ?? 'connection'); }

  // What the client hears -----------------------------------------------------------------------

  #hearing() {
    return {
      state: (state) => { this.connection = state; },
      disconnected: ({ code, returns }) => {
        if (!returns) this.farewell = { key: CLOSED[code] ?? 'closed', code };
      },
      error: ({ reason }) => {
        if (reason === 'no_such_room' || reason === 'room_forbidden') {
          this.farewell = { key: 'roomRefused' };
        }
        if (reason === 'commitment') this.isDoubtful = true;
      },
      roomInfo: ({ online }) => { this.online = online; },
      roomClosed: () => { this.show = undefined; this.#begin(); },
      message: (message) => this.#line(message),
      showState: (show) => this.#show(show),
      snapshot: (snapshot) => this.#snapshot(snapshot),
      sealedQuestion: () => { this.isSealedHere = true; },
      questionWithdrawn: () => { this.isSealedHere = false; },
      question: (question) => this.#ask(question),
      questionExtended: (extended) => {
        if (isSame(this.question, extended)) Object.assign(this.question, extended);
      },
      questionVoided: (voided) => {
        if (isSame(this.question, voided)) this.isVoided = true;
        this.#refresh();
      },
      reveal: (reveal) => this.#revealed(reveal),
      rejudged: (rejudged) => {
        if (!isSame(this.question, rejudged)) return;
        this.isRejudged = true;
        this.reveal = { ...this.reveal, ...rejudged };
        this.#refresh();
      },
      verdict: (verdict) => this.#judged(verdict),
      settled: (settled) => {
        const isWinner = this.standing === 'in_play' || this.standing === 'winner';
        this.settled = settled;
        this.standing = isWinner ? 'winner' : this.standing;
        this.prizeCents = isWinner ? settled.perHeadCents : 0;
      },
      rain: (rain) => this.#rain(rain),
    };
  }

  #line({ userId, text, data }) {
    const said = text || new TextDecoder().decode(data);
    if (said === '') return;
    this.lines.push({ userId, text: said });
    if (this.lines.length > LINES_MAX) this.lines.shift();
  }

  #show(show) {
    if (show.showId !== this.show?.showId) this.#begin();
    this.show = show;
  }

  #snapshot(snapshot) {
    const { show, openQuestion, lastReveal, recordedOption, recordedQuestion } = snapshot;
    if (show) this.#show(show);
    this.standing = snapshot.standing;
    this.cards = snapshot.reviveCards;
    this.prizeCents = snapshot.prizeCents;
    if (openQuestion) this.#ask(openQuestion);
    if (this.question?.question === recordedQuestion && recordedOption !== undefined) {
      this.chosen = recordedOption;
      this.answer = 'recorded';
    }
    if (lastReveal && isSame(this.question, lastReveal) && !this.reveal) this.reveal = lastReveal;
  }

  async #ask(question) {
    if (isSame(this.question, question)) {
      Object.assign(this.question, question);
      return;
    }
    this.#forgetQuestion();
    this.isSealedHere = false;
    this.rain = undefined;
    const asked = { ...question };
    this.question = asked;
    await this.#client.showTime(asked);
    if (this.question !== asked) return;
    this.isShown = true;
    this.#changed();
  }

  #revealed(reveal) {
    if (!isSame(this.question, reveal)) return;
    this.isShown = true;
    this.reveal = reveal;
    // Without WebCrypto the own result stays sealed; the snapshot has what became of it.
    if (globalThis.crypto?.subtle === undefined) this.#refresh();
  }

  #judged(verdict) {
    if (!isSame(this.question, verdict) || this.verdict) return;
    this.verdict = verdict;
    this.standing = verdict.inPlay ? 'in_play' : 'out';
    if (verdict.usedCard) this.cards = Math.max(0, this.cards - 1);
  }

  #rain(rain) {
    const isOther = rain.rain !== this.rain?.rain || rain.showId !== this.rain?.showId;
    if (rain.phase === 'announced') return;
    if (isOther) {
      this.packets = new Map();
      this.isTappedOut = false;
    }
    this.rain = { ...this.rain, ...rain, endsAtMs: rain.endsAtMs || (this.rain?.endsAtMs ?? 0) };
  }

  /** Entering the room again brings a snapshot: who is in the game, with how many cards. */
  #refresh() {
    const { room } = this.#client;
    if (room !== undefined) this.#client.join(room).catch(() => undefined);
  }
}
