//! Service cases as a device sees them: shared, activated, and about something that it leads to.

use postern_protocol::name::Name;

use super::window::Window;
use crate::model::{CaseSubject, Model, Visibility};

/// A case that opens grants which demand one, in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActiveCase<'a> {
    pub(crate) name: &'a Name,
    /// The machine that it is about; none when it is about the device with everything behind it.
    machine: Option<&'a Name>,
    pub(crate) window: Window,
}

impl ActiveCase<'_> {
    /// Whether it is about the services of `machine`, or of the device itself for none.
    pub(crate) fn is_about(&self, machine: Option<&Name>) -> bool {
        self.machine.is_none_or(|about| machine == Some(about))
    }
}

/// Those of the named cases that ever open anything. An internal case opens nothing to anybody: it never reaches a
/// device, where its name would tell that it exists.
pub(super) fn active<'a>(model: &'a Model, names: &[&'a Name]) -> Vec<ActiveCase<'a>> {
    let case = |name: &&'a Name| {
        let case = model.cases.get(*name)?;
        let machine = match &case.subject {
            CaseSubject::Machine(machine) => Some(machine),
            CaseSubject::Device(_) => None,
        };
        let opens = case.visibility == Visibility::Shared && case.is_activated();
        let window = Window::new(case.from, case.until)?;
        opens.then_some(ActiveCase { name, machine, window })
    };
    names.iter().filter_map(case).collect()
}
