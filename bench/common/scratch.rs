//! A directory that goes when the measurement ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::problem::{Doing as _, Problem};

/// The directory; dropped, it is removed with all that is in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `directory`, named after the subject and this process.
    pub(crate) fn make(directory: &Path, subject: &str) -> Result<Scratch, Problem> {
        let path = directory.join(format!("tidegate-{subject}-{}", std::process::id()));
        fs::create_dir(&path).doing(format!("making {}", path.display()))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
