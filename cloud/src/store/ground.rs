//! For tests: on which engine a store is made.
//!
//! A test makes its store in a file, as most installations have it. [`on_a_server`] runs the same test once more on PostgreSQL.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use postern_postgres::Server;

use super::{DatabaseFile, Installation, Store};

thread_local! {
    /// Where the next store is made; in a file where there is none.
    static SERVER: RefCell<Option<Rc<Server>>> = const { RefCell::new(None) };
}

/// Makes the state of an installation for a directory, so that [`Store::of`] opens it again.
pub(crate) fn make(directory: &Path, installation: &Installation) -> Store {
    let Some(server) = SERVER.with_borrow(Clone::clone) else {
        return Store::create(&directory.join(crate::keys::DATABASE), installation, b"root").unwrap();
    };
    let file = DatabaseFile { fleet: Some(installation.fleet), ..DatabaseFile::new(&server.database()) };
    file.write(directory).unwrap();
    Store::create_in(&file, installation, b"root").unwrap()
}

/// Runs tests on a server, each with an empty database; where there is none, that is said.
pub(crate) fn on_a_server(tests: &[fn()]) {
    let Some(server) = Server::start() else { return };
    SERVER.set(Some(Rc::new(server)));
    tests.iter().for_each(|test| test());
    SERVER.set(None);
}
