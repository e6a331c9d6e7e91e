//! Everything that grows has a limit, and all limits that are not settings stand here.
//!
//! What an operator may change is in the configuration; its defaults and bounds come from here.

/// Buckets of a deployment: 1,024 by default, so that the work of one bucket stays below a
/// millisecond at a million players, and shards can be many more than cores today.
pub const BUCKET_COUNT_DEFAULT: u16 = 1_024;
/// More buckets would only make summaries longer.
pub const BUCKET_COUNT_MAX: u16 = 16_384;
/// Shards of one process.
pub const SHARD_COUNT_MAX: u16 = 256;

/// Connections of one shard: places are 32 bits in user data, bitmaps are sized by this.
pub const SHARD_CONNECTIONS_MAX: u32 = 1 << 24;
/// Generations are 28 bits of a completion's user data (4 for the operation, 32 for the slot).
pub const GENERATION_BITS: u32 = 28;

/// Bytes of an upgrade request, headers included. Browsers send less than 2 KiB; a token in the
/// query or a cookie needs some more.
pub const UPGRADE_BYTES_MAX: usize = 8 * 1024;
/// Headers of an upgrade request.
pub const UPGRADE_HEADERS_MAX: usize = 64;
/// Bytes of the body of a short request: the largest legitimate one is a room message in base64.
pub const SHORT_BODY_BYTES_MAX: usize = 4 * 1024;

/// Bytes of one message from a client, by default. The largest legitimate one is a room message.
pub const CLIENT_MESSAGE_BYTES_DEFAULT: usize = 4 * 1024;
/// Bytes of one message from a client that can be allowed at most (an echo of Autobahn's).
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 17 * 1024 * 1024;
/// Bytes of a request's sequence.
pub const SEQUENCE_BYTES_MAX: usize = 64;
/// Bytes of a room message's data from a client.
pub const ROOM_MESSAGE_BYTES_MAX: usize = 1_024;
/// Bytes of a room message's data from the service.
pub const SERVICE_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Messages that the service may publish in one request.
pub const SERVICE_MESSAGES_MAX: usize = 64;
/// Rooms of one broadcast.
pub const BROADCAST_ROOMS_MAX: usize = 1_000;
/// Messages of one broadcast, times its rooms.
pub const BROADCAST_MESSAGES_MAX: usize = 4_000;
/// Rooms of a broadcast that a shard is asked for at once: with as many messages as there may be, some
/// milliseconds.
pub const BROADCAST_CHUNK: usize = 32;
/// Operations of one batch.
pub const BATCH_OPERATIONS_MAX: usize = 100;
/// Versions of one page of a room's history.
pub const HISTORY_VERSIONS_MAX: u64 = 1_000;
/// Bytes of frames from which a page of a room's history is made.
pub const HISTORY_BYTES_MAX: usize = 128 * 1024;
/// Kinds of messages that are never thinned out, of one room.
pub const KEPT_KINDS_MAX: usize = 64;
/// Gateways that the clients of one that is drained are sent to.
pub const DRAIN_GATEWAYS_MAX: usize = 64;
/// Answers to requests with an `Idempotency-Key` that are kept, and bytes of all of them.
pub const IDEMPOTENCY_KEYS_MAX: usize = 10_000;
/// Bytes of those answers.
pub const IDEMPOTENCY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Orders with an `Idempotency-Key` that cost or bring somebody something, and that one shard knows to
/// be carried out, over restarts: some 60 bytes each.
pub const ORDERS_MAX: usize = 65_536;

/// Bytes of an access token.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an access token's `jti`.
pub const TOKEN_ID_BYTES_MAX: usize = 256;
/// Rooms that an access token can name.
pub const TOKEN_ROOMS_MAX: usize = 64;
/// Seconds from an access token's `iat` to its `exp`, at most, by default: revocations are kept for
/// as long.
pub const TOKEN_LIFETIME_MAX_DEFAULT_S: u32 = 30 * 86_400;
/// Revocations that each shard keeps, of users and of tokens together: some 5 MB.
pub const REVOCATIONS_MAX: usize = 65_536;
/// Bans of one process; each shard knows them all, some 40 bytes each.
pub const BANS_MAX: usize = 65_536;
/// Public keys that access tokens may be signed with at the same time.
pub const JWKS_KEYS_MAX: usize = 64;

/// Bytes of the secret that tokens are signed with, at least: RFC 7518 §3.2 asks for as many as
/// the hash has.
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;

/// Bytes that a connection's own replies and begun frames may pile up to before it is closed.
pub const SPILL_BYTES_DEFAULT: usize = 64 * 1024;

/// Rooms that one shard may have.
pub const ROOMS_MAX: usize = 4_096;
/// Rooms that the service makes and that stay until it closes them, in one process: a part of
/// [`ROOMS_MAX`], so that there is room for those that come and go by themselves.
pub const ROOMS_CREATED_MAX: usize = 2_048;
/// Bytes that one lane keeps for those who return, per encoding and shard.
pub const LANE_BYTES_MAX: usize = 1024 * 1024;
/// Frames that one lane keeps, whatever their size.
pub const LANE_FRAMES_MAX: usize = 4_096;
/// Messages of one lane that wait for their room's tick: what comes beyond is thinned out at once,
/// or makes the tick come early.
pub const TICK_MESSAGES_MAX: usize = 1_024;
/// Versions that a batch stands for: those that were thinned out take a bit each.
pub const TICK_VERSIONS_MAX: usize = 8 * 1_024;
/// Bytes that one message takes in a batch beside its data, at most: JSON names its fields.
pub const BATCH_MESSAGE_BYTES: usize = 80;
/// Bytes that all lanes of a shard may grow to together, copies and homes: beyond it the lanes that
/// clients write to forget instead of growing.
pub const SHARD_LANES_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A lane's first allocation; it doubles up to [`LANE_BYTES_MAX`].
pub const LANE_BYTES_START: usize = 4 * 1024;

/// Bytes of a chat's text that can be allowed at most.
pub const CHAT_BYTES_MAX: usize = 1_024;
/// Sensitive words that are named of a text that is tried; who mends the list sees the rest.
pub const TRIAL_WORDS_MAX: usize = 50;
/// Users that one shard remembers for having spoken lately: some 40 bytes each.
pub const SPEAKERS_MAX: usize = 1 << 18;
/// Mutes of one process; each shard knows them all, some 40 bytes each.
pub const MUTES_MAX: usize = 65_536;
/// Sensitive words of one list: some 20 MB while it is built, a tenth of that afterwards.
pub const WORDS_MAX: usize = 50_000;
/// Bytes of a list of sensitive words: as many as any settings file may have.
pub const WORD_LIST_BYTES_MAX: usize = SETTINGS_FILE_BYTES_MAX;
/// Letters of a sensitive word, separators not counted.
pub const WORD_LETTERS_MAX: usize = 64;

/// Options of a question.
pub const OPTIONS_MIN: usize = 2;
/// Options of a question.
pub const OPTIONS_MAX: usize = 6;
/// Questions of a show.
pub const QUESTIONS_MAX: usize = 100;
/// Shows that are loaded at the same time.
pub const SHOWS_MAX: usize = 64;
/// Cents of one show's prize pool; sums over many shows must fit into a balance.
pub const PRIZE_POOL_CENTS_MAX: i64 = 10_000_000_000_000;
/// Cents or cards of one cause in the ledger: no more than any pool.
pub const LEDGER_AMOUNT_MAX: i64 = PRIZE_POOL_CENTS_MAX;
/// Causes that the ledger writes in one transaction of its file at most: some 10 MB of pages.
pub const LEDGER_CAUSES_PER_COMMIT_MAX: usize = 20_000;
/// Rounds of the feed, of some thousands of causes each, that may wait for the ledger's thread; the feed
/// waits then.
pub const LEDGER_BATCHES_MAX: usize = 16;
/// Addresses, and users, whose requests over HTTP are counted at the same time: more than ask within a
/// second where that is not an attack.
pub const PLAYER_RATES_MAX: usize = 65_536;
/// Shows whose leaderboards are in memory at the same time.
pub const LEADERBOARD_SHOWS_MAX: usize = SHOWS_MAX;
/// Payouts that are on their way to the operator's balance system at the same time, at most.
pub const PAYOUT_CONCURRENCY_MAX: u16 = 256;
/// Bytes of an answer of the operator's balance system that are read.
pub const PAYOUT_ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a question's text or of one option.
pub const QUESTION_TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a show's title or of the name of an account.
pub const NAME_BYTES_MAX: usize = 200;
/// Bytes of a configuration or show file: a hundred full questions fit.
pub const SETTINGS_FILE_BYTES_MAX: usize = 1024 * 1024;
/// How often the key of one question can be corrected: each time every player's result gets a new
/// revision, and revisions must not run out.
pub const REJUDGES_MAX: u8 = 16;
/// Users that one shard keeps: they are numbered in 24 bits and cost some 25 bytes each, and 50 more
/// in each show.
pub const SHARD_USERS_MAX: usize = (1 << 24) - 1;
/// Ended shows whose ids a shard remembers after their players are forgotten, to tell "ended" from
/// "not yet announced here".
pub const ENDED_SHOWS_MAX: usize = 1_024;
/// Ended shows that can be looked back at, the newest: their events are in every run's state.
pub const ENDED_SHOWS_KEPT_MAX: usize = 64;
/// Seconds for which an ended show can be looked back at: a week. The journal has it for longer.
pub const ENDED_SHOW_KEPT_S: u64 = 7 * 86_400;
/// Revive cards that a user can hold.
pub const REVIVE_CARDS_MAX: u8 = 190;

/// Red-packet rains of a show, ended ones included.
pub const RAINS_MAX: usize = 64;
/// Packets of one rain. A shard keeps some 60 bytes for each that its users have grabbed, until the
/// show ends.
pub const RAIN_PACKETS_MAX: u32 = 1 << 20;
/// Taps of one user in one rain that can be allowed at most.
pub const RAIN_TAPS_MAX: u8 = 16;
/// Taps of one user in one rain, by default.
pub const RAIN_TAPS_DEFAULT: u8 = 3;
/// Taps a second that are let through to the users' buckets, over all shards.
pub const RAIN_GRABS_PER_S_MAX: u32 = 100_000;
/// Seconds that a rain can last at most.
pub const RAIN_DURATION_MAX_S: u64 = 600;
/// Bytes of the key by which a client or an operator knows a request about money again.
pub const MONEY_KEY_BYTES_MAX: usize = 64;
/// Requests about money that are remembered per user and sort: a key that is older may be used again.
pub const MONEY_REQUESTS_PER_USER_MAX: usize = 32;
/// Requests about money that one shard remembers, per sort: some 150 bytes each. Those that are done make
/// way by age; a shard that takes in the users of others may have more, and takes no new ones then.
pub const MONEY_REQUESTS_MAX: usize = 1 << 20;
/// Gifts that wait for one room's high lane: what comes beyond goes back to its giver.
pub const ROOM_GIFTS_WAITING_MAX: usize = 1_024;
/// Invitations that one shard remembers on either side: some 40 bytes each.
pub const INVITATIONS_MAX: usize = 1 << 22;
/// Players that one inviter is rewarded for.
pub const INVITEES_REWARDED_MAX: u16 = 100;

/// Records, and posts behind them, that may wait for durability on one shard before sockets are left
/// unread.
pub const HELD_EFFECTS_MAX: usize = 1 << 20;

// A full question must fit into a lane several times over, or a reconnect could never resume.
const _: () = assert!(LANE_BYTES_MAX >= 16 * QUESTION_TEXT_BYTES_MAX * (1 + OPTIONS_MAX));
const _: () =
    assert!(SETTINGS_FILE_BYTES_MAX > QUESTIONS_MAX * QUESTION_TEXT_BYTES_MAX * (1 + OPTIONS_MAX));
const _: () =
    assert!(ROOMS_CREATED_MAX < ROOMS_MAX && ROOMS_CREATED_MAX >= SHARD_COUNT_MAX as usize);
const _: () = assert!(BANS_MAX >= SHARD_COUNT_MAX as usize);
const _: () = assert!(LANE_BYTES_START <= LANE_BYTES_MAX);
// What waits for a tick is a quarter of a lane, and goes out as one frame of it.
const _: () = assert!(TICK_MESSAGES_MAX * BATCH_MESSAGE_BYTES <= LANE_BYTES_MAX / 4);
const _: () = assert!(ROOM_MESSAGE_BYTES_MAX < CLIENT_MESSAGE_BYTES_DEFAULT);
const _: () = assert!(2 * ROOM_MESSAGE_BYTES_MAX < SHORT_BODY_BYTES_MAX);
const _: () = assert!(CHAT_BYTES_MAX <= ROOM_MESSAGE_BYTES_MAX);
const _: () = assert!(SPEAKERS_MAX < 1 << 24);
const _: () = assert!(CLIENT_MESSAGE_BYTES_DEFAULT <= CLIENT_MESSAGE_BYTES_MAX);
const _: () = assert!(BUCKET_COUNT_DEFAULT <= BUCKET_COUNT_MAX);
// One bit per option in a byte, and an index that fits in one.
const _: () = assert!(OPTIONS_MAX <= 8 && OPTIONS_MIN >= 2);
const _: () = assert!(SHARD_CONNECTIONS_MAX as u64 <= 1 << 32);
// Cards are counted in a byte. One card can be spent in each show, and a void gives it back to
// somebody who was granted others meanwhile.
const _: () = assert!(REVIVE_CARDS_MAX as usize + SHOWS_MAX <= u8::MAX as usize);
// Some 900,000 such prizes fit into one balance, and JSON readers keep 53 bits exactly.
const _: () = assert!(PRIZE_POOL_CENTS_MAX <= i64::MAX / 900_000);
const _: () = assert!(PRIZE_POOL_CENTS_MAX < 1 << 53);
// A player record keeps "question + 1" in a byte.
const _: () = assert!(QUESTIONS_MAX < u8::MAX as usize);
// What can be looked back at is known to have ended.
const _: () = assert!(ENDED_SHOWS_KEPT_MAX + SHOWS_MAX <= ENDED_SHOWS_MAX);
const _: () = assert!(SHARD_USERS_MAX < u32::MAX as usize);

/// One request of the service, in base64 and with what surrounds each message, leaves half a lane
/// for those who were not served yet: it laps nobody who was up to date.
const _: () =
    assert!(SERVICE_MESSAGES_MAX * (SERVICE_MESSAGE_BYTES_MAX / 3 * 4 + 512) <= LANE_BYTES_MAX / 2);
// Two shows full of rains fit into a balance, and a packet's number fits into the 32 bits of a draw.
const _: () = assert!(RAINS_MAX <= 64 && PRIZE_POOL_CENTS_MAX <= i64::MAX / (2 * 64));
const _: () = assert!(RAIN_TAPS_DEFAULT <= RAIN_TAPS_MAX);
