//! How large the snapshot of one device becomes with its users, and how long the device works on it.

use std::hint::black_box;
use std::time::Instant;

use postern_cloud::compile::{Addressee, Compiler, Term};
use postern_protocol::id::DeviceId;
use postern_protocol::policy::Index;
use postern_protocol::trust::SecretKey;

use super::{fleet, refused};
use crate::bench::policy::{self, Authority};
use crate::bench::report::{Column, Grid};
use crate::world::Mishap;

/// Bytes of a signed snapshot and milliseconds from them to an index.
///
/// # Errors
/// When a snapshot is refused.
pub fn sizes(rounds: u32) -> Result<Grid, Mishap> {
    let mut grid = Grid::new("scale_sizes", "Snapshot of a device with two services", None, &COLUMNS);
    let authority = Authority::make()?;
    let key = SecretKey::from_seed([12; 32]).map_err(refused("a key"))?.public();
    let to = policy::Addressee { device: DeviceId::new([0xd2; 8]), key };
    let root = authority.root();
    let addressee = Addressee {
        fleet: root.fleet,
        device: to.device,
        device_key: key,
        epoch: root.policy_epoch,
        locks_cleared: 0,
    };
    let issued = policy::now();
    let expires = issued.saturating_add(3600);
    for (row, people, ends) in ROWS {
        let model = fleet::crowd(people, ends.then_some(expires)).map_err(refused("the fleet"))?;
        let roster = fleet::roster(&model).map_err(refused("keys of people"))?;
        let device = fleet::device(0, 0).map_err(refused("a name"))?;
        let content = Compiler::among(&model, &roster, [&device]).compile(&device);
        let content = content.map_err(refused("the policy"))?;
        let snapshot = content.into_snapshot(addressee, Term { version: 1, issued, expires });
        let users = snapshot.users.len();
        if users != usize::try_from(people).unwrap_or(usize::MAX) {
            return Err(Mishap::unexpected("users in a snapshot", users, people));
        }
        let sealed = authority.seal(&snapshot)?;
        grid.add(row, "size", sealed.len() as f64 / 1024.0);
        grid.add(row, "user", sealed.len() as f64 / f64::from(people));
        for _ in 0..4 * rounds {
            let begun = Instant::now();
            let index = Index::build(authority.verify(black_box(&sealed), to)?);
            grid.add(row, "index", begun.elapsed().as_secs_f64() * 1e3);
            drop(black_box(index));
        }
    }
    Ok(grid)
}

const ROWS: [(&str, u32, bool); 6] = [
    ("50 users", 50, false),
    ("500 users", 500, false),
    ("5,000 users", 5000, false),
    ("50 users, each with an end", 50, true),
    ("500 users, each with an end", 500, true),
    ("5,000 users, each with an end", 5000, true),
];
const COLUMNS: [Column; 3] = [
    Column { id: "size", title: "KiB" },
    Column { id: "user", title: "bytes for each user" },
    Column { id: "index", title: "verified, decoded, indexed ms" },
];
