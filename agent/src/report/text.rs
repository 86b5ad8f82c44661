//! Reports as text: aligned columns without frames, so that they read well and can be cut by other programs.

use postern_protocol::audit::AuditLine;
use postern_protocol::path::Peer;
use postern_protocol::policy::Mode;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::LockTarget;

use super::{
    AlarmReport, ApprovalReport, FreshnessReport, GrantReport, Measure, PolicyReport, ProhibitionReport,
    RootReport, SandboxReport, SelfTestReport, SessionReport, StatusReport, Verdict,
};
use crate::secrets::{SecretReport, Source, Wanting};

/// A report that can be shown to people.
pub(crate) trait Shown {
    /// The text, with a line break at its end.
    fn text(&self) -> String;
}

impl Shown for StatusReport {
    fn text(&self) -> String {
        let RootReport { version, epoch, expires, expired } = self.root;
        let state = if expired { "out of date: everything is denied" } else { "in force" };
        let root = format!("version {version} (epoch {epoch}), {state}, until {}", time(expires));
        let policy = match &self.policy {
            None => "none: everything is denied".to_owned(),
            Some(policy) => summary(policy),
        };
        let locked: Vec<String> = self.locks.iter().map(lock).collect();
        let locks = if locked.is_empty() { "none".to_owned() } else { locked.join(", ") };
        let link = match (self.hub.zip(self.hub_path), &self.link_error) {
            (Some((addr, path)), _) => format!("up, hub {}", Peer { addr, path }),
            (None, Some(error)) => format!("down: {error}"),
            (None, None) => "down: not tried yet".to_owned(),
        };
        let audit = format!(
            "{} of {} KiB ({} %), {} rows not acknowledged by the cloud",
            self.audit.used_kib, self.audit.limit_kib, self.audit.percent, self.audit.waiting
        );
        let now = time(self.clock.now);
        let source =
            if self.clock.attested { "attested" } else { "at least; nobody has said what time it is" };
        let clock = if self.clock.is_wall_far_off() {
            format!("{now} ({source}; the system's clock says {})", time(self.clock.wall))
        } else {
            format!("{now} ({source})")
        };
        let key = match &self.next_fingerprint {
            Some(next) => format!("{} (next: {next})", self.fingerprint),
            None => self.fingerprint.clone(),
        };
        let mut text = pairs(&[
            ("device", self.device.to_string()),
            ("key", key),
            ("agent", format!("{}, up {} s, start {}", self.agent, self.uptime_s, self.boots)),
            ("listening", self.listening.to_string()),
            ("self-test", self_test(&self.self_test)),
            ("sandbox", sandbox(&self.sandbox)),
            ("root", root),
            ("policy", policy),
            ("locks", locks),
            ("link", link),
            ("tunnels", self.tunnels.to_string()),
            ("audit", audit),
            ("freshness", freshness(&self.freshness)),
            ("clock", clock),
        ]);
        for opened in &self.tls_opened {
            text.push_str(&format!("warning    {opened}\n"));
        }
        for Wanting { name, services, problem } in &self.wanting {
            let services: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
            let services = services.join(", ");
            text.push_str(&format!(
                "wanting    {problem}; {services} cannot be entered: `postern-agent secret set {name}` here, or `postern-cloud \
                 secret set` in the cloud\n"
            ));
        }
        for AlarmReport { at, kind, detail } in &self.alarms {
            text.push_str(&format!("alarm      {} {}: {detail}\n", time(*at), kind.word()));
        }
        text
    }
}

/// What the agent has given up, and what the kernel did not let it.
pub(crate) fn sandbox(report: &SandboxReport) -> String {
    let word = |Measure { what, holds, why, how }: &Measure| match (holds, why.as_ref().or(how.as_ref())) {
        (true, Some(how)) => format!("{what} ({how})"),
        (true, None) => what.clone(),
        (false, Some(why)) => format!("NOT {what} ({why})"),
        (false, None) => format!("NOT {what}"),
    };
    report.measures.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn self_test(report: &SelfTestReport) -> String {
    match (report.passed, &report.fault) {
        (true, _) => format!("passed, {} refused", report.refused),
        (false, Some(fault)) => format!("FAILED, nobody is served: {fault}"),
        (false, None) => "not yet".to_owned(),
    }
}

impl Shown for PolicyReport {
    fn text(&self) -> String {
        let mut text = pairs(&[
            ("policy", summary(self)),
            ("fleet", self.fleet.to_string()),
            ("digest", self.digest.clone()),
            ("signed", time(self.issued)),
            ("users", self.users.to_string()),
            ("grants", self.grants.to_string()),
            ("prohibited", self.prohibitions.to_string()),
            ("cases", self.cases.to_string()),
        ]);
        text.push('\n');
        let mut rows =
            vec![["SERVICE", "KIND", "TARGET", "TUNNELS", "IDLE", "DURATION", "MODE"].map(String::from)];
        rows.extend(self.services.iter().map(|service| {
            [
                service.name.clone(),
                service.kind.word().to_owned(),
                service.target.map_or_else(|| service.destinations.join(", "), |target| target.to_string()),
                service.tunnels.to_string(),
                format!("{} s", service.idle_s),
                format!("{} s", service.duration_s),
                if service.view_only { Mode::ViewOnly.to_string() } else { String::new() },
            ]
        }));
        text.push_str(&table(&rows));
        text.push('\n');
        let mut rows = vec![["CATEGORY", "SERVICES"].map(String::from)];
        rows.extend(
            self.categories.iter().map(|category| [category.name.clone(), category.services.join(" ")]),
        );
        text.push_str(&table(&rows));
        text
    }
}

impl Shown for Vec<SessionReport> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "no tunnel is open\n".to_owned();
        }
        let header = [
            "TUNNEL",
            "USER",
            "SERVICE",
            "KIND",
            "MODE",
            "FROM",
            "SINCE",
            "UNTIL",
            "TO MACHINE",
            "TO CLIENT",
        ];
        let mut rows = vec![header.map(String::from)];
        rows.extend(self.iter().map(|session| {
            [
                session.tunnel.to_string(),
                session.user.to_string(),
                session.service.clone(),
                session.kind.word().to_owned(),
                session.mode.to_string(),
                Peer { addr: session.peer, path: session.path }.to_string(),
                time(session.since),
                time(session.until),
                session.to_machine.to_string(),
                session.to_client.to_string(),
            ]
        }));
        table(&rows)
    }
}

impl Shown for Verdict {
    fn text(&self) -> String {
        let mut text = match (&self.reason, &self.why, &self.next_step, &self.lifted_by) {
            (Some(reason), Some(why), Some(next), Some(lifter)) => {
                format!("denied ({reason}): {why}; {next} (can be lifted by: {lifter})\n")
            }
            (_, _, _, _) => {
                let mode = self.mode.and_then(Mode::remark).map(|mode| format!(" {mode}"));
                let until = self.until.map(|until| format!(" until {}", time(until)));
                format!("permitted{}{}\n", mode.unwrap_or_default(), until.unwrap_or_default())
            }
        };
        for target in &self.locks {
            text.push_str(&format!("! {} is locked until a policy lifts it\n", lock(target)));
        }
        for prohibition in &self.prohibitions {
            text.push_str(&refusal(prohibition));
        }
        for grant in &self.grants {
            text.push_str(&chain(grant));
        }
        text
    }
}

impl Shown for Vec<AuditLine> {
    fn text(&self) -> String {
        let mut rows =
            vec![["SEQ", "TIME", "EVENT", "USER", "SERVICE", "REASON", "DETAILS"].map(String::from)];
        rows.extend(self.iter().map(|line| {
            [
                line.seq.to_string(),
                time(line.at()),
                line.event.clone(),
                line.user.map(|user| user.to_string()).unwrap_or_default(),
                line.service.clone().unwrap_or_default(),
                line.reason.clone().unwrap_or_default(),
                line.details(),
            ]
        }));
        table(&rows)
    }
}

/// What is locked, as a noun.
fn lock(target: &LockTarget) -> String {
    match target {
        LockTarget::Device => "the whole device".to_owned(),
        LockTarget::User(user) => format!("user {user}"),
        LockTarget::Category(category) => format!("category `{category}`"),
    }
}

/// One grant in words: whence, to what, under which conditions, and whether they hold.
fn chain(grant: &GrantReport) -> String {
    let mark = if grant.used { "*" } else { " " };
    let mut conditions = window(grant.not_before, grant.not_after);
    if let Some(age) = grant.second_factor_s {
        conditions.push_str(&format!(", needs a second factor not older than {}", span(age)));
    }
    match (&grant.case, grant.needs_case) {
        (Some(case), _) => conditions.push_str(&format!(", by service case `{case}`")),
        (None, true) => conditions.push_str(", needs an active service case"),
        (None, false) => {}
    }
    match (&grant.approval, grant.needs_approval) {
        (Some(ApprovalReport { id, mode, until }), _) => {
            let (mode, until) = (mode.remark().map(|mode| format!(" {mode}")), time(*until));
            conditions.push_str(&format!(", approved{} until {until} ({id})", mode.unwrap_or_default()));
        }
        (None, true) => conditions.push_str(", needs an approval"),
        (None, false) => {}
    }
    if let Some(mode) = grant.mode.remark() {
        conditions.push_str(&format!(", {mode}"));
    }
    if grant.record {
        conditions.push_str(", recorded");
    }
    if grant.offline_ok {
        conditions.push_str(", also without the cloud");
    }
    let verdict = grant.fails.as_ref().map_or("holds".to_owned(), |reason| format!("fails: {reason}"));
    format!("{mark} {} grants category `{}`{conditions}: {verdict}\n", grant.origin, grant.category)
}

/// One prohibition in words.
fn refusal(prohibition: &ProhibitionReport) -> String {
    let ProhibitionReport { path, in_force, origin, category, not_before, not_after } = prohibition;
    let window = window(*not_before, *not_after);
    let what =
        path.as_ref().map_or_else(|| format!("category `{category}`"), |path| format!("`{path}` of it"));
    if *in_force {
        format!("! {what} is refused by {origin}{window}, whatever else is granted\n")
    } else {
        format!("  {what} is refused by {origin}{window}: not at this time\n")
    }
}

fn window(from: Option<UnixTime>, until: Option<UnixTime>) -> String {
    let from = from.map(|from| format!(" from {}", time(from))).unwrap_or_default();
    let until = until.map(|until| format!(" until {}", time(until))).unwrap_or_default();
    from + &until
}

/// A time as RFC 3339, or as a number where that has no such form.
pub(crate) fn time(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(timestamp) => timestamp.to_string(),
        None => format!("{time} s"),
    }
}

/// A time span with its units, as in fleet files.
fn span(seconds: u32) -> String {
    format!("{:#}", jiff::SignedDuration::from_secs(i64::from(seconds)))
}

fn freshness(report: &FreshnessReport) -> String {
    let FreshnessReport { state, confirmed, fresh_until, offline_left_s } = report;
    let left = span(u32::try_from(*offline_left_s).unwrap_or(u32::MAX));
    match state.as_str() {
        "fresh" => {
            let until = fresh_until.map(time).unwrap_or_default();
            format!(
                "fresh until {until} without another word of the cloud, then {left} for what works without it"
            )
        }
        "stale" if *confirmed => format!("stale: only what works without the cloud, for {left}"),
        "stale" => {
            format!("stale: the cloud has not confirmed this policy; only what works without it, for {left}")
        }
        "expired" => "expired: nothing is permitted until the cloud is heard".to_owned(),
        other => other.to_owned(),
    }
}

fn summary(policy: &PolicyReport) -> String {
    let state = match (policy.expired, policy.assigned) {
        _ if policy.retired => "the device is out of service, everything is denied",
        (true, _) => "out of date, everything is denied",
        (false, false) => "the device is not assigned, everything is denied",
        (false, true) => "in force",
    };
    format!("version {} (epoch {}), {state}, until {}", policy.version, policy.epoch, time(policy.expires))
}

impl Shown for Vec<SecretReport> {
    fn text(&self) -> String {
        let source = |secret: &SecretReport| match (secret.source, secret.covers) {
            (Source::Device, false) => "set here",
            (Source::Device, true) => "set here, instead of the cloud's",
            (Source::Cloud, _) => "cloud",
        };
        let mut rows = vec![["SECRET", "SOURCE", "STATE"].map(String::from)];
        rows.extend(self.iter().map(|secret| {
            let state = secret.problem.as_deref().unwrap_or("opens");
            [secret.name.to_string(), source(secret).to_owned(), state.to_owned()]
        }));
        table(&rows)
    }
}

fn pairs(pairs: &[(&str, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use postern_protocol::id::ApprovalId;
    use postern_protocol::policy::Origin;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [["A", "LONG"].map(String::from), ["value", "x"].map(String::from)];
        assert_eq!(table(&rows), "A      LONG\nvalue  x\n");
    }

    #[test]
    fn a_grant_says_whether_it_holds_without_the_cloud() {
        let mut grant = GrantReport {
            used: true,
            origin: Origin::Entry { entry: "loan".parse().unwrap() },
            category: "screen".to_owned(),
            not_before: None,
            not_after: None,
            second_factor_s: Some(28_800),
            needs_case: false,
            needs_approval: false,
            offline_ok: true,
            record: false,
            mode: Mode::Full { clipboard: false },
            case: None,
            approval: None,
            fails: None,
        };
        let marked = "* entry `loan` grants category `screen`, needs a second factor not older than 8h, also without the \
                      cloud: holds\n";
        assert_eq!(chain(&grant), marked);
        grant.offline_ok = false;
        grant.mode = Mode::ViewOnly;
        grant.fails = Some("policy_stale".to_owned());
        let other = "* entry `loan` grants category `screen`, needs a second factor not older than 8h, to look only: fails: \
                     policy_stale\n";
        assert_eq!(chain(&grant), other);
    }

    #[test]
    fn a_grant_says_what_was_approved_of_it_until_when_and_how_far() {
        let mode = Mode::Full { clipboard: false };
        let (not_before, not_after, second_factor_s) = (None, None, None);
        let mut grant = GrantReport {
            used: true,
            origin: Origin::Entry { entry: "loan".parse().unwrap() },
            category: "screen".to_owned(),
            not_before,
            not_after,
            second_factor_s,
            needs_case: false,
            needs_approval: true,
            offline_ok: false,
            record: false,
            mode,
            case: None,
            approval: None,
            fails: Some("approval_pending".to_owned()),
        };
        let waiting = "* entry `loan` grants category `screen`, needs an approval: fails: approval_pending\n";
        assert_eq!(chain(&grant), waiting);
        let id = ApprovalId::new([1; 8]);
        let until = UnixTime::from_secs(3_600);
        grant.approval = Some(ApprovalReport { id, mode: Mode::ViewOnly, until });
        grant.fails = None;
        let given = "* entry `loan` grants category `screen`, approved to look only until 1970-01-01T01:00:00Z \
                     (apr-0101010101010101): holds\n";
        assert_eq!(chain(&grant), given);
    }

    #[test]
    fn spans_read_as_in_fleet_files() {
        assert_eq!(["8h", "1h 30m", "45s"], [28_800, 5_400, 45].map(span).each_ref().map(String::as_str));
    }

    #[test]
    fn times_beyond_the_calendar_are_numbers() {
        assert_eq!(time(UnixTime::from_secs(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(UnixTime::MAX), "18446744073709551615 s");
    }
}
