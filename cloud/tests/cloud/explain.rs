//! `explain`: what would have to be true, for every way in which access can be missing.

use postern_cloud::explain::{Answer, Mark, Opener, Parts, Question, Remedy, Unfit, Unfitness, answer};
use postern_cloud::model::Scope;
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Origin, Reason};
use postern_protocol::time::UnixTime;

use crate::gate::{Gate, NOW};

/// One account with everything, one beside it, one inside it.
const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.inside]
tenant = "service_provider"
parent = "maker"
[account.other]
tenant = "operating_company"

[user.anna]
account = "maker"
[user.olga]
account = "other"
[user-group.crew]
account = "maker"
members = ["anna"]

[device.d1]
account = "maker"
[device.d1.service.plc]
kind = "vpn"
target = "10.0.0.1:102"
[device.d1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d1.service.web]
kind = "http"
target = "10.0.0.1:80"
[device.d1.service.web.page.info]
path = "/info"
[device.d1.service.live]
kind = "websocket"
target = "10.0.0.1:81"
[device.d2]
account = "maker"
[device.d2.service.hmi]
kind = "vnc"
target = "10.0.0.2:5900"
[device.d3]
account = "inside"
[device.d3.service.hmi]
kind = "vnc"
target = "10.0.0.3:5900"
[machine.m1]
device = "d1"
[machine.m1.service.hmi]
kind = "vnc"
target = "10.0.0.4:5900"

[device-group.mine]
account = "maker"
type = "allocation"
devices = ["d1"]
[device-group.ours]
account = "maker"
type = "customer"
devices = ["d1", "d2"]

[category.screens]
kinds = ["vnc"]
[category.info]
pages = ["info"]
[category.network]
kinds = ["vpn"]

[role.viewer]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screens", "info"]
"#;

fn crew(rest: &str) -> String {
    format!("{FLEET}\n[assignment.crew]\ngroup = \"crew\"\nrole = \"viewer\"\n{rest}\n")
}

fn ask(fleet: &str, user: &str, device: &str, service: &str) -> Answer {
    let gate = Gate::of_file(fleet);
    let question = Question { user, device, service, at: NOW, second_factor_at: None, offline: false };
    answer(&gate.model, &gate.roster, &question).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn of_crew() -> Origin {
    Origin::Assignment { assignment: label("crew"), role: label("viewer"), group: Some(label("crew")) }
}

fn group(text: &str) -> Scope {
    Scope::DeviceGroup { group: name(text) }
}

fn viewers() -> Remedy {
    let opener =
        |role: &str, by_assignment| Opener { role: name(role), category: name("screens"), by_assignment };
    Remedy::Assign { roles: vec![opener("viewer", false), opener("service-technician", true)] }
}

#[test]
fn a_permit_needs_no_remedy() {
    let yes = ask(&crew("scope = { device = \"d1\" }"), "anna", "d1", "hmi");
    assert_eq!((yes.judgement.denied, yes.remedies), (None, vec![]));
}

#[test]
fn of_an_intersection_the_parts_that_leave_the_device_out_are_named() {
    let fleet = crew("scope = { all-of = [{ device-group = \"ours\" }, { device-group = \"mine\" }] }");
    let no = ask(&fleet, "anna", "d2", "hmi");
    let parts = Parts { inside: vec![group("ours")], outside: vec![group("mine")] };
    let widen = Remedy::Widen { origin: of_crew(), category: Some(name("screens")), parts };
    assert_eq!(no.remedies, [widen, viewers()]);
    assert_eq!(ask(&fleet, "anna", "d1", "hmi").remedies, []);
}

#[test]
fn the_scope_of_a_machine_leaves_the_routers_own_service_out() {
    let fleet = crew("scope = { machine = \"m1\" }");
    let no = ask(&fleet, "anna", "d1", "hmi");
    let parts = Parts { inside: vec![], outside: vec![Scope::Machine { machine: name("m1") }] };
    assert_eq!(no.remedies[0], Remedy::Widen { origin: of_crew(), category: Some(name("screens")), parts });
    assert_eq!(ask(&fleet, "anna", "d1", "m1.hmi").judgement.denied, None);
}

#[test]
fn a_page_without_its_service_is_named_as_what_it_is() {
    let no = ask(&crew("scope = { device = \"d1\" }"), "anna", "d1", "web");
    let categories = vec![name("info"), name("screens")];
    let select = Remedy::Select { origin: of_crew(), categories, pages: vec![name("info")] };
    assert_eq!(no.remedies, [select, Remedy::Categorise]);
}

#[test]
fn a_category_that_no_role_opens_yet_is_named() {
    let fleet = FLEET.replace(
        "[account.other]\ntenant = \"operating_company\"",
        "[account.other]\ntenant = \"app_developer\"",
    );
    let fleet = format!(
        "{fleet}\n[device.d4]\naccount = \"other\"\n[device.d4.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.9:5900\"\n"
    );
    let no = ask(&fleet, "olga", "d4", "hmi");
    assert_eq!(no.remedies, [Remedy::AddToRole { categories: vec![name("screens")] }]);
}

#[test]
fn an_essential_role_without_categories_opens_nothing_and_says_so() {
    let fleet = format!(
        "{FLEET}\n[assignment.support]\nuser = \"anna\"\nrole = \"first-level-support\"\nscope = {{ device = \"d1\" }}\n"
    );
    let origin =
        Origin::Assignment { assignment: label("support"), role: label("first-level-support"), group: None };
    let no = ask(&fleet, "anna", "d1", "hmi");
    assert_eq!(no.remedies, [Remedy::Select { origin, categories: vec![], pages: vec![] }, viewers()]);
}

#[test]
fn nothing_that_could_be_assigned_opens_a_device_of_somebody_else() {
    let no = ask(FLEET, "olga", "d1", "hmi");
    let outside = Remedy::OutsideAccount { user_account: name("other"), device_account: name("maker") };
    assert_eq!(no.remedies, [outside]);
    let down = crew("scope = { account = \"maker\" }");
    let widen = Remedy::Widen {
        origin: of_crew(),
        category: Some(name("screens")),
        parts: Parts {
            inside: vec![],
            outside: vec![Scope::Account { account: name("maker"), nested: false }],
        },
    };
    assert_eq!(ask(&down, "anna", "d3", "hmi").remedies[0], widen);
}

#[test]
fn a_closed_device_names_what_would_hold_once_it_is_open() {
    let fleet = crew("scope = { device = \"d1\" }");
    let closed = fleet.replace("[device.d1]\n", "[device.d1]\nclosed = true\n");
    let no = ask(&closed, "anna", "d1", "hmi");
    assert_eq!(no.judgement.denied, Some(Reason::NoGrant));
    assert_eq!(no.remedies, [Remedy::OpenDevice { then: vec![of_crew()] }]);
    assert_eq!(ask(&fleet, "anna", "d1", "hmi").judgement.denied, None);
}

#[test]
fn a_disabled_user_is_to_be_enabled() {
    let mut gate = Gate::of_file(&crew("scope = { device = \"d1\" }"));
    gate.roster.users.get_mut("anna").unwrap().disabled = true;
    let question = Question {
        user: "anna",
        device: "d1",
        service: "hmi",
        at: NOW,
        second_factor_at: None,
        offline: false,
    };
    let no = answer(&gate.model, &gate.roster, &question).unwrap();
    assert_eq!((no.judgement.denied, no.remedies), (Some(Reason::UserDisabled), vec![Remedy::EnableUser]));
}

#[test]
fn windows_come_with_their_times() {
    let early = ask(&crew("scope = { device = \"d1\" }\nfrom = 2027-01-01T00:00:00Z"), "anna", "d1", "hmi");
    let from = UnixTime::from_secs(1_798_761_600);
    assert_eq!(early.judgement.denied, Some(Reason::NotYet));
    assert_eq!(early.remedies, [Remedy::Wait { origin: of_crew(), from }]);
    // The end of a membership in the group is the end of what it gives.
    let fleet = crew("scope = { device = \"d1\" }")
        .replace("members = [\"anna\"]", "member.anna.until = 2026-01-01T00:00:00Z");
    let late = ask(&fleet, "anna", "d1", "hmi");
    let until = UnixTime::from_secs(1_767_225_600);
    assert_eq!(late.judgement.denied, Some(Reason::Expired));
    assert_eq!(late.remedies, [Remedy::Extend { origin: of_crew(), until }]);
}

#[test]
fn a_window_that_is_empty_is_to_be_opened_again() {
    let fleet = crew("scope = { device = \"d1\" }\nfrom = 2026-02-01T00:00:00Z")
        .replace("members = [\"anna\"]", "member.anna.until = 2026-01-01T00:00:00Z");
    let no = ask(&fleet, "anna", "d1", "hmi");
    assert_eq!(no.judgement.chains, []);
    assert_eq!(no.remedies, [Remedy::Reopen { origin: of_crew() }]);
}

#[test]
fn a_second_factor_comes_with_its_age() {
    let fleet = crew("scope = { device = \"d1\" }").replace(
        "categories = [\"screens\", \"info\"]",
        "categories = [\"screens\"]\nsecond-factor = \"8h\"",
    );
    let none = ask(&fleet, "anna", "d1", "hmi");
    let remedy = |stale| Remedy::SecondFactor { origin: of_crew(), max_age_s: 28_800, stale };
    assert_eq!(none.remedies, [remedy(false)]);
    let gate = Gate::of_file(&fleet);
    let ask_with = |age| {
        let used = UnixTime::from_secs(NOW.as_secs() - age);
        let question = Question {
            user: "anna",
            device: "d1",
            service: "hmi",
            at: NOW,
            second_factor_at: Some(used),
            offline: false,
        };
        answer(&gate.model, &gate.roster, &question).unwrap().remedies
    };
    assert_eq!(ask_with(28_800), [remedy(true)]);
    assert_eq!(ask_with(28_799), []);
}

#[test]
fn a_demand_for_a_case_names_every_case_that_does_not_do() {
    let fleet = crew("scope = { device = \"d1\" }\nneeds-case = true");
    let no = ask(&fleet, "anna", "d1", "m1.hmi");
    let demand = |cases| Remedy::ActivateCase { origin: of_crew(), machine: Some(name("m1")), cases };
    assert_eq!(no.remedies, [demand(vec![])]);
    let cases = r#"
[case.a-internal]
machine = "m1"
visibility = "internal"
from = 2026-01-01T00:00:00Z
[case.b-open]
machine = "m1"
visibility = "shared"
[case.c-early]
machine = "m1"
visibility = "shared"
from = 2027-01-01T00:00:00Z
[case.d-late]
device = "d1"
visibility = "shared"
until = 2026-01-01T00:00:00Z
[case.e-elsewhere]
device = "d2"
visibility = "shared"
from = 2026-01-01T00:00:00Z
"#;
    let no = ask(&format!("{fleet}{cases}"), "anna", "d1", "m1.hmi");
    let unfit = |case: &str, why| Unfit { case: name(case), why };
    let expected = vec![
        unfit("a-internal", Unfitness::Internal),
        unfit("b-open", Unfitness::NotActivated),
        unfit("c-early", Unfitness::NotYet(UnixTime::from_secs(1_798_761_600))),
        unfit("d-late", Unfitness::Ended(UnixTime::from_secs(1_767_225_600))),
    ];
    assert_eq!(no.remedies, [demand(expected)]);
    let active = "[case.now]\nmachine = \"m1\"\nvisibility = \"shared\"\nfrom = 2026-01-01T00:00:00Z\n";
    let yes = ask(&format!("{fleet}{active}"), "anna", "d1", "m1.hmi");
    assert_eq!(yes.judgement.chains[0].case.as_deref(), Some("now"));
    assert_eq!((yes.judgement.denied, yes.remedies), (None, vec![]));
}

#[test]
fn an_entry_that_denies_is_named_with_its_end_and_beside_what_it_beats() {
    let deny = "[entry.no]\nuser = \"anna\"\neffect = \"deny\"\ncategory = \"screens\"\nuntil = 2027-01-01T00:00:00Z\n";
    let no = ask(&format!("{}{deny}", crew("scope = { device = \"d1\" }")), "anna", "d1", "hmi");
    assert_eq!(no.judgement.denied, Some(Reason::NoGrant));
    assert_eq!(no.judgement.chains.iter().map(|chain| chain.fails).collect::<Vec<_>>(), [None]);
    let origin = Origin::Entry { entry: label("no") };
    let until = Some(UnixTime::from_secs(1_798_761_600));
    assert_eq!(no.remedies, [Remedy::LiftEntry { origin, until }]);
}

#[test]
fn memberships_and_entries_are_near_misses_too() {
    let fleet = format!(
        "{}\n[entry.loan]\nuser = \"anna\"\neffect = \"allow\"\nservice = \"hmi\"\nscope = {{ device = \"d1\" }}\n",
        FLEET.replace(
            "devices = [\"d1\"]\n",
            "devices = [\"d1\"]\n[device-group.mine.member.anna]\nrole = \"viewer\"\n"
        )
    );
    let no = ask(&fleet, "anna", "d2", "hmi");
    let widen = |origin, category, outside| Remedy::Widen {
        origin,
        category,
        parts: Parts { inside: vec![], outside: vec![outside] },
    };
    let membership = Origin::Membership { group: label("mine"), role: label("viewer") };
    let entry = Origin::Entry { entry: label("loan") };
    let expected = [
        widen(membership.clone(), Some(name("screens")), group("mine")),
        widen(entry.clone(), None, Scope::Device { device: name("d1") }),
        viewers(),
    ];
    assert_eq!(no.remedies, expected);
    let yes = ask(&fleet, "anna", "d1", "hmi");
    let origins: Vec<Origin> = yes.judgement.chains.into_iter().map(|chain| chain.origin).collect();
    assert_eq!(origins, [entry, membership]);
}

/// What the search for remedies takes for a grant is one for the compiler, in every sample and for everybody.
#[test]
fn no_sample_has_a_grant_that_the_search_for_remedies_sees_and_the_device_does_not() {
    for sample in ["direct-sales", "divisions", "nested-customers", "partner-channel", "sites"] {
        let gate = Gate::of_sample(sample);
        let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
        for device in gate.model.devices.keys() {
            for service in compiler.service_names(device).into_keys() {
                for user in gate.model.users.keys() {
                    let question = Question {
                        user: user.as_str(),
                        device: device.as_str(),
                        service: service.as_str(),
                        at: NOW,
                        second_factor_at: None,
                        offline: false,
                    };
                    let answer = answer(&gate.model, &gate.roster, &question).unwrap();
                    let seen = answer.remedies.iter().any(|remedy| matches!(remedy, Remedy::Reopen { .. }));
                    assert!(!seen, "{sample}: {user} {device} {service}: {:?}", answer.remedies);
                    assert_eq!(answer.judgement.denied.is_some(), !answer.remedies.is_empty());
                }
            }
        }
    }
}

fn cut_off(fleet: &str, user: &str, device: &str) -> Answer {
    let gate = Gate::of_file(fleet);
    let question = Question { user, device, service: "hmi", at: NOW, second_factor_at: None, offline: true };
    answer(&gate.model, &gate.roster, &question).unwrap()
}

#[test]
fn a_device_that_is_cut_off_names_what_would_have_to_be_marked() {
    let fleet = crew("scope = { device = \"d1\" }");
    let remedy = |mark| [Remedy::Reconnect, Remedy::HoldOffline { origin: of_crew(), mark }];
    let no = cut_off(&fleet, "anna", "d1");
    assert_eq!(no.judgement.denied, Some(Reason::PolicyStale));
    assert_eq!(no.remedies, remedy(Mark::Role(name("viewer"))));
    let marked = fleet.replace("[role.viewer]\n", "[role.viewer]\noffline = true\n");
    let yes = cut_off(&marked, "anna", "d1");
    assert_eq!((yes.judgement.denied, yes.remedies), (None, vec![]));
    assert_eq!(yes.judgement.until, Some(NOW.saturating_add(7 * 86_400)));
    let narrowed = cut_off(&format!("{marked}offline = false\n"), "anna", "d1");
    assert_eq!(narrowed.remedies, remedy(Mark::Narrowed));
}

#[test]
fn a_device_without_a_budget_is_to_get_one_and_a_source_of_its_own_is_to_be_marked() {
    let loan =
        "[entry.loan]\nuser = \"anna\"\neffect = \"allow\"\nservice = \"hmi\"\nscope = { device = \"d2\" }\n";
    let fleet = format!("{}{loan}", crew("scope = { device = \"d1\" }"));
    let origin = Origin::Entry { entry: label("loan") };
    let expected = [Remedy::Reconnect, Remedy::HoldOffline { origin, mark: Mark::Source }];
    assert_eq!(cut_off(&fleet, "anna", "d2").remedies, expected);
    let marked = format!("{fleet}offline = true\n");
    assert_eq!(cut_off(&marked, "anna", "d2").judgement.denied, None);
    let without = marked.replace("[device.d2]\n", "[device.d2]\noffline = \"0s\"\n");
    let no = cut_off(&without, "anna", "d2");
    assert_eq!(no.judgement.denied, Some(Reason::PolicyStale));
    assert_eq!(no.remedies, [Remedy::Reconnect, Remedy::AllowOffline]);
    // With word of the cloud nobody is concerned.
    assert_eq!(ask(&without, "anna", "d2", "hmi").judgement.denied, None);
}
