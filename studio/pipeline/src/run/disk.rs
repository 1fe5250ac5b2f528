//! Durable writing: what a power cut or a full disk may leave behind is decided here and nowhere else.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::Path,
};

/// Where the files of a run go. [`SystemDisk`] is the one that ships; another can fail on purpose.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates `path` with `bytes` and returns once they are on the medium.
    ///
    /// # Errors
    /// Whatever the system says; the file may then exist in part.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Returns once the entries of the folder `path` are on the medium.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Only Unix opens a folder as a file; elsewhere the rename itself has to do.
        if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
    }
}

/// Replaces `path` by `bytes`: readers see the old file or the new one, never a part.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = folder.join(format!(".writing-{name}"));
    let written = disk.write_new(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // Best effort: a full disk should not stay full because of us.
        let _ = fs::remove_file(&aside);
    }
    written?;
    disk.sync_folder(folder)
}
