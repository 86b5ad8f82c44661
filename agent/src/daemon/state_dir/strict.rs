//! Nobody else may change the state, nor lead the agent to another one: as `StrictModes` of sshd, for files as well.
//!
//! 1. [`above`]: every directory and every link on the way to the state directory, and that directory itself, belongs to root or to
//!    the agent's user. None may be written by others, except a directory in which everybody may only touch their own (sticky).
//! 2. [`within`]: every entry of the state directory, and of the directories in it, is a regular file, a directory or a socket of the
//!    same owners that others cannot write. A link is none: it could lead to somebody else's file.
//!
//! Once both hold nobody but root and the agent's user can make them untrue, so they are asked once.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

/// Why the state cannot be trusted, and the command that mends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFault {
    /// Others can write.
    #[error("`{0}` has mode {mode:04o}, others may change the agent's state; run `chmod go-w {0}`", path.display())]
    Mode {
        /// The path.
        path: PathBuf,
        /// The mode seen.
        mode: u32,
    },
    /// Somebody else owns it.
    #[error("`{0}` belongs to user {found}, who may change the agent's state; the agent runs as user {expected}: run `chown -h {expected} {0}`", path.display())]
    Owner {
        /// The path.
        path: PathBuf,
        /// The owner seen.
        found: u32,
        /// The agent's user.
        expected: u32,
    },
    /// A link in the state.
    #[error("`{0}` is a symbolic link, it may lead to somebody else's file; put that file itself in its place, or run `rm {0}`", path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no file.
    #[error("`{0}` is neither a file nor a directory; run `rm {0}`", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("`{}` cannot be looked at: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Looks at every step of the way to `state`, links included.
pub(super) fn above(state: &Path, agent: u32) -> Result<(), StateFault> {
    let path = std::path::absolute(state).map_err(|error| io_fault(state, error))?;
    let mut rest: VecDeque<OsString> = parts(&path);
    let mut at = PathBuf::from("/");
    look(&at, agent, Place::Above)?;
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let place = if rest.is_empty() { Place::State } else { Place::Above };
        if !look(&next, agent, place)?.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(io_fault(
                &next,
                io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()),
            ));
        }
        let target = std::fs::read_link(&next).map_err(|error| io_fault(&next, error))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        let mut target = parts(&target);
        target.append(&mut rest);
        rest = target;
    }
    Ok(())
}

/// Looks at everything in `state`.
pub(super) fn within(state: &Path, agent: u32) -> Result<(), StateFault> {
    for path in entries(state)? {
        if look_unless_gone(&path, agent)?.is_some_and(|found| found.is_dir()) {
            for path in entries(&path)? {
                look_unless_gone(&path, agent)?;
            }
        }
    }
    Ok(())
}

/// A journal of a database may go while this looks: whoever reads a trail beside the agent has one as well.
fn look_unless_gone(path: &Path, agent: u32) -> Result<Option<Metadata>, StateFault> {
    match look(path, agent, Place::Within) {
        Err(StateFault::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

fn look(path: &Path, agent: u32, place: Place) -> Result<Metadata, StateFault> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| io_fault(path, error))?;
    let kind = metadata.file_type();
    let seen = Seen {
        is_link: kind.is_symlink(),
        is_usual: kind.is_file() || kind.is_dir() || kind.is_socket(),
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
    };
    let path = || path.to_owned();
    match seen.fault(agent, place) {
        None => Ok(metadata),
        Some(Wrong::Link) => Err(StateFault::Link { path: path() }),
        Some(Wrong::Kind) => Err(StateFault::Kind { path: path() }),
        Some(Wrong::Owner) => Err(StateFault::Owner { path: path(), found: seen.owner, expected: agent }),
        Some(Wrong::Mode) => Err(StateFault::Mode { path: path(), mode: seen.mode }),
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StateFault> {
    let read = std::fs::read_dir(dir).map_err(|error| io_fault(dir, error))?;
    read.map(|entry| entry.map(|entry| entry.path()).map_err(|error| io_fault(dir, error))).collect()
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

fn io_fault(path: &Path, error: io::Error) -> StateFault {
    StateFault::Io { path: path.to_owned(), error }
}

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the way to the state directory.
    Above,
    /// That directory itself, or a link to it.
    State,
    /// In it.
    Within,
}

/// What the file system says about an entry.
#[derive(Clone, Copy, Debug)]
struct Seen {
    is_link: bool,
    is_usual: bool,
    mode: u32,
    owner: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Link,
    Kind,
    Owner,
    Mode,
}

impl Seen {
    fn fault(self, agent: u32, place: Place) -> Option<Wrong> {
        if self.is_link && place == Place::Within {
            return Some(Wrong::Link);
        }
        if !self.is_link && !self.is_usual {
            return Some(Wrong::Kind);
        }
        // Whoever owns it can exchange it, or change its mode and then exchange what is in it.
        if self.owner != agent && self.owner != 0 {
            return Some(Wrong::Owner);
        }
        // A link has no mode of its own. In a sticky directory only an entry's owner can exchange it, and the entry is looked at.
        let is_shared = self.mode & STICKY != 0 && place == Place::Above;
        (!self.is_link && self.mode & WRITABLE != 0 && !is_shared).then_some(Wrong::Mode)
    }
}

const STICKY: u32 = 0o1000;
/// By group or others.
const WRITABLE: u32 = 0o022;
/// As the kernel follows at most.
const LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const AGENT: u32 = 1000;

    fn seen(mode: u32, owner: u32) -> Seen {
        Seen { is_link: false, is_usual: true, mode, owner }
    }

    #[test]
    fn only_the_agent_s_user_and_root_may_own_anything() {
        for place in [Place::Above, Place::State, Place::Within] {
            assert_eq!(seen(0o700, AGENT).fault(AGENT, place), None);
            assert_eq!(seen(0o755, 0).fault(AGENT, place), None);
            assert_eq!(seen(0o700, 1001).fault(AGENT, place), Some(Wrong::Owner));
            assert_eq!(seen(0o700, AGENT).fault(0, place), Some(Wrong::Owner), "root is no guest of a user");
        }
    }

    #[test]
    fn nothing_may_be_written_by_others_but_a_directory_above_where_everybody_has_their_own() {
        for place in [Place::Above, Place::State, Place::Within] {
            assert_eq!(seen(0o720, AGENT).fault(AGENT, place), Some(Wrong::Mode));
            assert_eq!(seen(0o702, 0).fault(AGENT, place), Some(Wrong::Mode));
        }
        assert_eq!(seen(0o1777, 0).fault(AGENT, Place::Above), None);
        assert_eq!(seen(0o1777, 0).fault(AGENT, Place::State), Some(Wrong::Mode));
        assert_eq!(seen(0o1777, 0).fault(AGENT, Place::Within), Some(Wrong::Mode));
    }

    #[test]
    fn a_link_may_stand_before_the_state_and_not_in_it_and_nothing_unusual_anywhere() {
        let link = |owner| Seen { is_link: true, is_usual: false, mode: 0o777, owner };
        assert_eq!(link(0).fault(AGENT, Place::State), None);
        assert_eq!(link(0).fault(AGENT, Place::Above), None);
        assert_eq!(link(1001).fault(AGENT, Place::Above), Some(Wrong::Owner));
        assert_eq!(link(AGENT).fault(AGENT, Place::Within), Some(Wrong::Link));
        assert_eq!(Seen { is_usual: false, ..seen(0o600, 0) }.fault(AGENT, Place::Within), Some(Wrong::Kind));
    }

    /// What is said of a state directory in a directory of its own.
    fn said(prepare: impl FnOnce(&Path, &Path)) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let (parent, state) = (dir.path().join("parent"), dir.path().join("parent/state"));
        create_dir(&parent).unwrap();
        create_dir(&state).unwrap();
        set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
        prepare(&parent, &state);
        let agent = rustix::process::geteuid().as_raw();
        let looked = above(&state, agent).and_then(|()| within(&state, agent));
        looked.map_err(|fault| fault.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    fn mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_message_names_the_path_what_is_wrong_and_the_command_that_mends_it() {
        let file = |state: &Path| {
            write(state.join("policy.db"), "").unwrap();
            state.join("policy.db")
        };
        assert_eq!(said(|_, state| mode(&file(state), 0o600)), Ok(()));
        assert_eq!(
            said(|_, state| mode(&file(state), 0o666)).unwrap_err(),
            "`DIR/parent/state/policy.db` has mode 0666, others may change the agent's state; run `chmod go-w DIR/parent/state/policy.db`"
        );
        assert_eq!(
            said(|parent, _| mode(parent, 0o775)).unwrap_err(),
            "`DIR/parent` has mode 0775, others may change the agent's state; run `chmod go-w DIR/parent`"
        );
        assert_eq!(
            said(|_, state| symlink("/etc/passwd", state.join("device.key")).unwrap()).unwrap_err(),
            "`DIR/parent/state/device.key` is a symbolic link, it may lead to somebody else's file; put that file itself in its place, or run `rm DIR/parent/state/device.key`"
        );
    }

    #[test]
    fn what_lies_in_a_directory_of_the_state_is_looked_at_too() {
        let prepare = |state: &Path, with: u32| {
            create_dir(state.join("recordings")).unwrap();
            mode(&state.join("recordings"), 0o700);
            write(state.join("recordings/one"), "").unwrap();
            mode(&state.join("recordings/one"), with);
        };
        assert_eq!(said(|_, state| prepare(state, 0o600)), Ok(()));
        assert_eq!(
            said(|_, state| prepare(state, 0o620)).unwrap_err(),
            "`DIR/parent/state/recordings/one` has mode 0620, others may change the agent's state; run `chmod go-w DIR/parent/state/recordings/one`"
        );
    }

    #[test]
    fn every_step_of_a_link_on_the_way_is_looked_at() {
        let leading = |through: u32| {
            said(move |parent, state| {
                let (open, real) = (parent.join("open"), parent.join("real"));
                create_dir(&open).unwrap();
                create_dir(&real).unwrap();
                std::fs::rename(state, real.join("state")).unwrap();
                symlink("../real/state", open.join("hop")).unwrap();
                symlink("open/hop", state).unwrap();
                mode(&real, 0o755);
                mode(&open, through);
            })
        };
        assert_eq!(leading(0o755), Ok(()));
        let said = leading(0o777).unwrap_err();
        assert_eq!(
            said,
            "`DIR/parent/open` has mode 0777, others may change the agent's state; run `chmod go-w DIR/parent/open`"
        );
    }

    #[test]
    fn links_that_lead_in_a_circle_are_no_way() {
        let fault = said(|_, state| {
            std::fs::remove_dir(state).unwrap();
            symlink("state", state).unwrap();
        });
        assert!(fault.unwrap_err().starts_with("`DIR/parent/state` cannot be looked at: "));
    }
}
