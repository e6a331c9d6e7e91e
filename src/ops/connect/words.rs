//! What a person types.

use crate::base::ids::RoomId;

/// What can be typed, for `help`.
pub(super) const HELP: &str = "say TEXT, like, answer N, join ROOM, leave, help, quit";

/// A line of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Say something in the room.
    Say(String),
    /// Like what goes on in the room.
    Like,
    /// Answer the question that was shown last.
    Answer(u32),
    /// Enter a room.
    Join(RoomId),
    /// Leave the room.
    Leave,
    /// What can be typed?
    Help,
    /// Say goodbye.
    Quit,
    /// An empty line.
    Nothing,
}

impl Words {
    /// The meaning of a line.
    ///
    /// # Errors
    /// What was expected in its place.
    pub(super) fn parse(line: &str) -> Result<Words, String> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let words = match (word, rest) {
            ("", _) => Words::Nothing,
            ("say", "") => return Err("say what? Write: say TEXT".to_owned()),
            ("say", text) => Words::Say(text.to_owned()),
            ("answer", option) => {
                let number = option.parse();
                Words::Answer(number.map_err(|_| {
                    format!("`{option}` is no option: write its number, as in: answer 0")
                })?)
            }
            ("join", room) => match room.parse() {
                Ok(room) if room != 0 => Words::Join(RoomId(room)),
                _ => return Err(format!("`{room}` is no room: write its number, as in: join 7")),
            },
            ("like", "") => Words::Like,
            ("leave", "") => Words::Leave,
            ("help" | "?", "") => Words::Help,
            ("quit" | "exit", "") => Words::Quit,
            _ => return Err(format!("`{line}` is not understood. There are: {HELP}")),
        };
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn lines() {
        let mut shown = String::new();
        for line in [
            "say  hello  there ",
            "say",
            "answer 2",
            "answer two",
            "answer",
            "join 7",
            "join 0",
            "leave",
            "leave 7",
            "like",
            " ? ",
            "quit",
            "",
            "sya hello",
        ] {
            shown += &match Words::parse(line) {
                Ok(words) => format!("{words:?}\n"),
                Err(error) => format!("{error}\n"),
            };
        }
        expect![[r#"
            Say("hello  there")
            say what? Write: say TEXT
            Answer(2)
            `two` is no option: write its number, as in: answer 0
            `` is no option: write its number, as in: answer 0
            Join(RoomId(7))
            `0` is no room: write its number, as in: join 7
            Leave
            `leave 7` is not understood. There are: say TEXT, like, answer N, join ROOM, leave, help, quit
            Like
            Help
            Quit
            Nothing
            `sya hello` is not understood. There are: say TEXT, like, answer N, join ROOM, leave, help, quit
        "#]]
        .assert_eq(&shown);
    }
}
