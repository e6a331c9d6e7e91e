//! A file of lines of JSON that only grows. A line counts when it is whole: what a process that died, or
//! a disk that was full, left of one is taken away before the next is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::Serialize;

/// Whether a line must outlive the host, or only the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It is on the disk when it is written.
    Power,
    /// It is with the kernel when it is written.
    Process,
}

/// The file.
pub(super) struct Lines {
    file: File,
    lasting: Lasting,
    /// Bytes of whole lines.
    bytes: u64,
    /// Whether there may be a piece of a line behind them.
    is_torn: bool,
}

impl Lines {
    /// Opens the file at `path`, or makes it; says what whole lines it has.
    pub(super) fn open(path: &Path, lasting: Lasting) -> io::Result<(Lines, String)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line without its end was being written when the process died: nobody was told of it.
        text.truncate(text.rfind('\n').map_or(0, |place| place + 1));
        let mut lines = Lines { file, lasting, bytes: text.len() as u64, is_torn: true };
        lines.take_torn_away()?;
        Ok((lines, text))
    }

    /// Adds a line: all of it, or, if there is an error, nothing.
    pub(super) fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.take_torn_away()?;
        self.is_torn = true;
        let written = self.file.write_all(&line).and_then(|()| match self.lasting {
            Lasting::Power => self.file.sync_data(),
            Lasting::Process => Ok(()),
        });
        if let Err(error) = written {
            // If that fails as well, the next line waits until it does not.
            let _ = self.take_torn_away();
            return Err(error);
        }
        self.is_torn = false;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn take_torn_away(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            self.is_torn = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_taken_away_and_whole_ones_stay() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lines");
        for (left, whole, then) in [
            ("", "", "7\n"),
            ("1\n2\n", "1\n2\n", "1\n2\n7\n"),
            ("1\n{\"idem", "1\n", "1\n7\n"),
            ("{\"idem", "", "7\n"),
        ] {
            std::fs::write(&path, left).expect("written");
            let (mut lines, found) = Lines::open(&path, Lasting::Power).expect("opened");
            assert_eq!(found, whole, "{left:?}");
            lines.add(&7).expect("added");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), then, "{left:?}");
        }
    }
}
