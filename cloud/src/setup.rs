//! The first model of an installation, asked for question by question.
//!
//! 1. [`Interview::poll_question`] says what to ask next. What follows depends on what was answered before.
//! 2. [`Interview::handle_answer`] takes an answer, or says what is wrong with it; [`Interview::handle_back`] takes the last one back.
//! 3. When nothing is left to ask, [`Interview::poll_fleet`] yields a fleet file, which is read and judged as any other.
//!
//! Deliberately absent: terminals, files and the store, and whatever a fleet file can say beyond a first machine. The file is there to
//! be changed.

mod draft;
mod question;
#[cfg(test)]
mod tests;

use postern_protocol::name::NameFault;

use self::draft::Draft;
pub use self::question::{Question, Step, Way};

/// A conversation about the first model.
#[derive(Clone, Debug, Default)]
pub struct Interview {
    said: Vec<String>,
    draft: Draft,
}

impl Interview {
    /// What to ask next; none when all is said.
    #[must_use]
    pub fn poll_question(&self) -> Option<Question> {
        self.draft.next()
    }

    /// What an empty answer means, where it means something.
    #[must_use]
    pub fn presumption(&self) -> Option<String> {
        self.draft.presumption(self.poll_question()?)
    }

    /// Takes the answer to the question that is next. A refused one changes nothing.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn handle_answer(&mut self, line: &str) -> Result<(), AnswerFault> {
        let Some(question) = self.draft.next() else { return Ok(()) };
        let answer = match line.trim() {
            "" => self.draft.presumption(question).ok_or(AnswerFault::Needed)?,
            typed => typed.to_owned(),
        };
        self.draft.take(question, &answer)?;
        self.said.push(answer);
        Ok(())
    }

    /// Takes the last answer back; false when there is none.
    pub fn handle_back(&mut self) -> bool {
        if self.said.pop().is_none() {
            return false;
        }
        let said = std::mem::take(&mut self.said);
        self.draft = Draft::default();
        for answer in &said {
            // They were taken in this order before.
            let _same = self.handle_answer(answer);
        }
        true
    }

    /// The fleet file; none as long as there is something to ask.
    #[must_use]
    pub fn poll_fleet(&self) -> Option<String> {
        self.draft.fleet()
    }

    /// Who is to be invited.
    #[must_use]
    pub fn people(&self) -> Vec<String> {
        self.draft.people().into_iter().map(|(name, _)| name.to_string()).collect()
    }
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Nothing was typed, and nothing is presumed.
    #[error("this cannot be left empty; `?` says more")]
    Needed,
    /// It is no name.
    #[error("the name {found:?} {fault}")]
    Name {
        /// What was typed.
        found: String,
        /// The rule that it breaks.
        fault: NameFault,
    },
    /// The name is somebody else's.
    #[error("`{name}` is {whose} already; names are unique in an installation, so choose another one")]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        whose: &'static str,
    },
    /// It is none of the choices.
    #[error("{found:?} is not one of: {expected}")]
    Choice {
        /// What was typed.
        found: String,
        /// What can be.
        expected: String,
    },
    /// It is no span of time.
    #[error("{0:?} is no time; expected one such as `8h`, of one minute to thirty days, or `none`")]
    Span(String),
    /// It is no address and port.
    #[error("{0:?} is no address; expected one with its port, such as `192.168.10.20:5900`, or `none`")]
    Address(String),
    /// A fleet file could not say so.
    #[error("that cannot be: {0}")]
    Refused(String),
    /// The device would have nothing behind it.
    #[error("nothing would be left to reach on the device; name the address of at least one")]
    Nothing,
}
