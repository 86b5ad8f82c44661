//! The pair to which recordings are sealed.
//!
//! The public half goes into the fleet's files, the private half stays where recordings are looked at. It is one line:
//! `postern-recording-key-1` and 64 hexadecimal digits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use postern_protocol::trust::sealed::SealingSecret;

use crate::problem::Problem;

/// Makes a pair, keeps the private half in a new file, and returns the public one for the fleet's files.
pub(super) fn generate(path: &Path) -> Result<String, Problem> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| Problem::runtime(error.into()))?;
    let public = pair(&seed, path)?.public();
    let line = Zeroizing::new(format!("{MARK} {}\n", &*Zeroizing::new(HEXLOWER.encode(seed.as_slice()))));
    let mut options = OpenOptions::new();
    // A key that is there opens recordings that nothing else opens.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Problem::recording_key(path, &error))?;
    Ok(HEXLOWER.encode(public.as_bytes()))
}

/// Reads the private half.
pub(super) fn read(path: &Path) -> Result<SealingSecret, Problem> {
    let damaged = || Problem::recording_key(path, &io::ErrorKind::InvalidData.into());
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    let file = File::open(path).map_err(|error| Problem::recording_key(path, &error))?;
    file.take(LINE_BYTES as u64)
        .read_to_end(&mut line)
        .map_err(|error| Problem::recording_key(path, &error))?;
    let digits =
        line.trim_ascii().strip_prefix(MARK.as_bytes()).map(<[u8]>::trim_ascii).ok_or_else(damaged)?;
    let seed = Zeroizing::new(HEXLOWER.decode(digits).map_err(|_| damaged())?);
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_slice()).map_err(|_| damaged())?);
    pair(&seed, path)
}

fn pair(seed: &Zeroizing<[u8; 32]>, path: &Path) -> Result<SealingSecret, Problem> {
    let damaged = |_| Problem::recording_key(path, &io::ErrorKind::InvalidData.into());
    SealingSecret::for_recordings(seed).map_err(damaged)
}

const MARK: &str = "postern-recording-key-1";
/// Bytes of the line, with room for the blanks of an editor.
const LINE_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recordings.key");
        let public = generate(&path).unwrap();
        assert_eq!(HEXLOWER.encode(read(&path).unwrap().public().as_bytes()), public);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = generate(&path).unwrap_err();
        assert!(again.reason().contains("exists"), "{again}");
        assert_eq!(HEXLOWER.encode(read(&path).unwrap().public().as_bytes()), public);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for content in ["", "postern-recording-key-1 00", "postern-recording-key-2 ", &"0".repeat(64)] {
            std::fs::write(&path, content).unwrap();
            assert!(read(&path).unwrap_err().reason().contains("is no recording key"), "{content}");
        }
    }
}
