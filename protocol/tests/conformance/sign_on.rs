//! Golden bytes of sign-ons with an identity provider.

use postern_protocol::limits;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only};
use postern_protocol::wire::sign_on::{
    SignOn, SignOnBegun, SignOnCode, SignOnId, SignOnPurpose, SignOnWay, Url,
};

use crate::messages::{HUB_ANSWER, HUB_REQUEST, hub_answer, hub_request};
use crate::samples::{ISSUED, Sample, name, plain, sealed_pass, table, text};

table!(SIGN_ON_PURPOSE, purpose, SignOnPurpose {
    SignOnPurpose::Login { .. } => "Login", "only: only";
    SignOnPurpose::Accept { .. } => "Accept", "secret: 16 bytes";
    SignOnPurpose::StepUp { .. } => "StepUp", "pass: bytes";
});
table!(SIGN_ON_WAY, way, SignOnWay {
    SignOnWay::Browser { .. } => "Browser", "port: u16";
    SignOnWay::Elsewhere => "Elsewhere", "";
});

const ID: SignOnId = SignOnId::new([0x51; 16]);

pub(crate) fn url() -> Url {
    Url::try_from("https://login.example.com/authorize?state=51515151".to_owned()).unwrap()
}

pub(crate) fn requests() -> Vec<Sample> {
    let ask = |name, note: &str, value: HubRequest| {
        plain::<_, { limits::FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_REQUEST,
            hub_request(&value),
            Some("hub_request"),
        )
    };
    let begin = |provider, purpose, way| HubRequest::BeginSignOn(SignOn { provider, purpose, way });
    let code = SignOnCode::try_from("SplxlOBeZQQYbYS6WxSbIA".to_owned()).unwrap();
    let finish = |issuer| HubRequest::FinishSignOn { id: ID, code: code.clone(), issuer };
    let browser = SignOnWay::Browser { port: 49_152 };
    let login = SignOnPurpose::Login { only: Only::default() };
    vec![
        ask("begin-sign-on", "To sign in, here.", begin(None, login.clone(), browser)),
        ask(
            "begin-sign-on-elsewhere",
            "With a browser elsewhere.",
            begin(Some(name("corp")), login, SignOnWay::Elsewhere),
        ),
        ask(
            "begin-sign-on-to-accept",
            "To accept an invitation.",
            begin(None, SignOnPurpose::Accept { secret: [0x5e; 16] }, browser),
        ),
        ask(
            "begin-sign-on-to-step-up",
            "With pass-envelope.",
            begin(None, SignOnPurpose::StepUp { pass: sealed_pass() }, browser),
        ),
        ask("finish-sign-on", "With the provider's code.", finish(None)),
        ask(
            "finish-sign-on-of-an-issuer",
            "And who it says that it is.",
            finish(Some(text("https://login.example.com"))),
        ),
        ask("await-sign-on", "Waits for a browser elsewhere.", HubRequest::AwaitSignOn { id: ID }),
    ]
}

pub(crate) fn answers() -> Vec<Sample> {
    let tell = |name, note: &str, code| {
        let begun = SignOnBegun {
            id: ID,
            provider: crate::samples::name("corp"),
            url: url(),
            code,
            port: 49_152,
            lapses: ISSUED,
        };
        let value = HubAnswer::SignOn(begun);
        plain::<_, { limits::LIST_FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_ANSWER,
            hub_answer(&value),
            Some("hub_answer"),
        )
    };
    vec![
        tell("sign-on", "Where the browser goes.", None),
        tell("sign-on-elsewhere", "And what is typed there.", Some(text("WDJB-MJHT"))),
    ]
}

pub(crate) fn parts() -> Vec<Sample> {
    let purposes = [
        (SignOnPurpose::Login { only: Only::default() }, "sign-on-purpose-login"),
        (SignOnPurpose::Accept { secret: [0x5e; 16] }, "sign-on-purpose-accept"),
        (SignOnPurpose::StepUp { pass: vec![1, 2, 3] }, "sign-on-purpose-step-up"),
    ];
    let ways = [
        (SignOnWay::Browser { port: 49_152 }, "sign-on-way-browser"),
        (SignOnWay::Elsewhere, "sign-on-way-elsewhere"),
    ];
    let mut samples = Vec::new();
    for (value, name) in purposes {
        let sample =
            plain::<_, 128>("hub", name, "What a sign-on is for; a pass is three bytes here.", &value);
        samples.push(sample.of(&SIGN_ON_PURPOSE, purpose(&value), None));
    }
    for (value, name) in ways {
        let sample = plain::<_, 8>("hub", name, "How a person gets to the provider.", &value);
        samples.push(sample.of(&SIGN_ON_WAY, way(&value), None));
    }
    samples
}
