//! The administration API over HTTP: the same edits as every other door, for programs.
//!
//! 1. A request brings a token (RFC 6750). Who it belongs to is looked up in the transaction that answers; a token that is
//!    unknown, over, or of a user who is disabled gets one and the same answer.
//! 2. What the user may see is shown, with a version (an entity tag, RFC 9110).
//! 3. What is edited goes through [`administration`](crate::administration): checked, judged, stored, signed, or refused with
//!    all reasons (RFC 9457).
//! 4. `/v1/openapi.json` describes all of it, made from the handlers and the reader of bodies themselves.
//!
//! Beside it is one page for people: `/approve/CODE`, behind the link of a letter, which needs no token.
//!
//! Deliberately absent: cookies, so no page in a browser can speak in somebody's name; and TLS: the listener is of this machine
//! alone, and a proxy that speaks TLS stands before it.

mod approve;
mod bearer;
mod document;
mod entities;
mod history;
mod invitations;
mod monitoring;
mod problem;
mod serving;
mod shapes;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use self::bearer::{Bearer, Scheme};
use self::problem::Problem;
use crate::mail::Post;
use crate::metrics;
use crate::news::News;
use crate::publish::Publisher;
use crate::store::{PersonState, Store, Token, Tx};

pub use self::bearer::{SECRET_BYTES, digest, spell};
pub(crate) use self::invitations::Invite;
pub use self::monitoring::monitoring;
pub use self::serving::serve;
pub(crate) use self::shapes::Batch;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Api {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    news: News,
    post: Option<Post>,
    metrics: Option<metrics::Shared>,
    clock: fn() -> UnixTime,
}

/// The document's frame; the paths come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postern administration",
        description = "Reads and edits the access model within the permissions of the token's user. \
                       Bodies of entities are in the notation of fleet files; docs/policy.md describes every key."
    ),
    modifiers(&Scheme),
    security(("token" = []))
)]
struct Document;

impl Api {
    /// An API over a store; `news` wakes the links of devices after an edit.
    #[must_use]
    pub const fn new(
        store: Arc<Store>,
        publisher: Arc<Publisher>,
        news: News,
        clock: fn() -> UnixTime,
    ) -> Self {
        Self { store, publisher, news, post: None, metrics: None, clock }
    }

    /// The same, with letters that leave by a post.
    #[must_use]
    pub fn with_post(self, post: Option<Post>) -> Self {
        Self { post, ..self }
    }

    /// The same, and its answers are counted there.
    #[must_use]
    pub fn counted(self, metrics: &metrics::Shared) -> Self {
        Self { metrics: Some(Arc::clone(metrics)), ..self }
    }

    /// Everything that can be asked.
    pub fn router(self) -> Router {
        let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
            .routes(routes!(entities::me))
            .routes(routes!(entities::list))
            .routes(routes!(entities::show, entities::put, entities::remove))
            .routes(routes!(entities::batch))
            .routes(routes!(history::history))
            .routes(routes!(invitations::invitations, invitations::invite))
            .routes(routes!(invitations::resend))
            .routes(routes!(invitations::revoke))
            .split_for_parts();
        let document = document::write(&document).to_string();
        let metrics = self.metrics.clone();
        let count = move |answer: Response| {
            if let Some(metrics) = &metrics {
                metrics.api(answer.status().as_u16());
            }
            std::future::ready(answer)
        };
        router
            .route(
                "/v1/openapi.json",
                get(move || async move { ([(CONTENT_TYPE, "application/json")], document) }),
            )
            .route("/approve/{code}", get(approve::show).post(approve::approve))
            .fallback(|| async { Problem::NO_PAGE })
            .method_not_allowed_fallback(|| async { Problem::NO_METHOD })
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(map_response(count))
            .with_state(self)
    }

    /// Answers from one state.
    async fn read<T: Send + 'static>(
        &self,
        bearer: Bearer,
        work: impl FnOnce(&Tx<'_>, &Name, UnixTime) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (store, now) = (Arc::clone(&self.store), (self.clock)());
        let answered = blocking(move || {
            let (answer, token) = store.read(|tx| {
                let token = admit(tx, &bearer, now)?;
                Ok::<_, Problem>((work(tx, &token.user, now)?, token))
            })?;
            if is_due(&token, now) {
                store.note(|tx| tx.use_token(token.number, now))?;
            }
            Ok(answer)
        });
        answered.await
    }

    /// Changes the state, and wakes the links.
    async fn write<T: Send + 'static>(
        &self,
        bearer: Bearer,
        work: impl FnOnce(&Tx<'_>, &Publisher, &Name, UnixTime) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (store, publisher, now) = (Arc::clone(&self.store), Arc::clone(&self.publisher), (self.clock)());
        let written = blocking(move || {
            store.write(|tx| {
                let token = admit(tx, &bearer, now)?;
                if token.reads_only {
                    return Err(Problem::READS_ONLY);
                }
                if is_due(&token, now) {
                    tx.use_token(token.number, now)?;
                }
                work(tx, &publisher, &token.user, now)
            })
        });
        let written = written.await?;
        self.news.publish();
        Ok(written)
    }
}

/// Whose request this is.
fn admit(tx: &Tx<'_>, bearer: &Bearer, now: UnixTime) -> Result<Token, Problem> {
    let token = tx.token(&bearer.0)?.filter(|token| now < token.expires).ok_or(Problem::NO_TOKEN)?;
    let person = tx.person(&token.user)?.ok_or(Problem::NO_TOKEN)?;
    match person.state() {
        PersonState::Active => Ok(token),
        // Who has not accepted has no rights yet, whoever made a token for them.
        PersonState::Invited | PersonState::Disabled => Err(Problem::NO_TOKEN),
    }
}

/// Whether the use of a token is to be noted: to the day, so that reading writes next to nothing.
fn is_due(token: &Token, now: UnixTime) -> bool {
    token.used.is_none_or(|used| used.saturating_add(DAY_S) <= now)
}

/// SQLite waits for its disk: on a thread where nobody else waits with it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::FAILED))
}

const DAY_S: u64 = 24 * 3600;
/// A body is at most this large: some thousand edits.
const BODY_BYTES: usize = limits::BODY_BYTES;
