//! The named faults and races of a run, and how often each happened: a promise that was never put
//! to the test was not checked.

macro_rules! races {
    ($($name:ident: $text:literal),+ $(,)?) => {
        /// How often each fault and each race happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Races {
            $(#[doc = $text] pub $name: u64,)+
        }

        impl Races {
            /// Name, meaning and count of each, in a fixed order.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $text, self.$name)),+]
            }

            /// Adds the counts of another run.
            pub fn add(&mut self, other: &Races) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

races! {
    connections: "connections accepted",
    json_connections: "connections that speak JSON",
    resets: "connections reset",
    half_open: "peers that vanished without a word",
    goodbyes: "connections closed by the client in order",
    frames_cut_up: "client frames lost in the middle",
    frames_cut_down: "server frames lost in the middle",
    stalls: "readers that stalled",
    short_sends: "sends cut short inside a frame",
    blocked_sends: "sends refused by a full socket",
    no_memory_sends: "sends refused for want of kernel memory",
    slow_readers_closed: "readers closed because their spill was full",
    timeouts: "connections closed because nothing was heard",
    gaps: "readers told of a gap in a lane",
    gaps_high: "readers told of a gap in the high lane",
    deflate_offered: "connections that offered to take compressed messages",
    batches: "frames that carried several room messages",
    thinned: "messages that clients were told are left out for everybody",
    resumed: "joins that continued from versions",
    resumed_across_shards: "of those, on another shard than before",
    not_resumed: "joins whose versions could not be continued",
    switches: "rooms switched or left on a living connection",
    reconnects_while_open: "reconnects while the old connection was open",
    replaced: "connections told that they were replaced",
    replaced_while_answering: "replaced while an answer of theirs waited",
    replies_to_newer_session: "replies that came to a newer session than asked",
    pauses: "shards that paused",
    pauses_across_deadline: "pauses across an answer_by with answers unread",
    stamps_saved: "answers read after answer_by and stamped before it",
    reading_paused: "turns that left sockets unread",
    late_mail: "batches of mail delayed by more than 200 ms",
    late_records: "records durable only after 50 ms",
    mail_waited: "mail that waited for its event",
    answers_overtook: "answers that overtook their question",
    frames_waited: "room messages that waited for their event",
    answers_sent: "answers sent",
    answers_acknowledged: "answers acknowledged",
    answers_late: "answers after answer_by",
    answers_garbage: "answers that were garbage or named no option",
    answers_other_option: "second answers with another option",
    answers_refused: "answers refused",
    answers_at_unopened: "answers at a shard that had not opened the question",
    answers_at_edge: "answers within 5 ms of answer_by",
    revocations: "users revoked",
    tokens_expired: "connections and requests whose token had expired",
    answers_by_http: "answers sent by HTTP",
    repeats: "answers repeated",
    repeats_before_durable: "repeats while the first record was not durable",
    repeats_on_other_shard: "repeats on another shard",
    late_repeat_first: "late repeats that overtook the answer in time",
    tickets: "answers asked to come again",
    tickets_redeemed: "tickets redeemed",
    tickets_after_deadline: "tickets redeemed after answer_by",
    tickets_elsewhere: "tickets redeemed on another connection",
    tickets_expired: "tickets presented too late",
    tickets_bound: "answers refused because a ticket bound another option",
    joins_while_open: "first joins while a question was open",
    joins_while_closing: "first joins while a question was closing",
    joins_before_show: "members of a room before its show was announced",
    spectators: "players who came too late",
    silent: "players settled as silent",
    unreachable: "players settled as unreachable",
    revived: "players saved by a card",
    cards_granted: "cards granted",
    cards_in_show: "cards granted while a question was open",
    two_shows: "runs with two shows at once",
    in_both_shows: "users who played in both",
    pushes: "questions pushed early",
    pushes_expired: "questions taken back because they lay there for too long",
    withdrawals: "of those, taken back",
    withdrawals_heard: "clients told that a sealed question was taken back",
    sealed_heard: "sealed questions that clients were sent",
    keys_heard: "keys of questions that clients heard",
    opened_by_key: "of those, that opened what the client had",
    keys_without_seal: "times at which a client had a key and not yet what it opens",
    extensions: "questions extended",
    void_needed: "questions that could only be voided",
    voided: "questions voided",
    voided_open: "of those, while open",
    rejudged: "questions judged again",
    show_pauses: "shows paused",
    cancelled: "shows cancelled",
    settled: "shows settled",
    without_winner: "of those, without a winner",
    results_opened: "sealed results opened by players",
    chat: "chats, opaque messages and likes sent by players",
    chats_acknowledged: "chats acknowledged",
    chats_replaced: "of those, with words replaced",
    chats_refused: "chats, opaque messages and likes refused",
    chats_discarded: "of those, because the room could not carry more",
    rains: "red-packet rains started",
    taps: "taps of players",
    packets: "packets won",
    withdrawn: "withdrawals on record",
    gifts: "gifts on record",
    twins: "second runs that differed only in the correct options",
}
