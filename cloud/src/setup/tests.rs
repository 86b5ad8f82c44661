use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use postern_protocol::time::UnixTime;

use super::*;
use crate::compile::Roster;
use crate::fleet;
use crate::model::Model;
use crate::review::{self, Standing};

/// Answers with which a maker services a press of a customer.
const ANSWERS: [&str; 17] = [
    "berg",
    "acme",
    "",
    "screen pages network",
    "",
    "",
    "",
    "",
    "",
    "eva max",
    "otto",
    "",
    "ada",
    "press-7",
    "192.168.10.20:5900",
    "192.168.10.20:80",
    "192.168.10.10:102",
];

fn answered(answers: &[&str]) -> Interview {
    let mut interview = Interview::default();
    for answer in answers {
        let question = interview.poll_question();
        assert_eq!(interview.handle_answer(answer), Ok(()), "{answer:?} to {question:?}");
    }
    interview
}

fn model(interview: &Interview) -> Model {
    let text = interview.poll_fleet().unwrap();
    fleet::read(&text, &[]).unwrap_or_else(|complaints| {
        let lines: Vec<String> = complaints.iter().map(|one| one.line("f")).collect();
        panic!("{}\n{text}", lines.join("\n"))
    })
}

/// Who gets what on the device, and whether that is open at this moment.
fn grants(model: &Model) -> Vec<(String, String, bool)> {
    let at = UnixTime::from_secs(1_800_000_000);
    let review = |device| review::of_device(model, &Roster::default(), device, at).unwrap();
    let all = model.devices.keys().flat_map(|device| review(device).grants);
    all.map(|one| (one.user.to_string(), one.service.to_string(), one.standing == Standing::Open)).collect()
}

fn row(user: &str, service: &str, open: bool) -> (String, String, bool) {
    (user.to_owned(), service.to_owned(), open)
}

#[test]
fn engineers_wait_for_a_case_operators_enter_and_nobody_gets_what_was_not_named() {
    let interview = answered(&ANSWERS);
    assert_eq!(interview.poll_question(), None);
    let model = model(&interview);
    let expected: Vec<_> = [
        ("eva", "hmi", false),
        ("eva", "plc", false),
        ("eva", "web", false),
        ("max", "hmi", false),
        ("max", "plc", false),
        ("max", "web", false),
        // Operators have no VPN, and whoever administrates users enters nothing.
        ("otto", "hmi", true),
        ("otto", "web", true),
    ]
    .map(|(user, service, open)| row(user, service, open))
    .into();
    assert_eq!(grants(&model), expected);
    assert_eq!(interview.people(), ["ada", "eva", "max", "otto"]);
    let engineer = &model.roles["engineer"];
    assert!(engineer.needs_case && engineer.second_factor_s == Some(8 * 3600) && !engineer.offline);
    assert_eq!(model.assignments["operators"].offline, Some(true));
}

#[test]
fn who_may_always_enter_does_and_who_needs_a_word_is_said_to_need_one() {
    let entering = |word: &'static str| {
        let mut answers = ANSWERS;
        answers[4] = word;
        grants(&model(&answered(&answers))).contains(&row("eva", "hmi", true))
    };
    assert!(entering("always") && !entering("approval") && !entering("case"));
}

#[test]
fn a_company_that_runs_its_machines_alone_is_not_asked_about_service_engineers() {
    let answers = ["none", "acme", "", "screen", "", "no", "otto", "", "press-7", "192.168.10.20:5900"];
    let interview = answered(&answers);
    let model = model(&interview);
    assert_eq!(grants(&model), [row("otto", "hmi", true)]);
    assert_eq!(model.accounts.len(), 1);
    assert_eq!(model.assignments["operators"].offline, Some(false));
}

#[test]
fn an_answer_that_cannot_be_says_why_and_changes_nothing() {
    let cases = [
        (0, "", "this cannot be left empty; `?` says more"),
        (
            0,
            "Berg",
            "the name \"Berg\" contains 'B'; only lower-case letters, digits, `-`, `_` and `.` are allowed",
        ),
        (
            1,
            "berg",
            "`berg` is the company that services machines already; names are unique in an installation, so choose another one",
        ),
        (3, "screen sound", "\"sound\" is not one of: screen pages live network"),
        (4, "never", "\"never\" is not one of: case approval always"),
        (5, "live", "\"live\" is not one of: screen pages network"),
        (
            6,
            "soon",
            "\"soon\" is no time; expected one such as `8h`, of one minute to thirty days, or `none`",
        ),
        (6, "1s", "\"1s\" is no time; expected one such as `8h`, of one minute to thirty days, or `none`"),
        (9, ",", "this cannot be left empty; `?` says more"),
        (
            10,
            "otto eva",
            "`eva` is a service engineer already; names are unique in an installation, so choose another one",
        ),
        (
            11,
            "otto",
            "`otto` is an operator of the other company already; names are unique in an installation, so choose another one",
        ),
        (
            12,
            "max",
            "`max` is a service engineer of the other company already; names are unique in an installation, so choose another one",
        ),
        (
            14,
            "panel",
            "\"panel\" is no address; expected one with its port, such as `192.168.10.20:5900`, or `none`",
        ),
    ];
    for (place, answer, said) in cases {
        let mut interview = answered(&ANSWERS[..place]);
        let (before, question) = (interview.draft.clone(), interview.poll_question());
        let fault = interview.handle_answer(answer).unwrap_err();
        assert_eq!(fault.to_string(), said);
        assert_eq!((interview.draft, interview.said.len()), (before, place), "{question:?}");
    }
}

#[test]
fn an_address_that_no_device_dials_is_refused_with_the_words_of_a_fleet_file() {
    let mut interview = answered(&ANSWERS[..14]);
    let fault = interview.handle_answer("0.0.0.0:5900").unwrap_err();
    assert!(matches!(&fault, AnswerFault::Refused(said) if said.contains("0.0.0.0")), "{fault}");
}

#[test]
fn something_has_to_be_behind_the_device() {
    let mut interview = answered(&ANSWERS[..14]);
    assert_eq!(interview.handle_answer("none"), Ok(()));
    assert_eq!(interview.handle_answer("none"), Ok(()));
    assert_eq!(interview.handle_answer("none"), Err(AnswerFault::Nothing));
    assert_eq!(interview.handle_answer("192.168.10.10:102"), Ok(()));
    let services: Vec<_> =
        model(&interview).devices["press-7"].services.keys().map(ToString::to_string).collect();
    assert_eq!(services, ["plc"]);
}

#[test]
fn whoever_goes_back_is_asked_the_same_again_until_the_first_question() {
    let mut interview = answered(&ANSWERS);
    let asked: Vec<_> = (0..ANSWERS.len()).map(|count| answered(&ANSWERS[..count]).poll_question()).collect();
    for question in asked.iter().rev() {
        assert!(interview.handle_back());
        assert_eq!(interview.poll_question(), *question);
    }
    assert!(!interview.handle_back());
    assert_eq!(interview.draft, Draft::default());
}

prop_compose! {
    fn answers()(
        provider in select(vec!["none", "berg", "b.1"]),
        customer in select(vec!["acme", "a.b"]),
        ways in subsequence(vec!["screen", "pages", "live", "network"], 1..=4),
        entry in select(vec!["case", "approval", "always"]),
        factor in select(vec!["none", "8h", "90m", "PT1H30M", "30d", "1m1s"]),
        offline in select(vec!["yes", "no"]),
        device in select(vec!["press-7", "line.2"]),
    ) -> Vec<String> {
        let ways: BTreeSet<&str> = ways.into_iter().collect();
        let all = ways.iter().copied().collect::<Vec<_>>().join(", ");
        let engineers: &[&str] = if provider == "none" { &[] } else { &[entry, "", factor] };
        let mut said = vec![provider, customer, "", &all];
        said.extend(engineers);
        said.extend(["", offline]);
        said.extend((provider != "none").then_some("e.1 max"));
        said.push("otto");
        said.extend((provider != "none").then_some(""));
        said.extend(["", device]);
        said.extend(ways.iter().map(|_| "10.0.0.7:4000"));
        said.into_iter().map(str::to_owned).collect()
    }
}

proptest! {
    #[test]
    fn whatever_is_answered_makes_a_fleet_file_that_is_sound_and_leaves_no_company_without_administrator(said in answers()) {
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        let interview = answered(&said);
        prop_assert_eq!(interview.poll_question(), None);
        let model = model(&interview);
        let bereft = Model::default().bereft_in(&model, UnixTime::from_secs(1_800_000_000));
        prop_assert!(bereft.is_empty(), "{:?}", bereft);
        prop_assert!(!grants(&model).is_empty());
    }
}
