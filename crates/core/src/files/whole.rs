//! Small files that are read, and replaced, as a whole.

use std::io;

use super::Files;

/// Whether `error` says that a file is not there: also where something else is in its directory's place, which whoever
/// writes it will say.
pub fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is in the file `name`; `None` if it is not there.
///
/// # Errors
/// If it can't be read, or has more than `most` bytes.
pub fn read_whole(files: &dyn Files, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(name) {
        Err(error) if is_absence(&error) => return Ok(None),
        other => other?,
    };
    let length = file.length()?;
    if length > most {
        return Err(io::Error::other(format!("it has {length} bytes")));
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or_default()];
    let read = file.read_at(0, &mut content)?;
    content.truncate(read);
    Ok(Some(content))
}

/// Makes `content` the content of the file `name` in the directory of `files`, in full or not at all, and makes it last.
///
/// # Errors
/// If it can't be written. If only the last step has failed, the new content is there and may or may not last.
pub fn replace_whole(files: &dyn Files, name: &str, content: &[u8]) -> io::Result<()> {
    files.make_directory("")?;
    let new = format!("{name}.new");
    match files.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // A process that was killed has left it, or there is none.
        _ => {}
    }
    let mut file = files.create(&new)?;
    file.write_at(0, content)?;
    file.sync()?;
    files.rename(&new, name)?;
    files.sync_directory("")
}
