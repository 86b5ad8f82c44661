//! `check`, `diff` and `apply`: from a fleet file to signed snapshots, with a plan before anything changes.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use postern_protocol::time::UnixTime;

use super::change::{Basis, Mode, Proposal};
use super::plan::{self, write_warnings};
use super::{Answer, CommandError};
use crate::args::Fleet;
use crate::clock;
use crate::compile::warnings;
use crate::fleet::{self, Complaint, Fault, Place};
use crate::model::{Model, ModelFault};

pub(super) fn check(file: &Fleet) -> Result<Answer, CommandError> {
    let model = read(file)?;
    let warnings = warnings(&model);
    let mut text = String::new();
    write_warnings(&mut text, &warnings);
    let (users, devices) = (model.users.len(), model.devices.len());
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "The fleet file is sound: {users} users, {devices} devices.");
    Ok(Answer { text, json: json!({ "users": users, "devices": devices, "warnings": warnings }) })
}

pub(super) fn diff(state: &Path, file: &Fleet) -> Result<Answer, CommandError> {
    let new = read(file)?;
    let (diff, warnings) = Basis::load(state)?.compare(&new)?;
    Ok(Answer { text: plan::words(&diff, &warnings), json: json!({ "diff": diff, "warnings": warnings }) })
}

pub(super) fn run(state: &Path, file: &Fleet, mode: Mode) -> Result<Answer, CommandError> {
    let proposal = Proposal {
        model: read(file)?,
        what: "apply".to_owned(),
        preface: String::new(),
        question: None,
        json: Value::Null,
    };
    Basis::load(state)?.carry_out(state, &proposal, mode)
}

fn read(file: &Fleet) -> Result<Model, CommandError> {
    let refused = |complaints| CommandError::Fleet { file: file.file.clone(), complaints };
    let model = fleet::read_file(&file.file, &file.overrides).map_err(refused)?;
    let retired = retired(&model, clock::now());
    if retired.is_empty() { Ok(model) } else { Err(refused(retired)) }
}

/// What the file assigns although it has ended.
fn retired(model: &Model, now: UnixTime) -> Vec<Complaint> {
    model.retired(now).into_iter().map(complaint).collect()
}

/// What depends on the time of day is found when the places of the file are forgotten: the key says where.
fn complaint(fault: ModelFault) -> Complaint {
    let ModelFault { kind, name, key, problem } = fault;
    Complaint {
        file: None,
        place: Place::File,
        key: format!("{kind}.{name}.{key}"),
        fault: Fault::Model(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SERVICE_MANAGER_ENDS;

    const FLEET: &str = "[account.a]\ntenant = \"service_provider\"\n[user.u]\naccount = \"a\"\n[device.d]\n\
                         account = \"a\"\n[assignment.u]\nuser = \"u\"\nrole = \"service-manager\"\n\
                         scope = { device = \"d\" }\n";

    #[test]
    fn a_role_that_has_ended_refuses_the_file_with_the_key_and_one_that_will_end_does_not() {
        let model = fleet::read(FLEET, &[]).unwrap();
        let before = UnixTime::from_secs(SERVICE_MANAGER_ENDS.as_secs() - 1);
        assert_eq!(retired(&model, before), []);
        let lines: Vec<String> =
            retired(&model, SERVICE_MANAGER_ENDS).iter().map(|complaint| complaint.line("f.toml")).collect();
        assert_eq!(
            lines,
            ["f.toml: `assignment.u.role`: role `service-manager` is deprecated and has ended at \
              2028-01-01T00:00:00Z; choose another role"]
        );
    }
}
