// Types of tidegate.js. Ids, epochs and versions are bigint; times are Unix milliseconds, money is
// cents, and both are numbers. The messages are those of the schema in proto/tidegate/v1, which
// describes them.

/** Wherever an id is taken, a number or a decimal string will do. */
export type Id = bigint | number | string;

export type Lane = 'unspecified' | 'high' | 'mid' | 'low' | (string & {});
export type Phase =
  | 'unspecified' | 'announced' | 'lobby' | 'open' | 'closing' | 'closed' | 'revealed'
  | 'settling' | 'settled' | 'ended' | 'paused' | 'cancelled' | 'voided' | (string & {});
export type Standing = 'unspecified' | 'in_play' | 'out' | 'spectator' | 'winner' | (string & {});

export interface Session {
  userId: bigint;
  heartbeatIntervalMs: number;
  serverTimeMs: number;
  /** How long the token is valid from `serverTimeMs`. */
  tokenExpiresInMs: number;
}

export interface RoomStamp {
  roomId: bigint;
  epoch: bigint;
  lane: Lane;
  version: bigint;
}

export interface Joined {
  roomId: bigint;
  epoch: bigint;
  positions: { lane: Lane; version: bigint }[];
  resumed: boolean;
  info?: RoomInfo;
}

export interface Left {
  roomId: bigint;
}

/** What every notification has beside its message. */
export interface Told {
  /** The gateway's clock when the message was made. */
  serverTimeMs: number;
  /** Its place, if it went through a lane of the room. */
  stamp?: RoomStamp;
}

export interface RoomMessage {
  /** Who said it; 0n if it came from the service. */
  userId: bigint;
  data: Uint8Array;
  /** What the service calls messages of this sort; 0 from clients. */
  kind: number;
  /** In place of `data`: what a chat said. */
  text: string;
  /** In place of `data`: likes of the whole room. */
  likes?: { count: number; total: number };
}

/** How a room is. */
export interface RoomInfo {
  roomId: bigint;
  online: number;
  /** How many of a thousand chats a client should send; `chat` sees to it. */
  chatPermille: number;
  reconnectSpreadMs: number;
}

export interface Gap {
  roomId: bigint;
  epoch: bigint;
  lane: Lane;
  firstMissing: bigint;
  lastMissing: bigint;
}

export interface ShowState {
  showId: bigint;
  roomId: bigint;
  title: string;
  phase: Phase;
  questionCount: number;
  prizePoolCents: number;
  startsAtMs: number;
}

export interface QuestionId {
  showId: bigint;
  /** Counted from 0. */
  question: number;
}

export interface Question extends QuestionId {
  text: string;
  options: string[];
  showAtMs: number;
  showByMs: number;
  answerByMs: number;
  commitment: Uint8Array;
  /** No revive card helps here. */
  last: boolean;
}

/** The next question, ahead of its time; the client opens it by itself. */
export interface SealedQuestion extends QuestionId {
  commitment: Uint8Array;
  ciphertext: Uint8Array;
}

/** Opens a `SealedQuestion`; a `question` event follows. */
export interface QuestionKey extends QuestionId {
  key: Uint8Array;
  showAtMs: number;
  showByAfterMs: number;
  answerByAfterMs: number;
}

export interface QuestionExtended extends QuestionId {
  showByMs: number;
  answerByMs: number;
}

export interface SealedResult extends QuestionId {
  nonce: Uint8Array;
  ciphertext: Uint8Array;
}

export interface AnswerReceived {
  /** Not there if the answer came after `answerByMs`: the result follows. */
  result?: SealedResult;
}

export interface Reveal extends QuestionId {
  resultKey: Uint8Array;
  correctOption: number;
  optionCounts: number[];
  inPlay: number;
}

export interface Rejudged extends QuestionId {
  correctOption: number;
  inPlay: number;
}

export interface Settled {
  showId: bigint;
  winners: number;
  prizePoolCents: number;
  perHeadCents: number;
  remainderCents: number;
}

/** How a red-packet rain stands. */
export interface Rain {
  showId: bigint;
  /** Counted from 0. */
  rain: number;
  phase: 'unspecified' | 'announced' | 'falling' | 'closing' | 'ended' | (string & {});
  packets: number;
  poolCents: number;
  /** How many taps of one user count. */
  tapsMax: number;
  /** Of a million taps, how many are to set out; `grab` sees to it. */
  sendPerMillion: number;
  /** While it falls: when it ends at the latest. */
  endsAtMs: number;
  /** When it has ended. */
  grabbed: number;
  paidCents: number;
}

/** What a tap brought, for good. */
export interface Grabbed {
  showId: bigint;
  rain: number;
  slot: number;
  /** 0: no packet. */
  cents: number;
}

export interface Snapshot {
  show?: ShowState;
  standing: Standing;
  lastRevealed?: number;
  reviveCards: number;
  openQuestion?: Question;
  recordedOption?: number;
  recordedResult?: SealedResult;
  prizeCents: number;
  lastReveal?: Reveal;
  recordedQuestion?: number;
}

/** A result, opened. */
export interface Verdict extends QuestionId {
  verdict:
    | 'passed' | 'wrong' | 'late' | 'silent' | 'unreachable'
    | 'wrong_revived' | 'late_revived' | 'silent_revived' | 'unreachable_revived' | (string & {});
  /** Still in the game. */
  inPlay: boolean;
  usedCard: boolean;
  /** More questions passed than ever before. */
  newRecord: boolean;
  /** Judged by a retry ticket's stamp. */
  byTicket: boolean;
  /** The recorded option, if there was an answer. */
  option?: number;
  /** Questions of this show passed by now. */
  passed: number;
}

export type ClientState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/** Events and what their `detail` is. */
export interface TidegateEventMap {
  state: CustomEvent<ClientState>;
  session: CustomEvent<Session>;
  joined: CustomEvent<Joined>;
  left: CustomEvent<Left>;
  /** The connection ended; `returns` says whether the client comes back by itself. */
  disconnected: CustomEvent<{ code: number; reason: string; returns: boolean }>;
  reconnecting: CustomEvent<{ delayMs: number; attempt: number }>;
  clock: CustomEvent<{ rttMs: number; offsetMs: number }>;
  message: CustomEvent<RoomMessage & Told>;
  roomInfo: CustomEvent<RoomInfo>;
  /** The room has ended. */
  roomClosed: CustomEvent<{ roomId: bigint } & Told>;
  /** Messages that this client will not get. */
  gap: CustomEvent<Gap & Told>;
  /** A question is open; one that came early, sealed, as soon as its key is here. */
  question: CustomEvent<Question & Told>;
  sealedQuestion: CustomEvent<SealedQuestion & Told>;
  questionKey: CustomEvent<QuestionKey & Told>;
  /** The sealed question was taken back. */
  questionWithdrawn: CustomEvent<QuestionId & Told>;
  questionExtended: CustomEvent<QuestionExtended & Told>;
  questionVoided: CustomEvent<QuestionId & Told>;
  reveal: CustomEvent<Reveal & Told>;
  rejudged: CustomEvent<Rejudged & Told>;
  result: CustomEvent<SealedResult & Told>;
  snapshot: CustomEvent<Snapshot & Told>;
  showState: CustomEvent<ShowState & Told>;
  settled: CustomEvent<Settled & Told>;
  rain: CustomEvent<Rain & Told>;
  /** The user's own result, opened; `isChecked` if the key is the one that was promised. */
  verdict: CustomEvent<Verdict & { isChecked: boolean }>;
  /** What failed without anybody waiting for it. */
  error: CustomEvent<Error>;
}

export interface TidegateOptions {
  /**
   * Gateways, in the order in which they are tried: `wss://…`, or the page's `https://…`. With
   * `dispatch` they are tried while it gives no list, and may be left out.
   */
  url?: string | string[];
  /** Who says which gateways to try: `GET /v1/gateways` of `tidegate dispatch`. */
  dispatch?: string;
  /** The access token, or what fetches one; `refused` and `expiring` ask for a newer one. */
  token: string | ((reason: 'connect' | 'refused' | 'expiring') => string | Promise<string>);
  /** The room to enter. */
  room?: Id;
  /** How the token travels: beside the sub-protocol (the default), or as the first frame. */
  authenticateBy?: 'subprotocol' | 'frame';
  /** Where answers go by HTTP, if not to the gateway of the connection. */
  uplink?: string;
}

export class TidegateError extends Error {
  constructor(reason: string, message: string, retryAfterMs?: number, untilMs?: number);
  /**
   * The schema's reason in lower case (`question_closed`), or `connection` where there was no
   * reply, or `commitment` where a reveal is not what its question promised.
   */
  readonly reason: string;
  readonly retryAfterMs: number;
  /** With `muted`: when the mute ends. */
  readonly untilMs: number;
}

export class Tidegate extends EventTarget {
  constructor(options: TidegateOptions);
  readonly state: ClientState;
  readonly userId: bigint | undefined;
  readonly room: bigint | undefined;
  readonly rttMs: number | undefined;
  readonly offsetMs: number;
  now(): number;
  connect(): Promise<Session>;
  close(): void;
  join(room: Id): Promise<Joined>;
  leave(): Promise<Left>;
  chat(text: string): Promise<RoomStamp>;
  like(count?: number): Promise<number>;
  publish(data: string | Uint8Array): Promise<RoomStamp>;
  answer(question: { showId: Id; question: number }, option: number): Promise<AnswerReceived>;
  /** Nothing if the tap did not set out: it was one too many. */
  grab(rain: Rain): Promise<Grabbed | undefined>;
  at(serverMs: number): Promise<void>;
  showTime(
    question: { showAtMs: number; showByMs: number },
    streamClockMs?: () => number,
  ): Promise<void>;
  addEventListener<K extends keyof TidegateEventMap>(
    type: K,
    listener: (event: TidegateEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof TidegateEventMap>(
    type: K,
    listener: (event: TidegateEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** A message of the schema in bytes. */
export function encode(type: string, message: object): Uint8Array;
/** The message of the schema in some bytes. */
export function decode(type: string, bytes: Uint8Array): any;
/** Whether a reveal is what the question was committed to. */
export function checkCommitment(commitment: Uint8Array, reveal: Reveal): Promise<boolean>;
/** Opens a question that came early. */
export function openQuestion(sealed: SealedQuestion, key: QuestionKey): Promise<Question>;
/** Opens a sealed result. */
export function openResult(
  sealed: SealedResult,
  resultKey: Uint8Array,
  userId: bigint,
): Promise<Verdict>;
