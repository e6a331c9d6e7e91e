/**
 * The browser's side of tidegate: one module, no dependencies, served by every gateway as
 * `/tidegate.js`. `docs/client-js.md` shows how it is used; its types are in `tidegate.d.ts`.
 *
 * Ids (users, rooms, shows), epochs and versions are 64 bits and therefore `BigInt`; wherever one
 * is taken, a number or a decimal string will do. Times (Unix milliseconds), money (cents) and
 * counts stay below 2^53 and are numbers. Enums are lower-case words: `open`, `high`, `in_play`;
 * one that this module does not know is its number in decimal.
 *
 * @module tidegate
 */

// The schema ------------------------------------------------------------------------------------

/** Words of enums by their numbers, as `proto/tidegate/v1` has them. */
const ENUMS = {
  Status: ['failed', 'done'],
  Lane: ['unspecified', 'high', 'mid', 'low'],
  Phase: ['unspecified', 'announced', 'lobby', 'open', 'closing', 'closed', 'revealed', 'settling',
    'settled', 'ended', 'paused', 'cancelled', 'voided'],
  RainPhase: ['unspecified', 'announced', 'falling', 'closing', 'ended'],
  WithdrawalState: ['unspecified', 'requested', 'paid', 'reversed'],
  Standing: ['unspecified', 'in_play', 'out', 'spectator', 'winner'],
  Reason: {
    0: 'unspecified', 1: 'malformed', 2: 'unknown_type', 3: 'too_large', 4: 'rate_limited',
    100: 'token_invalid', 101: 'token_expired', 102: 'not_authenticated',
    103: 'identity_mismatch', 104: 'already_authenticated', 105: 'token_revoked', 106: 'banned',
    200: 'not_in_room', 201: 'no_such_room', 202: 'room_full', 203: 'lane_forbidden',
    204: 'room_forbidden', 220: 'text_empty', 221: 'text_too_long', 222: 'muted',
    223: 'duplicate', 224: 'flood', 225: 'word_refused', 226: 'room_overloaded',
    227: 'opaque_forbidden',
    300: 'no_such_show', 301: 'show_not_running', 302: 'show_ended', 303: 'not_current_question',
    304: 'out_of_game', 305: 'no_such_option', 306: 'ticket_invalid', 307: 'answer_bound',
    308: 'question_closed',
    360: 'no_such_rain', 361: 'rain_not_started', 362: 'no_such_slot', 363: 'not_enough',
    364: 'amount_invalid', 365: 'key_invalid', 366: 'code_invalid', 367: 'invitation_refused',
  },
};

/**
 * Messages by name, and their fields: name, number, type. `id` is a uint64 kept as BigInt, `count`
 * a uint64 and `time` an int64 kept as numbers; `list` is repeated, `set` has presence of its own.
 */
const SCHEMA = `
ClientFrame: type 1 sint32; userId 2 id; token 3 string; business 4 Business;
    heartbeat 5 Heartbeat
ServerFrame: type 1 sint32; status 2 Status; business 3 Business; errorCode 4 fixed32 set;
    failure 5 Failure; session 6 Session; heartbeat 7 Heartbeat
Heartbeat: clientSentMs 1 time; serverReceivedMs 2 time; serverSentMs 3 time; rttMs 4 uint32
Session: userId 1 id; heartbeatIntervalMs 2 uint32; serverTimeMs 3 time;
    tokenExpiresInMs 4 uint32
Failure: reason 1 Reason; message 2 string; retryAfterMs 3 uint32; sequence 4 string;
    untilMs 5 time
Business: type 1 uint32; sequence 2 string; request 3 Request; response 4 Response;
    notification 5 Notification
Request: join 1 Join; leave 2 Leave; publish 3 Publish; chat 5 Chat; like 6 Like;
    answer 10 Answer; grab 60 Grab; withdraw 61 Withdraw; give 62 Give; redeem 63 Redeem;
    askPurse 64 AskPurse
Response: joined 1 Joined; left 2 Left; published 3 Published; chatPublished 5 Published;
    liked 6 Liked; answerReceived 10 AnswerReceived; retryAnswer 11 RetryAnswer;
    serverTimeMs 15 time; grabbed 60 Grabbed; withdrawal 61 Withdrawal; given 62 Given;
    redeemed 63 Redeemed; purse 64 Purse
Notification: roomMessage 1 RoomMessage; gap 2 Gap; roomBatch 7 RoomBatch;
    roomInfo 8 RoomInfo; roomClosed 9 RoomClosed; question 10 Question; reveal 11 Reveal;
    snapshot 12 Snapshot; result 13 SealedResult; stamp 14 RoomStamp; serverTimeMs 15 time;
    showState 16 ShowState; settled 17 Settled; questionExtended 18 QuestionExtended;
    questionVoided 19 QuestionVoided; rejudged 20 Rejudged; sealedQuestion 40 SealedQuestion;
    questionKey 41 QuestionKey; questionWithdrawn 42 QuestionVoided; rain 60 Rain;
    giftShown 61 GiftShown
RoomStamp: roomId 1 id; epoch 2 id; lane 3 Lane; version 4 id
LanePosition: lane 1 Lane; version 2 id
Join: roomId 1 id; epoch 2 id; positions 3 LanePosition list; opensSeals 40 bool
Joined: roomId 1 id; epoch 2 id; positions 3 LanePosition list; resumed 4 bool;
    info 5 RoomInfo
Leave:
Left: roomId 1 id
Publish: lane 1 Lane; data 2 bytes
Published: stamp 1 RoomStamp
RoomMessage: userId 1 id; data 2 bytes; kind 3 uint32; text 4 string; likes 5 Likes
RoomBatch: messages 1 RoomMessage list; thinned 2 bytes; info 3 RoomInfo
RoomInfo: roomId 1 id; online 2 count; chatPermille 3 uint32; reconnectSpreadMs 4 uint32
RoomClosed: roomId 1 id
Chat: text 1 string
Like: count 1 uint32
Liked: count 1 uint32
Likes: count 1 count; total 2 count
Gap: roomId 1 id; epoch 2 id; lane 3 Lane; firstMissing 4 id; lastMissing 5 id
ShowState: showId 1 id; roomId 2 id; title 3 string; phase 4 Phase; questionCount 5 uint32;
    prizePoolCents 6 time; startsAtMs 7 time
Question: showId 1 id; question 2 uint32; text 3 string; options 4 string list; showAtMs 5 time;
    showByMs 6 time; answerByMs 7 time; commitment 8 bytes; last 9 bool
SealedQuestion: showId 1 id; question 2 uint32; commitment 3 bytes; ciphertext 4 bytes
QuestionKey: key 1 bytes; showId 2 id; question 3 uint32; showAtMs 4 time; showByAfterMs 5 uint32;
    answerByAfterMs 6 uint32
QuestionExtended: showId 1 id; question 2 uint32; showByMs 3 time; answerByMs 4 time
QuestionVoided: showId 1 id; question 2 uint32
Answer: showId 1 id; question 2 uint32; option 3 uint32; ticket 4 bytes
AnswerReceived: result 1 SealedResult
RetryAnswer: showId 1 id; question 2 uint32; retryAfterMs 3 uint32; ticket 4 bytes
SealedResult: showId 1 id; question 2 uint32; nonce 3 bytes; ciphertext 4 bytes
Reveal: showId 1 id; question 2 uint32; resultKey 3 bytes; correctOption 4 uint32;
    optionCounts 5 count list; inPlay 6 count
Rejudged: showId 1 id; question 2 uint32; correctOption 3 uint32; inPlay 4 count
Settled: showId 1 id; winners 2 count; prizePoolCents 3 time; perHeadCents 4 time;
    remainderCents 5 time
Snapshot: show 1 ShowState; standing 2 Standing; lastRevealed 3 uint32 set; reviveCards 4 uint32;
    openQuestion 5 Question; recordedOption 6 uint32 set; recordedResult 7 SealedResult;
    prizeCents 8 time; lastReveal 9 Reveal; recordedQuestion 10 uint32 set
Rain: showId 1 id; rain 2 uint32; phase 3 RainPhase; packets 4 uint32; poolCents 5 time;
    tapsMax 6 uint32; sendPerMillion 7 uint32; endsAtMs 8 time; grabbed 9 uint32; paidCents 10 time
Grab: showId 1 id; rain 2 uint32; slot 3 uint32
Grabbed: showId 1 id; rain 2 uint32; slot 3 uint32; cents 4 time
Withdraw: key 1 string; cents 2 time
Withdrawal: key 1 string; cents 2 time; state 3 WithdrawalState; balanceCents 4 time; number 5 id
Give: key 1 string; kind 2 uint32; cents 3 time
Given: key 1 string; balanceCents 2 time
GiftShown: userId 1 id; kind 2 uint32; cents 3 time
Redeem: code 1 string
Redeemed: inviterId 1 id; cards 2 uint32
AskPurse:
Purse: balanceCents 1 time; reviveCards 2 uint32; invitationCode 3 string; invited 4 uint32
`;

/** The schema, parsed: by message and field, [number, type, how]. */
const MESSAGES = {};
for (const [, message, fields] of SCHEMA.matchAll(/^(\w+):((?:\n {4}|.)*)/gm)) {
  MESSAGES[message] = {};
  for (const field of fields.split(';').filter((text) => text.trim() !== '')) {
    const [name, number, type, how] = field.trim().split(/\s+/);
    MESSAGES[message][name] = [Number(number), type, how];
  }
}

// Protobuf --------------------------------------------------------------------------------------

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder();

/** What a field has that is not on the wire. */
const DEFAULTS = {
  id: 0n, count: 0, time: 0, uint32: 0, sint32: 0, fixed32: 0, bool: false, string: '',
  bytes: new Uint8Array(),
};

/** How each type travels: 0 varint, 2 with a length, 5 four bytes. */
const wireTypeOf = (type) =>
  type === 'fixed32' ? 5 : type === 'string' || type === 'bytes' || MESSAGES[type] ? 2 : 0;

function writeVarint(out, value) {
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
}

function enumNumber(words, word) {
  const found = Object.keys(words).find((number) => words[number] === word);
  return Number(found ?? word);
}

function writeValue(out, type, value) {
  if (type === 'fixed32') {
    for (const shift of [0, 8, 16, 24]) out.push((value >>> shift) & 255);
  } else if (type === 'sint32') {
    writeVarint(out, ((value << 1) ^ (value >> 31)) >>> 0);
  } else if (ENUMS[type]) {
    writeVarint(out, enumNumber(ENUMS[type], value));
  } else if (wireTypeOf(type) === 2) {
    const bytes = type === 'string' ? utf8Encoder.encode(value)
      : type === 'bytes' ? value : encode(type, value);
    writeVarint(out, bytes.length);
    for (const byte of bytes) out.push(byte);
  } else {
    writeVarint(out, value);
  }
}

/** Whether a field without presence of its own would say nothing. */
const isDefault = (type, value) =>
  ENUMS[type] ? value === ENUMS[type][0]
    : type === 'bytes' ? value.length === 0 : value === DEFAULTS[type];

/**
 * A message in bytes.
 * @param {string} type its name in the schema
 * @param {object} message its fields; what is left out is not there
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encode(type, message) {
  const out = [];
  for (const [name, [number, fieldType, how]] of Object.entries(MESSAGES[type])) {
    const value = message[name];
    if (value === undefined || value === null) continue;
    const values = how === 'list' ? value : [value];
    const isPacked = how === 'list' && wireTypeOf(fieldType) === 0;
    if (isPacked) {
      if (values.length === 0) continue;
      const packed = [];
      for (const each of values) writeValue(packed, fieldType, each);
      writeVarint(out, (number << 3) | 2);
      writeValue(out, 'bytes', packed);
      continue;
    }
    for (const each of values) {
      if (how === undefined && !MESSAGES[fieldType] && isDefault(fieldType, each)) continue;
      writeVarint(out, (number << 3) | wireTypeOf(fieldType));
      writeValue(out, fieldType, each);
    }
  }
  return Uint8Array.from(out);
}

/** Reads the wire format from a part of a buffer. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.place = 0;
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.place >= this.bytes.length) throw new RangeError('a message ends too early');
      const byte = this.bytes[this.place++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw new RangeError('a number has more than ten bytes');
  }

  take(length) {
    const end = this.place + length;
    if (end > this.bytes.length) throw new RangeError('a message ends too early');
    const part = this.bytes.subarray(this.place, end);
    this.place = end;
    return part;
  }

  raw(wireType) {
    switch (wireType) {
      case 0: return this.varint();
      case 1: return this.take(8);
      case 2: return this.take(Number(this.varint()));
      case 5: return this.take(4);
      default: throw new RangeError(`wire type ${wireType} is not known`);
    }
  }
}

function readValue(type, raw) {
  if (MESSAGES[type]) return decode(type, raw);
  if (ENUMS[type]) {
    const number = Number(BigInt.asIntN(32, raw));
    return ENUMS[type][number] ?? String(number);
  }
  switch (type) {
    case 'id': return raw;
    case 'count': return Number(raw);
    case 'time': return Number(BigInt.asIntN(64, raw));
    case 'uint32': return Number(BigInt.asUintN(32, raw));
    case 'sint32': {
      const zigzag = Number(BigInt.asUintN(32, raw));
      return (zigzag >>> 1) ^ -(zigzag & 1);
    }
    case 'bool': return raw !== 0n;
    case 'string': return utf8Decoder.decode(raw);
    // A copy: the buffer of the whole message would live as long as a part of it.
    case 'bytes': return raw.slice();
    case 'fixed32': return new DataView(raw.buffer, raw.byteOffset).getUint32(0, true);
    default: throw new TypeError(`type ${type} is not known`);
  }
}

/**
 * The message in some bytes. What is not there has its default; messages, and fields with presence
 * of their own, are `undefined`. Fields that this module does not know are passed over.
 * @param {string} type its name in the schema
 * @param {Uint8Array} bytes
 * @returns {object}
 */
export function decode(type, bytes) {
  const message = {};
  const byNumber = new Map();
  for (const [name, [number, fieldType, how]] of Object.entries(MESSAGES[type])) {
    byNumber.set(number, [name, fieldType, how]);
    if (how === 'list') message[name] = [];
    else if (ENUMS[fieldType]) message[name] = ENUMS[fieldType][0];
    else if (how === undefined && !MESSAGES[fieldType]) message[name] = DEFAULTS[fieldType];
  }
  const reader = new Reader(bytes);
  while (reader.place < bytes.length) {
    const tag = Number(reader.varint());
    const wireType = tag & 7;
    const raw = reader.raw(wireType);
    const [name, fieldType, how] = byNumber.get(tag >>> 3) ?? [];
    if (name === undefined) continue;
    if (how === 'list' && wireType === 2 && wireTypeOf(fieldType) === 0) {
      const packed = new Reader(raw);
      while (packed.place < raw.length) message[name].push(readValue(fieldType, packed.varint()));
    } else if (wireType !== wireTypeOf(fieldType)) {
      throw new TypeError(`${type}.${name} has wire type ${wireType}`);
    } else if (how === 'list') {
      message[name].push(readValue(fieldType, raw));
    } else {
      message[name] = readValue(fieldType, raw);
    }
  }
  return message;
}

// Seals -----------------------------------------------------------------------------------------

const VERDICTS = ['none', 'passed', 'wrong', 'late', 'silent', 'unreachable',
  'wrong_revived', 'late_revived', 'silent_revived', 'unreachable_revived'];

/** Big-endian bytes of numbers: [value, size] each. */
function bigEndian(...parts) {
  const bytes = [];
  for (const [value, size] of parts) {
    for (let index = size - 1; index >= 0; index -= 1) {
      bytes.push(Number((BigInt(value) >> BigInt(8 * index)) & 255n));
    }
  }
  return Uint8Array.from(bytes);
}

/**
 * Whether a reveal is what the question was committed to.
 * @param {Uint8Array} commitment of the question
 * @param {object} reveal
 * @returns {Promise<boolean>}
 */
export async function checkCommitment(commitment, reveal) {
  const rest = bigEndian([reveal.correctOption, 1], [reveal.showId, 8], [reveal.question, 2]);
  const all = Uint8Array.of(...reveal.resultKey, ...rest);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', all));
  return digest.length === commitment.length && digest.every((byte, i) => byte === commitment[i]);
}

/** Opens what AES-256-GCM sealed. */
async function decrypt(keyBytes, iv, additionalData, ciphertext) {
  const key = await crypto.subtle.importKey('raw', keyBytes, 'AES-GCM', false, ['decrypt']);
  const algorithm = { name: 'AES-GCM', iv, additionalData };
  return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, ciphertext));
}

/** Whether this browser opens seals: pages that came without TLS have no such keys. */
const OPENS_SEALS = globalThis.crypto?.subtle !== undefined;

/**
 * Opens a question that came early, sealed.
 * @param {object} sealed a `SealedQuestion`
 * @param {object} key its `QuestionKey`
 * @returns {Promise<object>} the `Question`
 */
export async function openQuestion(sealed, key) {
  const { showId, question, commitment, ciphertext } = sealed;
  const additionalData = Uint8Array.of(...bigEndian([showId, 8], [question, 2]), ...commitment);
  const record = await decrypt(key.key, new Uint8Array(12), additionalData, ciphertext);
  if (record[0] !== 1) throw new TypeError(`a question of version ${record[0]} is not known`);
  let place = 3;
  const text = () => {
    const begin = place + 2;
    place = begin + record[place] * 256 + record[place + 1];
    return utf8Decoder.decode(record.subarray(begin, place));
  };
  const { showAtMs } = key;
  const showByMs = showAtMs + key.showByAfterMs;
  const answerByMs = showByMs + key.answerByAfterMs;
  return {
    showId, question, text: text(), options: Array.from({ length: record[2] }, text), showAtMs,
    showByMs, answerByMs, commitment, last: (record[1] & 1) !== 0,
  };
}

/**
 * Opens a sealed result.
 * @param {object} sealed a `SealedResult`
 * @param {Uint8Array<ArrayBuffer>} resultKey of the reveal
 * @param {bigint} userId whose result it is
 * @returns {Promise<object>} what it says
 */
export async function openResult(sealed, resultKey, userId) {
  const additionalData = bigEndian([sealed.showId, 8], [sealed.question, 2], [userId, 8]);
  const record = await decrypt(resultKey, sealed.nonce, additionalData, sealed.ciphertext);
  if (record[0] !== 1) throw new TypeError(`a result of version ${record[0]} is not known`);
  return {
    showId: sealed.showId,
    question: sealed.question,
    verdict: VERDICTS[record[1]] ?? String(record[1]),
    inPlay: record[1] === 1 || record[1] > 5,
    usedCard: record[1] > 5,
    newRecord: (record[2] & 1) !== 0,
    byTicket: (record[2] & 2) !== 0,
    option: record[3] === 255 ? undefined : record[3],
    passed: record[4],
  };
}

// The client ------------------------------------------------------------------------------------

/**
 * What a client does after a close, by its code: `undefined` nothing, `'token'` return with a new
 * token, a number: return at a random moment within so many milliseconds. The table of
 * `docs/protocol.md`.
 */
const RECONNECT = {
  1000: undefined, 1001: 10_000, 1002: undefined, 1003: undefined, 1007: undefined,
  1008: undefined, 1009: undefined, 1011: 5_000, 4000: undefined, 4001: 'token', 4002: 500,
  4003: 2_000, 4004: 2_000, 4005: 10_000, 4006: undefined,
  4007: 30_000, 4008: 5_000, 4009: undefined, 4010: undefined, 4011: 5_000,
};
/** When and where a client comes back, of the text of a close: `going_away within_ms=500 to=wss://…`. */
function movingOf(text) {
  const fields = new Map(text.split(' ').slice(1).map((field) => {
    const place = field.indexOf('=');
    return [field.slice(0, place), field.slice(place + 1)];
  }));
  const within = fields.get('within_ms') ?? '';
  return { withinMs: /^\d{1,9}$/.test(within) ? Number(within) : undefined, to: fields.get('to') };
}
/** Whether what goes there is sealed on its way. */
const isSafe = (url) => /^(wss|https):/.test(url);
/** A dispatcher has so many lists at a time, and so long to answer. */
const DISPATCH_PARTS = 64;
const DISPATCH_TIMEOUT_MS = 5_000;
/** A connection that broke without a code: many do at once when a network fails. */
const RECONNECT_BROKEN_MS = 1_000;
/** Other codes of 4000 or more are like 1011. */
const RECONNECT_UNKNOWN_MS = 5_000;
const RECONNECT_SPAN_MAX_MS = 30_000;
/** A newer token is sent when so much of the time of the last one is over. */
const TOKEN_REFRESH_PART = 0.8;
/** A fetch that failed is repeated after this part of what was left then, and not sooner than that. */
const TOKEN_REFRESH_AGAIN_PART = 0.1;
const TOKEN_REFRESH_AGAIN_MIN_MS = 1_000;
/** A timer that is longer ends at once; longer waits are made of several. */
const TIMER_MAX_MS = 0x7fff_ffff;
/** A token that lasts this long or longer: the field has no more. */
const TOKEN_TIME_MAX_MS = 0xffff_ffff;
/** A gateway that says nothing for so long after a heartbeat is gone, whatever the socket says. */
const SILENCE_MS = 8_000;
const CONNECT_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 5_000;
/** So long an answer waits for its reply before it is given again. */
const ANSWER_TIMEOUT_MS = 3_000;
const ANSWER_AGAIN_MS = 400;
/** How long after `answerByMs` a reply to an answer is still sought. */
const ANSWER_PATIENCE_MS = 10_000;
/** A tap without an outcome is given again after about so long, */
const GRAB_AGAIN_MS = 300;
/** and until so long after the rain. */
const GRAB_PATIENCE_MS = 5_000;
/** The slots of so many rains are counted. */
const RAINS_KEPT = 16;
/** The round trips among which the shortest tells the clock best. */
const CLOCK_SAMPLES = 8;
/** A new connection's first heartbeats, from its beginning. */
const FIRST_HEARTBEATS_MS = [0, 300, 1_000, 2_500];
/** So long after its key a question that does not open is waited for: it comes whole. */
const WHOLE_PATIENCE_MS = 1_000;
/** Sealed results and keys of so many questions are kept. */
const QUESTIONS_KEPT = 16;

const ID_MAX = 0xffff_ffff_ffff_ffffn;

const sleep = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const clockMs = () => Math.round(performance.timeOrigin + performance.now());

/** A room's id of what a caller gave: what no gateway takes is told at once. */
function roomIdOf(room) {
  const id = BigInt(room);
  if (id < 1n || id > ID_MAX) throw new RangeError(`room: ${room} is none; ids are 1 to 2^64 - 1`);
  return id;
}

/** What went wrong; `reason` is the schema's word, or `connection` where there was no reply. */
export class TidegateError extends Error {
  constructor(reason, message, retryAfterMs = 0, untilMs = 0) {
    super(message);
    this.name = 'TidegateError';
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.untilMs = untilMs;
  }
}

/**
 * A connection to tidegate that comes back by itself. Events have their message as `detail`; their
 * names are in {@link TidegateEventMap} of the types.
 */
export class Tidegate extends EventTarget {
  #urls;
  /** Those that were given; one to which a gateway sent this client may precede them, and a list of the
   * dispatcher takes their place. */
  #givenUrls;
  #urlIndex = 0;
  /** Who says which gateways to try, and until when its list may be used. */
  #dispatch;
  #listUntilMs = 0;
  #token;
  #tokenNow;
  #authenticateBy;
  #uplink;
  #state = 'idle';
  #socket;
  #session;
  #room;
  /** The room in the URL of the newest connection. */
  #urlRoom;
  /** How often a connection was begun. */
  #connects = 0;
  /** How often `join` and `leave` were called. */
  #roomWishes = 0;
  #position;
  #info;
  #attempts = 0;
  #sequence = 0;
  #pending = new Map();
  #timers = new Set();
  #reconnectTimer;
  #heardAtMs = 0;
  #samples = [];
  #questions = new Map();
  /** By rain: the slot of the next tap. */
  #slots = new Map();
  #online = () => this.#comeBackNow();

  /** @param {import('./tidegate.d.ts').TidegateOptions} options */
  constructor(options) {
    super();
    this.#givenUrls = [options.url ?? []].flat();
    this.#urls = this.#givenUrls;
    this.#dispatch = options.dispatch;
    if (this.#urls.length === 0 && this.#dispatch === undefined) {
      throw new TypeError('url: give at least one gateway, or `dispatch`');
    }
    this.#token = options.token;
    this.#authenticateBy = options.authenticateBy ?? 'subprotocol';
    this.#uplink = options.uplink;
    if (options.room !== undefined) this.#room = roomIdOf(options.room);
  }

  /** `idle`, `connecting`, `open`, `waiting` (to reconnect) or `closed`. */
  get state() { return this.#state; }

  /** The user, once the gateway has said so. */
  get userId() { return this.#session?.userId; }

  /** The room in which the client is, or is to be. */
  get room() { return this.#room; }

  /** The shortest round trip of late, milliseconds. */
  get rttMs() { return this.#bestSample()?.rttMs; }

  /** The gateway's clock minus this one's, milliseconds. */
  get offsetMs() { return this.#bestSample()?.offsetMs ?? 0; }

  /** The gateway's clock now, Unix milliseconds. */
  now() { return clockMs() + this.offsetMs; }

  /** Connects; resolves with the session once there is one, whatever number of attempts it takes. */
  connect() {
    if (this.#state === 'open') return Promise.resolve(this.#session);
    if (this.#state === 'idle' || this.#state === 'closed') {
      globalThis.addEventListener?.('online', this.#online);
      this.#attempts = 0;
      this.#setState('waiting');
      this.#comeBackNow();
    }
    return new Promise((resolve, reject) => {
      const settle = () => {
        if (this.#state !== 'open' && this.#state !== 'closed') return;
        this.removeEventListener('state', settle);
        if (this.#state === 'open') resolve(this.#session);
        else reject(new TidegateError('connection', 'the gateway lets this client not in'));
      };
      this.addEventListener('state', settle);
    });
  }

  /** Says goodbye and does not come back, until `connect` is called again. */
  close() {
    globalThis.removeEventListener?.('online', this.#online);
    clearTimeout(this.#reconnectTimer);
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000);
    this.#setState('closed');
  }

  /** Enters a room, leaving the one before; after a reconnect too. */
  async join(room) {
    const roomId = roomIdOf(room);
    if (roomId !== this.#room) this.#position = undefined;
    this.#room = roomId;
    this.#roomWishes += 1;
    return this.#enter();
  }

  /** Leaves the room. */
  async leave() {
    this.#roomWishes += 1;
    this.#room = undefined;
    this.#position = undefined;
    this.#info = undefined;
    const { left } = await this.#request({ leave: {} });
    return left;
  }

  /** Says a text in the room. Resolves with its place; it comes back as a `message` too. */
  async chat(text) {
    // The room says how much of what is said it can carry; what is too much does not set out.
    if (Math.random() * 1_000 >= (this.#info?.chatPermille ?? 1_000)) {
      throw new TidegateError('room_overloaded', 'the room cannot carry more now');
    }
    const { chatPublished } = await this.#request({ chat: { text } });
    return chatPublished.stamp;
  }

  /** Likes; taps since the last call go together. Resolves with how many were counted. */
  async like(count = 1) {
    const { liked } = await this.#request({ like: { count } });
    return liked.count;
  }

  /** Puts opaque data into the room: at most 1,024 bytes, or as much text. */
  async publish(data) {
    const bytes = typeof data === 'string' ? utf8Encoder.encode(data) : data;
    const { published } = await this.#request({ publish: { lane: 'low', data: bytes } });
    return published.stamp;
  }

  /**
   * Answers a question. The first answer binds, so this may be repeated without harm, and is:
   * when the reply does not come, when the connection breaks (then by HTTP `POST`, which needs no
   * connection), and when the gateway asks to come again, with its ticket.
   * @returns {Promise<object>} `AnswerReceived`: it is on record durably
   */
  async answer(question, option) {
    const answer = {
      showId: BigInt(question.showId), question: question.question, option, ticket: undefined,
    };
    const known = this.#questions.get(keyOf(question))?.question ?? question;
    let wasLost = false;
    let isFresh = false;
    for (;;) {
      // A connection that gave no reply may be dead without knowing it: the other way, then.
      const isByPost = this.#state !== 'open' || wasLost;
      try {
        const response = isByPost
          ? await this.#post(answer) : await this.#request({ answer }, ANSWER_TIMEOUT_MS);
        if (response.answerReceived) return this.#received(response.answerReceived);
        answer.ticket = response.retryAnswer.ticket;
        await sleep(response.retryAnswer.retryAfterMs);
      } catch (error) {
        wasLost = error.reason === 'connection' && !isByPost;
        // A token that expired while there was no connection: once more, with another.
        if (isByPost && !isFresh && error.reason?.startsWith('token_')) {
          isFresh = true;
          this.#tokenNow = undefined;
          continue;
        }
        // It may overtake the news of the question, or of this client's joining, within the host.
        const isEarly = isByPost && this.#position !== undefined
          && ['not_current_question', 'not_in_room'].includes(error.reason);
        const isTransient = ['connection', 'rate_limited'].includes(error.reason)
          || (isEarly && this.now() < known.answerByMs);
        const until = (known.answerByMs ?? this.now()) + ANSWER_PATIENCE_MS;
        if (!isTransient || this.#state === 'closed' || this.now() > until) throw error;
        await sleep(Math.max(error.retryAfterMs, ANSWER_AGAIN_MS * (0.5 + Math.random())));
      }
    }
  }

  /**
   * A tap at a red-packet rain that falls. The rain says how many taps are to set out, and how many
   * of one user count; what is too much ends here. A tap whose reply is lost is given again: its
   * slot brings the same each time.
   * @param {object} rain of the event `rain`
   * @returns {Promise<object | undefined>} `Grabbed`: 0 cents are none; nothing if the tap did not set out
   */
  async grab(rain) {
    const key = `${rain.showId}/${rain.rain}`;
    const slot = this.#slots.get(key) ?? 0;
    const isKept = Math.random() * 1_000_000 >= rain.sendPerMillion;
    if (isKept || slot >= rain.tapsMax) return undefined;
    this.#slots.set(key, slot + 1);
    if (this.#slots.size > RAINS_KEPT) this.#slots.delete(this.#slots.keys().next().value);
    const grab = { showId: BigInt(rain.showId), rain: rain.rain, slot };
    for (;;) {
      try {
        return (await this.#request({ grab })).grabbed;
      } catch (error) {
        const isTransient = ['connection', 'rate_limited'].includes(error.reason);
        const isOver = this.now() > rain.endsAtMs + GRAB_PATIENCE_MS;
        if (!isTransient || this.#state === 'closed' || isOver) throw error;
        await sleep(Math.max(error.retryAfterMs, GRAB_AGAIN_MS * (0.5 + Math.random())));
      }
    }
  }

  /** Resolves when the gateway's clock shows this time. */
  async at(serverMs) {
    for (;;) {
      const left = serverMs - this.now();
      if (left <= 0) return;
      // Not in one go: the estimate of the clock gets better, and long timers run late.
      await sleep(Math.min(left, 1_000));
    }
  }

  /**
   * Resolves when a question is to be shown: when the stream's clock has come to `showAtMs`, but
   * not later than `showByMs`, so that a frozen video throws nobody out.
   * @param {object} question
   * @param {() => number} [streamClockMs] the clock in the video; without one, the gateway's
   */
  async showTime(question, streamClockMs = () => this.now()) {
    while (streamClockMs() < question.showAtMs && this.now() < question.showByMs) {
      const left = Math.min(question.showAtMs - streamClockMs(), question.showByMs - this.now());
      await sleep(Math.max(10, Math.min(left, 100)));
    }
  }

  // Connecting ----------------------------------------------------------------------------------

  async #connectNow(reason) {
    clearTimeout(this.#reconnectTimer);
    this.#setState('connecting');
    this.#connects += 1;
    const connects = this.#connects;
    const bySubprotocol = this.#authenticateBy === 'subprotocol';
    let socket;
    try {
      await this.#askDispatch();
      const token = await this.#anyToken(reason);
      // `close` came meanwhile, and perhaps another `connect`.
      if (this.#state !== 'connecting' || this.#connects !== connects) return undefined;
      const protocols = ['tidegate.v1.proto'];
      if (bySubprotocol) protocols.push(`tidegate.token.${token}`);
      this.#urlRoom = bySubprotocol ? this.#room : undefined;
      socket = new WebSocket(this.#target(bySubprotocol), protocols);
    } catch (error) {
      if (this.#connects !== connects) return undefined;
      this.#emit('error', error);
      if (this.#state !== 'connecting') return undefined;
      return this.#comeBackWithin(Math.max(error.retryAfterMs ?? 0, RECONNECT_UNKNOWN_MS));
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#later(CONNECT_TIMEOUT_MS, () => {
      if (this.#state === 'connecting') this.#broken(socket);
    });
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      if (!bySubprotocol) this.#send({ type: 0, token: this.#tokenNow });
    };
    socket.onmessage = (event) => {
      if (this.#socket !== socket || !(event.data instanceof ArrayBuffer)) return;
      this.#heardAtMs = clockMs();
      this.#hear(decode('ServerFrame', new Uint8Array(event.data)));
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#closed(event.code, event.reason);
    };
    return undefined;
  }

  /** Asks for the gateways to try, unless the list that is here is young and has one that is not tried. */
  async #askDispatch() {
    if (this.#dispatch === undefined || clockMs() < this.#listUntilMs) return;
    try {
      const url = new URL(this.#dispatch, globalThis.location?.href);
      // Caches in between keep a list for each part, so that not everybody behind them gets the same.
      url.searchParams.set('part', String(Math.floor(Math.random() * DISPATCH_PARTS)));
      const response = await fetch(url, { signal: AbortSignal.timeout(DISPATCH_TIMEOUT_MS) });
      if (!response.ok) {
        const laterMs = Number(response.headers.get('Retry-After') ?? 0) * 1_000;
        throw new TidegateError('connection', `${url.pathname}: ${response.status}`, laterMs);
      }
      const { ttl_s: lifeS, gateways } = await response.json();
      const isMeant = (given) => URL.canParse(given) && (isSafe(given) || !isSafe(url.href));
      const urls = gateways.flatMap((gateway) => gateway.urls).filter(isMeant);
      if (urls.length === 0) throw new TidegateError('connection', `${url.pathname}: no gateway`);
      this.#urls = urls;
      this.#urlIndex = 0;
      this.#listUntilMs = clockMs() + lifeS * 1_000;
    } catch (error) {
      // An older list, or what was given beside, is better than nothing.
      if (this.#urls.length === 0) throw error;
      this.#emit('error', error);
    }
  }

  /** The token that was used last, or one that is fetched now. */
  async #anyToken(reason) {
    if (typeof this.#token !== 'function') this.#tokenNow = this.#token;
    else this.#tokenNow ??= await this.#token(reason);
    return this.#tokenNow;
  }

  /** The URL to connect to: with the room, so that one round trip is enough. */
  #target(withRoom) {
    const url = new URL(this.#urls[this.#urlIndex]);
    if (url.protocol.startsWith('http')) url.protocol = url.protocol.replace('http', 'ws');
    if (url.pathname === '/') url.pathname = '/ws';
    if (withRoom && this.#room !== undefined) {
      url.searchParams.set('room', String(this.#room));
      if (OPENS_SEALS) url.searchParams.set('seals', '1');
      if (this.#position) {
        url.searchParams.set('epoch', this.#position.epoch);
        for (const [lane, version] of this.#position.versions) {
          url.searchParams.set(lane, version);
        }
      }
    }
    return url.href;
  }

  #closed(code, text) {
    const isLost = this.#state === 'open';
    const codeKnown = Object.hasOwn(RECONNECT, code);
    const spread = Math.max(RECONNECT_BROKEN_MS, this.#info?.reconnectSpreadMs ?? 0);
    const unknown = code >= 4000 ? RECONNECT_UNKNOWN_MS : spread;
    const moving = code === 1001 ? movingOf(text) : {};
    const what = moving.withinMs ?? (codeKnown ? RECONNECT[code] : unknown);
    this.#drop();
    if (!isLost) this.#urlIndex = (this.#urlIndex + 1) % this.#urls.length;
    // All were tried in vain, or the one that a gateway named was.
    const isUsed = (!isLost && this.#urlIndex === 0) || this.#listUntilMs === Infinity;
    if (isUsed) this.#listUntilMs = 0;
    if (moving.to !== undefined) this.#tryFirst(moving.to);
    const returns = what === 'token' ? typeof this.#token === 'function' : what !== undefined;
    this.#emit('disconnected', { code, reason: text, returns });
    if (!returns) return this.#setState('closed');
    if (what !== 'token') return this.#comeBackWithin(what);
    // A fresh token is worth an attempt at once; one that is refused as well is not.
    this.#tokenNow = undefined;
    return this.#comeBackWithin(this.#attempts === 0 ? 0 : RECONNECT_BROKEN_MS, 'refused');
  }

  /** A gateway that is drained named another one; not one without TLS where there was TLS. */
  #tryFirst(url) {
    if (!URL.canParse(url) || (isSafe(this.#urls[this.#urlIndex]) && !isSafe(url))) return;
    this.#urls = [url, ...this.#givenUrls.filter((given) => given !== url)];
    this.#urlIndex = 0;
    // Nobody else is asked before it was tried.
    this.#listUntilMs = Infinity;
  }

  /** Gives a connection up of which no end came. */
  #broken(socket) {
    if (this.#socket !== socket) return;
    this.#closed(1006, 'nothing was heard');
    socket.close();
  }

  #comeBackWithin(spanMs, reason = 'connect') {
    const span = Math.min(spanMs * 2 ** this.#attempts, RECONNECT_SPAN_MAX_MS);
    this.#attempts += 1;
    const delayMs = Math.round(Math.random() * span);
    this.#setState('waiting');
    this.#emit('reconnecting', { delayMs, attempt: this.#attempts });
    this.#reconnectTimer = setTimeout(() => this.#connectNow(reason), delayMs);
  }

  #comeBackNow() {
    if (this.#state === 'waiting') this.#connectNow('connect');
  }

  /** Forgets the connection; whoever waits for a reply on it is told. */
  #drop() {
    this.#socket = undefined;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const { reject } of this.#pending.values()) {
      reject(new TidegateError('connection', 'the connection ended before the reply'));
    }
    this.#pending.clear();
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit('state', state);
  }

  #later(milliseconds, act) {
    const now = Math.min(milliseconds, TIMER_MAX_MS);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (milliseconds > now) this.#later(milliseconds - now, act);
      else act();
    }, now);
    this.#timers.add(timer);
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  // Speaking ------------------------------------------------------------------------------------

  #send(frame) { this.#socket.send(encode('ClientFrame', frame)); }

  #request(request, timeoutMs = REQUEST_TIMEOUT_MS) {
    if (this.#state !== 'open') {
      return Promise.reject(new TidegateError('connection', `the client is ${this.#state}`));
    }
    this.#sequence += 1;
    const sequence = String(this.#sequence);
    return new Promise((resolve, reject) => {
      this.#pending.set(sequence, { resolve, reject });
      this.#later(timeoutMs, () => {
        if (this.#pending.delete(sequence)) {
          reject(new TidegateError('connection', 'no reply came in time'));
        }
      });
      this.#send({ type: 1, business: { sequence, request } });
    });
  }

  /** Gives an answer by HTTP: the way up that needs no connection. */
  async #post(answer) {
    const gateway = this.#uplink ?? this.#urls[this.#urlIndex];
    if (gateway === undefined) throw new TidegateError('connection', 'no gateway is known yet');
    const url = new URL(gateway);
    url.protocol = url.protocol.replace('ws', 'http');
    url.pathname = '/v1/answers';
    url.search = '';
    const Authorization = `Bearer ${await this.#anyToken('connect')}`;
    const headers = { 'Content-Type': 'application/x-protobuf', Authorization };
    let response;
    let body;
    try {
      const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
      response = await fetch(url, { method: 'POST', headers, body: encode('Answer', answer), signal });
      body = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      throw new TidegateError('connection', `POST ${url.pathname}: ${error.message}`);
    }
    if (response.headers.get('Content-Type') !== 'application/x-protobuf') {
      throw new TidegateError('connection', `POST ${url.pathname}: ${response.status}`);
    }
    if (response.ok) return decode('Response', body);
    const later = response.status === 429 ? decode('Response', body) : {};
    if (later.retryAnswer) return later;
    const failure = decode('Failure', body);
    // A gateway that stops, or whose reply is late, says nothing of the answer.
    const reason = response.status >= 500 ? 'connection' : failure.reason;
    throw new TidegateError(reason, failure.message, failure.retryAfterMs);
  }

  #heartbeat() {
    const rttMs = Math.max(0, Math.round(this.rttMs ?? 0));
    this.#send({ type: -1, heartbeat: { clientSentMs: clockMs(), rttMs } });
    const socket = this.#socket;
    const askedAtMs = clockMs();
    this.#later(SILENCE_MS, () => { if (this.#heardAtMs < askedAtMs) this.#broken(socket); });
  }

  #beat() {
    this.#heartbeat();
    // Spread over a tenth, so that those who came together do not beat together.
    const interval = this.#session.heartbeatIntervalMs * (0.9 + 0.1 * Math.random());
    this.#later(interval, () => this.#beat());
  }

  // Hearing -------------------------------------------------------------------------------------

  #hear(frame) {
    if (frame.session) return this.#began(frame.session);
    if (frame.heartbeat) return this.#sample(frame.heartbeat);
    if (frame.failure) return this.#failed(frame.failure);
    const { sequence, response, notification } = frame.business ?? {};
    if (notification) return this.#notified(notification);
    if (!response) return undefined;
    if (response.joined) this.#joined(response.joined);
    if (response.left) this.#emit('left', response.left);
    // The reply to an answer may come on another connection than the answer went.
    if (response.answerReceived) this.#received(response.answerReceived);
    this.#pending.get(sequence)?.resolve(response);
    this.#pending.delete(sequence);
    return undefined;
  }

  #failed(failure) {
    const { reason, message, retryAfterMs, untilMs } = failure;
    const error = new TidegateError(reason, message, retryAfterMs, untilMs);
    const waiting = this.#pending.get(failure.sequence);
    this.#pending.delete(failure.sequence);
    if (waiting) waiting.reject(error);
    if (failure.sequence === '') this.#roomRefused(reason, this.#urlRoom);
    if (waiting) return;
    // The room of the URL, which has no sequence, and in whose place `join` or `leave` came.
    if (failure.sequence !== '' || reason !== 'not_in_room') this.#emit('error', error);
  }

  #began(session) {
    this.#session = session;
    this.#refreshToken(session.tokenExpiresInMs);
    // The answer to a newer token: nothing else changes.
    if (this.#state === 'open') return;
    this.#attempts = 0;
    this.#samples = [];
    for (const delay of FIRST_HEARTBEATS_MS) this.#later(delay, () => this.#heartbeat());
    this.#later(session.heartbeatIntervalMs * Math.random(), () => this.#beat());
    this.#setState('open');
    this.#emit('session', session);
    if (this.#authenticateBy !== 'subprotocol' && this.#room !== undefined) {
      this.#enterByItself();
    }
  }

  /** Nobody called for this: where `join` or `leave` took its place meanwhile, that is no error. */
  #enterByItself() {
    const wishes = this.#roomWishes;
    this.#enter().catch((error) => {
      if (this.#roomWishes === wishes) this.#emit('error', error);
    });
  }

  /** Asks for the room, from where this client is in it. */
  async #enter() {
    const { epoch, versions } = this.#position ?? {};
    const positions = [...(versions ?? [])].map(([lane, version]) => ({ lane, version }));
    const roomId = this.#room;
    const join = { roomId, epoch, positions, opensSeals: OPENS_SEALS };
    try {
      return (await this.#request({ join })).joined;
    } catch (error) {
      this.#roomRefused(error.reason, roomId);
      throw error;
    }
  }

  /** A room that is none, or not for this user: asking again would bring nothing else. */
  #roomRefused(reason, roomId) {
    if (!['no_such_room', 'room_forbidden'].includes(reason) || this.#room !== roomId) return;
    this.#room = undefined;
    this.#position = undefined;
    this.#info = undefined;
  }

  /** Gives the gateway a newer token before this one expires. */
  #refreshToken(expiresInMs) {
    const isEndless = expiresInMs === 0 || expiresInMs >= TOKEN_TIME_MAX_MS;
    const fetchToken = this.#token;
    if (isEndless || typeof fetchToken !== 'function') return;
    const socket = this.#socket;
    const leftMs = expiresInMs * (1 - TOKEN_REFRESH_PART);
    const refresh = async () => {
      try {
        this.#tokenNow = await fetchToken('expiring');
        if (this.#socket === socket) this.#send({ type: 0, token: this.#tokenNow });
      } catch (error) {
        this.#emit('error', error);
        // There is time left: once more, several times if need be.
        if (this.#socket === socket) {
          this.#later(Math.max(leftMs * TOKEN_REFRESH_AGAIN_PART, TOKEN_REFRESH_AGAIN_MIN_MS), refresh);
        }
      }
    };
    this.#later(expiresInMs * TOKEN_REFRESH_PART, refresh);
  }

  #sample({ clientSentMs, serverReceivedMs, serverSentMs }) {
    const receivedMs = clockMs();
    const rttMs = receivedMs - clientSentMs - (serverSentMs - serverReceivedMs);
    const offsetMs = ((serverReceivedMs - clientSentMs) + (serverSentMs - receivedMs)) / 2;
    this.#samples.push({ rttMs, offsetMs });
    if (this.#samples.length > CLOCK_SAMPLES) this.#samples.shift();
    this.#emit('clock', { rttMs: this.rttMs, offsetMs: this.offsetMs });
  }

  /** The shortest round trip leaves the least room for error. */
  #bestSample() {
    return this.#samples.reduce((best, it) => (best && best.rttMs <= it.rttMs ? best : it), undefined);
  }

  #joined(joined) {
    this.#room = joined.roomId;
    const versions = new Map(joined.positions.map(({ lane, version }) => [lane, version]));
    // A position within a batch is answered with one before it: what is here is dropped then.
    const before = joined.resumed ? this.#position?.versions : undefined;
    for (const [lane, version] of before ?? []) {
      if (version > (versions.get(lane) ?? 0n)) versions.set(lane, version);
    }
    this.#position = { epoch: joined.epoch, versions };
    this.#emit('joined', joined);
    if (joined.info) this.#informed(joined.info);
  }

  #informed(info) {
    this.#info = info;
    this.#emit('roomInfo', info);
  }

  /**
   * Notes how far a lane was seen; what comes after a reconnect begins there. False if it was seen
   * before.
   */
  #saw({ roomId, epoch, lane }, version) {
    if (roomId !== this.#room || epoch !== this.#position?.epoch) return true;
    if (version <= (this.#position.versions.get(lane) ?? 0n)) return false;
    this.#position.versions.set(lane, version);
    return true;
  }

  /** Messages of one lane that came together: each as if it had come alone. */
  #batch({ messages, thinned, info }, stamp, serverTimeMs) {
    let { version } = stamp;
    let bit = 0;
    const isThinned = () => (thinned[bit >> 3] >> (bit & 7)) & 1;
    for (const message of messages) {
      for (; isThinned(); bit += 1) version += 1n;
      const isNew = this.#saw(stamp, version);
      if (isNew) this.#emit('message', { ...message, stamp: { ...stamp, version }, serverTimeMs });
      bit += 1;
      version += 1n;
    }
    for (; bit < thinned.length * 8; bit += 1) if (isThinned()) version += 1n;
    if (info) version += 1n;
    this.#saw(stamp, version - 1n);
    if (info) this.#informed(info);
  }

  #notified(notification) {
    const { stamp, serverTimeMs, ...payload } = notification;
    const found = Object.entries(payload).find(([, value]) => value !== undefined);
    if (payload.roomBatch) return this.#batch(payload.roomBatch, stamp, serverTimeMs);
    const isNew = !stamp || this.#saw(stamp, stamp.version);
    if (!found || !isNew) return undefined;
    const [kind, message] = found;
    if (kind === 'roomInfo') return this.#informed(message);
    if (kind === 'gap') this.#saw(message, message.lastMissing);
    if (kind === 'roomClosed') this.#room = undefined;
    const type = kind === 'roomMessage' ? 'message' : kind;
    const told = { ...message, stamp, serverTimeMs };
    this.#emit(type, told);
    return this.#learn(kind, kind === 'questionKey' ? told : message);
  }

  // Results -------------------------------------------------------------------------------------

  /** Keeps what is needed to open the user's results, and opens them. */
  #learn(kind, message) {
    switch (kind) {
      case 'question':
        this.#entry(message).question = message;
        break;
      case 'sealedQuestion':
        this.#entry(message).locked = message;
        this.#unlock(this.#entry(message));
        break;
      case 'questionKey':
        this.#entry(message).key = message;
        this.#unlock(this.#entry(message));
        // Whoever enters, or enters again, gets the open question whole.
        this.#later(WHOLE_PATIENCE_MS, () => {
          if (!this.#entry(message).question) {
            this.#enterByItself();
          }
        });
        break;
      case 'questionExtended':
        this.#entry(message).extended = message;
        Object.assign(this.#entry(message).question ?? {}, message);
        break;
      case 'result':
        this.#seal(message);
        break;
      case 'reveal':
        this.#reveal(message);
        break;
      case 'snapshot':
        if (message.openQuestion) this.#entry(message.openQuestion).question = message.openQuestion;
        if (message.recordedResult) this.#seal(message.recordedResult);
        if (message.lastReveal) this.#reveal(message.lastReveal);
        break;
      default:
    }
  }

  #entry(message) {
    const key = keyOf(message);
    if (!this.#questions.has(key)) {
      this.#questions.set(key, {});
      if (this.#questions.size > QUESTIONS_KEPT) {
        this.#questions.delete(this.#questions.keys().next().value);
      }
    }
    return this.#questions.get(key);
  }

  /**
   * Opens a question that came early, once seal and key are here: they travel by two lanes. Where
   * they do not fit, the gateway sends it whole.
   */
  async #unlock(entry) {
    const { locked, key } = entry;
    if (!OPENS_SEALS || !locked || !key) return;
    const question = await openQuestion(locked, key).catch(() => undefined);
    if (!question || entry.question) return;
    entry.question = Object.assign(question, entry.extended);
    this.#emit('question', { ...question, stamp: key.stamp, serverTimeMs: key.serverTimeMs });
  }

  #received(answerReceived) {
    if (answerReceived.result) this.#seal(answerReceived.result);
    return answerReceived;
  }

  #seal(sealed) {
    const entry = this.#entry(sealed);
    const isKnown = entry.sealed && String(entry.sealed.nonce) === String(sealed.nonce);
    if (isKnown) return;
    entry.sealed = sealed;
    this.#open(entry);
  }

  #reveal(reveal) {
    const entry = this.#entry(reveal);
    const isKnown = entry.reveal !== undefined;
    entry.reveal = reveal;
    if (!isKnown) this.#open(entry);
  }

  /** Opens a result whose key is known, if the key is the one that was promised. */
  async #open({ question, sealed, reveal }) {
    if (!sealed || !reveal) return;
    try {
      const isChecked = question !== undefined;
      if (isChecked && !(await checkCommitment(question.commitment, reveal))) {
        throw new TidegateError('commitment', 'the reveal is not what the question promised');
      }
      const verdict = await openResult(sealed, reveal.resultKey, this.userId);
      this.#emit('verdict', { ...verdict, isChecked });
    } catch (error) {
      this.#emit('error', error);
    }
  }
}

/** One key for what concerns one question of one show. */
const keyOf = ({ showId, question }) => `${showId}/${question}`;
