//! Copies of the book while it is written, and the way back.

use std::fs::{self, File};
use std::path::Path;

use crate::ledger::error::LedgerError;
use crate::ledger::schema;

/// Copies the book of `directory` into the file `to`, which must not be there: as it is at one
/// moment, whole and durable, while others go on writing it.
///
/// # Errors
/// The book cannot be read, or the copy cannot be written; then there is no copy.
pub fn backup(directory: &Path, to: &Path) -> Result<(), LedgerError> {
    if to.exists() {
        return Err(LedgerError::Exists { path: to.to_owned() });
    }
    let connection = schema::open_to_read(&schema::ledger_path(directory))?;
    let part = to.with_extension("part");
    remove_if_there(&part)?;
    let copied = connection.execute("VACUUM INTO ?1", [part.to_string_lossy()]);
    if let Err(error) = copied {
        remove_if_there(&part)?;
        return Err(error.into());
    }
    settle(&part, to)
}

/// Puts the copy `from` into `directory`, which must not have a book.
///
/// # Errors
/// There is a book, the copy is damaged or none, or it cannot be written; then there is no book.
pub fn restore(from: &Path, directory: &Path) -> Result<(), LedgerError> {
    let to = schema::ledger_path(directory);
    // What an earlier book left beside its file belongs to that book, and would damage this one.
    for leftover in [to.clone(), directory.join("ledger.sqlite-wal")] {
        if leftover.exists() {
            return Err(LedgerError::Exists { path: leftover });
        }
    }
    let connection = schema::open_to_read(from)?;
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        let what = format!("it is damaged: {said}");
        return Err(LedgerError::NotALedger { path: from.to_owned(), what });
    }
    drop(connection);
    let part = to.with_extension("part");
    let copied = fs::copy(from, &part);
    copied.map_err(|source| LedgerError::File {
        path: part.clone(),
        doing: "cannot be written",
        source,
    })?;
    settle(&part, &to)
}

/// Makes `part` durable, under its name.
fn settle(part: &Path, to: &Path) -> Result<(), LedgerError> {
    let failed = |doing| move |source| LedgerError::File { path: to.to_owned(), doing, source };
    File::open(part).and_then(|file| file.sync_all()).map_err(failed("cannot be made durable"))?;
    fs::rename(part, to).map_err(failed("cannot be named"))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    File::open(directory).and_then(|it| it.sync_all()).map_err(failed("cannot be made durable"))
}

fn remove_if_there(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LedgerError::File { path: path.to_owned(), doing: "cannot be removed", source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::book::Book;
    use crate::ledger::book::fixture;

    #[test]
    fn a_copy_of_a_book_that_is_being_written_comes_back_equal() {
        let (from, to) = (fixture::directory(), fixture::directory());
        let mut book = Book::open(from.path()).expect("opened");
        book.apply(&fixture::a_show(1, 3)).expect("booked");
        let copy = to.path().join("copy.sqlite");
        backup(from.path(), &copy).expect("copied");
        let before = book.hash().expect("hashed");
        book.apply(&fixture::a_show(2, 3)).expect("booked");
        assert!(matches!(backup(from.path(), &copy), Err(LedgerError::Exists { .. })));
        assert!(matches!(restore(&copy, from.path()), Err(LedgerError::Exists { .. })));
        restore(&copy, to.path()).expect("restored");
        let mut restored = Book::open(to.path()).expect("opened");
        assert_eq!(restored.hash().expect("hashed"), before);
        restored.apply(&fixture::a_show(2, 3)).expect("it goes on where the copy was made");
        assert_eq!(restored.hash().expect("hashed"), book.hash().expect("hashed"));
        let text = to.path().join("text");
        fs::write(&text, "nothing").expect("written");
        let elsewhere = fixture::directory();
        assert!(restore(&text, elsewhere.path()).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).expect("listed").count(), 0);
    }
}
