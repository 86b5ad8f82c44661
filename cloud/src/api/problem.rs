//! Refusals as problem details (RFC 9457), and the statuses that they have.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::administration::{Refused, Sort};
use crate::invitation::InvitationError;
use crate::store::StoreError;

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: Cow<'static, str>,
    lines: Vec<String>,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Details {
    /// The status of the answer.
    status: u16,
    /// What is wrong.
    title: Cow<'static, str>,
    /// Everything that is wrong, one after another, where it is several things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// How a request can end at which one only looks.
#[expect(dead_code, reason = "describes the answers in the document")]
#[derive(IntoResponses)]
pub(super) enum Unseen {
    /// The request cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(#[to_schema] Details),
    /// There is no token that is good.
    #[response(status = 401, content_type = "application/problem+json")]
    NoToken(#[to_schema] Details),
    /// It is not there, or may not be seen.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(#[to_schema] Details),
}

/// How a look can end that takes a permission of its own.
#[expect(dead_code, reason = "describes the answers in the document")]
#[derive(IntoResponses)]
pub(super) enum Unallowed {
    /// A permission is missing.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Details),
}

/// How an edit can end beside that.
#[expect(dead_code, reason = "describes the answers in the document")]
#[derive(IntoResponses)]
pub(super) enum Unmade {
    /// A permission is missing, or the token only reads.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Details),
    /// It does not fit the rest of the model, or the rule for names.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Details),
    /// Somebody has changed it since.
    #[response(status = 412, content_type = "application/problem+json")]
    Overtaken(#[to_schema] Details),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Details),
    /// The body is not said to be JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NoJson(#[to_schema] Details),
    /// The body cannot be read as what it should be.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Details),
}

impl Problem {
    pub(super) const NO_TOKEN: Self = Self::of(
        StatusCode::UNAUTHORIZED,
        "this needs a token that is good, as `Authorization: Bearer postern_...`; `postern-cloud token new` makes one",
    );
    pub(super) const READS_ONLY: Self = Self::of(StatusCode::FORBIDDEN, "this token only reads");
    pub(super) const NO_PAGE: Self =
        Self::of(StatusCode::NOT_FOUND, "there is nothing here; `/v1/openapi.json` says what there is");
    pub(super) const NO_METHOD: Self = Self::of(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method does nothing here; `/v1/openapi.json` says what does",
    );
    pub(super) const FAILED: Self =
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, "the hub could not do it; its log says why");
    pub(super) const BAD_VERSION: Self = Self::of(
        StatusCode::BAD_REQUEST,
        "`If-Match` takes the `ETag` of an earlier answer, and `If-None-Match` takes `*`",
    );
    /// A tag that nobody has handed out is one that nothing has (RFC 9110, section 13.1.1).
    pub(super) const NO_VERSION: Self = Self::of(
        StatusCode::PRECONDITION_FAILED,
        "nothing has the version of `If-Match`, which takes the `ETag` of an earlier answer",
    );

    pub(super) const NEVER: Self = Self::of(
        StatusCode::PRECONDITION_FAILED,
        "nothing has the version of `If-Match` and is absent, as `If-None-Match` demands; send one of them",
    );

    const fn of(status: StatusCode, title: &'static str) -> Self {
        Self { status, title: Cow::Borrowed(title), lines: Vec::new() }
    }

    /// A body whose parts are read and cannot be meant.
    pub(super) const fn unprocessable(why: String) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, title: Cow::Owned(why), lines: Vec::new() }
    }

    /// A request that cannot be read.
    pub(super) fn unreadable(status: StatusCode, why: String) -> Self {
        Self { status, title: Cow::Owned(why), lines: Vec::new() }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Refused::from(error).into()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        if refused.is_ours() {
            tracing::error!(error = %refused, "a request to the API failed");
            return Self::FAILED;
        }
        let lines = refused.lines();
        Self { status: status(refused.sort()), title: Cow::Owned(refused.to_string()), lines }
    }
}

impl From<InvitationError> for Problem {
    fn from(error: InvitationError) -> Self {
        if let InvitationError::Refused(refused) = error {
            return refused.into();
        }
        // Its user has no business here any more.
        if matches!(error, InvitationError::Absent(_)) {
            return Self::NO_TOKEN;
        }
        let sort = error.sort();
        if sort == Sort::Ours {
            tracing::error!(%error, "a request to the API failed");
            return Self::FAILED;
        }
        Self { status: status(sort), title: Cow::Owned(error.to_string()), lines: Vec::new() }
    }
}

const fn status(sort: Sort) -> StatusCode {
    match sort {
        Sort::Unknown => StatusCode::NOT_FOUND,
        Sort::Forbidden => StatusCode::FORBIDDEN,
        Sort::Overtaken => StatusCode::PRECONDITION_FAILED,
        Sort::Conflict => StatusCode::CONFLICT,
        Sort::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
        Sort::Ours => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, title, lines } = self;
        let details = Details { status: status.as_u16(), title, problems: lines };
        let mut response = (status, axum::Json(details)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
