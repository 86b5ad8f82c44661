//! Ctrl-C while a person may be asked something.
//!
//! 1. The signal is caught from the beginning: at a prompt it would end the program before the terminal echoes again.
//! 2. At a prompt, the prompt itself gives the terminal back and ends with an error.
//! 3. Anywhere else the work is dropped.
//!
//! Deliberately absent: other signals, which end the program as everywhere.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::problem::Problem;

/// Does something that may ask a person, unless Ctrl-C comes first.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let mut keys = pin!(tokio::signal::ctrl_c());
    // The signal is caught from the first poll on, and prompts block the poll in which they are shown.
    let early = poll_fn(|context| Poll::Ready(keys.as_mut().poll(context))).await;
    if early.is_ready() {
        // Without signal handling the system ends the program by itself.
        return work.await;
    }
    tokio::select! {
        biased;
        outcome = work => outcome,
        _pressed = &mut keys => Err(Problem::interrupted()),
    }
}
