//! Approvals by a code from a letter: for one person and one request, once, and by no look at it.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use postern_cloud::api::Api;
use postern_cloud::approval::code::{self, Handed};
use postern_cloud::approval::{self, ApprovalError};
use postern_cloud::mail::Mailer;
use postern_cloud::news::News;
use postern_cloud::publish::Publisher;
use postern_cloud::store::{ApprovalRequest, ApprovalState};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::approval::ApprovalStanding;
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use tower::ServiceExt as _;

use crate::peers::{World, key, name, now};
use crate::requests::{people, reject, state, tinas, wish, world};

/// Everybody who may decide has an address, and so has who asks.
fn with_mail() -> String {
    let mut text = people();
    for user in ["olga", "otto", "tina", "rita"] {
        let account = match user {
            "tina" => "maker",
            "rita" => "rival",
            _ => "plant",
        };
        let entry = format!("[user.{user}]\naccount = \"{account}\"\n");
        assert!(text.contains(&entry), "{user}");
        text = text.replace(&entry, &format!("{entry}mail = \"{user}@example.com\"\n"));
    }
    text
}

async fn mailed() -> World {
    let world = world().await;
    world.apply(&with_mail());
    world
}

/// A request of Tina's with the codes for it.
fn asked(world: &World) -> (ApprovalRequest, Vec<Handed>) {
    let request = tinas(world);
    let handed = world.store.write(|tx| code::hand_out(tx, &request, now())).unwrap();
    (request, handed)
}

fn of<'h>(handed: &'h [Handed], approver: &str) -> &'h ApprovalCode {
    &handed.iter().find(|one| one.approver.as_str() == approver).unwrap().code
}

fn approve_at(
    world: &World,
    code: &ApprovalCode,
    by: Option<&str>,
    at: UnixTime,
) -> Result<ApprovalRequest, ApprovalError> {
    let by = by.map(name);
    world.store.write(|tx| {
        let publisher = Publisher::open(&world.state, tx)?;
        Ok(code::approve(tx, &publisher, (code, by.as_ref()), at)?.0)
    })
}

fn approve(world: &World, code: &ApprovalCode) -> Result<ApprovalRequest, ApprovalError> {
    approve_at(world, code, None, now())
}

fn is_worthless<T: std::fmt::Debug>(result: Result<T, ApprovalError>) -> bool {
    matches!(result, Err(ApprovalError::Code))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_approves_its_request_once_as_it_was_asked_for_and_takes_the_others_with_it() {
    let world = mailed().await;
    let (request, handed) = asked(&world);
    // Those who may decide and have an address, and nobody else: not who asks, and nobody of another company.
    let to: Vec<(&str, &str)> = handed.iter().map(|one| (one.approver.as_str(), one.mail.as_str())).collect();
    assert_eq!(to, [("olga", "olga@example.com"), ("otto", "otto@example.com")]);
    let at = now();
    let approved = approve_at(&world, of(&handed, "olga"), None, at).unwrap();
    assert_eq!((approved.id, approved.state), (request.id, ApprovalState::Approved));
    let given = approved.given.unwrap();
    assert_eq!((given.view_only, given.until), (false, at.saturating_add(3600)));
    assert_eq!(approved.decision.unwrap().by, "olga (by a code)");
    let newest = world.read(|tx| tx.revisions(1));
    assert_eq!(newest[0].who, "olga (by a code)");
    // Once; and what was decided is decided, whoever has a code for it.
    for approver in ["olga", "otto"] {
        assert!(is_worthless(approve(&world, of(&handed, approver))), "{approver}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_for_no_other_request_and_is_worth_nothing_to_who_asked() {
    let world = mailed().await;
    let (first, handed) = asked(&world);
    let other = world.store.write(|tx| approval::ask(tx, &name("tina"), &wish("web"), now())).unwrap().0;
    assert!(is_worthless(approve_at(&world, of(&handed, "olga"), Some("tina"), now())));
    assert!(is_worthless(approve(&world, &ApprovalCode::new([9; 16]))));
    assert_eq!(
        (state(&world, first.id), state(&world, other.id)),
        (ApprovalState::Pending, ApprovalState::Pending)
    );
    approve_at(&world, of(&handed, "olga"), Some("otto"), now()).unwrap();
    assert_eq!(
        (state(&world, first.id), state(&world, other.id)),
        (ApprovalState::Approved, ApprovalState::Pending)
    );
    // A row for who asked, which is never made, would be worth nothing as well.
    let own = ApprovalCode::new([5; 16]);
    let digest = postern_protocol::trust::Digest::of(&[own.as_bytes()]);
    world.store.write(|tx| tx.add_approval_code(&digest, other.id, &name("tina"), other.lapses)).unwrap();
    assert!(is_worthless(approve(&world, &own)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_ends_with_its_request_however_that_ends() {
    let world = mailed().await;
    let (request, handed) = asked(&world);
    assert!(is_worthless(approve_at(&world, of(&handed, "olga"), None, request.lapses)));
    let before = UnixTime::from_secs(request.lapses.as_secs() - 1);
    assert!(world.store.read(|tx| code::read(tx, of(&handed, "olga"), before)).is_ok());
    reject(&world, request.id, "otto").unwrap();
    assert!(is_worthless(approve(&world, of(&handed, "olga"))));
    // Taken back by who asked.
    let (request, handed) = asked(&world);
    world
        .store
        .write(|tx| {
            let publisher = Publisher::open(&world.state, tx)?;
            let tina = name("tina");
            let decider = approval::Decider::User(&tina);
            approval::revoke(tx, &publisher, request.id, decider, "", now()).map(drop)
        })
        .unwrap();
    assert!(is_worthless(approve(&world, of(&handed, "olga"))));
    // Lapsed, and looked at later.
    let (request, handed) = asked(&world);
    world.store.write(|tx| tx.lapse_approvals(request.lapses)).unwrap();
    assert!(is_worthless(approve(&world, of(&handed, "olga"))));
    let left = postern_protocol::trust::Digest::of(&[of(&handed, "olga").as_bytes()]);
    assert_eq!(world.read(|tx| tx.approval_code(&left)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_decide_any_more_approves_nothing_by_an_earlier_code() {
    let world = mailed().await;
    let (request, handed) = asked(&world);
    world.store.write(|tx| tx.set_disabled(&name("olga"), true)).unwrap();
    assert!(is_worthless(approve(&world, of(&handed, "olga"))));
    world.store.write(|tx| tx.set_disabled(&name("olga"), false)).unwrap();
    world.apply(&with_mail().replace(
        "scope = { device = \"press\" }",
        "scope = { account = \"plant\" }\nuntil = 2020-01-01T00:00:00Z",
    ));
    assert!(is_worthless(approve(&world, of(&handed, "otto"))));
    assert_eq!(state(&world, request.id), ApprovalState::Pending);
    // The twin, who still may.
    assert_eq!(approve(&world, of(&handed, "olga")).unwrap().state, ApprovalState::Approved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_hub_a_code_needs_no_pass_and_every_wrong_one_has_one_answer() {
    let world = mailed().await;
    let (request, handed) = asked(&world);
    let ask = async |seed: u8, code: &ApprovalCode| {
        world.dial(&key(seed)).await.ask(&HubRequest::ApproveByCode { code: *code }).await
    };
    let nothing = HubAnswer::Refused(Refusal::NoRequest);
    assert_eq!(ask(99, &ApprovalCode::new([1; 16])).await, nothing);
    // Tina's own computer.
    assert_eq!(ask(20, of(&handed, "olga")).await, nothing);
    assert_eq!(state(&world, request.id), ApprovalState::Pending);
    let HubAnswer::Approvals(entries) = ask(99, of(&handed, "olga")).await else { panic!("no entry") };
    assert_eq!((entries[0].id, entries[0].own), (request.id, false));
    assert!(matches!(entries[0].standing, ApprovalStanding::Approved { view_only: false, .. }));
    assert_eq!(ask(99, of(&handed, "olga")).await, nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_only_looked_at_approves_nothing_and_its_button_does() {
    let world = mailed().await;
    let mut request = tinas(&world);
    reject(&world, request.id, "olga").unwrap();
    let hostile = approval::Wish { why: "<script>alert(1)</script> & \"more\"".to_owned(), ..wish("hmi") };
    request = world.store.write(|tx| approval::ask(tx, &name("tina"), &hostile, now())).unwrap().0;
    let handed = world.store.write(|tx| code::hand_out(tx, &request, now())).unwrap();
    let publisher = std::sync::Arc::new(world.read(|tx| Ok(Publisher::open(&world.state, tx))).unwrap());
    let router = Api::new(world.store.clone(), publisher, News::default(), now).router();
    let ask = async |method: &str, code: &str| {
        let request = Request::builder().method(method).uri(format!("/approve/{code}"));
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        for (name, expected) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
            assert_eq!(parts.headers[name], expected);
        }
        assert!(parts.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    let code = of(&handed, "olga").reveal();
    let (status, shown) = ask("GET", &code).await;
    assert_eq!(status, 200);
    assert!(
        shown.contains("maker/tina asks to use hmi of press") && shown.contains("method=\"post\""),
        "{shown}"
    );
    assert!(
        !shown.contains("<script>") && shown.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"),
        "{shown}"
    );
    // As often as a scanner likes.
    for method in ["GET", "HEAD", "GET"] {
        assert_eq!(ask(method, &code).await.0, 200);
    }
    assert_eq!(state(&world, request.id), ApprovalState::Pending);
    let nothing = ask("GET", &ApprovalCode::new([1; 16]).reveal()).await;
    assert_eq!(nothing.0, 404);
    for wrong in ["x", "..%2f", &code[1..]] {
        assert_eq!(ask("POST", wrong).await, nothing, "{wrong}");
    }
    let (status, done) = ask("POST", &code).await;
    assert!(status == 200 && done.contains("tina may use hmi of press until"), "{done}");
    assert_eq!(state(&world, request.id), ApprovalState::Approved);
    for method in ["GET", "POST"] {
        assert_eq!(ask(method, &code).await, nothing);
        assert_eq!(ask(method, &of(&handed, "otto").reveal()).await, nothing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_has_the_words_of_who_asks_on_one_line_and_a_link_where_there_is_a_page() {
    let world = mailed().await;
    let (mut request, handed) = asked(&world);
    request.why = "urgent\r\nBcc: eve@example.com\n\nhttps://evil.example".to_owned();
    let place = tempfile::tempdir().unwrap();
    let settings = "server = \"127.0.0.1\"\ntls = \"none\"\nfrom = \"postern@example.com\"\n";
    let letter = |text: &str| {
        std::fs::write(place.path().join("mail.toml"), text).unwrap();
        let mailer = Mailer::open(place.path()).unwrap().unwrap();
        let model = world.read(|tx| tx.model());
        code::letter(&model, &request, &handed[0], &mailer).unwrap()
    };
    let plain = letter(settings);
    assert_eq!(
        (plain.to().as_str(), plain.subject()),
        ("olga@example.com", "tina waits to be let in: press/hmi")
    );
    let code = handed[0].code.reveal();
    assert!(
        plain.text().contains(&format!("postern approve --code {code}\n"))
            && !plain.text().contains("/approve/")
    );
    assert!(
        plain.text().contains("in their words: urgent  Bcc: eve@example.com  https://evil.example\n"),
        "{}",
        plain.text()
    );
    let linked = letter(&format!("{settings}link = \"https://cloud.example.com\"\n"));
    assert!(
        linked.text().contains(&format!("https://cloud.example.com/approve/{code}\n")),
        "{}",
        linked.text()
    );
    let off = format!("{settings}approval-codes = false\n");
    std::fs::write(place.path().join("mail.toml"), off).unwrap();
    assert!(!Mailer::open(place.path()).unwrap().unwrap().sends_approval_codes());
}
