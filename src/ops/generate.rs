//! What packages carry beside the binary, generated from the definition of the command line, so that
//! it cannot say anything else: shell completions and man pages.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::ops::cli::{Cli, ExitStatus};
use crate::ops::commands::Surroundings;

/// `tidegate completions`: a script for the shell.
pub fn completions(shell: Shell, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    // The generator panics where writing fails, and a pipe may be closed: it gets memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    match surroundings.output.write_all(&script) {
        Ok(()) => ExitStatus::Success,
        Err(_) => ExitStatus::Failed,
    }
}

/// `tidegate man`: a page for each command, in a folder that is made if there is none.
pub fn man(folder: &Path, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    match write_pages(folder) {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            // If even complaining fails, the status still tells.
            let _ = writeln!(surroundings.complaints, "{}: {error}", folder.display());
            ExitStatus::Failed
        }
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn run(command: impl FnOnce(&mut Surroundings<'_>) -> ExitStatus) -> (u8, String, String) {
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let status = command(&mut Surroundings {
            environment: Vec::new(),
            now_unix_s: 0,
            output: &mut output,
            complaints: &mut complaints,
        });
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code(), text(output), text(complaints))
    }

    fn names(command: &clap::Command, prefix: &str, found: &mut BTreeSet<String>) {
        found.insert(format!("{prefix}.1"));
        let seen = command.get_subcommands().filter(|it| !it.is_hide_set());
        for sub in seen.filter(|it| it.get_name() != "help") {
            names(sub, &format!("{prefix}-{}", sub.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("man/pages");
        assert_eq!(run(|world| man(&pages, world)), (0, String::new(), String::new()));
        let written: BTreeSet<String> = std::fs::read_dir(&pages)
            .expect("made")
            .map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"))
            .filter(|name| !name.contains("help"))
            .collect();
        let mut expected = BTreeSet::new();
        names(&Cli::command(), "tidegate", &mut expected);
        assert_eq!(written, expected);
        assert!(expected.len() > 15, "{expected:?}");
        let page = std::fs::read_to_string(pages.join("tidegate-tune-plan.1")).expect("a page");
        assert!(page.contains("headroom"), "{page}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let (status, _, complaints) = run(|world| man(Path::new("/proc/none/x"), world));
        assert!(status == 1 && complaints.starts_with("/proc/none/x: "), "{complaints}");
    }

    #[test]
    fn every_shell_gets_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let (status, script, _) = run(|world| completions(shell, world));
            assert_eq!(status, 0);
            for word in ["check-config", "balance-standin", "--nic-gbit", "tune"] {
                // fish writes long options without their dashes.
                assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
            }
        }
    }
}
