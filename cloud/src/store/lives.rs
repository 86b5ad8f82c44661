//! By which copies of a device are noticed: which runs of its agent have linked, and how often it was started.
//!
//! A run never comes back after another has replaced it, because a restart begins a new one. When one does, two
//! machines use one key. A count of starts that goes back is an older copy of the device's disk.

use super::engine::params;

use postern_protocol::name::Name;
use postern_protocol::wire::control::Life;

use super::{AlarmKind, StoreError, Tx};

impl Tx<'_> {
    /// Notes the run of an agent that greets, and says what is wrong with it. `boots` is none where the agent has lost
    /// its count.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn greeted(
        &self,
        device: &Name,
        life: Life,
        boots: Option<u32>,
    ) -> Result<Option<AlarmKind>, StoreError> {
        let mut known = self.sql.prepare_cached("SELECT life, lives, boots FROM device WHERE name = ?")?;
        let (newest, former, highest): (Option<Vec<u8>>, Vec<u8>, u32) =
            known.query_row(params![device.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let newest = newest.unwrap_or_default();
        // The same run over another link; most greetings after an outage are.
        if newest == life.0 {
            return Ok(None);
        }
        let (returned, others): (Vec<&[u8]>, Vec<&[u8]>) =
            former.chunks(life.0.len()).partition(|former| *former == life.0);
        let lives: Vec<&[u8]> = std::iter::once(newest.as_slice()).chain(others).take(LIVES).collect();
        let mut note =
            self.sql.prepare_cached("UPDATE device SET life = ?, lives = ?, boots = ? WHERE name = ?")?;
        note.execute(params![life.0, lives.concat(), boots.unwrap_or(0), device.as_str()])?;
        let went_back = boots.is_some_and(|boots| boots < highest);
        Ok(if returned.is_empty() {
            went_back.then_some(AlarmKind::Restored)
        } else {
            Some(AlarmKind::Clone)
        })
    }
}

/// Runs before the newest that are remembered. Two machines that take turns show with the third greeting.
const LIVES: usize = 8;
