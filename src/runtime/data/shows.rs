//! Shows that are planned, a file each: what is in one is the business of who wrote it. They are no part
//! of the journal: what it knows of a show never changes, and these may until the show begins.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, failing, make_folder, read, remove, sync_folder, write_whole};
use crate::base::ids::ShowId;

/// The folder in the deployment's.
pub const SHOWS: &str = "shows";
const ENDING: &str = "json";

/// The file of a show.
#[must_use]
pub fn show_path(root: &Path, show: ShowId) -> PathBuf {
    root.join(SHOWS).join(format!("{show}.{ENDING}"))
}

/// All that are stored, in the order of their ids.
///
/// # Errors
/// If the folder or a file cannot be read.
pub fn stored_shows(root: &Path) -> Result<Vec<(ShowId, Vec<u8>)>, DataError> {
    let folder = root.join(SHOWS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut shows = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failing("reading", &folder))? {
        let path = entry.map_err(failing("reading", &folder))?.path();
        // What is not called like this is a file that was being written, or nobody's.
        let is_ours = path.extension().is_some_and(|it| it == ENDING);
        let stem = path.file_stem().and_then(|it| it.to_str()).filter(|_| is_ours);
        if let Some(id) = stem.and_then(|it| it.parse().ok()) {
            shows.push((ShowId(id), read(&path)?));
        }
    }
    shows.sort_unstable();
    Ok(shows)
}

/// Stores one, in place of what was stored: durably, and as a whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn store_show(root: &Path, show: ShowId, bytes: &[u8]) -> Result<(), DataError> {
    let folder = root.join(SHOWS);
    if !folder.exists() {
        make_folder(&folder)?;
        sync_folder(root)?;
    }
    write_whole(&show_path(root, show), bytes)
}

/// Removes one for good.
///
/// # Errors
/// If it cannot be removed.
pub fn remove_show(root: &Path, show: ShowId) -> Result<(), DataError> {
    remove(&show_path(root, show))?;
    sync_folder(&root.join(SHOWS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_are_stored_replaced_and_removed() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(stored_shows(root.path()).expect("none"), []);
        for (show, text) in [(12, "a"), (3, "b"), (12, "c")] {
            store_show(root.path(), ShowId(show), text.as_bytes()).expect("stored");
        }
        for stray in ["x.json", "3.tmp", "notes"] {
            fs::write(root.path().join(SHOWS).join(stray), "").expect("written");
        }
        let stored = stored_shows(root.path()).expect("read");
        assert_eq!(stored, [(ShowId(3), b"b".to_vec()), (ShowId(12), b"c".to_vec())]);
        remove_show(root.path(), ShowId(3)).expect("removed");
        assert!(remove_show(root.path(), ShowId(3)).is_err());
        assert_eq!(stored_shows(root.path()).expect("read").len(), 1);
    }
}
