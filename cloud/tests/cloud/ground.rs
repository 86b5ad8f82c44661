//! On which engine the state of an installation is: in a file, and in a second run of the same test on a server.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use postern_cloud::keys::{self, Plan};
use postern_cloud::store::{DatabaseFile, Store};
use postern_postgres::Server;
use postern_protocol::time::UnixTime;

thread_local! {
    /// Where the next installation has its state; in a file where there is none.
    static SERVER: RefCell<Option<Rc<Server>>> = const { RefCell::new(None) };
}

/// Founds an installation and opens its state.
pub(crate) fn found(state: &Path, plan: &Plan, now: UnixTime) -> Store {
    let server = SERVER.with_borrow(Clone::clone);
    let database = server.map(|server| DatabaseFile::new(&server.database()));
    keys::found_in(state, plan, database, now).unwrap();
    Store::of(state).unwrap()
}

/// Runs tests on a server, each with an empty database; where there is none, that is said.
pub(crate) fn on_a_server(tests: &[(&str, fn())]) {
    let Some(server) = Server::start() else { return };
    SERVER.set(Some(Rc::new(server)));
    for (name, test) in tests {
        println!("{name} on a server");
        test();
    }
    SERVER.set(None);
}
