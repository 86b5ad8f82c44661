//! Progress on standard error: a spinner on a terminal, a line for each step elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows which step is under way.
#[derive(Debug)]
pub(super) struct Steps {
    spinner: Option<ProgressBar>,
}

impl Steps {
    pub(super) fn new(is_terminal: bool) -> Self {
        let spinner = is_terminal.then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        });
        Self { spinner }
    }

    /// Names the step that begins.
    pub(super) fn begin(&self, step: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(step.to_owned()),
            None => anstream::eprintln!("... {step}"),
        }
    }

    /// All steps are done: the spinner goes.
    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    /// The step that is under way will not be done: it stays readable.
    pub(super) fn abandon(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.abandon();
        }
    }
}
