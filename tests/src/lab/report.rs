//! Prints what happened, and what to try by hand.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::json;

use super::attempt::Attempt;
use super::cut::Cut;
use super::stage::Stage;
use crate::world::{DEVICE, Person};

/// The outcome of the whole play.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) attempts: Vec<Attempt>,
    pub(super) cut: Cut,
}

impl Report {
    /// Whether everything came out as the fleet says, and the cut was in time.
    pub(super) fn is_as_expected(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.allowed == attempt.expected) && self.cut.is_in_time()
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> serde_json::Value {
        json!({ "attempts": self.attempts, "cut": self.cut, "as_expected": self.is_as_expected() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED.with_rounded_corners())
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH)
            .set_header(["who", "service", "", "why, or what was seen"]);
        let mut above = "";
        for attempt in &self.attempts {
            let mut verdict = if attempt.allowed { "✔ allowed" } else { "✘ refused" }.to_owned();
            if attempt.allowed != attempt.expected {
                verdict.push_str(" (UNEXPECTED)");
            }
            let told = if attempt.allowed { attempt.seen.as_str() } else { in_short(&attempt.why) };
            let who = format!("{}, {}", attempt.who, attempt.part);
            let who = if attempt.who == above { String::new() } else { who };
            above = attempt.who;
            table.add_row([who.as_str(), attempt.service, verdict.as_str(), told]);
        }
        let Cut { who, service, bytes, told, .. } = &self.cut;
        writeln!(f, "\nWho reached what on `{DEVICE}`, decided on the device:\n{table}\n")?;
        writeln!(f, "Then the fleet lost {who}'s right to `{service}` while its picture streamed")?;
        writeln!(f, "({} MB until then):", bytes / 1_000_000)?;
        writeln!(f, "  new policy in force -> last byte   {:>5} ms", self.cut.activation_to_last_byte_ms)?;
        writeln!(f, "  `apply` started     -> last byte   {:>5} ms", self.cut.apply_to_last_byte_ms)?;
        writeln!(f, "  {who} was told: {told}")
    }
}

/// The product's words without what the other columns say, and without who can change it.
fn in_short(why: &str) -> &str {
    let why = why.split_once(" (who can change it").map_or(why, |(why, _)| why);
    why.split_once(": ").map_or(why, |(_, why)| why)
}

/// The commands to try by hand.
pub(super) fn by_hand(stage: &Stage) -> String {
    let world = &stage.world;
    let home = |person: &Person| format!("POSTERN_HOME={}", person.home().display());
    let agent = format!("postern-agent --config {}", world.device.config().display());
    let cloud = format!("--state {}", world.hub.state_dir().display());
    let mut lines = vec![
        "\nIt stays up. Paste this into another terminal:".to_owned(),
        format!("  export PATH={}:$PATH", world.shelf().dir().display()),
        "and try:".to_owned(),
    ];
    for ((member, person), service) in stage.people.iter().zip(["hmi", "web", "hmi"]) {
        lines.push(format!("  # {}, {}", member.name, member.part));
        lines.push(format!("  {} postern services {DEVICE}", home(person)));
        lines.push(format!("  {} postern connect {DEVICE} {service} --open", home(person)));
    }
    lines.push("  # at the device".to_owned());
    for command in ["status", "sessions", "policy show", "audit list", "audit verify"] {
        lines.push(format!("  {agent} {command}"));
    }
    lines.push("  # at the hub".to_owned());
    if let Some((member, _)) = stage.people.first() {
        lines.push(format!("  postern-cloud explain {} {DEVICE} web {cloud}", member.name));
    }
    lines.push(format!("  postern-cloud device list {cloud}"));
    lines.push(format!(
        "The press itself, past the gate: http://{}/ (in a factory nobody outside gets there).",
        stage.press.web
    ));
    lines.push("Ctrl-C ends everything and removes its files.\n".to_owned());
    lines.join("\n")
}

/// Columns of the table: what a terminal of today shows without wrapping.
const WIDTH: u16 = 118;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shortened_to_what_and_what_next() {
        assert_eq!(
            in_short("press-7/web: not granted; ask (who can change it: your boss)"),
            "not granted; ask"
        );
        assert_eq!(in_short("no device `x` is among yours"), "no device `x` is among yours");
    }
}
