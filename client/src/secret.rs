//! Asks for passwords and one-time codes without showing them.
//!
//! Deliberately absent: passwords as arguments, because every user of a computer can read the arguments of every
//! program. One-time codes may be arguments: they are worthless a minute later. Invitation codes may be, because a
//! code is good once; whoever shares the computer with others gives `-` and is asked.

use std::io::{self, BufRead as _, Read as _};

use zeroize::Zeroizing;

use postern_protocol::wire::hub::{Password, PasswordFault};

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// There is nobody to ask.
    #[error("there is no terminal to ask for the {0}")]
    NoTerminal(&'static str),
    /// Standard input gave nothing.
    #[error("the password could not be read from standard input: {0}")]
    Input(#[source] io::Error),
    /// Empty or too long.
    #[error(transparent)]
    Length(#[from] PasswordFault),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Typed differently the second time.
    #[error("the two passwords differ")]
    Differ,
}

/// The present password.
pub(crate) fn read_password(from_stdin: bool) -> Result<Password, SecretError> {
    if from_stdin { first_line() } else { ask("Password: ", "password") }
}

/// A new password, typed twice at a terminal.
pub(crate) fn choose_password(from_stdin: bool) -> Result<Password, SecretError> {
    if from_stdin {
        return first_line();
    }
    let first = ask("Choose a password (at least 10 characters): ", "password")?;
    let second = ask("The same again: ", "password")?;
    if first == second { Ok(first) } else { Err(SecretError::Differ) }
}

/// An invitation code; from standard input it is the line before the password.
pub(crate) fn read_code(from_stdin: bool) -> Result<Zeroizing<String>, SecretError> {
    if from_stdin {
        return line();
    }
    let typed = rpassword::prompt_password("Invitation code: ");
    Ok(Zeroizing::new(typed.map_err(|error| unanswered(&error, "invitation code"))?))
}

/// A one-time code that was given, or the one that is asked for now.
pub(crate) fn read_otp(given: &str) -> Result<Password, SecretError> {
    if given.is_empty() {
        return ask("One-time code: ", "one-time code");
    }
    // Apps show codes in groups.
    let digits: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    Ok(Password::try_from(digits)?)
}

/// Asks for a one-time code that may be left out.
pub(crate) fn offer_otp() -> Result<Option<Password>, SecretError> {
    match ask("One-time code (Enter for none): ", "one-time code") {
        Ok(code) => Ok(Some(code)),
        Err(SecretError::Length(_)) => Ok(None),
        Err(
            error @ (SecretError::NoTerminal(_)
            | SecretError::Input(_)
            | SecretError::Interrupted
            | SecretError::Differ),
        ) => Err(error),
    }
}

fn ask(prompt: &str, what: &'static str) -> Result<Password, SecretError> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| unanswered(&error, what))?;
    Ok(Password::try_from(typed)?)
}

fn unanswered(error: &io::Error, what: &'static str) -> SecretError {
    if error.kind() == io::ErrorKind::Interrupted {
        SecretError::Interrupted
    } else {
        SecretError::NoTerminal(what)
    }
}

fn first_line() -> Result<Password, SecretError> {
    Ok(Password::try_from(line()?.trim_end_matches(['\r', '\n']).to_owned())?)
}

fn line() -> Result<Zeroizing<String>, SecretError> {
    let mut line = Zeroizing::new(String::new());
    // Not more than any code or password needs: the other end may be anything.
    io::stdin().lock().take(LINE_BYTES).read_line(&mut line).map_err(SecretError::Input)?;
    Ok(line)
}

/// Longer than any code or password.
const LINE_BYTES: u64 = 4096;
