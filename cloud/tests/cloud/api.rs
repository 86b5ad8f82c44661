//! The administration API, asked without a socket: tokens, tags, statuses, and that it describes itself.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use postern_cloud::api::{self, Api};
use postern_cloud::model::EntityKind;
use postern_cloud::news::News;
use postern_cloud::store::{StoreError, Token};
use postern_protocol::time::UnixTime;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::administration::Office;
use crate::gate::NOW;

struct Door {
    office: Office,
    router: Router,
}

struct Answer {
    status: u16,
    tag: Option<String>,
    kind: String,
    body: Value,
}

impl Door {
    fn new() -> Self {
        let office = Office::new();
        let (store, publisher) = (office.store.clone(), office.publisher.clone());
        let router = Api::new(store, publisher, News::default(), || NOW).router();
        Self { office, router }
    }

    fn token(&self, user: &str, reads_only: bool, expires: UnixTime) -> String {
        let secret = api::spell(&postern_cloud_secret(user, reads_only, expires));
        let digest = api::digest(&secret).unwrap();
        let user = user.parse().unwrap();
        let token =
            Token { number: 0, user, label: "test".into(), reads_only, made: NOW, expires, used: None };
        self.office.store.write::<_, StoreError>(|tx| tx.save_token(&digest, &token).map(drop)).unwrap();
        secret
    }

    fn good(&self, user: &str) -> String {
        self.token(user, false, UnixTime::from_secs(NOW.as_secs() + 1))
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, tag, kind) =
            (response.status().as_u16(), text(header::ETAG), text(header::CONTENT_TYPE).unwrap_or_default());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, tag, kind, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, &[], None).await
    }
}

/// Another secret for each token of a test.
fn postern_cloud_secret(user: &str, reads_only: bool, expires: UnixTime) -> [u8; api::SECRET_BYTES] {
    let text = format!("{user} {reads_only} {}", expires.as_secs());
    let mut secret = [0; api::SECRET_BYTES];
    text.bytes().zip(secret.iter_mut()).for_each(|(from, to)| *to = from);
    secret
}

#[tokio::test]
async fn whoever_has_no_good_token_gets_one_and_the_same_answer() {
    let door = Door::new();
    let good = door.good("ada");
    let over = door.token("ada", false, NOW);
    let disabled = door.good("alf");
    door.office.store.write::<_, StoreError>(|tx| tx.set_disabled(&"alf".parse().unwrap(), true)).unwrap();
    let revoked = door.good("wil");
    let number = door.office.store.read::<_, StoreError>(|tx| tx.tokens()).unwrap().last().unwrap().number;
    assert!(door.office.store.write::<_, StoreError>(|tx| tx.remove_token(number)).unwrap());
    let unknown = api::spell(&[9; api::SECRET_BYTES]);
    let used = || {
        let tokens = door.office.store.read::<_, StoreError>(|tx| tx.tokens()).unwrap();
        tokens.iter().map(|token| token.used).collect::<Vec<_>>()
    };
    assert_eq!(used(), [None; 3]);
    assert_eq!(door.get("/v1/device", &good).await.status, 200);
    assert_eq!(used(), [Some(NOW), None, None]);
    for token in ["", "postern_", "nonsense", &over, &disabled, &revoked, &unknown] {
        for path in ["/v1/device", "/v1/device/a1", "/v1/device/zz", "/v1/me"] {
            let answer = door.get(path, token).await;
            assert_eq!(
                (answer.status, answer.kind.as_str()),
                (401, "application/problem+json"),
                "{token} {path}"
            );
            assert!(answer.body["title"].as_str().unwrap().contains("needs a token"), "{:?}", answer.body);
        }
    }
}

#[tokio::test]
async fn somebody_sees_what_they_may_and_the_rest_is_not_there() {
    let door = Door::new();
    let token = door.good("wil");
    let list = door.get("/v1/device", &token).await.body;
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((names, &list["next"]), (vec!["a1", "a2"], &Value::Null));
    let first = door.get("/v1/device?limit=1", &token).await.body;
    assert_eq!(first["next"], "a1");
    assert_eq!(door.get("/v1/device?limit=1&after=a1", &token).await.body["items"][0]["name"], "a2");
    let (hidden, unknown) =
        (door.get("/v1/device/b1", &token).await, door.get("/v1/device/b9", &token).await);
    assert_eq!((hidden.status, unknown.status), (404, 404));
    assert_eq!(hidden.body.to_string().replace("b1", "b9"), unknown.body.to_string());
    let me = door.get("/v1/me", &token).await.body;
    assert_eq!((&me["user"], &me["account"]), (&json!("wil"), &json!("acme")));
    assert!(me["permissions"].as_array().unwrap().contains(&json!("devices.manage")));
}

#[tokio::test]
async fn an_edit_needs_the_version_that_it_says_and_a_token_that_may_write() {
    let door = Door::new();
    let (token, reads) = (door.good("wil"), door.token("wil", true, UnixTime::from_secs(NOW.as_secs() + 9)));
    let seen = door.get("/v1/device/a2", &token).await;
    let tag = seen.tag.unwrap();
    let body = |label: &str| Some(json!({ "account": "acme", "label": label }));
    let put = async |token: &str, tag: &str, label: &str| {
        door.ask("PUT", "/v1/device/a2", token, &[("if-match", tag)], body(label)).await
    };
    assert_eq!(put(&reads, &tag, "One").await.status, 403);
    let done = put(&token, &tag, "One").await;
    assert_eq!((done.status, done.body["revision"].is_i64()), (200, true));
    assert_eq!(put(&token, &tag, "Two").await.status, 412);
    assert_eq!(put(&token, "seven", "Two").await.status, 412);
    let absent = door.ask("PUT", "/v1/device/a2", &token, &[("if-none-match", "*")], body("Two")).await;
    assert_eq!(absent.status, 409);
    assert_eq!(door.get("/v1/device/a2", &reads).await.body["body"]["label"], "One");
    let gone = door.ask("DELETE", "/v1/device/a2", &token, &[], None).await;
    assert_eq!((gone.status, door.get("/v1/device/a2", &token).await.status), (200, 404));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_key_and_what_is_forbidden_with_its_permission() {
    let door = Door::new();
    let token = door.good("wil");
    let put = async |path: &str, body: Value| {
        let answer = door.ask("PUT", path, &token, &[], Some(body)).await;
        (answer.status, answer.body["problems"][0].as_str().unwrap_or_default().to_owned())
    };
    let (status, problem) = put("/v1/device/a1", json!({ "account": "acme", "tunels": 3 })).await;
    assert_eq!(status, 422);
    assert!(problem.starts_with("`device.a1.tunels`: this key is unknown here"), "{problem}");
    assert!(problem.ends_with("did you mean `tunnels`?"), "{problem}");
    let user = put("/v1/user/acme.new", json!({ "account": "acme" })).await;
    assert_eq!(user, (403, "user `acme.new`: this needs `users.create` or `users.invite` there".into()));
    let far = put("/v1/device/new", json!({ "account": "acme" })).await;
    assert_eq!(far.0, 409);
    for (path, status) in
        [("/v1/device?limit=0", 400), ("/v1/nothing/a", 404), ("/v1/device/UPPER", 404), ("/v2", 404)]
    {
        assert_eq!(door.get(path, &token).await.status, status, "{path}");
    }
    assert_eq!(door.ask("POST", "/v1/device/a1", &token, &[], None).await.status, 405);
    assert_eq!(door.get("/v1/device?limit=many", &token).await.status, 400);
    let huge = json!({ "account": "acme", "label": "x".repeat(2_000_000) });
    assert_eq!(door.ask("PUT", "/v1/device/a1", &token, &[], Some(huge)).await.status, 413);
}

#[tokio::test]
async fn a_batch_is_one_edit() {
    let door = Door::new();
    let token = door.good("dora");
    let moved = |device: &str| json!({ "kind": "device", "name": device, "body": { "account": "bolt" } });
    let batch = async |edits: Value| {
        door.ask("POST", "/v1/edits", &token, &[], Some(json!({ "edits": edits }))).await
    };
    let refused =
        batch(json!([moved("a2"), moved("vendor.x"), { "kind": "device", "name": "zz", "body": null }]))
            .await;
    assert_eq!((refused.status, &refused.body["problems"][0]), (404, &json!("device `zz` is unknown")));
    assert_eq!(batch(json!([])).await.status, 422);
    assert_eq!(batch(json!([{ "kind": "galaxy", "name": "a", "body": null }])).await.status, 422);
    let done = batch(json!([moved("a2"), moved("vendor.x")])).await;
    assert_eq!(done.status, 200, "{:?}", done.body);
    assert_eq!(door.get("/v1/device/vendor.x", &token).await.body["body"]["account"], "bolt");
}

#[tokio::test]
async fn somebody_is_invited_sent_the_code_again_and_taken_back() {
    let door = Door::new();
    let (ada, bob) = (door.good("ada"), door.good("bob"));
    let ask = async |method: &str, path: &str, token: &str, body: Option<Value>| {
        let answer = door.ask(method, path, token, &[], body).await;
        (answer.status, answer.body)
    };
    let access =
        json!([{ "role": "machine-operator", "categories": ["screen"], "scope": { "device": "a1" } }]);
    let wanted =
        json!({ "user": "acme.jo", "label": "Jo", "access": access, "until": "2030-01-01T00:00:00Z" });
    let reads = door.token("ada", true, UnixTime::from_secs(NOW.as_secs() + 9));
    assert_eq!(ask("POST", "/v1/invitations", &reads, Some(wanted.clone())).await.0, 403);
    let (status, first) = ask("POST", "/v1/invitations", &ada, Some(wanted.clone())).await;
    assert_eq!((status, &first["user"], &first["account"]), (200, &json!("acme.jo"), &json!("vendor/acme")));
    assert!(first["code"].as_str().unwrap().starts_with("postern-") && first["revision"].is_i64(), "{first}");
    let (_, list) = ask("GET", "/v1/invitations", &ada, None).await;
    let one = &list["items"][0];
    assert_eq!((&one["user"], &one["state"], &one["by"]), (&json!("acme.jo"), &json!("open"), &json!("ada")));
    assert!(!list.to_string().contains("postern-"), "{list}");
    // Once more is a conflict of what is there by now; without it, it is a new code.
    assert_eq!(
        ask("POST", "/v1/invitations", &ada, Some(json!({ "user": "acme.jo", "account": "bolt" }))).await.0,
        409
    );
    let (status, again) = ask("POST", "/v1/invitations/acme.jo/resend", &ada, None).await;
    assert!(status == 200 && again["code"] != first["code"], "{again}");
    // Bob may not know of Jo: as if there were nobody of that name.
    for (method, path) in [("POST", "/v1/invitations/NAME/resend"), ("DELETE", "/v1/invitations/NAME")] {
        let (status, hidden) = ask(method, &path.replace("NAME", "acme.jo"), &bob, None).await;
        let (_, unknown) = ask(method, &path.replace("NAME", "acme.zz"), &bob, None).await;
        assert_eq!((status, hidden.to_string().replace("acme.jo", "acme.zz")), (404, unknown.to_string()));
    }
    assert_eq!(ask("GET", "/v1/invitations", &bob, None).await.1, json!({ "items": [] }));
    assert_eq!(ask("DELETE", "/v1/invitations/acme.jo", &ada, None).await.0, 200);
    assert_eq!(ask("DELETE", "/v1/invitations/acme.jo", &ada, None).await.0, 404);
    let (_, list) = ask("GET", "/v1/invitations", &ada, None).await;
    assert_eq!(list["items"][0]["state"], "none");
    for (wrong, status) in [
        (json!({ "user": "acme.x", "until": "tomorrow" }), 422),
        (json!({ "user": "acme.x", "good_for_s": 5 }), 422),
        (json!({ "user": "acme.x", "access": vec![json!({}); 17] }), 422),
        (json!({ "user": "acme.x", "access": [{ "role": "machine-operator", "group": "g" }] }), 422),
        (json!({ "user": "acme.x", "access": [{ "role": "machine-operator" }] }), 422),
        (json!({ "user": "x" }), 409),
        (json!({ "user": "wil" }), 409),
    ] {
        assert_eq!(ask("POST", "/v1/invitations", &ada, Some(wrong.clone())).await.0, status, "{wrong}");
    }
}

/// Ways in that are about no single kind of entity.
const OTHERS: [&str; 6] = [
    "/v1/history",
    "/v1/me",
    "/v1/edits",
    "/v1/invitations",
    "/v1/invitations/{user}",
    "/v1/invitations/{user}/resend",
];

#[tokio::test]
async fn the_history_is_read_page_by_page_by_whoever_may_audit_and_by_nobody_else() {
    let door = Door::new();
    let analyst = r#"
[user.ana]
account = "acme"
[assignment.ana]
user = "ana"
role = "data-analyst"
scope = { account = "acme" }
"#;
    door.office.extend(analyst, |tx, user| tx.restart_person(user, "a password's hash"));
    let wil = door.good("wil");
    let body = json!({ "account": "acme", "label": "Second" });
    assert_eq!(door.ask("PUT", "/v1/device/a2", &wil, &[], Some(body.clone())).await.status, 200);
    let ana = door.token("ana", true, UnixTime::from_secs(NOW.as_secs() + 1));
    let page = door.ask("GET", "/v1/history?kind=device&name=a2&limit=1", &ana, &[], None).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let change = &page.body["items"][0];
    assert_eq!(
        (&change["kind"], &change["name"], &change["by"], &change["by_operator"]),
        (&json!("device"), &json!("a2"), &json!("wil"), &json!(false))
    );
    assert_eq!((&change["before"], &change["after"]), (&json!({ "account": "acme" }), &body));
    let path = format!("/v1/history?kind=device&name=a2&after={}", page.body["next"].as_str().unwrap());
    let rest = door.ask("GET", &path, &ana, &[], None).await;
    assert_eq!((rest.body["items"].as_array().unwrap().len(), &rest.body["next"]), (1, &Value::Null));
    assert_eq!(
        (&rest.body["items"][0]["before"], &rest.body["items"][0]["by_operator"]),
        (&Value::Null, &json!(true))
    );
    let others = door.ask("GET", "/v1/history?kind=device&name=b1", &ana, &[], None).await;
    assert_eq!(others.body, json!({ "items": [], "next": null }));

    let refused = door.ask("GET", "/v1/history", &wil, &[], None).await;
    assert_eq!((refused.status, refused.kind.as_str()), (403, "application/problem+json"));
    assert_eq!(refused.body["problems"], json!(["account `acme`: this needs `audit.read` there"]));
    assert_eq!(door.ask("GET", "/v1/history", "", &[], None).await.status, 401);
    for wrong in ["limit=0", "limit=201", "after=yesterday", "kind=galaxy", "from=1"] {
        assert_eq!(
            door.ask("GET", &format!("/v1/history?{wrong}"), &ana, &[], None).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn the_document_describes_every_way_in_and_needs_no_token() {
    let door = Door::new();
    let answer = door.get("/v1/openapi.json", "").await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let paths: BTreeSet<&str> =
        answer.body["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let of_kinds =
        EntityKind::ALL.iter().flat_map(|kind| [format!("/v1/{kind}"), format!("/v1/{kind}/{{name}}")]);
    let expected: BTreeSet<String> = of_kinds.chain(OTHERS.map(str::to_owned)).collect();
    assert_eq!(paths, expected.iter().map(String::as_str).collect());
    assert_eq!(answer.body["security"], json!([{ "token": [] }]));
    let put = &answer.body["paths"]["/v1/user-group/{name}"]["put"];
    assert_eq!(put["operationId"], "put_user_group");
    let names: Vec<&Value> = put["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["name", "If-Match", "If-None-Match"]);
}

#[tokio::test]
async fn the_document_has_what_it_refers_to_and_refers_to_all_that_it_has() {
    let document = Door::new().get("/v1/openapi.json", "").await.body;
    let mut open = vec![&document];
    let mut meant = BTreeSet::new();
    while let Some(json) = open.pop() {
        if let Some(place) = json.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place}");
            meant.insert(place.rsplit_once('/').unwrap().1.to_owned());
        }
        match json {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    let there: BTreeSet<String> =
        document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(there.difference(&meant).collect::<Vec<_>>(), Vec::<&String>::new());
}
