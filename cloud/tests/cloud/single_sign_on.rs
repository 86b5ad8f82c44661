//! Sign-ons with an identity provider that says whatever a test wants it to say.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey as _};
use postern_cloud::sso::Providers;
use postern_cloud::store::Identity;
use postern_protocol::trust::{Factor, Method, Pass};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::sign_on::{SignOn, SignOnBegun, SignOnCode, SignOnId, SignOnPurpose, SignOnWay};
use postern_protocol::wire::text::Text;
use serde_json::{Value, json};

use crate::peers::{Caller, World, key, name, now};
use crate::sign_in::{PASSWORD, pass};

/// What the provider says when a code is traded.
#[derive(Clone)]
enum Said {
    /// An ID token.
    Token(String),
    Json(StatusCode, Value),
    Redirect,
    Huge,
    Garbage,
}

/// The provider, on loopback.
struct Provider {
    issuer: String,
    says: Arc<Mutex<Said>>,
    /// The heads and bodies of what was traded.
    traded: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

fn signer(seed: u8) -> CoreEdDsaPrivateSigningKey {
    // PKCS #8 of an Ed25519 seed (RFC 8410, section 7).
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([seed; 32]);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(&der));
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new("one".to_owned()))).unwrap()
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(&json!({ "alg": algorithm, "kid": "one", "typ": "JWT" })), part(claims))
}

fn signed(by: &CoreEdDsaPrivateSigningKey, claims: &Value) -> String {
    let text = unsigned("EdDSA", claims);
    let signature = by.sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(Said::Garbage));
        let traded = Arc::new(Mutex::new(Vec::new()));
        let document = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            // One that offers too much: what is not a signature is refused all the same.
            "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
        });
        let keys = json!({ "keys": [serde_json::to_value(signer(1).as_verification_key()).unwrap()] });
        let answered = |value: Value| move || async move { axum::Json(value) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(answered(document)))
            .route("/jwks", get(answered(keys)))
            .route("/token", post(trade))
            .with_state((Arc::clone(&says), Arc::clone(&traded)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, says, traded }
    }

    fn says(&self, said: Said) {
        *self.says.lock().unwrap() = said;
    }

    /// What a good token says: proved with two factors, a minute ago.
    fn claims(&self, begun: &SignOnBegun) -> Value {
        let at = now().as_secs();
        json!({
            "iss": self.issuer, "aud": "postern", "sub": "ida", "exp": at + 300, "iat": at, "auth_time": at - 60,
            "nonce": parameter(begun, "nonce"), "amr": ["pwd", "mfa"],
        })
    }
}

type Shared = (Arc<Mutex<Said>>, Arc<Mutex<Vec<(HeaderMap, String)>>>);

async fn trade(State((says, traded)): State<Shared>, head: HeaderMap, body: String) -> Response {
    traded.lock().unwrap().push((head, body));
    let said = says.lock().unwrap().clone();
    match said {
        Said::Token(token) => {
            axum::Json(json!({ "access_token": "x", "token_type": "bearer", "id_token": token }))
                .into_response()
        }
        Said::Json(status, value) => (status, axum::Json(value)).into_response(),
        Said::Redirect => Redirect::temporary("http://192.0.2.1/").into_response(),
        Said::Huge => ([(header::CONTENT_TYPE, "application/json")], Body::from(vec![b' '; 1024 * 1024]))
            .into_response(),
        Said::Garbage => (StatusCode::OK, "<html>").into_response(),
    }
}

fn parameter(begun: &SignOnBegun, name: &str) -> String {
    let query = begun.url.as_str().split_once('?').unwrap().1.to_owned();
    let pairs = openidconnect::url::form_urlencoded::parse(query.as_bytes()).into_owned();
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
}

struct Stage {
    world: World,
    provider: Provider,
}

impl Stage {
    async fn set() -> Self {
        let (world, provider) = (World::with_sample("direct-sales").await, Provider::start().await);
        std::fs::write(world.state.join("secret"), "s3cret").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(world.state.join("secret"), mode).unwrap();
        let text = format!(
            "[[provider]]\nname = \"corp\"\nissuer = \"{}\"\nclient_id = \"postern\"\nclient_secret_file = \"secret\"\n",
            provider.issuer
        );
        std::fs::write(world.state.join("sso.toml"), text).unwrap();
        world.hub.believe(Providers::read(&world.state).unwrap());
        Self { world, provider }
    }

    /// Otto has accepted an invitation with the identity `ida`.
    async fn joined(&self) -> (Caller, Pass) {
        let secret = self.world.invite(Invitee::User, "otto", 7, 60);
        let caller = self.world.dial(&key(10)).await;
        let begun = begin(&caller, SignOnPurpose::Accept { secret }).await;
        self.provider.says(Said::Token(signed(&signer(1), &self.provider.claims(&begun))));
        let answer = finish(&caller, begun.id, None).await;
        let pass = pass(&self.world, answer);
        (caller, pass)
    }

    fn has_key(&self, user: &str) -> bool {
        !self.world.read(|tx| tx.person_keys(&name(user))).is_empty()
    }
}

async fn ask_to_begin(caller: &Caller, purpose: SignOnPurpose) -> HubAnswer {
    let way = SignOnWay::Browser { port: 49_152 };
    caller.ask(&HubRequest::BeginSignOn(SignOn { provider: None, purpose, way })).await
}

async fn begin(caller: &Caller, purpose: SignOnPurpose) -> SignOnBegun {
    match ask_to_begin(caller, purpose).await {
        HubAnswer::SignOn(begun) => begun,
        other => panic!("{other:?}"),
    }
}

async fn finish(caller: &Caller, id: SignOnId, issuer: Option<&str>) -> HubAnswer {
    let code = SignOnCode::try_from("a-code".to_owned()).unwrap();
    caller.ask(&HubRequest::FinishSignOn { id, code, issuer: issuer.map(Text::clean) }).await
}

fn login() -> SignOnPurpose {
    SignOnPurpose::Login { only: Only::default() }
}

fn refused(refusal: Refusal) -> HubAnswer {
    HubAnswer::Refused(refusal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_a_pass_with_factors_as_old_as_it_says_and_the_code_is_traded_with_its_proof() {
    let stage = Stage::set().await;
    let (caller, accepted) = stage.joined().await;
    let methods = |pass: &Pass| pass.factors.iter().map(|factor| factor.method).collect::<Vec<_>>();
    assert_eq!(methods(&accepted), [Method::Federated, Method::FederatedSecond]);

    let begun = begin(&caller, login()).await;
    assert_eq!(
        (parameter(&begun, "state"), parameter(&begun, "max_age")),
        (begun.id.state(), "43200".to_owned())
    );
    let mut claims = stage.provider.claims(&begun);
    let at = postern_protocol::time::UnixTime::from_secs(claims["auth_time"].as_u64().unwrap());
    stage.provider.says(Said::Token(signed(&signer(1), &claims)));
    let issuer = stage.provider.issuer.clone();
    let got = pass(&stage.world, finish(&caller, begun.id, Some(&issuer)).await);
    let factor = |method| Factor { method, at };
    assert_eq!(got.factors, [factor(Method::Federated), factor(Method::FederatedSecond)]);
    assert_eq!(got.expires.secs_since(got.issued), 12 * 3600);

    // The hub proved that it is the one that asked (RFC 7636) and who it is.
    let (head, body) = stage.provider.traded.lock().unwrap().last().cloned().unwrap();
    let verifier = body.split('&').find_map(|pair| pair.strip_prefix("code_verifier=")).unwrap();
    let challenge = openidconnect::PkceCodeChallenge::from_code_verifier_sha256(
        &openidconnect::PkceCodeVerifier::new(verifier.to_owned()),
    );
    assert_eq!(challenge.as_str(), parameter(&begun, "code_challenge"));
    assert_eq!(head[header::AUTHORIZATION], format!("Basic {}", BASE64.encode(b"postern:s3cret")));

    // One factor there is one factor here.
    let begun = begin(&caller, login()).await;
    claims["nonce"] = json!(parameter(&begun, "nonce"));
    claims["amr"] = json!(["pwd"]);
    stage.provider.says(Said::Token(signed(&signer(1), &claims)));
    assert_eq!(methods(&pass(&stage.world, finish(&caller, begun.id, None).await)), [Method::Federated]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_the_providers_for_this_sign_on_lets_nobody_in() {
    let stage = Stage::set().await;
    let linked = Identity { issuer: stage.provider.issuer.clone(), subject: "ida".to_owned() };
    assert!(stage.world.store.write(|tx| tx.link(&name("otto"), &linked, now())).unwrap());
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 10] = [
        ("another nonce", |claims| claims["nonce"] = json!("x")),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("for somebody else", |claims| claims["aud"] = json!("another")),
        ("for us and somebody else", |claims| claims["aud"] = json!(["postern", "another"])),
        ("another issuer", |claims| claims["iss"] = json!("https://evil.example")),
        ("over", |claims| claims["exp"] = json!(now().as_secs() - 1)),
        ("no end", |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("no subject", |claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("proved too long ago", |claims| claims["auth_time"] = json!(now().as_secs() - 50_000)),
        ("proved tomorrow", |claims| claims["auth_time"] = json!(now().as_secs() + 86_400)),
    ];
    for (number, (what, change)) in changes.into_iter().enumerate() {
        let caller = stage.world.dial(&key(20 + u8::try_from(number).unwrap())).await;
        let begun = begin(&caller, login()).await;
        let mut claims = stage.provider.claims(&begun);
        change(&mut claims);
        stage.provider.says(Said::Token(signed(&signer(1), &claims)));
        assert_eq!(finish(&caller, begun.id, None).await, refused(Refusal::Provider), "{what}");
    }
    type Forge = fn(&Value) -> String;
    let forgeries: [(&str, Forge); 4] = [
        ("signed by somebody else", |claims| signed(&signer(2), claims)),
        ("not signed", |claims| format!("{}.", unsigned("none", claims))),
        ("with the client's secret", |claims| {
            let text = unsigned("HS256", claims);
            let code = CoreHmacKey::new("s3cret")
                .sign(&CoreJwsSigningAlgorithm::HmacSha256, text.as_bytes())
                .unwrap();
            format!("{text}.{}", BASE64URL_NOPAD.encode(&code))
        }),
        ("changed", |claims| {
            let token = signed(&signer(1), claims);
            let mut other = claims.clone();
            other["sub"] = json!("eva");
            format!("{}.{}", unsigned("EdDSA", &other), token.rsplit('.').next().unwrap())
        }),
    ];
    for (number, (what, forge)) in forgeries.into_iter().enumerate() {
        let caller = stage.world.dial(&key(40 + u8::try_from(number).unwrap())).await;
        let begun = begin(&caller, login()).await;
        stage.provider.says(Said::Token(forge(&stage.provider.claims(&begun))));
        assert_eq!(finish(&caller, begun.id, None).await, refused(Refusal::Provider), "{what}");
    }
    assert!(!stage.has_key("otto"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_provider_answers_instead_of_a_token_is_a_refusal() {
    let stage = Stage::set().await;
    let no = |status, value| Said::Json(status, value);
    let token = json!({ "access_token": "x", "token_type": "bearer" });
    for (number, (said, refusal)) in [
        (no(StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" })), Refusal::NotVouched),
        (no(StatusCode::OK, token), Refusal::Provider),
        (no(StatusCode::INTERNAL_SERVER_ERROR, json!({})), Refusal::Provider),
        (Said::Redirect, Refusal::Provider),
        (Said::Huge, Refusal::Provider),
        (Said::Garbage, Refusal::Provider),
    ]
    .into_iter()
    .enumerate()
    {
        let caller = stage.world.dial(&key(20 + u8::try_from(number).unwrap())).await;
        let begun = begin(&caller, login()).await;
        stage.provider.says(said);
        assert_eq!(finish(&caller, begun.id, None).await, refused(refusal), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_on_is_finished_once_by_who_began_it_with_an_answer_of_who_was_asked() {
    let stage = Stage::set().await;
    let (caller, _) = stage.joined().await;
    let begun = begin(&caller, login()).await;
    stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
    let thief = stage.world.dial(&key(30)).await;
    assert_eq!(finish(&thief, begun.id, None).await, refused(Refusal::SignOn));
    assert_eq!(caller.ask(&HubRequest::AwaitSignOn { id: begun.id }).await, refused(Refusal::SignOn));
    pass(&stage.world, finish(&caller, begun.id, None).await);
    assert_eq!(finish(&caller, begun.id, None).await, refused(Refusal::SignOn));

    let begun = begin(&caller, login()).await;
    stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
    let mixed_up = finish(&caller, begun.id, Some("https://other.example")).await;
    assert_eq!(mixed_up, refused(Refusal::Provider));

    // Nothing begins that could not end well.
    let way = SignOnWay::Elsewhere;
    let elsewhere = HubRequest::BeginSignOn(SignOn { provider: None, purpose: login(), way });
    let stranger = stage.world.dial(&key(31)).await;
    assert_eq!(stranger.ask(&elsewhere).await, refused(Refusal::NoProvider));
    let accept = SignOnPurpose::Accept { secret: [9; 16] };
    assert_eq!(ask_to_begin(&stranger, accept).await, refused(Refusal::Code));
    let step_up = SignOnPurpose::StepUp { pass: vec![1, 2, 3] };
    assert_eq!(ask_to_begin(&stranger, step_up).await, refused(Refusal::UnknownKey));
    let other =
        SignOn { provider: Some(name("other")), purpose: login(), way: SignOnWay::Browser { port: 1 } };
    assert_eq!(stranger.ask(&HubRequest::BeginSignOn(other)).await, refused(Refusal::NoProvider));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_takes_the_place_of_the_password_and_a_password_that_of_the_identity() {
    let stage = Stage::set().await;
    let before = stage.world.join("otto", 11, PASSWORD).await;
    let (caller, _) = stage.joined().await;
    // The key and the password of before are worth nothing.
    assert_eq!(before.ask(&HubRequest::ListDevices).await, refused(Refusal::UnknownKey));
    assert_eq!(caller.login("berg/acme", "otto", PASSWORD, None).await, refused(Refusal::Login));
    // Somebody else cannot take the identity along.
    let secret = stage.world.invite(Invitee::User, "eva", 8, 60);
    let eva = stage.world.dial(&key(12)).await;
    let begun = begin(&eva, SignOnPurpose::Accept { secret }).await;
    stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
    assert_eq!(finish(&eva, begun.id, None).await, refused(Refusal::Unlinkable));
    assert!(!stage.has_key("eva"));
    // A new password, and the identity is nobody's.
    stage.world.join("otto", 13, PASSWORD).await;
    let begun = begin(&caller, login()).await;
    stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
    assert_eq!(finish(&caller, begun.id, None).await, refused(Refusal::Unlinked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_up_takes_a_second_factor_of_this_moment_and_of_the_same_person() {
    let stage = Stage::set().await;
    let secret = stage.world.invite(Invitee::User, "otto", 7, 60);
    let caller = stage.world.dial(&key(10)).await;
    let begun = begin(&caller, SignOnPurpose::Accept { secret }).await;
    stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
    let HubAnswer::LoggedIn { pass: sealed, .. } = finish(&caller, begun.id, None).await else { panic!() };
    let step_up = async |change: fn(&mut Value)| {
        let begun = begin(&caller, SignOnPurpose::StepUp { pass: sealed.clone() }).await;
        assert_eq!(parameter(&begun, "prompt"), "login");
        let mut claims = stage.provider.claims(&begun);
        claims["auth_time"] = json!(now().as_secs());
        change(&mut claims);
        stage.provider.says(Said::Token(signed(&signer(1), &claims)));
        finish(&caller, begun.id, None).await
    };
    let old: fn(&mut Value) = |claims| claims["auth_time"] = json!(now().as_secs() - 400);
    assert_eq!(step_up(old).await, refused(Refusal::NoSecondFactor));
    assert_eq!(step_up(|claims| claims["amr"] = json!(["pwd"])).await, refused(Refusal::NoSecondFactor));
    assert_eq!(step_up(|claims| claims["sub"] = json!("eva")).await, refused(Refusal::Unlinked));
    let newer = pass(&stage.world, step_up(|_| ()).await);
    let methods: Vec<_> = newer.factors.iter().map(|factor| factor.method).collect();
    assert_eq!(methods, [Method::Federated, Method::FederatedSecond]);
    assert!(now().secs_since(newer.factors[1].at) < 60, "used now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_disabled_or_has_left_is_vouched_for_in_vain() {
    let stage = Stage::set().await;
    let (caller, _) = stage.joined().await;
    let sign_in = async || {
        let begun = begin(&caller, login()).await;
        stage.provider.says(Said::Token(signed(&signer(1), &stage.provider.claims(&begun))));
        finish(&caller, begun.id, None).await
    };
    let disable = |disabled| stage.world.store.write(|tx| tx.set_disabled(&name("otto"), disabled)).unwrap();
    assert!(disable(true));
    assert_eq!(sign_in().await, refused(Refusal::Unlinked));
    assert!(disable(false));
    pass(&stage.world, sign_in().await);
    stage.world.store.write(|tx| tx.forget_proofs(&name("otto"))).unwrap();
    assert_eq!(sign_in().await, refused(Refusal::Unlinked));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_token_is_a_pass_with_factors_as_old_as_it_says_and_the_code_is_traded_with_its_proof",
            a_token_is_a_pass_with_factors_as_old_as_it_says_and_the_code_is_traded_with_its_proof,
        ),
        (
            "a_token_that_is_not_the_providers_for_this_sign_on_lets_nobody_in",
            a_token_that_is_not_the_providers_for_this_sign_on_lets_nobody_in,
        ),
        (
            "whatever_a_provider_answers_instead_of_a_token_is_a_refusal",
            whatever_a_provider_answers_instead_of_a_token_is_a_refusal,
        ),
        (
            "a_sign_on_is_finished_once_by_who_began_it_with_an_answer_of_who_was_asked",
            a_sign_on_is_finished_once_by_who_began_it_with_an_answer_of_who_was_asked,
        ),
        (
            "an_identity_takes_the_place_of_the_password_and_a_password_that_of_the_identity",
            an_identity_takes_the_place_of_the_password_and_a_password_that_of_the_identity,
        ),
        (
            "a_step_up_takes_a_second_factor_of_this_moment_and_of_the_same_person",
            a_step_up_takes_a_second_factor_of_this_moment_and_of_the_same_person,
        ),
        (
            "who_is_disabled_or_has_left_is_vouched_for_in_vain",
            who_is_disabled_or_has_left_is_vouched_for_in_vain,
        ),
    ]);
}
