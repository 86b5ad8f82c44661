//! What an operator's programs ask: numbers, whether this process lives, and whether it serves.
//!
//! Served on a listener of its own, within the bounds of the API's ([`serve`](super::serve)). It tells nothing of anybody, changes
//! nothing and asks for no token; who may read it is decided by where it listens.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::health::Health;
use crate::metrics::{self, Metrics};

/// `/metrics`, `/healthz` and `/readyz`.
pub fn monitoring(metrics: metrics::Shared, health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(numbers).with_state(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness).with_state(health))
}

async fn numbers(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn readiness(State(health): State<Arc<Health>>) -> Response {
    match health.readiness().await {
        Ok(()) => "ready\n".into_response(),
        Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unready}\n")).into_response(),
    }
}
