//! Mail through the SMTP server of `mail.toml`, where there is one: the only file that knows SMTP.
//!
//! 1. [`Mailer::open`] reads the settings and refuses what cannot be meant, at the start and in words.
//! 2. A [`Letter`] has one recipient, a subject of one line, and plain text. Names of people and companies get into it; none of
//!    them can begin another header, or another line of the protocol.
//! 3. [`Mailer::send`] delivers one letter on a connection of its own, within [`PATIENCE`] in all, however slowly a server answers.
//! 4. [`Post`] delivers letters beside the work of a hub: a bounded number at a time, and of those that wait a bounded number too.
//!
//! Deliberately absent: a queue that survives. A letter that was not delivered is said to whoever asked for it, or logged.

mod settings;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::Semaphore;

use crate::chance;
use crate::fleet::Cut;
use crate::model::MailAddress;

pub use self::settings::SettingsError;
use self::settings::{Protection, Settings};

/// Delivers letters for one installation.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    server: String,
    link: Option<String>,
    approval_codes: bool,
}

/// What somebody gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    to: MailAddress,
    subject: String,
    text: String,
}

/// Why a letter was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A subject of several lines.
    #[error("the subject of a letter has a character that no line may have")]
    Subject,
    /// An address that no server takes.
    #[error("no letter can be written to `{0}`")]
    Address(MailAddress),
    /// Nobody answered in time.
    #[error("the mail server {server} did not take it within {} seconds", PATIENCE.as_secs())]
    Late {
        /// The server.
        server: String,
    },
    /// The server said no.
    #[error("the mail server {server} refused it: {said}")]
    Refused {
        /// The server.
        server: String,
        /// What it said.
        said: String,
    },
    /// It could not be reached, or not trusted.
    #[error("the mail server {server} could not be used: {why}")]
    Unusable {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
}

impl Mailer {
    /// The mailer of a state directory; none where nobody has configured one.
    ///
    /// # Errors
    /// A [`SettingsError`] with the key that is wrong.
    pub fn open(state: &Path) -> Result<Option<Self>, SettingsError> {
        Settings::read(state)?.map(Self::of).transpose()
    }

    fn of(settings: Settings) -> Result<Self, SettingsError> {
        let Settings { server, port, tls, user, from, authority, link, approval_codes } = settings;
        let tls = match tls {
            Protection::None => Tls::None,
            protection @ (Protection::Implicit | Protection::Starttls) => {
                let mut parameters = TlsParameters::builder(server.clone());
                if let Some(pem) = authority {
                    let certificate =
                        Certificate::from_pem(&pem).map_err(|error| SettingsError::authority(&error))?;
                    parameters = parameters.add_root_certificate(certificate);
                }
                let parameters = parameters.build().map_err(|error| SettingsError::authority(&error))?;
                if protection == Protection::Implicit {
                    Tls::Wrapper(parameters)
                } else {
                    Tls::Required(parameters)
                }
            }
        };
        let hello = ClientId::Domain(from.email.domain().to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server)
            .port(port)
            .tls(tls)
            .hello_name(hello)
            .timeout(Some(PATIENCE));
        if let Some((user, password)) = user {
            builder = builder
                .credentials(Credentials::new(user, password.to_string()))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(Self {
            transport: builder.build(),
            from,
            server: format!("{server}:{port}"),
            link,
            approval_codes,
        })
    }

    /// Where people reach the pages of the API, if somebody has said so: without a `/` at the end.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        self.link.as_deref()
    }

    /// Whether those who may decide on requests get codes by which they can.
    #[must_use]
    pub const fn sends_approval_codes(&self) -> bool {
        self.approval_codes
    }

    /// Delivers a letter.
    ///
    /// # Errors
    /// A [`SendError`]; then it was not delivered, or the server took it and its answer was lost.
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let message = self.message(letter)?;
        let server = || self.server.clone();
        let sent = tokio::time::timeout(PATIENCE, self.transport.send(message)).await;
        let Ok(sent) = sent else { return Err(SendError::Late { server: server() }) };
        sent.map(drop).map_err(|error| {
            // What a server says is text of somebody else.
            let said = Cut(&error.to_string()).to_string();
            if error.is_timeout() {
                SendError::Late { server: server() }
            } else if error.is_permanent() || error.is_transient() {
                SendError::Refused { server: server(), said }
            } else {
                SendError::Unusable { server: server(), why: said }
            }
        })
    }

    fn message(&self, letter: &Letter) -> Result<Message, SendError> {
        let unwritable = || SendError::Address(letter.to.clone());
        let to: Address = letter.to.as_str().parse().map_err(|_| unwritable())?;
        let id = data_encoding::HEXLOWER.encode(&chance::bytes::<16>());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.clone())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            // Answering machines shall not answer this (RFC 3834).
            .raw_header(auto_submitted())
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| unwritable())
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Letter {
    /// A letter.
    ///
    /// # Errors
    /// [`SendError::Subject`] for a subject with control characters: it could begin another header.
    pub fn new(to: MailAddress, subject: String, text: String) -> Result<Self, SendError> {
        if subject.chars().any(char::is_control) {
            return Err(SendError::Subject);
        }
        Ok(Self { to, subject, text })
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// To whom.
    #[must_use]
    pub const fn to(&self) -> &MailAddress {
        &self.to
    }
}

impl fmt::Debug for Letter {
    /// Without its text, which may hold a code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("to", &self.to).field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Delivers letters beside the work of a hub.
#[derive(Clone, Debug)]
pub struct Post {
    mailer: Arc<Mailer>,
    waiting: Arc<Semaphore>,
    under_way: Arc<Semaphore>,
}

impl Post {
    /// A post of a mailer.
    #[must_use]
    pub fn new(mailer: Mailer) -> Self {
        let (waiting, under_way) = (Arc::new(Semaphore::new(WAITING)), Arc::new(Semaphore::new(UNDER_WAY)));
        Self { mailer: Arc::new(mailer), waiting, under_way }
    }

    /// The mailer.
    #[must_use]
    pub fn mailer(&self) -> &Arc<Mailer> {
        &self.mailer
    }

    /// Delivers a letter soon, or logs that it was not. Whoever floods fills the places of those that wait, and nothing else.
    pub fn dispatch(&self, letter: Letter) {
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            tracing::warn!("a letter was not sent: too many wait");
            return;
        };
        let (mailer, under_way) = (Arc::clone(&self.mailer), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            let _place = place;
            let Ok(_turn) = under_way.acquire_owned().await else { return };
            if let Err(error) = mailer.send(&letter).await {
                tracing::warn!(%error, "a letter was not sent");
            }
        });
    }
}

fn auto_submitted() -> lettre::message::header::HeaderValue {
    let name = lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted");
    lettre::message::header::HeaderValue::new(name, "auto-generated".to_owned())
}

/// How long one letter may take in all.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Letters that wait for their turn, those under way included.
const WAITING: usize = 256;
/// Letters under way at once.
const UNDER_WAY: usize = 4;

#[cfg(test)]
mod tests;
