//! What was measured, as `tidegate tune plan` uses it: the table *What a plan counts with* of
//! `docs/performance.md`, which a test compares with these.

use crate::ops::capacity::Costs;

/// Of a gateway on the machine of that page, loopback's receive half of TCP included.
pub const MEASURED: Costs = Costs {
    connect_cpu_us: 29.5,
    heartbeat_cpu_us: 7.0,
    delivery_cpu_us: 5.95,
    answer_cpu_us: 11.7,
    chat_send_cpu_us: 6.8,
    user_bytes_per_connection: 187.0,
    kernel_bytes_per_connection: 4_150.0,
    question_frame_bytes: QUESTION_BYTES + QUESTION_FRAME_BYTES,
    chat_frame_bytes: CHAT_BYTES + CHAT_FRAME_BYTES,
    answer_frame_bytes: 23,
    reply_frame_bytes: 76,
};

/// Data of the question that was measured.
pub const QUESTION_BYTES: u64 = 600;
/// What its frame has beside.
pub const QUESTION_FRAME_BYTES: u64 = 46;
/// Data of the chat message.
pub const CHAT_BYTES: u64 = 130;
/// What its frame has beside.
pub const CHAT_FRAME_BYTES: u64 = 48;

const TLS_CONNECT_CPU_US: f64 = 295.0;
const TLS_DELIVERY_CPU_US: f64 = 0.9;
const TLS_CONNECTION_BYTES: f64 = 3_590.0;
const TLS_FRAME_BYTES: u64 = 22;

/// The same where clients speak TLS to the gateway itself.
#[must_use]
pub fn with_tls(costs: Costs) -> Costs {
    Costs {
        connect_cpu_us: costs.connect_cpu_us + TLS_CONNECT_CPU_US,
        heartbeat_cpu_us: costs.heartbeat_cpu_us + TLS_DELIVERY_CPU_US,
        delivery_cpu_us: costs.delivery_cpu_us + TLS_DELIVERY_CPU_US,
        answer_cpu_us: costs.answer_cpu_us + TLS_DELIVERY_CPU_US,
        chat_send_cpu_us: costs.chat_send_cpu_us + TLS_DELIVERY_CPU_US,
        user_bytes_per_connection: costs.user_bytes_per_connection + TLS_CONNECTION_BYTES,
        question_frame_bytes: costs.question_frame_bytes + TLS_FRAME_BYTES,
        chat_frame_bytes: costs.chat_frame_bytes + TLS_FRAME_BYTES,
        answer_frame_bytes: costs.answer_frame_bytes + TLS_FRAME_BYTES,
        reply_frame_bytes: costs.reply_frame_bytes + TLS_FRAME_BYTES,
        ..costs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number in the row of the page's table that begins with `what`.
    fn on_the_page(what: &str) -> f64 {
        let page = include_str!("../../../docs/performance.md");
        let (_, section) = page.split_once("\n## What a plan counts with\n").expect("the section");
        let section = section.split("\n## ").next().unwrap_or(section);
        let start = format!("| {what} | ");
        let row = section.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("the page has a row \"{what}\""));
        let number: String = row
            .chars()
            .filter(|letter| *letter != ',')
            .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
            .collect();
        number.parse().unwrap_or_else(|_| panic!("{what}: {row}"))
    }

    #[test]
    fn the_page_has_the_same_figures() {
        let bytes = |number: u64| f64::from(u32::try_from(number).expect("small"));
        for (what, figure) in [
            ("a connect", MEASURED.connect_cpu_us),
            ("a heartbeat", MEASURED.heartbeat_cpu_us),
            ("a question to one viewer", MEASURED.delivery_cpu_us),
            ("an answer", MEASURED.answer_cpu_us),
            ("a send of chat to one viewer", MEASURED.chat_send_cpu_us),
            ("memory of the process, a connection", MEASURED.user_bytes_per_connection),
            ("memory of the kernel, a connection", MEASURED.kernel_bytes_per_connection),
            ("a question's frame beside its data", bytes(QUESTION_FRAME_BYTES)),
            ("a chat message's frame beside its data", bytes(CHAT_FRAME_BYTES)),
            ("an answer's frame", bytes(MEASURED.answer_frame_bytes)),
            ("its acknowledgement's", bytes(MEASURED.reply_frame_bytes)),
            ("TLS: a connect, more", TLS_CONNECT_CPU_US),
            ("TLS: a message, more", TLS_DELIVERY_CPU_US),
            ("TLS: memory of a connection, more", TLS_CONNECTION_BYTES),
            ("TLS: a frame, more", bytes(TLS_FRAME_BYTES)),
        ] {
            let page = on_the_page(what);
            assert!((page - figure).abs() < 1e-9, "{what}: {page} on the page, {figure} here");
        }
    }

    #[test]
    fn tls_costs_more_of_everything_but_the_kernel() {
        let tls = with_tls(MEASURED);
        assert!(tls.connect_cpu_us > 10.0 * MEASURED.connect_cpu_us);
        assert_eq!(tls.question_frame_bytes, MEASURED.question_frame_bytes + 22);
        assert!(tls.kernel_bytes_per_connection <= MEASURED.kernel_bytes_per_connection);
    }
}
