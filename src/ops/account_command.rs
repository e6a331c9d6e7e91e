//! `tidegate account`: who may log in to the operations console.

use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::base::entropy::SystemEntropy;
use crate::ops::cli::ExitStatus;
use crate::ops::commands::{Surroundings, complain};
use crate::ops::console::accounts::{
    Account, Accounts, AccountsError, HashedPassword, PASSWORD_BYTES_MAX, Role, check_name,
};
use crate::ops::settings::{Settings, SettingsSources};

/// `tidegate account`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "The accounts stand in the file that operator.accounts_file names; a running gateway reads \
                  it again when it changes."
)]
pub struct AccountArguments {
    /// What to do
    #[command(subcommand)]
    pub command: AccountCommand,
}

/// What can be done with accounts.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AccountCommand {
    /// Add an account; its password is asked for, or is the first line of the standard input
    Add(AddArguments),
    /// List accounts and their roles
    List(FileArguments),
    /// Remove an account and end its sessions
    Remove {
        /// The account
        #[arg(value_name = "NAME")]
        name: String,
        /// Where accounts stand
        #[command(flatten)]
        file: FileArguments,
    },
}

/// `tidegate account add`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AddArguments {
    /// The account: letters a to z, digits, dots, hyphens and underscores
    #[arg(value_name = "NAME", value_parser = name_of)]
    pub name: String,
    /// What it may do: a viewer looks, a show operator runs shows, an administrator reads the audit log, too
    #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(Role::WORDS))]
    pub role: String,
    /// Give an account that exists this role and another password; its sessions end
    #[arg(long)]
    pub replace: bool,
    /// Where accounts stand
    #[command(flatten)]
    pub file: FileArguments,
}

/// Where accounts stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct FileArguments {
    /// Configuration file that names it; the environment counts too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file itself, made by `add` if there is none
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
}

fn name_of(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// Does what is asked. `read_password` has the new account's password.
pub fn account(
    arguments: &AccountArguments,
    surroundings: &mut Surroundings<'_>,
    read_password: &mut dyn FnMut() -> io::Result<Zeroizing<String>>,
) -> ExitStatus {
    let file = match &arguments.command {
        AccountCommand::Add(add) => &add.file,
        AccountCommand::List(file) | AccountCommand::Remove { file, .. } => file,
    };
    let path = match accounts_path(file, surroundings) {
        Ok(path) => path,
        Err(status) => return status,
    };
    let done = match &arguments.command {
        AccountCommand::Add(arguments) => add(arguments, &path, read_password),
        AccountCommand::List(_) => list(&path),
        AccountCommand::Remove { name, .. } => remove(name, &path),
    };
    let written = match done {
        Ok(said) => surroundings.output.write_all(said.as_bytes()),
        Err(said) => {
            let _ = writeln!(surroundings.complaints, "{said}");
            return ExitStatus::Failed;
        }
    };
    if written.is_ok() { ExitStatus::Success } else { ExitStatus::Failed }
}

fn accounts_path(
    file: &FileArguments,
    surroundings: &mut Surroundings<'_>,
) -> Result<PathBuf, ExitStatus> {
    if let Some(path) = &file.file {
        return Ok(path.clone());
    }
    let sources = SettingsSources {
        config: file.config.clone(),
        shows: vec![],
        environment: surroundings.environment.clone(),
        flags: vec![],
    };
    let settings = Settings::load(&sources);
    let config = settings.map_err(|error| complain(&error, surroundings.complaints))?.config;
    match config.operator.accounts_file {
        Some(path) => Ok(PathBuf::from(path)),
        None => {
            let reason =
                "there is no file for accounts: set operator.accounts_file, or give --file";
            Err(complain(&reason, surroundings.complaints))
        }
    }
}

fn add(
    arguments: &AddArguments,
    path: &Path,
    read_password: &mut dyn FnMut() -> io::Result<Zeroizing<String>>,
) -> Result<String, String> {
    let AddArguments { name, role, replace, .. } = arguments;
    let role = Role::of(role)?;
    let mut accounts = match path.exists() {
        true => read(path)?,
        false => Accounts::default(),
    };
    if accounts.get(name).is_some() && !replace {
        return Err(AccountsError::Taken { name: name.clone() }.to_string());
    }
    let password = read_password().map_err(|error| format!("no password came: {error}"))?;
    let password = HashedPassword::new(password.as_bytes(), &mut SystemEntropy)?;
    accounts
        .add(name, Account { role, password }, *replace)
        .and_then(|()| accounts.write(path))
        .map_err(|error| error.to_string())?;
    Ok(format!("{name}: {role}\n"))
}

fn list(path: &Path) -> Result<String, String> {
    let accounts = read(path)?;
    Ok(accounts.iter().map(|(name, account)| format!("{name} {}\n", account.role)).collect())
}

fn remove(name: &str, path: &Path) -> Result<String, String> {
    let mut accounts = read(path)?;
    accounts.remove(name).and_then(|()| accounts.write(path)).map_err(|error| error.to_string())?;
    Ok(format!("{name} is removed\n"))
}

fn read(path: &Path) -> Result<Accounts, String> {
    Accounts::read(path).map_err(|error| error.to_string())
}

/// Asks twice at a terminal, without showing what is typed; else reads a line of the standard input.
///
/// # Errors
/// If neither can be read, or two different passwords are typed.
pub fn password_from_people_or_programs() -> io::Result<Zeroizing<String>> {
    let terminal = ::console::Term::stderr();
    if io::IsTerminal::is_terminal(&io::stdin()) && terminal.is_term() {
        let ask = |what: &str| {
            terminal.write_str(what)?;
            terminal.read_secure_line().map(Zeroizing::new)
        };
        let (first, again) = (ask("Password: ")?, ask("Once more: ")?);
        return match first == again {
            true => Ok(first),
            false => Err(io::Error::other("the two are not the same")),
        };
    }
    let mut line = Zeroizing::new(String::new());
    // A line end and a byte too many, so that what is too long is seen to be.
    let most = PASSWORD_BYTES_MAX as u64 + 3;
    io::BufReader::new(io::stdin().lock().take(most)).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    Ok(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use expect_test::expect;

    use crate::ops::cli::{Cli, Command};

    /// Status, output and complaints of a command line.
    fn run(folder: &Path, line: &str, password: &str) -> String {
        let words = std::iter::once("tidegate").chain(line.split_whitespace());
        let Ok(Cli { command: Command::Account(arguments) }) = Cli::try_parse_from(words) else {
            panic!("not parsed: {line}");
        };
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let path = folder.join("accounts").display().to_string();
        let mut surroundings = Surroundings {
            environment: vec![("TIDEGATE_OPERATOR__ACCOUNTS_FILE".into(), path.into())],
            now_unix_s: 0,
            output: &mut output,
            complaints: &mut complaints,
        };
        let mut read = || Ok(Zeroizing::new(password.to_owned()));
        let status = account(&arguments, &mut surroundings, &mut read);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let shown = format!("{} {}{}", status.code(), text(output), text(complaints));
        shown.replace(&format!("{}/", folder.display()), "")
    }

    #[test]
    fn accounts_are_added_listed_changed_and_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = format!("--file {}", folder.path().join("accounts").display());
        let mut shown = String::new();
        for (line, password) in [
            (format!("account add anna --role administrator {path}"), "twelve bytes or more"),
            (format!("account add bob --role viewer {path}"), "short"),
            ("account list".to_owned(), ""),
            (format!("account add anna --role viewer {path}"), "twelve bytes or more"),
            (format!("account add anna --role viewer --replace {path}"), "another of twelve"),
            (format!("account list {path}"), ""),
            (format!("account remove ana {path}"), ""),
            (format!("account remove anna {path}"), ""),
            (format!("account list {path}"), ""),
        ] {
            shown += &run(folder.path(), &line, password);
            shown.truncate(shown.trim_end().len());
            shown.push('\n');
        }
        expect![[r#"
            0 anna: administrator
            1 the password has 5 bytes: give 12 to 256
            0 anna administrator
            1 there is an account `anna` already: give --replace to give it another password and role
            0 anna: viewer
            0 anna viewer
            1 there is no account `ana`; did you mean `anna`?
            0 anna is removed
            0
        "#]]
        .assert_eq(&shown);
        let accounts = Accounts::read(&folder.path().join("accounts")).expect("read");
        assert_eq!(accounts.count(), 0);
    }
}
