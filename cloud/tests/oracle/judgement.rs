//! The evaluator itself, on a world so small that the answer is plain.

use std::collections::{BTreeMap, BTreeSet};

use postern_cloud::compile::{Enrolled, Roster};
use postern_cloud::fleet;
use postern_cloud::model::Model;
use postern_protocol::policy::{Freshness, Mode, Reason};
use postern_protocol::time::UnixTime;

use crate::evaluator::{Open, Question, Verdict, may};
use crate::keyring::public_key;
use crate::world::{id_of, parsed};

const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.customer]
tenant = "operating_company"
parent = "maker"
[user.ada-0]
account = "maker"
[user.bob-1]
account = "customer"
[device.router]
account = "customer"
[device.router.service.web]
kind = "http"
target = "192.168.7.1:80"
[machine.press]
device = "router"
[machine.press.service.hmi]
kind = "vnc"
target = "192.168.7.2:5900"
[category.screens]
kinds = ["vnc"]
[role.engineer]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screens"]
second-factor = "8h"
[assignment.service]
user = "ada-0"
role = "engineer"
scope = { account = "customer" }
from = 2027-01-01T00:00:00Z
"#;

#[test]
fn the_evaluator_lets_in_who_is_allowed_and_says_until_when() {
    let verdict = asked("ada-0", "press.hmi", HOUR);
    let because = allowed_by("service");
    assert_eq!(
        verdict,
        Verdict::Permitted { mode: TOUCH, until: at(HOUR + 8 * 3600), recorded: false, because }
    );
}

#[test]
fn the_evaluator_says_why_not() {
    assert_eq!(reason(asked("ada-0", "router.web", HOUR)), Reason::NoGrant);
    assert_eq!(reason(asked("ada-0", "web", HOUR)), Reason::NoGrant);
    assert_eq!(reason(asked("bob-1", "press.hmi", HOUR)), Reason::NoGrant);
    assert_eq!(reason(asked("ada-0", "press.hmi", 0)), Reason::NotYet);
}

#[test]
fn the_evaluator_lets_a_denying_entry_beat_every_allowance() {
    let deny = "[entry.stop]\nuser = \"ada-0\"\neffect = \"deny\"\nservice = \"hmi\"\n";
    let verdict = ask(&format!("{FLEET}{deny}"), "ada-0", "press.hmi", HOUR);
    assert_eq!(reason(verdict), Reason::NoGrant);
    let other = "[entry.stop]\nuser = \"ada-0\"\neffect = \"deny\"\nservice = \"web\"\n";
    let verdict = ask(&format!("{FLEET}{other}"), "ada-0", "press.hmi", HOUR);
    assert_eq!(
        verdict,
        Verdict::Permitted {
            mode: TOUCH,
            until: at(HOUR + 8 * 3600),
            recorded: false,
            because: allowed_by("service")
        }
    );
}

#[test]
fn the_evaluator_lets_in_without_the_cloud_who_is_marked_until_the_budget_is_used_up() {
    let marked = FLEET.replace("second-factor = \"8h\"", "offline = true");
    let narrowed = format!("{marked}offline = false\n");
    let stale = |until| Freshness { fresh_until: at(HOUR), offline_until: at(until) };
    let asked = |fleet: &str, heard| ask_when(fleet, "ada-0", "press.hmi", HOUR, heard);
    let because = allowed_by("service");
    assert_eq!(
        asked(&marked, stale(HOUR + 9)),
        Verdict::Permitted { mode: TOUCH, until: at(HOUR + 9), recorded: false, because }
    );
    assert_eq!(reason(asked(&marked, stale(HOUR))), Reason::PolicyStale);
    assert_eq!(reason(asked(&narrowed, stale(HOUR + 9))), Reason::PolicyStale);
    assert_eq!(reason(asked(FLEET, stale(HOUR + 9))), Reason::PolicyStale);
    let fresh = Freshness { fresh_until: at(HOUR + 1), offline_until: at(HOUR + 9) };
    let because = allowed_by("service");
    assert_eq!(
        asked(FLEET, fresh),
        Verdict::Permitted { mode: TOUCH, until: at(HOUR + 1), recorded: false, because }
    );
}

#[test]
fn the_evaluator_lets_who_may_look_only_look_and_gives_a_page_without_its_service() {
    let looking = FLEET.replace("kinds = [\"vnc\"]\n", "kinds = [\"vnc\"]\nmode = \"view_only\"\n");
    let Verdict::Permitted { mode, .. } = ask(&looking, "ada-0", "press.hmi", HOUR) else { panic!("denied") };
    assert_eq!(mode, Mode::ViewOnly);
    let paged = FLEET.replace("kinds = [\"vnc\"]\n", "pages = [\"panel\"]\n").replace(
        "[machine.press]\n",
        "[device.router.service.web.page.panel]\npath = \"/panel\"\n[machine.press]\n",
    );
    let Verdict::Permitted { mode, .. } = ask(&paged, "ada-0", "web.panel", HOUR) else { panic!("denied") };
    assert_eq!(mode, TOUCH);
    assert_eq!(reason(ask(&paged, "ada-0", "web", HOUR)), Reason::NoGrant);
    assert_eq!(reason(ask(FLEET, "ada-0", "web.panel", HOUR)), Reason::NoGrant);
}

#[test]
fn the_evaluator_takes_the_word_of_the_assignment_for_an_essential_role() {
    let essential = |rest: &str| {
        let given = "[assignment.screen]\nuser = \"bob-1\"\nrole = \"machine-operator\"\ncategories = [\"screens\"]\n\
                     scope = { machine = \"press\" }\n";
        let heard = Freshness { fresh_until: at(HOUR), offline_until: at(HOUR + 9) };
        ask_when(&format!("{FLEET}{given}{rest}"), "bob-1", "press.hmi", HOUR, heard)
    };
    assert_eq!(reason(essential("")), Reason::PolicyStale);
    assert_eq!(reason(essential("offline = false\n")), Reason::PolicyStale);
    let Verdict::Permitted { until, .. } = essential("offline = true\n") else { panic!("denied") };
    assert_eq!(until, at(HOUR + 9));
}

fn asked(user: &str, service: &str, after: u64) -> Verdict {
    ask(FLEET, user, service, after)
}

/// Asks so many seconds after the hour before the assignment begins, with a second factor that was just used.
fn ask(fleet: &str, user: &str, service: &str, after: u64) -> Verdict {
    ask_when(fleet, user, service, after, Freshness::ALWAYS)
}

fn ask_when(fleet: &str, user: &str, service: &str, after: u64, heard: Freshness) -> Verdict {
    let model: Model = fleet::read(fleet, &[]).unwrap();
    let users = [("ada-0", 0), ("bob-1", 1)].map(|(name, number)| {
        let keys = BTreeSet::from([public_key(number, 0)]);
        (parsed(name), Enrolled { id: id_of(number), keys, disabled: false, passes_from: UnixTime::EPOCH })
    });
    let roster = Roster { users: BTreeMap::from(users), ..Roster::default() };
    let number = crate::world::number_of(&parsed(user));
    let question = Question {
        user: parsed(user),
        device: parsed("router"),
        service: service.to_owned(),
        now: at(after),
        second_factor_at: Some(at(after)),
        key: public_key(number, 0),
        pass_expires: UnixTime::MAX,
        policy_expires: Some(UnixTime::MAX),
        fresh_until: heard.fresh_until,
        offline_until: heard.offline_until,
        open: Open::default(),
        view_only: false,
    };
    may(&model, &roster, &question)
}

fn reason(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Denied { reason, .. } => reason,
        Verdict::Permitted { until, .. } => panic!("permitted until {until}"),
    }
}

fn allowed_by(assignment: &str) -> BTreeSet<postern_protocol::policy::Origin> {
    let (assignment, role) = (assignment.parse().unwrap(), "engineer".parse().unwrap());
    [postern_protocol::policy::Origin::Assignment { assignment, role, group: None }].into()
}

fn at(after: u64) -> UnixTime {
    UnixTime::from_secs(1_798_761_600 - HOUR + after)
}

const HOUR: u64 = 3600;
const TOUCH: Mode = Mode::Full { clipboard: false };
