//! The whole export: which lines there are, in which order, and the line that closes it.

use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::lines::{View, answer, fund, player, question, rains, run, settlement, show};
use crate::base::hex;
use crate::shard::account::ShowAccount;

/// Writes lines, and knows what was written.
struct Lines<'o> {
    output: &'o mut dyn Write,
    hash: Sha256,
    count: u64,
}

impl Lines<'_> {
    fn write(&mut self, line: &Value) -> io::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.hash.update(text.as_bytes());
        self.count += 1;
        self.output.write_all(text.as_bytes())
    }
}

/// Writes the export of a show.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(account: &ShowAccount, output: &mut dyn Write) -> io::Result<()> {
    let view = View::new(account);
    let mut lines = Lines { output, hash: Sha256::new(), count: 0 };
    lines.write(&show(&view))?;
    for about in &account.runs {
        lines.write(&run(about))?;
    }
    for facts in &view.questions {
        lines.write(&question(&view, facts))?;
    }
    for line in rains(&view) {
        lines.write(&line)?;
    }
    lines.write(&fund(&view))?;
    if let Some(line) = settlement(&view) {
        lines.write(&line)?;
    }
    for (user, one) in &account.players {
        lines.write(&player(&view, *user, one))?;
        for line in one.answers.iter().filter_map(|it| answer(&view, *user, it)) {
            lines.write(&line)?;
        }
    }
    let Lines { output, hash, count } = lines;
    let end = json!({ "kind": "end", "lines": count, "sha256": hex::encode(&hash.finalize()) });
    writeln!(output, "{end}")
}
