//! Who may use the console: accounts in a file, a line each, with a role and a hashed password.
//!
//! ```text
//! # name role password
//! anna administrator $argon2id$v=19$m=19456,t=2,p=1$…
//! ```
//!
//! `tidegate account` writes the file; a running gateway reads it again when it changes. Passwords
//! are hashed by argon2id with a salt each, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use thiserror::Error;

use crate::base::entropy::Entropy;
use crate::ops::nearest::suggestion;
use crate::ops::settings::read_file;

/// Accounts of one file.
pub const ACCOUNTS_MAX: usize = 256;
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 32;
/// Bytes of a password at least: short ones are guessed.
pub const PASSWORD_BYTES_MIN: usize = 12;
/// Bytes of a password at most: all of them are hashed at each login.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// What a hash may ask for at a login: 256 MiB, 16 passes, 4 lanes.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 4;
/// Bytes of a salt; RFC 9106 §4 asks for 16.
const SALT_BYTES: usize = 16;

/// What an account may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees what is no secret before the reveal.
    Viewer,
    /// Runs shows, and sees everything about them.
    ShowOperator,
    /// Reads the audit log, too.
    Administrator,
}

impl Role {
    /// All, in their order.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::ShowOperator, Role::Administrator];
    /// As they are written, in the same order.
    pub const WORDS: [&'static str; 3] = ["viewer", "show-operator", "administrator"];

    /// The role in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::ShowOperator => "show-operator",
            Role::Administrator => "administrator",
        }
    }

    /// The role of a word.
    ///
    /// # Errors
    /// Which words there are.
    pub fn of(word: &str) -> Result<Role, String> {
        Role::ALL.into_iter().find(|role| role.word() == word).ok_or_else(|| {
            let hint = suggestion(word, &Role::WORDS);
            format!("`{word}` is no role: give {}{hint}", Role::WORDS.join(", "))
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// A password as it is kept: a PHC string, of which nothing tells the password.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPassword(String);

impl fmt::Debug for HashedPassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HashedPassword")
    }
}

impl HashedPassword {
    /// Hashes a password; takes some tens of milliseconds.
    ///
    /// # Errors
    /// What is wrong with the password, without repeating it.
    pub fn new(password: &[u8], entropy: &mut dyn Entropy) -> Result<HashedPassword, String> {
        if password.len() < PASSWORD_BYTES_MIN || password.len() > PASSWORD_BYTES_MAX {
            let bytes = password.len();
            return Err(format!(
                "the password has {bytes} bytes: give {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX}"
            ));
        }
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt);
        let hashed = Argon2::default().hash_password_with_salt(password, &salt);
        hashed.map(|hash| HashedPassword(hash.to_string())).map_err(|error| error.to_string())
    }

    /// The hash in a line of the file.
    fn parse(text: &str) -> Result<HashedPassword, String> {
        let form = "the password is no argon2id hash; `tidegate account add` makes one";
        let hash = PasswordHash::new(text).map_err(|_| form.to_owned())?;
        let params = Params::try_from(&hash).map_err(|_| form.to_owned())?;
        let is_whole =
            hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some();
        if !is_whole {
            return Err(form.to_owned());
        }
        let is_modest = params.m_cost() <= MEMORY_KIB_MAX
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX;
        match is_modest {
            true => Ok(HashedPassword(text.to_owned())),
            false => Err(format!(
                "the hash asks for more than m={MEMORY_KIB_MAX}, t={PASSES_MAX}, p={LANES_MAX}"
            )),
        }
    }

    /// Whether this is the password; takes some tens of milliseconds, whatever the answer.
    #[must_use]
    pub fn is(&self, password: &[u8]) -> bool {
        let Ok(hash) = PasswordHash::new(&self.0) else { return false };
        Argon2::default().verify_password(password, &hash).is_ok()
    }
}

/// What is kept of an account beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it may do.
    pub role: Role,
    /// What is asked at login.
    pub password: HashedPassword,
}

/// All accounts, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<String, Account>);

/// Why accounts cannot be read or written.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// The file.
    #[error("{path}: {reason}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A line of it.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Writing it.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No account of this name.
    #[error("there is no account `{name}`{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// A similar one.
        hint: String,
    },
    /// The name is taken.
    #[error(
        "there is an account `{name}` already: give --replace to give it another password and role"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// As many as there can be.
    #[error("there are {ACCOUNTS_MAX} accounts, the most possible: remove one")]
    TooMany,
}

impl Accounts {
    /// The account of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Account> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.0.iter().map(|(name, account)| (name.as_str(), account))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds one, or gives one another password and role.
    ///
    /// # Errors
    /// If the name is taken and `replace` is not set, or there are too many.
    pub fn add(
        &mut self,
        name: &str,
        account: Account,
        replace: bool,
    ) -> Result<(), AccountsError> {
        let is_taken = self.0.contains_key(name);
        if is_taken && !replace {
            return Err(AccountsError::Taken { name: name.to_owned() });
        }
        if !is_taken && self.0.len() >= ACCOUNTS_MAX {
            return Err(AccountsError::TooMany);
        }
        self.0.insert(name.to_owned(), account);
        Ok(())
    }

    /// Removes one.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<(), AccountsError> {
        match self.0.remove(name) {
            Some(_) => Ok(()),
            None => {
                let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
                let hint = suggestion(name, &names);
                Err(AccountsError::Unknown { name: name.to_owned(), hint })
            }
        }
    }

    /// The accounts of a file.
    ///
    /// # Errors
    /// If it cannot be read, or the first line that is wrong.
    pub fn read(path: &Path) -> Result<Accounts, AccountsError> {
        let text = read_file(path)
            .map_err(|reason| AccountsError::Read { path: path.to_path_buf(), reason })?;
        Accounts::parse(&text).map_err(|(line, reason)| AccountsError::Line {
            path: path.to_path_buf(),
            line,
            reason,
        })
    }

    /// The accounts of a file's text.
    ///
    /// # Errors
    /// The number of the first line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Accounts, (usize, String)> {
        let mut accounts = Accounts::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| (index + 1, reason);
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, role, password] = words[..] else {
                return Err(wrong("expects name, role and hashed password".to_owned()));
            };
            check_name(name).map_err(wrong)?;
            let role = Role::of(role).map_err(wrong)?;
            let password = HashedPassword::parse(password).map_err(wrong)?;
            accounts
                .add(name, Account { role, password }, false)
                .map_err(|error| wrong(error.to_string()))?;
        }
        Ok(accounts)
    }

    /// Writes the file in one go, readable by its owner only.
    ///
    /// # Errors
    /// If it cannot be written; then it is as it was.
    pub fn write(&self, path: &Path) -> Result<(), AccountsError> {
        let mut text = String::from("# Accounts of tidegate's console: name, role, password.\n");
        for (name, Account { role, password }) in &self.0 {
            let _ = writeln!(text, "{name} {role} {}", password.0);
        }
        replace_file(path, text.as_bytes())
            .map_err(|source| AccountsError::Write { path: path.to_path_buf(), source })
    }
}

fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

/// Whether a name can be one.
///
/// # Errors
/// What it must be.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
        });
    match is_good {
        true => Ok(()),
        false => Err(format!(
            "a name has 1 to {NAME_BYTES_MAX} of the letters a to z, digits, dots, hyphens and underscores"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn hashed(password: &str) -> HashedPassword {
        let mut entropy = SeededEntropy::new(1, 1);
        HashedPassword::new(password.as_bytes(), &mut entropy).expect("long enough")
    }

    #[test]
    fn a_password_is_known_again_and_not_shown() {
        let password = hashed("correct horse battery");
        assert!(password.is(b"correct horse battery"));
        assert!(!password.is(b"correct horse batterx"));
        assert!(!password.is(b""));
        assert!(password.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(format!("{password:?}"), "HashedPassword");
        assert!(HashedPassword::new(b"short", &mut SeededEntropy::new(1, 1)).is_err());
    }

    #[test]
    fn the_file_comes_back_as_it_was_written_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("accounts");
        let mut accounts = Accounts::default();
        for (name, role) in ["anna", "b.o-b_2"].into_iter().zip(Role::ALL) {
            let account = Account { role, password: hashed("twelve bytes or more") };
            accounts.add(name, account, false).expect("added");
        }
        accounts.write(&path).expect("written");
        assert_eq!(Accounts::read(&path).expect("read"), accounts);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        accounts.remove("anna").expect("there");
        let error = accounts.remove("b.o-b").expect_err("not there");
        assert_eq!(
            error.to_string(),
            "there is no account `b.o-b`; the nearest valid one is `b.o-b_2`"
        );
    }

    #[test]
    fn what_is_no_account_is_said_with_its_line() {
        let hash = hashed("twelve bytes or more").0;
        let greedy = hash.replace("m=19456", "m=4194304");
        let other = hash.replace("argon2id", "argon2i");
        for (text, line, reason) in [
            ("anna viewer".to_owned(), 1, "expects name"),
            ("\n# a note\nAnna viewer x".to_owned(), 3, "a name has"),
            (format!("anna viever {hash}"), 1, "did you mean `viewer`?"),
            ("anna viewer secret".to_owned(), 1, "no argon2id hash"),
            (format!("anna viewer {greedy}"), 1, "asks for more than"),
            (format!("anna viewer {other}"), 1, "no argon2id hash"),
            (format!("a viewer {hash}\na viewer {hash}"), 2, "already"),
        ] {
            let (at, said) = Accounts::parse(&text).expect_err("wrong");
            assert!(at == line && said.contains(reason), "{text}: {at} {said}");
        }
    }
}
