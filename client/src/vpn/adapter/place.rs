//! A directory of the user's own for sockets: nobody else can put one there, or open one.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::problem::Problem;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Makes it below the user's runtime directory, which is empty after a restart; where there is none, below `home`.
    ///
    /// # Errors
    /// When it cannot be made, or is somebody else's.
    pub(super) fn make(home: &Path) -> Result<Self, Problem> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let dir = runtime.map_or_else(|| home.join("run"), |dir| dir.join("postern"));
        let failed = |error: io::Error| Problem::file(&dir, &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let found = fs::symlink_metadata(&dir).map_err(failed)?;
        let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        if is_own && found.mode() & 0o077 == 0 { Ok(Self(dir)) } else { Err(Problem::unsafe_place(&dir)) }
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The sockets of running VPNs.
    pub(super) fn vpns(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_vpn))
            .collect();
        files.sort_unstable();
        files
    }
}

fn is_vpn(name: &str) -> bool {
    name.starts_with("vpn-") && name.ends_with(".sock")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_place_that_others_can_enter_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("run");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        // A runtime directory of the person who runs this test is not touched.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            assert_eq!(Place::make(home.path()).map(|place| place.0), Err(Problem::unsafe_place(&dir)));
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            let place = Place::make(home.path()).unwrap();
            fs::write(place.file("vpn-7.sock"), "").unwrap();
            fs::write(place.file("adapter-7.sock"), "").unwrap();
            assert_eq!(place.vpns(), [dir.join("vpn-7.sock")]);
        }
    }
}
