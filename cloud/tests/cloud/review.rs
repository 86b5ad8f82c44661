//! `review`: every grant that concerns one user or one device, and how it stands.

use postern_cloud::review::{Granted, Standing, of_device, of_user};
use postern_protocol::name::Name;
use postern_protocol::policy::{Origin, Reason};
use postern_protocol::time::UnixTime;

use crate::gate::Gate;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// User, device, service and state of each line.
fn lines(grants: &[Granted]) -> Vec<String> {
    let line = |granted: &Granted| {
        let Granted { user, device, service, origin, standing, .. } = granted;
        let standing = match standing {
            Standing::Open => "open".to_owned(),
            Standing::Fails { reason } => reason.to_string(),
            Standing::Denied { by, .. } => format!("denied by {by}"),
            Standing::Disabled => "disabled".to_owned(),
        };
        format!("{user} {device}/{service} by {}: {standing}", origin.name())
    };
    grants.iter().map(line).collect()
}

/// 2026-09-20, 2026-09-22 and 2026-12-24.
const DURING: UnixTime = UnixTime::from_secs(1_789_862_400);
const IN_CASE: UnixTime = UnixTime::from_secs(1_790_035_200);
const LATER: UnixTime = UnixTime::from_secs(1_798_070_400);

#[test]
fn a_users_review_lists_each_grant_with_its_state_at_the_time() {
    let gate = Gate::of_sample("divisions");
    let review = |at| lines(&of_user(&gate.model, &gate.roster, &name("jana"), at).unwrap().grants);
    assert_eq!(
        review(DURING),
        [
            "jana mill-1/plc by retrofit: denied by entry `jana-not-the-mill`",
            "jana pack-2/plc by retrofit: open",
        ]
    );
    assert_eq!(
        review(LATER),
        ["jana mill-1/plc by retrofit: expired", "jana pack-2/plc by retrofit: expired"]
    );
}

#[test]
fn a_devices_review_lists_everybody_who_could_enter() {
    let gate = Gate::of_sample("divisions");
    let review =
        |device: &str| lines(&of_device(&gate.model, &gate.roster, &name(device), DURING).unwrap().grants);
    assert_eq!(review("pack-2"), ["jana pack-2/plc by retrofit: open", "tom pack-2/plc by tom-alpha: open"]);
    // Allocated to Lena by mistake: not of her customer.
    assert_eq!(review("pack-3"), ["tom pack-3/plc by tom-beta: open"]);
}

#[test]
fn a_grant_that_waits_for_a_case_says_so_and_opens_while_one_is_active() {
    let gate = Gate::of_sample("sites");
    let review = |at| of_user(&gate.model, &gate.roster, &name("theo"), at).unwrap().grants;
    let closed = review(LATER);
    assert!(closed.iter().all(|granted| granted.needs_case && granted.case.is_none()));
    assert!(
        closed.iter().all(|granted| granted.standing == Standing::Fails { reason: Reason::CaseInactive })
    );
    let open: Vec<Granted> =
        review(IN_CASE).into_iter().filter(|granted| granted.standing == Standing::Open).collect();
    assert_eq!(
        lines(&open),
        [
            "theo router-west/filler.hmi by theo-bottling: open",
            "theo router-west/filler.web by theo-bottling: open"
        ]
    );
    assert!(open.iter().all(|granted| granted.case.as_deref() == Some("filler-drips")));
}

#[test]
fn a_second_factor_is_a_condition_and_no_refusal() {
    let gate = Gate::of_sample("nested-customers");
    let review = of_user(&gate.model, &gate.roster, &name("hanna"), DURING).unwrap();
    let with_factor: Vec<&Granted> =
        review.grants.iter().filter(|granted| granted.second_factor_s.is_some()).collect();
    assert!(!with_factor.is_empty());
    assert!(with_factor.iter().all(|granted| granted.standing == Standing::Open));
}

#[test]
fn who_has_not_signed_in_is_listed_and_marked_and_who_is_disabled_too() {
    let mut gate = Gate::of_sample("divisions");
    gate.roster.users.get_mut("tom").unwrap().keys.clear();
    gate.roster.users.get_mut("jana").unwrap().disabled = true;
    let review = of_device(&gate.model, &gate.roster, &name("pack-2"), DURING).unwrap();
    let marks: Vec<(bool, &Standing)> =
        review.grants.iter().map(|granted| (granted.registered, &granted.standing)).collect();
    assert_eq!(marks, [(true, &Standing::Disabled), (false, &Standing::Open)]);
    // The same without any roster: a model that was never applied.
    let nobody = of_device(&gate.model, &Default::default(), &name("pack-2"), DURING).unwrap();
    assert_eq!(nobody.grants.len(), 2);
}

#[test]
fn a_closed_device_is_granted_to_nobody() {
    let gate = Gate::of_sample("divisions");
    let mut model = gate.model.clone();
    model.devices.get_mut("pack-2").unwrap().closed = true;
    assert_eq!(of_device(&model, &gate.roster, &name("pack-2"), DURING).unwrap().grants, []);
    let toms = of_user(&model, &gate.roster, &name("tom"), DURING).unwrap().grants;
    assert_eq!(lines(&toms), ["tom pack-3/plc by tom-beta: open"]);
}

#[test]
fn the_origin_is_that_of_the_device() {
    let gate = Gate::of_sample("sites");
    let review = of_user(&gate.model, &gate.roster, &name("nora"), DURING).unwrap();
    let origins: Vec<&Origin> = review.grants.iter().map(|granted| &granted.origin).collect();
    let entry = Origin::Entry { entry: "nora-log".parse().unwrap() };
    let assignment = Origin::Assignment {
        assignment: "nora-hawthorne".parse().unwrap(),
        role: "machine-operator".parse().unwrap(),
        group: None,
    };
    assert_eq!(origins, [&assignment, &entry]);
}
