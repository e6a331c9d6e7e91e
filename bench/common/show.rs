//! The show that measurements run: one question, led by commands over HTTP.

/// Its id; its room is the clients'.
pub(crate) const SHOW: u64 = 1;
/// Options of its question.
pub(crate) const OPTIONS: u32 = 3;
/// The correct one.
pub(crate) const CORRECT: u32 = 1;
/// From the command to the moment at which clients may show the question.
pub(crate) const LEAD_MS: u32 = 200;

/// The show file, with such a countdown and nothing to win.
pub(crate) fn show_file(countdown_ms: u32) -> String {
    show_file_with_prize(countdown_ms, 0)
}

/// The same with so much to win.
pub(crate) fn show_file_with_prize(countdown_ms: u32, prize_pool_cents: u64) -> String {
    format!(
        "id = {SHOW}\n\
         room = {room}\n\
         title = \"A show to be measured\"\n\
         prize_pool_cents = {prize_pool_cents}\n\
         remainder_account = \"house\"\n\
         [revive]\n\
         wrong = true\n\
         late = false\n\
         unreachable = false\n\
         [timing]\n\
         lead_ms = {LEAD_MS}\n\
         display_slack_ms = 500\n\
         countdown_ms = {countdown_ms}\n\
         ticket_life_ms = 1_500\n\
         stream_delay_ms = 0\n\
         extension_max_ms = 5_000\n\
         [[questions]]\n\
         text = \"Which planet is closest to the Sun?\"\n\
         options = [\"Venus\", \"Mercury\", \"Mars\"]\n\
         correct = {CORRECT}\n",
        room = crate::common::gateway::ROOM,
    )
}
