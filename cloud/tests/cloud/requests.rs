//! Requests for approval: who may ask and decide, what reaches the device, how they end, and what `history` says.

use postern_cloud::approval::{self, ApprovalError, Bounds, Decider, MAX_S, PENDING_S, Wish};
use postern_cloud::publish::Publisher;
use postern_cloud::store::{ApprovalRequest, ApprovalState};
use postern_protocol::id::{ApprovalId, DeviceId};
use postern_protocol::policy::{Approval, Mode};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::approval::{ApprovalEntry, ApprovalStanding, ApprovalVerdict, ApprovalWish};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::text::Text;

use crate::approvals::FLEET;
use crate::locks::done;
use crate::peers::{Caller, World, key, name, now};
use crate::sign_in::{PASSWORD, totp};

/// The plant with a second operator, one who only reads, and people elsewhere who may do the same there.
pub(crate) fn people() -> String {
    format!(
        "{FLEET}
[user.otto]
account = \"plant\"
[user.ines]
account = \"plant\"
[user.rita]
account = \"rival\"
[user.mark]
account = \"maker\"
[assignment.more]
user = \"otto\"
role = \"operator-internal-cases\"
scope = {{ device = \"press\" }}
[assignment.reads]
user = \"ines\"
role = \"data-analyst\"
scope = {{ account = \"plant\" }}
[assignment.elsewhere]
user = \"rita\"
role = \"machine-operator\"
scope = {{ account = \"rival\" }}
[assignment.admin]
user = \"mark\"
role = \"tenant-admin\"
scope = {{ account = \"maker\", nested = true }}
"
    )
}

/// The hub of that fleet, where everybody has signed in.
pub(crate) async fn world() -> World {
    let world = World::start().await;
    world.apply(&people());
    for (seed, user) in (20..).zip(["tina", "tom", "olga", "otto", "ines", "rita", "mark"]) {
        world.join(user, seed, PASSWORD).await;
    }
    world
}

pub(crate) fn wish(service: &str) -> Wish {
    let (device, service) = (name("press"), name(service));
    Wish { device, service, view_only: false, for_s: 3600, why: "pump P3 is leaking".to_owned() }
}

fn ask_at(
    world: &World,
    user: &str,
    wish: &Wish,
    at: UnixTime,
) -> Result<(ApprovalRequest, bool), ApprovalError> {
    world.store.write(|tx| approval::ask(tx, &name(user), wish, at))
}

fn ask(world: &World, user: &str, wish: &Wish) -> Result<(ApprovalRequest, bool), ApprovalError> {
    ask_at(world, user, wish, now())
}

pub(crate) fn tinas(world: &World) -> ApprovalRequest {
    ask(world, "tina", &wish("hmi")).unwrap().0
}

fn approve_at(
    world: &World,
    id: ApprovalId,
    user: &str,
    bounds: Bounds,
    at: UnixTime,
) -> Result<ApprovalRequest, ApprovalError> {
    world.store.write(|tx| {
        let publisher = Publisher::open(&world.state, tx)?;
        Ok(approval::approve(tx, &publisher, id, Decider::User(&name(user)), bounds, at)?.0)
    })
}

fn approve(world: &World, id: ApprovalId, user: &str) -> Result<ApprovalRequest, ApprovalError> {
    approve_at(world, id, user, Bounds::default(), now())
}

fn revoke(world: &World, id: ApprovalId, user: &str) -> Result<ApprovalRequest, ApprovalError> {
    world.store.write(|tx| {
        let publisher = Publisher::open(&world.state, tx)?;
        Ok(approval::revoke(tx, &publisher, id, Decider::User(&name(user)), "", now())?.0)
    })
}

pub(crate) fn reject(world: &World, id: ApprovalId, user: &str) -> Result<ApprovalRequest, ApprovalError> {
    world.store.write(|tx| approval::reject(tx, id, Decider::User(&name(user)), "not today", now()))
}

pub(crate) fn state(world: &World, id: ApprovalId) -> ApprovalState {
    world.read(|tx| tx.approval(id)).unwrap().state
}

/// What an error says, without the id of the request.
fn said<T: std::fmt::Debug>(result: Result<T, ApprovalError>, id: ApprovalId) -> String {
    result.unwrap_err().to_string().replace(&id.to_string(), "ID")
}

const UNKNOWN: &str = "there is no request `ID` that you may decide";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_approved_reaches_the_device_in_its_next_policy_and_leaves_it_when_revoked() {
    let world = world().await;
    let mut press = world.enroll("press", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let request = tinas(&world);
    assert_eq!(
        (request.state, request.lapses),
        (ApprovalState::Pending, request.asked.saturating_add(PENDING_S))
    );
    let at = now();
    let approved = approve_at(&world, request.id, "olga", Bounds::default(), at).unwrap();
    let until = at.saturating_add(3600);
    assert_eq!(approved.given.map(|given| (given.view_only, given.until)), Some((false, until)));
    world.hub_hears();
    press.take(&mut link).await;
    let grants = &press.snapshot().grants;
    let grant = grants.iter().position(|grant| grant.needs_approval).unwrap();
    let grant = u32::try_from(grant).unwrap();
    let given = Approval { grant, service: 0, mode: Mode::WIDEST, not_after: until, id: request.id };
    assert_eq!(press.snapshot().approvals, [given]);
    assert_eq!(revoke(&world, request.id, "otto").unwrap().state, ApprovalState::Revoked);
    world.hub_hears();
    press.take(&mut link).await;
    assert_eq!(press.snapshot().approvals, []);
    assert_eq!(said(revoke(&world, request.id, "otto"), request.id), "request `ID` is revoked already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_decides_but_other_people_of_the_company_who_may_activate_remote_access_there() {
    let world = world().await;
    let request = tinas(&world);
    // Who asks, a colleague, the provider's administrator, another tenant's operator, somebody of the company who only reads.
    for user in ["tina", "tom", "mark", "rita", "ines", "nobody"] {
        assert_eq!(said(approve(&world, request.id, user), request.id), UNKNOWN, "{user}");
        assert_eq!(said(reject(&world, request.id, user), request.id), UNKNOWN, "{user}");
        assert_eq!(state(&world, request.id), ApprovalState::Pending, "{user}");
    }
    for user in ["tom", "mark", "rita", "ines"] {
        assert_eq!(said(revoke(&world, request.id, user), request.id), UNKNOWN, "{user}");
    }
    let absent = ApprovalId::new([9; 8]);
    assert_eq!(said(approve(&world, absent, "olga"), absent), UNKNOWN);
    assert_eq!(approve(&world, request.id, "otto").unwrap().decision.unwrap().by, "otto");
    let again = "request `ID` is approved already";
    assert_eq!(said(approve(&world, request.id, "olga"), request.id), again);
    assert_eq!(said(reject(&world, request.id, "olga"), request.id), again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_approver_and_one_whose_right_is_gone_decide_nothing_any_more() {
    let world = world().await;
    let request = tinas(&world);
    world.store.write(|tx| tx.set_disabled(&name("olga"), true)).unwrap();
    assert_eq!(said(approve(&world, request.id, "olga"), request.id), UNKNOWN);
    world.apply(&people().replace(
        "scope = { device = \"press\" }",
        "scope = { account = \"plant\" }\nuntil = 2020-01-01T00:00:00Z",
    ));
    assert_eq!(said(approve(&world, request.id, "otto"), request.id), UNKNOWN);
    world.store.write(|tx| tx.set_disabled(&name("olga"), false)).unwrap();
    approve(&world, request.id, "olga").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_approves_what_they_asked_for_themselves() {
    let world = world().await;
    let loan = "[entry.loan]\nuser = \"olga\"\neffect = \"allow\"\nservice = \"web\"\nscope = { device = \"press\" }\nneeds-approval = true\n";
    world.apply(&format!("{}{loan}", people()));
    let request = ask(&world, "olga", &wish("web")).unwrap().0;
    assert_eq!(said(approve(&world, request.id, "olga"), request.id), UNKNOWN);
    approve(&world, request.id, "otto").unwrap();
    // She may take it back, though.
    assert_eq!(revoke(&world, request.id, "olga").unwrap().state, ApprovalState::Revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_nothing_to_wait_for_cannot_ask_and_learns_nothing() {
    let world = world().await;
    let nothing = "nothing that you are granted there waits for an approval";
    let refused = |user: &str, wish: &Wish| ask(&world, user, wish).unwrap_err().to_string();
    assert_eq!(refused("tina", &wish("nowhere")), nothing);
    assert_eq!(refused("tina", &Wish { device: name("nowhere"), ..wish("hmi") }), nothing);
    assert_eq!(refused("tom", &wish("hmi")), nothing);
    assert_eq!(refused("rita", &wish("hmi")), nothing);
    // What is granted without a demand waits for nothing.
    assert_eq!(refused("olga", &wish("hmi")), nothing);
    let deny = "[entry.never]\nuser = \"tina\"\neffect = \"deny\"\ncategory = \"screens\"\n";
    world.apply(&format!("{}{deny}", people()));
    assert_eq!(refused("tina", &wish("hmi")), nothing);
    assert!(ask(&world, "tina", &wish("web")).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_is_the_first_while_that_is_open_and_a_new_one_afterwards() {
    let world = world().await;
    let (first, new) = ask(&world, "tina", &wish("hmi")).unwrap();
    assert!(new);
    let other = Wish { view_only: true, ..wish("hmi") };
    assert_eq!(ask(&world, "tina", &other).unwrap(), (first.clone(), false));
    let web = ask(&world, "tina", &wish("web")).unwrap();
    assert!(web.1 && web.0.id != first.id);
    reject(&world, first.id, "olga").unwrap();
    let next = ask(&world, "tina", &other).unwrap();
    assert!(next.1 && next.0.id != first.id);
    assert_eq!(state(&world, first.id), ApprovalState::Rejected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_is_never_approved_than_was_asked_for_and_less_may_be() {
    let world = world().await;
    let at = now();
    let given = |wish: &Wish, bounds| {
        let id = ask_at(&world, "tina", wish, at).unwrap().0.id;
        let approved = approve_at(&world, id, "olga", bounds, at).unwrap();
        let given = approved.given.unwrap();
        (given.view_only, given.until.secs_since(at))
    };
    let longer = Bounds { view_only: false, for_s: Some(MAX_S) };
    assert_eq!(given(&wish("hmi"), longer), (false, 3600));
    assert_eq!(given(&wish("hmi"), Bounds { view_only: true, for_s: Some(60) }), (true, 60));
    let looking = Wish { view_only: true, ..wish("hmi") };
    assert_eq!(given(&looking, Bounds::default()), (true, 3600));
    let id = tinas(&world).id;
    let span = "an approval is for a time from 1s to 168h";
    let moment = Bounds { view_only: false, for_s: Some(0) };
    assert_eq!(approve_at(&world, id, "olga", moment, at).unwrap_err().to_string(), span);
    for for_s in [0, MAX_S + 1] {
        assert_eq!(ask(&world, "tina", &Wish { for_s, ..wish("web") }).unwrap_err().to_string(), span);
    }
    let reason = "a reason of 1 to 256 bytes is needed for those who decide";
    for why in [" ".to_owned(), "x".repeat(257)] {
        assert_eq!(ask(&world, "tina", &Wish { why, ..wish("web") }).unwrap_err().to_string(), reason);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_lapses_and_what_was_approved_ends_and_neither_comes_back() {
    let world = world().await;
    let asked = now();
    let (request, _) = ask_at(&world, "tina", &wish("hmi"), asked).unwrap();
    let late = asked.saturating_add(PENDING_S);
    let refused = approve_at(&world, request.id, "olga", Bounds::default(), late);
    // The transaction of what fails is not kept, so the next look says so for good.
    assert_eq!(said(refused, request.id), "request `ID` is expired already");
    world.store.write(|tx| tx.lapse_approvals(late)).unwrap();
    assert_eq!(state(&world, request.id), ApprovalState::Expired);
    let (second, new) = ask_at(&world, "tina", &wish("hmi"), late).unwrap();
    assert!(new);
    approve_at(&world, second.id, "olga", Bounds::default(), late).unwrap();
    let over = late.saturating_add(3600);
    let before = UnixTime::from_secs(over.as_secs() - 1);
    assert_eq!(world.store.write(|tx| tx.lapse_approvals(before)).unwrap(), []);
    assert_eq!(world.store.write(|tx| tx.lapse_approvals(over)).unwrap(), [second.id]);
    assert_eq!(state(&world, second.id), ApprovalState::Expired);
    assert_eq!(said(revoke(&world, second.id, "olga"), second.id), "request `ID` is expired already");
    // Long afterwards only history knows of them.
    world.store.write(|tx| tx.lapse_approvals(over.saturating_add(91 * 86_400))).unwrap();
    assert_eq!(world.read(|tx| tx.approvals(10)), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_requests_of_one_user_are_bounded() {
    let world = world().await;
    let services = (0..17).fold(String::new(), |text, n| {
        format!("{text}[device.press.service.s{n}]\nkind = \"vnc\"\ntarget = \"10.0.1.{n}:5900\"\n")
    });
    world.apply(&format!("{}{services}", people()));
    for n in 0..16 {
        ask(&world, "tina", &wish(&format!("s{n}"))).unwrap();
    }
    let refused = ask(&world, "tina", &wish("s16")).unwrap_err().to_string();
    assert_eq!(refused, "too many requests wait already: take one of them back, or wait for an answer");
    // The one that is open is found all the same.
    assert!(!ask(&world, "tina", &wish("s15")).unwrap().1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_can_approve_nothing_is_asked() {
    let world = world().await;
    world.apply(FLEET);
    world.store.write(|tx| tx.set_disabled(&name("olga"), true)).unwrap();
    let refused = ask(&world, "tina", &wish("hmi")).unwrap_err().to_string();
    assert!(refused.starts_with("nobody can approve it"), "{refused}");
    world.store.write(|tx| tx.set_disabled(&name("olga"), false)).unwrap();
    assert!(ask(&world, "tina", &wish("hmi")).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_company_approved_is_worth_nothing_when_the_device_is_another_one_s() {
    let world = world().await;
    let mut press = world.enroll("press", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let request = tinas(&world);
    let open = ask(&world, "tina", &wish("web")).unwrap().0;
    approve(&world, request.id, "olga").unwrap();
    world.hub_hears();
    press.take(&mut link).await;
    assert_eq!(press.snapshot().approvals.len(), 1);
    world.apply(
        &people()
            .replace("[device.press]\naccount = \"plant\"", "[device.press]\naccount = \"rival\"")
            .replace("scope = { device = \"press\" }", "scope = { account = \"plant\" }"),
    );
    press.take(&mut link).await;
    assert_eq!(press.snapshot().approvals, []);
    // Neither the old company nor the new one has a say in what was asked of the old one.
    for user in ["olga", "rita"] {
        assert_eq!(said(approve(&world, open.id, user), open.id), UNKNOWN, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_lists_approves_rejects_and_revokes_and_history_says_who_did_what() {
    let world = world().await;
    let mut press = world.enroll("press", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let request = tinas(&world);
    let id = request.id.to_string();
    let listed = done(&world, &["approval", "list"]).await;
    let first = &listed["approvals"][0];
    assert_eq!((&first["state"], &first["why"]), (&"pending".into(), &"pump P3 is leaking".into()));
    let said = done(&world, &["approval", "approve", &id, "--view-only", "--for", "30m"]).await;
    assert_eq!(said["approval"]["given"]["view_only"], true);
    press.take(&mut link).await;
    assert_eq!(press.snapshot().approvals[0].mode, Mode::ViewOnly);
    done(&world, &["approval", "revoke", &id, "--reason", "done"]).await;
    press.take(&mut link).await;
    assert_eq!(press.snapshot().approvals, []);
    assert_eq!(done(&world, &["approval", "list"]).await["approvals"], serde_json::json!([]));
    let all = done(&world, &["approval", "list", "--all"]).await;
    assert_eq!(all["approvals"][0]["state"], "revoked");
    let next = tinas(&world).id.to_string();
    done(&world, &["approval", "reject", &next, "--reason", "not today"]).await;
    let history = done(&world, &["history", "--limit", "5"]).await;
    let lines: Vec<String> = history["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["what"].as_str().unwrap().replace(&id, "ID").replace(&next, "NEXT"))
        .collect();
    assert_eq!(lines[0], "approval reject NEXT of tina for press/hmi not today");
    assert_eq!(lines[1], "approval ask NEXT of tina for press/hmi for 1h: pump P3 is leaking");
    assert_eq!(lines[2], "approval revoke ID of tina for press/hmi done");
    assert!(
        lines[3].starts_with("approval approve ID of tina for press/hmi to look only, until "),
        "{lines:?}"
    );
    assert_eq!(lines[4], "approval ask ID of tina for press/hmi for 1h: pump P3 is leaking");
    // None of that is an edit of the model: whoever looks at a plan meanwhile is not overtaken.
    let (newest, edited) = world.read(|tx| Ok((tx.revision()?, tx.model_revision()?)));
    assert!(edited <= newest - 5, "{edited} of {newest}");
    assert!(history["revisions"][0]["who"].as_str().unwrap().ends_with(" (operator)"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_leaves_takes_what_was_approved_along() {
    let world = world().await;
    let request = tinas(&world);
    approve(&world, request.id, "olga").unwrap();
    assert_eq!(world.read(|tx| tx.roster()).approvals[&name("press")].len(), 1);
    let without = people()
        .replace("[user.tina]\naccount = \"maker\"\n", "")
        .replace("user = \"tina\"", "user = \"tom\"");
    world.apply(&without);
    assert_eq!(world.read(|tx| tx.roster()).approvals.len(), 0);
}

/// A pass that is in date; of somebody who used a second factor it says when.
fn pass_of(answer: &HubAnswer) -> Vec<u8> {
    let HubAnswer::LoggedIn { pass, .. } = answer else { panic!("{answer:?}") };
    pass.clone()
}

/// Somebody at the hub, signed in.
struct Person {
    caller: Caller,
    pass: Vec<u8>,
}

impl Person {
    async fn of(world: &World, user: &str, account: &str, seed: u8) -> Self {
        let caller = world.dial(&key(seed)).await;
        let pass = pass_of(&caller.login(account, user, PASSWORD, None).await);
        Self { caller, pass }
    }

    async fn ask(&self, device: DeviceId, service: &str) -> HubAnswer {
        let wish = ApprovalWish {
            device,
            service: name(service),
            view_only: false,
            for_s: 3600,
            why: Text::clean("pump P3 is leaking"),
        };
        self.caller.ask(&HubRequest::AskApproval(wish)).await
    }

    async fn decide(&self, id: ApprovalId, verdict: ApprovalVerdict) -> HubAnswer {
        self.caller.ask(&HubRequest::Decide { id, pass: self.pass.clone(), verdict }).await
    }

    async fn listed(&self) -> Vec<ApprovalEntry> {
        entries(self.caller.ask(&HubRequest::ListApprovals).await)
    }
}

fn entries(answer: HubAnswer) -> Vec<ApprovalEntry> {
    let HubAnswer::Approvals(entries) = answer else { panic!("{answer:?}") };
    entries
}

fn one(answer: HubAnswer) -> ApprovalEntry {
    let mut entries = entries(answer);
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

const YES: ApprovalVerdict = ApprovalVerdict::Approve { view_only: true, for_s: Some(600) };

fn refused(refusal: Refusal) -> HubAnswer {
    HubAnswer::Refused(refusal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_hub_who_asks_waits_is_answered_and_the_device_has_it_by_then() {
    let world = world().await;
    let mut press = world.enroll("press", 1).await;
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let (tina, olga) =
        (Person::of(&world, "tina", "maker", 20).await, Person::of(&world, "olga", "maker/plant", 22).await);
    let asked = one(tina.ask(press.device, "hmi").await);
    assert_eq!((asked.who.as_str(), asked.company.as_str()), ("maker/tina", "maker/plant"));
    assert_eq!((asked.own, asked.may_decide), (true, false));
    assert_eq!(one(tina.ask(press.device, "hmi").await).id, asked.id);
    let wait = HubRequest::AwaitApproval { id: asked.id };
    let waiting = tina.caller.ask(&wait);
    let deciding = async {
        let of_olga = olga.listed().await;
        assert_eq!((of_olga[0].id, of_olga[0].own, of_olga[0].may_decide), (asked.id, false, true));
        let (answer, ()) = tokio::join!(olga.decide(asked.id, YES), async {
            press.take(&mut link).await;
        });
        one(answer)
    };
    let (heard, decided) = tokio::join!(waiting, deciding);
    let ApprovalStanding::Approved { view_only: true, until } = decided.standing else {
        panic!("{decided:?}")
    };
    assert_eq!(one(heard).standing, ApprovalStanding::Approved { view_only: true, until });
    assert_eq!(press.snapshot().approvals[0].not_after, until);
    assert_eq!(olga.decide(asked.id, YES).await, refused(Refusal::Decided));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_hub_nobody_else_asks_sees_waits_or_decides() {
    let world = world().await;
    let press = world.enroll("press", 1).await;
    let tina = Person::of(&world, "tina", "maker", 20).await;
    let id = one(tina.ask(press.device, "hmi").await).id;
    for (seed, user, account) in [(21, "tom", "maker"), (25, "rita", "maker/rival"), (26, "mark", "maker")] {
        let person = Person::of(&world, user, account, seed).await;
        assert_eq!(person.listed().await, [], "{user}");
        assert_eq!(person.decide(id, YES).await, refused(Refusal::NoRequest), "{user}");
        assert_eq!(
            person.caller.ask(&HubRequest::AwaitApproval { id }).await,
            refused(Refusal::NoRequest),
            "{user}"
        );
        // A hidden device is like an unknown one, and one without a demand too.
        assert_eq!(person.ask(press.device, "hmi").await, refused(Refusal::NoApproval), "{user}");
        assert_eq!(person.ask(DeviceId::new([9; 8]), "hmi").await, refused(Refusal::NoApproval), "{user}");
    }
    assert_eq!(tina.decide(id, YES).await, refused(Refusal::NoRequest));
    let stranger = world.dial(&key(99)).await;
    assert_eq!(stranger.ask(&HubRequest::ListApprovals).await, refused(Refusal::UnknownKey));
    let foreign = Person { caller: stranger, pass: tina.pass.clone() };
    assert_eq!(foreign.decide(id, YES).await, refused(Refusal::UnknownKey));
    assert_eq!(foreign.ask(press.device, "hmi").await, refused(Refusal::UnknownKey));
    assert_eq!(state(&world, id), ApprovalState::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_decides_shows_a_sign_in_of_their_own_and_a_second_factor_if_they_have_one() {
    let world = world().await;
    let press = world.enroll("press", 1).await;
    let tina = Person::of(&world, "tina", "maker", 20).await;
    let id = one(tina.ask(press.device, "hmi").await).id;
    let olga = Person::of(&world, "olga", "maker/plant", 22).await;
    // The key alone does not do, nor does somebody else's sign-in.
    for pass in [Vec::new(), tina.pass.clone()] {
        let answer = olga.caller.ask(&HubRequest::Decide { id, pass, verdict: YES }).await;
        assert_eq!(answer, refused(Refusal::Pass));
    }
    let HubAnswer::Otp { uri } = olga
        .caller
        .ask(&HubRequest::EnrollOtp {
            account: Text::clean("maker/plant"),
            user: name("olga"),
            password: PASSWORD.to_owned().try_into().unwrap(),
            otp: None,
        })
        .await
    else {
        panic!("refused")
    };
    let totp = totp(&uri);
    let code = totp.generate(now().as_secs() - 30).to_string();
    let proved = pass_of(&olga.caller.login("maker/plant", "olga", PASSWORD, Some(&code)).await);
    assert_eq!(olga.decide(id, YES).await, refused(Refusal::SecondFactor));
    let olga = Person { pass: proved, ..olga };
    assert!(matches!(one(olga.decide(id, YES).await).standing, ApprovalStanding::Approved { .. }));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "what_is_approved_reaches_the_device_in_its_next_policy_and_leaves_it_when_revoked",
            what_is_approved_reaches_the_device_in_its_next_policy_and_leaves_it_when_revoked,
        ),
        (
            "nobody_decides_but_other_people_of_the_company_who_may_activate_remote_access_there",
            nobody_decides_but_other_people_of_the_company_who_may_activate_remote_access_there,
        ),
        (
            "a_disabled_approver_and_one_whose_right_is_gone_decide_nothing_any_more",
            a_disabled_approver_and_one_whose_right_is_gone_decide_nothing_any_more,
        ),
        ("nobody_approves_what_they_asked_for_themselves", nobody_approves_what_they_asked_for_themselves),
        (
            "who_has_nothing_to_wait_for_cannot_ask_and_learns_nothing",
            who_has_nothing_to_wait_for_cannot_ask_and_learns_nothing,
        ),
        (
            "a_second_request_is_the_first_while_that_is_open_and_a_new_one_afterwards",
            a_second_request_is_the_first_while_that_is_open_and_a_new_one_afterwards,
        ),
        (
            "more_is_never_approved_than_was_asked_for_and_less_may_be",
            more_is_never_approved_than_was_asked_for_and_less_may_be,
        ),
        (
            "a_request_lapses_and_what_was_approved_ends_and_neither_comes_back",
            a_request_lapses_and_what_was_approved_ends_and_neither_comes_back,
        ),
        ("open_requests_of_one_user_are_bounded", open_requests_of_one_user_are_bounded),
        ("where_nobody_can_approve_nothing_is_asked", where_nobody_can_approve_nothing_is_asked),
        (
            "what_one_company_approved_is_worth_nothing_when_the_device_is_another_one_s",
            what_one_company_approved_is_worth_nothing_when_the_device_is_another_one_s,
        ),
        (
            "the_operator_lists_approves_rejects_and_revokes_and_history_says_who_did_what",
            the_operator_lists_approves_rejects_and_revokes_and_history_says_who_did_what,
        ),
        ("a_user_who_leaves_takes_what_was_approved_along", a_user_who_leaves_takes_what_was_approved_along),
        (
            "over_the_hub_who_asks_waits_is_answered_and_the_device_has_it_by_then",
            over_the_hub_who_asks_waits_is_answered_and_the_device_has_it_by_then,
        ),
        (
            "over_the_hub_nobody_else_asks_sees_waits_or_decides",
            over_the_hub_nobody_else_asks_sees_waits_or_decides,
        ),
        (
            "who_decides_shows_a_sign_in_of_their_own_and_a_second_factor_if_they_have_one",
            who_decides_shows_a_sign_in_of_their_own_and_a_second_factor_if_they_have_one,
        ),
    ]);
}
