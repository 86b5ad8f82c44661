//! Grants that demand an approval: what reaches a device, who could approve, and what an edit of the demand means.

use std::collections::BTreeSet;

use postern_cloud::compile::{Approved, warnings};
use postern_cloud::diff::Diff;
use postern_cloud::explain::{Question, Remedy, answer};
use postern_cloud::fleet;
use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Mode, Origin, Reason};

use crate::gate::{Gate, NOW};

/// A maker services the machines of a plant, which approves each access. A rival has nothing to do with it.
pub(crate) const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.plant]
tenant = "operating_company"
parent = "maker"
[account.rival]
tenant = "operating_company"
parent = "maker"

[user.tina]
account = "maker"
[user.tom]
account = "maker"
[user.olga]
account = "plant"

[category.screens]
kinds = ["vnc"]
[category.all]
kinds = ["vnc", "http"]

[role.technician]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["all"]

[device.press]
account = "plant"
[device.press.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.press.service.web]
kind = "http"
target = "10.0.0.1:80"

[assignment.service]
user = "tina"
role = "technician"
scope = { account = "maker", nested = true }
needs-approval = true
[assignment.operators]
user = "olga"
role = "machine-operator"
categories = ["screens"]
scope = { account = "plant" }
"#;

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn origin(assignment: &str, role: &str) -> Origin {
    Origin::Assignment { assignment: parsed(assignment), role: parsed(role), group: None }
}

/// What was approved for Tina at the service `hmi`, for an hour.
fn approved() -> Approved {
    Approved {
        id: ApprovalId::new([1; 8]),
        user: parsed("tina"),
        account: parsed("plant"),
        service: parsed("hmi"),
        origins: BTreeSet::from([origin("service", "technician")]),
        mode: Mode::WIDEST,
        until: NOW.saturating_add(3600),
    }
}

/// The fleet in which these things were approved on `press`.
fn approving(text: &str, approved: Vec<Approved>) -> Gate {
    let mut gate = Gate::of_file(text);
    gate.roster.approvals.insert(parsed("press"), approved);
    gate
}

/// The answer to Tina for `hmi` and `web`.
fn tina(gate: &Gate) -> [Result<(), Reason>; 2] {
    ["hmi", "web"].map(|service| gate.asks("tina", "press", service))
}

const PENDING: Result<(), Reason> = Err(Reason::ApprovalPending);

#[test]
fn what_was_approved_opens_its_service_to_its_user_until_it_ends() {
    let gate = approving(FLEET, vec![approved()]);
    assert_eq!(tina(&gate), [Ok(()), PENDING]);
    let at = |secs| gate.asks_at("tina", "press", "hmi", NOW.saturating_add(secs), None);
    assert_eq!((at(3599), at(3600)), (Ok(()), PENDING));
    assert_eq!(tina(&approving(FLEET, vec![])), [PENDING, PENDING]);
    let tom = Approved { user: parsed("tom"), ..approved() };
    assert_eq!(tina(&approving(FLEET, vec![tom])), [PENDING, PENDING]);
    // It gives nothing to whoever has no grant.
    assert_eq!(gate.asks("tom", "press", "hmi"), Err(Reason::NoGrant));
}

#[test]
fn only_what_demanded_the_approval_is_met_by_it() {
    let other_role = Approved { origins: [origin("service", "other")].into(), ..approved() };
    assert_eq!(tina(&approving(FLEET, vec![other_role])), [PENDING, PENDING]);
    let no_source = Approved { origins: BTreeSet::new(), ..approved() };
    assert_eq!(tina(&approving(FLEET, vec![no_source])), [PENDING, PENDING]);
    // An assignment that came later was not approved, although it opens the same.
    let later = FLEET.replace("[assignment.service]", "[assignment.later]");
    assert_eq!(tina(&approving(&later, vec![approved()])), [PENDING, PENDING]);
    // The device went to another company, whose people approved nothing.
    let moved = FLEET.replace("[device.press]\naccount = \"plant\"", "[device.press]\naccount = \"rival\"");
    assert_eq!(tina(&approving(&moved, vec![approved()])), [PENDING, PENDING]);
    let theirs = Approved { account: parsed("rival"), ..approved() };
    assert_eq!(tina(&approving(&moved, vec![theirs])), [Ok(()), PENDING]);
    // Somebody took the demand away: nothing of it reaches the device any more.
    let gate = approving(&FLEET.replace("needs-approval = true", ""), vec![approved()]);
    assert_eq!(tina(&gate), [Ok(()), Ok(())]);
    assert_eq!(gate.index("press").snapshot().approvals, []);
}

#[test]
fn an_entry_may_demand_an_approval_too() {
    let entry = "[entry.loan]\nuser = \"olga\"\neffect = \"allow\"\nservice = \"web\"\nscope = { device = \"press\" }\n";
    let text = format!("{FLEET}{entry}needs-approval = true\n");
    let gate = |approved| approving(&text, approved).asks("olga", "press", "web");
    let origins = [Origin::Entry { entry: parsed("loan") }].into();
    let given = Approved { user: parsed("olga"), service: parsed("web"), origins, ..approved() };
    assert_eq!(gate(vec![given]), Ok(()));
    assert_eq!(gate(vec![]), PENDING);
    assert_eq!(Gate::of_file(&format!("{FLEET}{entry}")).asks("olga", "press", "web"), Ok(()));
}

#[test]
fn no_name_of_a_person_or_company_reaches_the_device_with_an_approval() {
    let sealed = approving(FLEET, vec![approved()]).sealed("press");
    let holds = |text: &str| sealed.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds("olga") && !holds("tina") && !holds("plant") && !holds("maker"));
    assert!(holds("technician") && holds(&String::from_utf8(vec![1; 8]).unwrap()));
}

#[test]
fn taking_the_demand_away_is_a_gain_and_setting_it_is_a_loss() {
    let (with, without) = (FLEET.to_owned(), FLEET.replace("needs-approval = true", ""));
    let [with, without] = [with, without].map(|text| fleet::read(&text, &[]).unwrap());
    let services = |accesses: &[postern_cloud::diff::Access]| {
        accesses.iter().map(|it| (it.service.to_string(), it.needs_approval)).collect::<Vec<_>>()
    };
    let freed = Diff::between(&with, &without);
    assert_eq!(services(&freed.gained), [("hmi".to_owned(), false), ("web".to_owned(), false)]);
    assert_eq!(services(&freed.lost), []);
    let tied = Diff::between(&without, &with);
    assert_eq!(services(&tied.gained), []);
    assert_eq!(services(&tied.lost), [("hmi".to_owned(), false), ("web".to_owned(), false)]);
    assert_eq!(freed.affected, BTreeSet::from([parsed::<Name>("press")]));
}

#[test]
fn an_explanation_says_that_an_approval_is_missing_and_which_one_there_is() {
    let ask = |gate: &Gate| {
        let question = Question {
            user: "tina",
            device: "press",
            service: "hmi",
            at: NOW,
            second_factor_at: None,
            offline: false,
        };
        answer(&gate.model, &gate.roster, &question).unwrap()
    };
    let no = ask(&approving(FLEET, vec![]));
    assert_eq!(no.judgement.denied, Some(Reason::ApprovalPending));
    assert_eq!(no.remedies, [Remedy::Approve { origin: origin("service", "technician") }]);
    let yes = ask(&approving(FLEET, vec![approved()]));
    assert_eq!(yes.judgement.chains[0].approval.unwrap().id, ApprovalId::new([1; 8]));
    assert_eq!((yes.judgement.denied, yes.remedies), (None, vec![]));
}

/// What is said of demands that nobody can meet.
fn warned(text: &str) -> Vec<String> {
    let model = fleet::read(text, &[]).unwrap();
    let found = warnings(&model).into_iter().map(|warning| warning.to_string());
    found.filter(|text| text.contains("approv")).collect()
}

#[test]
fn a_demand_that_nobody_can_meet_is_warned_of() {
    let nobody = [
        "assignment `service`: nobody can approve what it demands on device `press`: that takes somebody else than who asks, of an \
         operating company that has the device, with `remote-access.activate` in a scope that contains it",
    ];
    assert_eq!(warned(FLEET), [""; 0]);
    // Nobody at the plant, or nobody who may activate remote access.
    let (without, _) = FLEET.split_once("[assignment.operators]").unwrap();
    assert_eq!(warned(without), nobody);
    let analyst = "machine-operator\"\ncategories = [\"screens\"]";
    assert_eq!(warned(&FLEET.replace(analyst, "data-analyst\"")), nobody);
    // A device of the provider itself is operated by nobody.
    let own = format!("{FLEET}[device.bench]\naccount = \"maker\"\n");
    assert_eq!(warned(&own), [nobody[0].replace("press", "bench")]);
    // Another company with its own operators.
    let rival = FLEET
        .replace("[user.olga]\naccount = \"plant\"", "[user.olga]\naccount = \"rival\"")
        .replace("scope = { account = \"plant\" }", "scope = { account = \"rival\" }");
    assert_eq!(warned(&rival), nobody);
    let nothing = FLEET.replace("categories = [\"all\"]\n", "categories = []\n");
    assert_eq!(
        warned(&nothing),
        ["assignment `service`: `needs-approval` has no effect: role `technician` opens nothing here"]
    );
}

#[test]
fn who_asks_is_not_who_approves() {
    let own = "[entry.loan]\nuser = \"olga\"\neffect = \"allow\"\nservice = \"web\"\nscope = { device = \"press\" }\nneeds-approval = true\n";
    let text = format!("{FLEET}{own}");
    let told = warned(&text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("entry `loan`: nobody can approve"), "{told:?}");
    let two = "[user.otto]\naccount = \"plant\"\n[assignment.more]\nuser = \"otto\"\nrole = \"operator-internal-cases\"\nscope = { device = \"press\" }\n";
    assert_eq!(warned(&format!("{text}{two}")), [""; 0]);
    let group = "[user.otto]\naccount = \"plant\"\n[device-group.shift]\naccount = \"plant\"\ntype = \"project\"\ndevices = [\"press\"]\n[device-group.shift.member.otto]\nrole = \"operator-internal-cases\"\n";
    assert_eq!(warned(&format!("{text}{group}")), [""; 0]);
}
