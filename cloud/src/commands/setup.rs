//! `setup`: a guided way from an empty installation to the first device.
//!
//! 1. Questions go to standard error and answers come line by line, from a terminal or a program.
//! 2. The fleet file that they make is shown with who would reach the device, and written when somebody agrees.
//! 3. It is applied as any other, and invitations and the device's code are made.

use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use console::style;
use serde_json::{Value, json};

use super::change::{Basis, Mode, Proposal};
use super::{Answer, CommandError, device, export, plan, review, user};
use crate::clock;
use crate::compile::{Roster, warnings};
use crate::fleet;
use crate::model::Model;
use crate::setup::{Interview, Step};

pub(super) fn run(state: &Path, output: &Path, json: bool) -> Result<Answer, CommandError> {
    let basis = Basis::load(state)?;
    let (users, devices) = (basis.model.users.len(), basis.model.devices.len());
    if *basis.model != Model::default() {
        return Err(CommandError::NotEmpty { users, devices });
    }
    // Before anybody answers twenty questions.
    if output.exists() {
        return Err(CommandError::Exists(output.to_owned()));
    }
    let mut screen = Screen;
    screen.say(INTRODUCTION)?;
    let mut interview = Interview::default();
    let (text, model) = loop {
        ask(&mut screen, &mut interview)?;
        let text = interview.poll_fleet().ok_or(CommandError::Unanswered)?;
        let refused = |complaints| CommandError::Fleet { file: output.to_owned(), complaints };
        let model = fleet::read(&text, &[]).map_err(refused)?;
        screen.say(&outlook(&model)?)?;
        screen.say(&format!(
            "\nWrite this to {} and apply it? yes, no, or `<` to change an answer. [yes]",
            output.display()
        ))?;
        match screen.line()?.as_str() {
            "" | "y" | "yes" => break (text, model),
            "<" => drop(interview.handle_back()),
            _ => return Err(CommandError::Declined),
        }
    };
    export::save(output, &text, false)?;
    let what = "setup".to_owned();
    let proposal = Proposal { model, what, preface: String::new(), question: None, json: Value::Null };
    let applied = basis.carry_out(state, &proposal, Mode { dry_run: false, yes: true, json })?;
    let mut answer = codes(state, &interview, &proposal.model)?;
    answer.text = format!("{} was written and applied.\n\n{}", output.display(), answer.text);
    if let Some(body) = answer.json.as_object_mut() {
        body.insert("file".to_owned(), json!(output));
        body.insert("change".to_owned(), applied.json);
    }
    Ok(answer)
}

/// Asks until nothing is left to ask.
fn ask(screen: &mut Screen, interview: &mut Interview) -> Result<(), CommandError> {
    let mut step: Option<Step> = None;
    while let Some(question) = interview.poll_question() {
        if step.replace(question.step()) != Some(question.step()) {
            screen.say(&format!("\n{}", style(question.step().heading()).for_stderr().bold()))?;
        }
        let presumed = interview.presumption().map(|presumed| format!(" [{presumed}]")).unwrap_or_default();
        screen.say(&format!("\n{}{presumed}", question.words()))?;
        match screen.line()?.as_str() {
            "?" => screen.say(question.help())?,
            "<" if interview.handle_back() => {}
            "<" => screen.say("This is the first question.")?,
            answer => {
                if let Err(fault) = interview.handle_answer(answer) {
                    screen.say(&style(fault).for_stderr().red().to_string())?;
                }
            }
        }
    }
    Ok(())
}

/// Who would reach the device, and what is odd about that.
fn outlook(model: &Model) -> Result<String, CommandError> {
    let mut text = String::new();
    for device in model.devices.keys() {
        let _infallible =
            write!(text, "\n{}", review::of_device(model, &Roster::default(), device, clock::now())?.text);
    }
    plan::write_warnings(&mut text, &warnings(model));
    Ok(text)
}

/// Invitations for everybody and the code of the device; commands to make them where nobody knows yet how the hub is reached.
fn codes(state: &Path, interview: &Interview, model: &Model) -> Result<Answer, CommandError> {
    let people = interview.people();
    let mut text = String::new();
    let (mut invitations, mut enrolments) = (Vec::new(), Vec::new());
    for name in &people {
        match user::invite(state, name) {
            Ok(answer) => {
                let _infallible = writeln!(text, "{}", answer.text);
                invitations.push(answer.json);
            }
            Err(CommandError::NoAddress) => return Ok(later(&people, model)),
            Err(error) => return Err(error),
        }
    }
    for name in model.devices.keys() {
        let answer = device::add(state, name.as_str(), false)?;
        text.push_str(&answer.text);
        enrolments.push(answer.json);
    }
    Ok(Answer {
        text,
        json: json!({ "applied": true, "invitations": invitations, "enrolments": enrolments }),
    })
}

fn later(people: &[String], model: &Model) -> Answer {
    let mut text = String::from(
        "It is not known yet where the hub is reached. Run `postern-cloud serve`, and then:\n\n",
    );
    for name in people {
        let _infallible = writeln!(text, "postern-cloud user invite {name}");
    }
    for name in model.devices.keys() {
        let _infallible = writeln!(text, "postern-cloud device add {name}");
    }
    Answer { text, json: json!({ "applied": true, "invitations": [], "enrolments": [] }) }
}

/// Where questions are asked.
struct Screen;

impl Screen {
    fn say(&mut self, text: &str) -> Result<(), CommandError> {
        let io = |error| CommandError::Io { what: "the terminal", error };
        writeln!(std::io::stderr().lock(), "{text}").map_err(io)
    }

    /// One answer.
    fn line(&mut self) -> Result<String, CommandError> {
        let io = |error| CommandError::Io { what: "the terminal", error };
        let mut err = std::io::stderr().lock();
        err.write_all(b"> ").and_then(|()| err.flush()).map_err(io)?;
        drop(err);
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line).map_err(io)? {
            0 => Err(CommandError::Unanswered),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

const INTRODUCTION: &str = "\
This asks who may reach what, for a first machine, and makes a fleet file of it. Nothing happens before you agree at the end.
An empty line takes what stands in brackets, `?` says more about a question, `<` goes back to the one before.";
