//! What is generated from the command line itself: completions and manual pages.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;
use crate::problem::Problem;

/// Prints the completions of `shell`.
pub(crate) fn print_completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "postern", &mut script);
    // A reader that closed the pipe has what it wanted.
    let _closed = std::io::stdout().write_all(&script);
    Exit::Done
}

/// Writes one page for the program and one for each command.
pub(crate) fn write_man_pages(dir: &Path) -> Result<Exit, Problem> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Args::command(), dir))
        .map_err(|error| Problem::file(dir, &error))?;
    Ok(Exit::Done)
}
