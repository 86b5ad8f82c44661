//! Serves the API on a listener, within bounds: connections, time for the head of a request, time in all.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Beyond the bound they wait in the kernel's queue, and who holds a place loses it in time.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the API was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
            let served = tokio::time::timeout(IN_ALL, http.serve_connection(TokioIo::new(stream), service));
            if let Ok(Err(error)) = served.await {
                tracing::debug!(%error, "a connection to the API ended");
            }
        });
    }
}

/// Connections at once.
const CONNECTIONS: usize = 64;
/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(10);
/// Of a connection: a body that comes byte by byte does not hold a place for ever.
const IN_ALL: Duration = Duration::from_secs(120);
/// The head of a request.
const HEAD_BYTES: usize = 32 * 1024;
/// After a failure of the system, such as no more files.
const PAUSE: Duration = Duration::from_millis(200);
