//! `mail test`: whether letters leave.

use std::path::Path;

use serde_json::json;

use super::serve::runtime;
use super::{Answer, CommandError};
use crate::mail::{Letter, Mailer};
use crate::model::MailAddress;

pub(super) fn test(state: &Path, address: MailAddress) -> Result<Answer, CommandError> {
    let mailer = Mailer::open(state)?.ok_or(CommandError::NoMail)?;
    let text = "This is a test of the mail of Postern. Nothing has to be done.\n".to_owned();
    let letter = Letter::new(address, "A test of Postern's mail".to_owned(), text)?;
    runtime()?.block_on(mailer.send(&letter))?;
    let text = format!("The mail server took a letter to {}.\n", letter.to());
    Ok(Answer { text, json: json!({ "sent": true, "to": letter.to() }) })
}
