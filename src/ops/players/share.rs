//! What a player shares to bring others to a show: a link and a sentence, from templates of the
//! operator's.

use serde_json::{Value, json};

use crate::ops::nearest::suggestion;
use crate::ops::players::PlayerSettings;
use crate::ops::players::shows::PublicShow;
use crate::quiz::money::Cents;

/// What stands in braces.
const WORDS: &[&str] = &["code", "show", "title", "prize", "url"];
/// Of those, what a link cannot have in it.
const URL: &str = "url";

/// The sentence where none is set.
const TEXT_DEFAULT: &str = "{title}: {url}";

/// The templates of a gateway.
pub(super) struct Templates {
    url: Option<String>,
    text: String,
}

/// What a template is filled with.
struct Filling<'a> {
    show: &'a PublicShow,
    code: &'a str,
    url: &'a str,
}

impl Templates {
    pub(super) fn of(settings: &PlayerSettings) -> Templates {
        let text = settings.share_text.clone().unwrap_or_else(|| TEXT_DEFAULT.to_owned());
        Templates { url: settings.share_url.clone(), text }
    }

    /// The link and the sentence with which a player whose code this is shares a show; nothing where
    /// no link is set.
    pub(super) fn share(&self, show: &PublicShow, code: &str) -> Option<Value> {
        let url = self.url.as_ref()?;
        let url = fill(url, &Filling { show, code, url: "" }, escaped);
        let text = fill(&self.text, &Filling { show, code, url: &url }, str::to_owned);
        Some(json!({ "show": show.show.to_string(), "code": code, "url": url, "text": text }))
    }
}

/// Whether a template can be filled; a link cannot contain itself.
pub(crate) fn check_template(template: &str, is_link: bool) -> Result<(), String> {
    let known: Vec<&str> = WORDS.iter().copied().filter(|word| !is_link || *word != URL).collect();
    for piece in template.split('{').skip(1) {
        let Some((word, _)) = piece.split_once('}') else {
            return Err("has `{` without `}`".to_owned());
        };
        if !known.contains(&word) {
            let hint = suggestion(word, &known);
            let all = known.iter().map(|word| format!("{{{word}}}")).collect::<Vec<_>>().join(", ");
            return Err(format!("`{{{word}}}` is not known{hint} (there are: {all})"));
        }
    }
    Ok(())
}

fn fill(template: &str, with: &Filling<'_>, write: fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut pieces = template.split('{');
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (word, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let value = match word {
            "code" => with.code.to_owned(),
            "show" => with.show.show.to_string(),
            "title" => with.show.title.clone(),
            "prize" => whole_and_cents(with.show.prize_pool),
            "url" => with.url.to_owned(),
            _ => String::new(),
        };
        filled.push_str(&write(&value));
        filled.push_str(rest);
    }
    filled
}

fn whole_and_cents(cents: Cents) -> String {
    format!("{}.{:02}", cents.0 / 100, cents.0 % 100)
}

/// Percent-encoded but for what is never reserved (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_only_what_there_is() {
        let problem = |text: &str, is_link| check_template(text, is_link).err().unwrap_or_default();
        assert_eq!(problem("https://q.example/?s={show}&c={code}", true), "");
        assert_eq!(problem("{title} for {prize}: {url}", false), "");
        assert!(problem("{url}", true).contains("there are: {code}, {show}, {title}, {prize})"));
        assert!(problem("{shwo}", true).contains("did you mean `show`?"));
        assert!(problem("a{b", false).contains("without `}`"));
    }

    #[test]
    fn what_is_put_into_a_link_is_escaped() {
        assert_eq!(escaped("Ä & b/c-1"), "%C3%84%20%26%20b%2Fc-1");
        assert_eq!(whole_and_cents(Cents(100_001)), "1000.01");
        assert_eq!(whole_and_cents(Cents(7)), "0.07");
    }
}
