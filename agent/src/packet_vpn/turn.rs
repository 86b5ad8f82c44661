//! One at a time: whoever prepares or takes back waits until the one before is over, and so are the programs that it began.
//!
//! The lock lies on the file that the firewall's program reads its rules from. That program holds it as its standard input, so
//! that rules which somebody asked for who was killed are set before the next one looks, and never after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::PacketVpnError;

/// The right to change something, held until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    file: File,
    path: PathBuf,
}

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// [`PacketVpnError::NoRight`] or [`PacketVpnError::File`]: the directory or the file.
    pub(super) fn take(dir: &Path) -> Result<Self, PacketVpnError> {
        let path = dir.join("rules.nft");
        let taken = fs::create_dir_all(dir)
            .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path))
            .and_then(|file| file.lock().map(|()| file));
        match taken {
            Ok(file) => Ok(Self { file, path }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(PacketVpnError::NoRight(error))
            }
            Err(error) => Err(PacketVpnError::File { path, error }),
        }
    }

    /// Rules as a program's standard input; the turn lasts as long as that program.
    pub(super) fn script(&self, rules: &str) -> Result<Stdio, PacketVpnError> {
        let written = || {
            let mut file = self.file.try_clone()?;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(rules.as_bytes())?;
            file.rewind()?;
            Ok(file.into())
        };
        written().map_err(|error| PacketVpnError::File { path: self.path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_turn_lasts_as_long_as_the_program_that_reads_its_rules() {
        let dir = tempfile::tempdir().unwrap();
        let turn = Turn::take(&dir.path().join("deeper")).unwrap();
        let path = turn.path.clone();
        // The second, shorter script is what is read, and nothing of the first.
        turn.script("the first rules").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "read rules; echo \"$rules\"; exec sleep 60"]);
        let mut reader =
            command.stdin(turn.script("second\n").unwrap()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 7];
        io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(&said, b"second\n");
        drop((turn, command));
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err(), "the program holds it");
        reader.kill().unwrap();
        reader.wait().unwrap();
        other.lock().unwrap();
    }
}
