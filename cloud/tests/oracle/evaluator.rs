//! Says straight from the model who may use what: nothing but loops over everything that the model contains.
//!
//! 1. [`services`]: what is behind a device, its own services and those of its machines, and every page of them.
//! 2. [`allowances`]: every reason to let one user use one service there, each with its own conditions.
//! 3. [`vetoes`]: every reason not to, whatever the allowances say.
//! 4. [`may`]: the verdict, in the order of the reasons.
//!
//! It is the written-down meaning of the model and shares no code with the compiler: no index, no row, no cache, no
//! function but the tables of the essential roles. Deliberately absent: speed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use postern_cloud::compile::Roster;
use postern_cloud::model::{
    CaseSubject, Effect, Essential, Model, Role, Scope, Selection, Service, Subject, Visibility,
};
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::snapshot::rules::Method;
use postern_protocol::policy::{Destination, FlowEnd, Mode, Origin, Protocol, Reason, Rules, VpnRules};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;

/// One request, with all that is known of the caller and the device.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) user: Name,
    pub(crate) device: Name,
    /// As the user typed it; it need not exist.
    pub(crate) service: String,
    pub(crate) now: UnixTime,
    pub(crate) second_factor_at: Option<UnixTime>,
    /// The key of the connection; it need not be the user's.
    pub(crate) key: PublicKey,
    pub(crate) pass_expires: UnixTime,
    /// When the device's snapshot expires; none is a device without policy.
    pub(crate) policy_expires: Option<UnixTime>,
    /// The first second in which the device counts as cut off from the cloud.
    pub(crate) fresh_until: UnixTime,
    /// The first second in which its budget for that is used up.
    pub(crate) offline_until: UnixTime,
    pub(crate) open: Open,
    /// Whether the caller wishes for no more than to look.
    pub(crate) view_only: bool,
}

/// Tunnels that are open already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    pub(crate) on_device: u32,
    pub(crate) by_user: u32,
    pub(crate) on_service: u32,
    /// Those of them that may touch.
    pub(crate) writing: u32,
}

/// Yes or no, and every rule on which that may rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What may be done, until when, whether it is recorded, and the origins of the allowances that let do most and of these
    /// hold longest and of these are recorded, if any is.
    Permitted { mode: Mode, until: UnixTime, recorded: bool, because: BTreeSet<Origin> },
    /// Why not, and the origins of what came furthest or forbids; empty when no rule is in play.
    Denied { reason: Reason, because: BTreeSet<Origin> },
}

/// One service behind a device, or one page of a service.
pub(crate) struct Place<'a> {
    /// Its name on the device.
    pub(crate) name: String,
    /// Its own name.
    pub(crate) local: &'a Name,
    pub(crate) machine: Option<&'a Name>,
    /// The page that it is, by its own name.
    pub(crate) page: Option<Name>,
    pub(crate) service: Cow<'a, Service>,
}

/// One reason to let one user use one service, with its own conditions.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pub(crate) from: Option<UnixTime>,
    pub(crate) until: Option<UnixTime>,
    pub(crate) second_factor_s: Option<u32>,
    pub(crate) needs_case: bool,
    pub(crate) needs_approval: bool,
    /// Whether it is marked for work without the cloud.
    pub(crate) offline: bool,
    /// What the category lets do; a service that is named by itself is fully there, without the clipboard.
    pub(crate) mode: Mode,
    /// Whether the category has it recorded; a service that is named by itself has not.
    pub(crate) record: bool,
    pub(crate) origin: Origin,
}

/// One reason not to.
#[derive(Clone, Debug)]
pub(crate) struct Veto {
    pub(crate) from: Option<UnixTime>,
    pub(crate) until: Option<UnixTime>,
    pub(crate) origin: Origin,
}

/// The verdict on one request.
pub(crate) fn may(model: &Model, roster: &Roster, question: &Question) -> Verdict {
    let now = question.now;
    if question.pass_expires <= now {
        return no(Reason::BadPass);
    }
    let Some(policy_expires) = question.policy_expires else { return no(Reason::NoPolicy) };
    // A device knows the users who are allowed something there, whatever became of it, and nobody else.
    let known = is_known(model, roster, &question.user, &question.device);
    if let Some(enrolled) = roster.users.get(&question.user).filter(|_| known) {
        if !enrolled.keys.contains(&question.key) {
            return no(Reason::BadPass);
        }
        if enrolled.disabled {
            return no(Reason::UserDisabled);
        }
    }
    let Some(device) = model.devices.get(&question.device) else { return no(Reason::DeviceUnassigned) };
    if policy_expires <= now || question.offline_until <= now {
        return no(Reason::PolicyStale);
    }
    let places = services(model, &question.device);
    let Some(place) = places.iter().find(|place| place.name == question.service).filter(|_| known) else {
        return no(Reason::NoGrant);
    };
    let allowances = allowances(model, &question.user, &question.device, place);
    let vetoes: Vec<Veto> = vetoes(model, &question.user, &question.device, place)
        .into_iter()
        .filter(|veto| !allowances.is_empty() || is_told_of(model, roster, question, place, veto))
        .collect();
    let in_force = vetoes.iter().filter(|veto| has_begun(veto.from, now) && !has_ended(veto.until, now));
    let forbidding: BTreeSet<Origin> = in_force.map(|veto| veto.origin.clone()).collect();
    if !forbidding.is_empty() {
        return Verdict::Denied { reason: Reason::NoGrant, because: forbidding };
    }
    let mut until = question.pass_expires.min(policy_expires).min(question.offline_until);
    for begins in vetoes.iter().filter_map(|veto| veto.from).filter(|from| now < *from) {
        until = until.min(begins);
    }
    let closings = closings(model, &question.user, &question.device, place);
    for edge in closings.iter().flat_map(|veto| [veto.from, veto.until]).flatten().filter(|edge| now < *edge)
    {
        until = until.min(edge);
    }
    let held = best((model, roster), question, place, (&allowances, until));
    let ((mode, longest, recorded), because) = match held {
        Ok(best) => best,
        Err((reason, because)) => return Verdict::Denied { reason, because },
    };
    let room = question.open.on_service < u32::from(place.service.tunnels)
        && question.open.by_user < u32::from(device.limits.tunnels_per_user)
        && question.open.on_device < u32::from(device.limits.tunnels);
    // At a screen a few may touch and all may look.
    let seated = match (place.service.reach.rules(), mode) {
        (Some(Rules::Vnc(screen)), Mode::Full { .. }) => question.open.writing < u32::from(screen.writers),
        _ => true,
    };
    if !room || !seated {
        return Verdict::Denied { reason: Reason::Concurrency, because };
    }
    Verdict::Permitted { mode, until: longest, recorded, because }
}

/// Whether a device knows a veto of a service that the user is allowed by nothing: because it beats something else
/// of the user there, and because somebody else may use the service. It then is the reason that is written down.
fn is_told_of(model: &Model, roster: &Roster, question: &Question, place: &Place<'_>, veto: &Veto) -> bool {
    let (user, device) = (&question.user, &question.device);
    let is_used = roster.users.iter().any(|(user, enrolled)| {
        !enrolled.keys.is_empty() && !allowances(model, user, device, place).is_empty()
    });
    let beats_another = services(model, device).iter().any(|other| {
        !allowances(model, user, device, other).is_empty()
            && vetoes(model, user, device, other).iter().any(|it| it.origin == veto.origin)
    });
    is_used && beats_another
}

/// What may be done, until when, and whether it is recorded; in this order one goes before another.
type Best = (Mode, UnixTime, bool);

/// The allowances that let do most, and of these those that hold longest; or the reason of those that came furthest.
fn best(
    (model, roster): (&Model, &Roster),
    question: &Question,
    place: &Place<'_>,
    // What goes beyond the end of everything is no longer than that.
    (allowances, most): (&[Allowance], UnixTime),
) -> Result<(Best, BTreeSet<Origin>), (Reason, BTreeSet<Origin>)> {
    let mut held: Option<(Best, BTreeSet<Origin>)> = None;
    // Whatever is allowed comes further than nothing.
    let mut failed: Option<(Reason, BTreeSet<Origin>)> = None;
    for allowance in allowances {
        match holds((model, roster), question, place, allowance)
            .map(|(mode, until)| (mode, until.min(most), allowance.record))
        {
            Ok(good) => match &mut held {
                Some((best, because)) if *best == good => {
                    because.insert(allowance.origin.clone());
                }
                Some((best, _)) if good < *best => {}
                Some(_) | None => held = Some((good, [allowance.origin.clone()].into())),
            },
            Err(reason) => match &mut failed {
                Some((furthest, because)) if *furthest == reason => {
                    because.insert(allowance.origin.clone());
                }
                Some((furthest, _)) if reason < *furthest => {}
                Some(_) | None => failed = Some((reason, [allowance.origin.clone()].into())),
            },
        }
    }
    held.ok_or_else(|| failed.unwrap_or((Reason::NoGrant, BTreeSet::new())))
}

/// What one allowance lets do and until when it holds, with all of its own conditions and nobody else's.
fn holds(
    (model, roster): (&Model, &Roster),
    question: &Question,
    place: &Place<'_>,
    allowance: &Allowance,
) -> Result<(Mode, UnixTime), Reason> {
    let now = question.now;
    let looks = question.view_only || place.service.view_only;
    let narrow = |mode: Mode| if looks { Mode::ViewOnly } else { mode.min(allowance.mode) };
    // Without a word of the cloud only what is marked for that holds; with one, everything does until the window ends.
    let believed = if allowance.offline { question.offline_until } else { question.fresh_until };
    let believed = believed.min(question.offline_until);
    if believed <= now {
        return Err(Reason::PolicyStale);
    }
    if !has_begun(allowance.from, now) {
        return Err(Reason::NotYet);
    }
    if has_ended(allowance.until, now) {
        return Err(Reason::Expired);
    }
    let mut until = allowance.until.unwrap_or(UnixTime::MAX).min(believed);
    if let Some(age) = allowance.second_factor_s {
        let Some(used) = question.second_factor_at else { return Err(Reason::SecondFactorRequired) };
        let worthless = used.saturating_add(u64::from(age));
        if worthless <= now {
            return Err(Reason::SecondFactorStale);
        }
        until = until.min(worthless);
    }
    if allowance.needs_case {
        let mut latest = None;
        for case in model.cases.values() {
            let activated = case.from.is_some() || case.until.is_some();
            let active = activated && has_begun(case.from, now) && !has_ended(case.until, now);
            if case.visibility == Visibility::Shared && active && is_about(&case.subject, question, place) {
                latest = latest.max(Some(case.until.unwrap_or(UnixTime::MAX)));
            }
        }
        until = until.min(latest.ok_or(Reason::CaseInactive)?);
    }
    if !allowance.needs_approval {
        return Ok((narrow(allowance.mode), until));
    }
    let approved = roster.approvals.get(&question.device).into_iter().flatten().filter(|one| {
        one.user == question.user
            && one.service.as_str() == place.name
            && model.devices.get(&question.device).is_some_and(|device| device.account == one.account)
            && one.origins.contains(&allowance.origin)
            && now < one.until
    });
    // The one that lets do most, and of these the longest.
    let best = approved.map(|one| (narrow(one.mode), one.until)).max();
    let (mode, end) = best.ok_or(Reason::ApprovalPending)?;
    Ok((mode, until.min(end)))
}

fn is_about(subject: &CaseSubject, question: &Question, place: &Place<'_>) -> bool {
    match subject {
        CaseSubject::Machine(machine) => place.machine == Some(machine),
        CaseSubject::Device(device) => *device == question.device,
    }
}

/// Whether a user is allowed anything behind a device and has a key to come with.
pub(crate) fn is_known(model: &Model, roster: &Roster, user: &Name, device: &Name) -> bool {
    roster.users.get(user).is_some_and(|enrolled| !enrolled.keys.is_empty())
        && services(model, device).iter().any(|place| !allowances(model, user, device, place).is_empty())
}

/// Whether a listing may show a device to a user: something there is allowed now or will be.
pub(crate) fn may_see(model: &Model, user: &Name, device: &Name, now: UnixTime) -> bool {
    for place in services(model, device) {
        let (allowances, vetoes) =
            (allowances(model, user, device, &place), vetoes(model, user, device, &place));
        // What is allowed changes only where something begins, or where a veto ends.
        let mut moments = vec![now];
        moments.extend(allowances.iter().filter_map(|allowance| allowance.from));
        moments.extend(vetoes.iter().filter_map(|veto| veto.until));
        for moment in moments.into_iter().filter(|moment| now <= *moment) {
            let holds = |from, until| has_begun(from, moment) && !has_ended(until, moment);
            let allowed = allowances.iter().any(|allowance| holds(allowance.from, allowance.until));
            if allowed && !vetoes.iter().any(|veto| holds(veto.from, veto.until)) {
                return true;
            }
        }
    }
    false
}

/// Everything behind a device.
pub(crate) fn services<'a>(model: &'a Model, device: &Name) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    if let Some(body) = model.devices.get(device) {
        for (local, service) in &body.services {
            places.push(Place {
                name: local.to_string(),
                local,
                machine: None,
                page: None,
                service: Cow::Borrowed(service),
            });
        }
    }
    for (machine, body) in model.machines.iter().filter(|(_, machine)| machine.device == *device) {
        for (local, service) in &body.services {
            let name = format!("{machine}.{local}");
            let service = Cow::Borrowed(service);
            places.push(Place { name, local, machine: Some(machine), page: None, service });
        }
        let template = body.model.as_ref().and_then(|name| model.machine_models.get(name));
        let (Some(template), Some(ip)) = (template, body.address) else { continue };
        for (local, service) in &template.services {
            // The machine's own service of that name takes its place.
            if !body.services.contains_key(local) {
                let (name, service) = (format!("{machine}.{local}"), Cow::Owned(service.at(ip)));
                places.push(Place { name, local, machine: Some(machine), page: None, service });
            }
        }
    }
    let mut pages = Vec::new();
    for place in &places {
        for page in place.service.pages.keys() {
            pages.push(Place {
                name: format!("{}.{page}", place.name),
                local: place.local,
                machine: place.machine,
                page: Some(page.clone()),
                service: place.service.clone(),
            });
        }
    }
    places.extend(pages);
    places
}

/// The requests that reach the machine for a user through a web server, or through a page of one, at a moment: what it lets
/// through, but nothing of a page that is denied to the user, however they come to it.
pub(crate) fn requests(
    model: &Model,
    (user, device, now): (&Name, &Name, UnixTime),
    place: &Place<'_>,
    mode: Mode,
) -> BTreeSet<(&'static str, Method)> {
    let mut denied = Vec::new();
    for other in services(model, device) {
        let (local, machine) = (other.local, other.machine);
        let Some(page) = other.page.as_ref().and_then(|page| other.service.pages.get(page)) else { continue };
        let vetoes = vetoes(model, user, device, &other);
        if (local, machine) == (place.local, place.machine)
            && vetoes.iter().any(|veto| has_begun(veto.from, now) && !has_ended(veto.until, now))
        {
            denied.push(page.path.to_string());
        }
    }
    let asked = PATHS.iter().flat_map(|path| Method::ALL.map(|method| (*path, method)));
    asked
        .filter(|(path, method)| lets_through(place, mode, *method, path))
        .filter(|(path, _)| !denied.iter().any(|page| is_below(page, path)))
        .collect()
}

/// Every reason to close a part of a place: the vetoes of other pages of the same web server that lie in it, by entries that do not
/// deny the place itself.
pub(crate) fn closings(model: &Model, user: &Name, device: &Name, place: &Place<'_>) -> Vec<Veto> {
    let own: Vec<Origin> = vetoes(model, user, device, place).into_iter().map(|veto| veto.origin).collect();
    let mut found = Vec::new();
    for other in services(model, device) {
        if (other.local, other.machine) == (place.local, place.machine) && meets(place, &other) {
            let vetoes = vetoes(model, user, device, &other).into_iter();
            found.extend(vetoes.filter(|veto| !own.contains(&veto.origin)));
        }
    }
    found
}

/// Whether something that a place lets through lies in the extent of a page: tried with every path that is asked, and with those of
/// the rules.
fn meets(place: &Place<'_>, page: &Place<'_>) -> bool {
    let Some(page) = page.page.as_ref().and_then(|name| page.service.pages.get(name)) else { return false };
    let Some(Rules::Http(rules)) = place.service.reach.rules() else { return false };
    let own = place.page.as_ref().and_then(|name| place.service.pages.get(name));
    let told = own.into_iter().flat_map(|own| own.assets.iter().chain([&own.path]));
    let mut tried: BTreeSet<String> = PATHS.iter().map(ToString::to_string).collect();
    for pattern in rules.allow.iter().map(|row| &row.path).chain(told).chain([&page.path]) {
        tried.insert(pattern.as_str().trim_end_matches("/**").replace('*', "log"));
    }
    let mut paths = tried.iter().filter(|path| is_below(page.path.as_str(), path));
    paths.any(|path| Method::ALL.iter().any(|method| lets_through(place, Mode::WIDEST, *method, path)))
}

/// What is asked: at, above, below and beside the paths of pages and rules.
pub(crate) const PATHS: [&str; 9] =
    ["/", "/panel", "/panel/", "/panel/log/1", "/panels", "/static/a.css", "/api/7", "/api/log/7", "/other"];

/// Whether a request reaches the machine through a web server, or through a page of one: what its service allows, and of
/// that by a page all below its path by its methods, and its assets to be read.
fn lets_through(place: &Place<'_>, mode: Mode, method: Method, path: &str) -> bool {
    let Some(Rules::Http(rules)) = place.service.reach.rules() else { return false };
    let reads = matches!(method, Method::Get | Method::Head);
    let by_service =
        rules.allow.iter().any(|row| row.methods.contains(method) && is_at(row.path.as_str(), path));
    let by_page = place.page.as_ref().is_none_or(|page| {
        let page = &place.service.pages[page];
        let own = is_below(page.path.as_str(), path) && page.methods.contains(method);
        own || (reads && page.assets.iter().any(|asset| is_at(asset.as_str(), path)))
    });
    by_service && by_page && (reads || mode != Mode::ViewOnly)
}

/// Whether a path is another one or below it.
fn is_below(outer: &str, path: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a pattern matches a path: segment by segment, each way to read a `**` tried.
fn is_at(pattern: &str, path: &str) -> bool {
    fn rest(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            (["**"], _) | ([], []) => true,
            (["*", pattern @ ..], [one, path @ ..]) => !one.is_empty() && rest(pattern, path),
            ([wanted, pattern @ ..], [one, path @ ..]) => wanted == one && rest(pattern, path),
            ([], _) | (_, []) => false,
        }
    }
    rest(&pattern.split('/').skip(1).collect::<Vec<_>>(), &path.split('/').skip(1).collect::<Vec<_>>())
}

/// Every reason to let a user use a service.
pub(crate) fn allowances(model: &Model, user: &Name, device: &Name, place: &Place<'_>) -> Vec<Allowance> {
    let mut found = Vec::new();
    let (Some(person), Some(body)) = (model.users.get(user), model.devices.get(device)) else { return found };
    if body.closed || !lies_in(model, &body.account, &person.account) {
        return found;
    }
    for (name, assignment) in &model.assignments {
        let (group, ends) = match &assignment.subject {
            Subject::User(subject) if subject == user => (None, None),
            Subject::Group(group) => {
                match model.user_groups.get(group).and_then(|body| body.members.get(user)) {
                    Some(member) => (Some(label(group)), member.until),
                    None => continue,
                }
            }
            Subject::User(_) => continue,
        };
        let Some((role, categories)) = role(model, &assignment.role, &assignment.categories) else {
            continue;
        };
        if !covers(model, &assignment.scope, device, place) {
            continue;
        }
        for category in categories.iter().filter(|category| contains(model, category, place)) {
            found.push(Allowance {
                from: assignment.from,
                until: earliest([assignment.until, ends, role.ends]),
                second_factor_s: role.second_factor_s,
                needs_case: role.needs_case || assignment.needs_case,
                needs_approval: assignment.needs_approval,
                offline: is_marked(model, &assignment.role, assignment.offline),
                mode: model.categories[category].mode,
                record: model.categories[category].record,
                origin: Origin::Assignment {
                    assignment: label(name),
                    role: label(&assignment.role),
                    group: group.clone(),
                },
            });
        }
    }
    for (name, group) in &model.device_groups {
        let Some(membership) = group.members.get(user).filter(|_| group.devices.contains(device)) else {
            continue;
        };
        let Some((role, categories)) = role(model, &membership.role, &membership.categories) else {
            continue;
        };
        for category in categories.iter().filter(|category| contains(model, category, place)) {
            found.push(Allowance {
                from: None,
                until: earliest([membership.until, role.ends, None]),
                second_factor_s: role.second_factor_s,
                needs_case: role.needs_case,
                needs_approval: false,
                offline: is_marked(model, &membership.role, membership.offline),
                mode: model.categories[category].mode,
                record: model.categories[category].record,
                origin: Origin::Membership { group: label(name), role: label(&membership.role) },
            });
        }
    }
    for (name, entry) in &model.entries {
        let here = entry.scope.as_ref().is_some_and(|scope| covers(model, scope, device, place));
        if entry.effect == Effect::Allow
            && entry.user == *user
            && here
            && selects(model, &entry.selection, place)
        {
            found.push(Allowance {
                from: entry.from,
                until: entry.until,
                second_factor_s: entry.second_factor_s,
                needs_case: false,
                needs_approval: entry.needs_approval,
                offline: entry.offline,
                mode: match &entry.selection {
                    Selection::Category(category) => model.categories[category].mode,
                    Selection::Service(_) => Mode::Full { clipboard: false },
                },
                record: match &entry.selection {
                    Selection::Category(category) => model.categories[category].record,
                    Selection::Service(_) => false,
                },
                origin: Origin::Entry { entry: label(name) },
            });
        }
    }
    // What ends before it begins was never there.
    found.retain(|allowance| match (allowance.from, allowance.until) {
        (Some(from), Some(until)) => from < until,
        (Some(_) | None, Some(_) | None) => true,
    });
    found
}

/// Every reason not to let a user use a service.
pub(crate) fn vetoes(model: &Model, user: &Name, device: &Name, place: &Place<'_>) -> Vec<Veto> {
    let mut found = Vec::new();
    for (name, entry) in &model.entries {
        let here = entry.scope.as_ref().is_none_or(|scope| may_cover(model, scope, device, place));
        if entry.effect == Effect::Deny
            && entry.user == *user
            && here
            && selects(model, &entry.selection, place)
        {
            let origin = Origin::Entry { entry: label(name) };
            found.push(Veto { from: entry.from, until: entry.until, origin });
        }
    }
    found
}

/// A role, and what it opens: its own categories, or those of the assignment when it is an essential one.
fn role<'a>(
    model: &'a Model,
    name: &Name,
    assigned: &'a BTreeSet<Name>,
) -> Option<(&'a Role, &'a BTreeSet<Name>)> {
    if let Some(role) = Essential::roles().get(name) {
        return Some((role, assigned));
    }
    model.roles.get(name).map(|role| (role, &role.categories))
}

/// Whether what is given of a role is marked for work without the cloud: a custom role says so and whoever gives it may
/// refuse, an essential one says nothing and whoever gives it may say so.
fn is_marked(model: &Model, role: &Name, said: Option<bool>) -> bool {
    match (Essential::roles().contains_key(role), said) {
        (true, Some(said)) => said,
        (true, None) | (false, Some(false)) => false,
        (false, Some(true) | None) => model.roles.get(role).is_some_and(|role| role.offline),
    }
}

/// Whether a scope may contain a service of a device: one of an unknown type may contain anything.
fn may_cover(model: &Model, scope: &Scope, device: &Name, place: &Place<'_>) -> bool {
    match scope {
        Scope::Unknown => true,
        Scope::AllOf { scopes } => {
            !scopes.is_empty() && scopes.iter().all(|scope| may_cover(model, scope, device, place))
        }
        Scope::Account { .. }
        | Scope::DeviceGroup { .. }
        | Scope::Facility { .. }
        | Scope::Organisation { .. }
        | Scope::Device { .. }
        | Scope::Machine { .. } => covers(model, scope, device, place),
    }
}

/// Whether a scope contains a service of a device.
fn covers(model: &Model, scope: &Scope, device: &Name, place: &Place<'_>) -> bool {
    match scope {
        Scope::Account { account, nested } => model.devices.get(device).is_some_and(|body| {
            body.account == *account || (*nested && lies_in(model, &body.account, account))
        }),
        Scope::DeviceGroup { group } => {
            model.device_groups.get(group).is_some_and(|group| group.devices.contains(device))
        }
        Scope::Facility { facility: node } | Scope::Organisation { organisation: node } => {
            let nodes = if matches!(scope, Scope::Facility { .. }) {
                &model.facilities
            } else {
                &model.organisations
            };
            nodes.get(node).is_some_and(|node| {
                node.devices.contains(device)
                    || place.machine.is_some_and(|machine| node.machines.contains(machine))
            })
        }
        Scope::Device { device: named } => named == device,
        Scope::Machine { machine } => place.machine == Some(machine),
        Scope::AllOf { scopes } => {
            !scopes.is_empty() && scopes.iter().all(|scope| covers(model, scope, device, place))
        }
        Scope::Unknown => false,
    }
}

fn selects(model: &Model, selection: &Selection, place: &Place<'_>) -> bool {
    match selection {
        Selection::Category(category) => contains(model, category, place),
        Selection::Service(service) => service == place.local,
    }
}

/// Whether a category contains a service with its pages, by its kind or its own name; or a page alone, by its own.
fn contains(model: &Model, category: &Name, place: &Place<'_>) -> bool {
    model.categories.get(category).is_some_and(|category| {
        category.kinds.contains(&place.service.kind())
            || category.services.contains(place.local)
            || place.page.as_ref().is_some_and(|page| category.pages.contains(page))
    })
}

/// Whether an account is another one or nested in it, however deep.
pub(crate) fn lies_in(model: &Model, account: &Name, outer: &Name) -> bool {
    account == outer
        || model
            .accounts
            .get(account)
            .and_then(|account| account.parent.as_ref())
            .is_some_and(|parent| lies_in(model, parent, outer))
}

fn earliest(ends: [Option<UnixTime>; 3]) -> Option<UnixTime> {
    ends.into_iter().flatten().min()
}

fn has_begun(from: Option<UnixTime>, now: UnixTime) -> bool {
    from.is_none_or(|from| from <= now)
}

fn has_ended(until: Option<UnixTime>, now: UnixTime) -> bool {
    until.is_some_and(|until| until <= now)
}

fn no(reason: Reason) -> Verdict {
    Verdict::Denied { reason, because: BTreeSet::new() }
}

fn label(name: &Name) -> Label {
    name.as_str().parse().unwrap()
}

/// Whether a VPN lets a flow through to somebody with this mode, and whether it is read then.
pub(crate) fn may_flow(rules: &VpnRules, mode: Mode, flow: &FlowEnd) -> Option<bool> {
    let read = governing(rules, flow)?.profile().is_some();
    // Who only looks needs somebody who tells looking from touching; an echo touches nothing.
    let looks = mode == Mode::ViewOnly && !read && flow.protocol != Protocol::Icmp;
    (!looks).then_some(read)
}

/// The destination that governs a flow: destinations of random worlds are one machine and one port, so that what is read
/// goes before what is not.
pub(crate) fn governing<'a>(rules: &'a VpnRules, flow: &FlowEnd) -> Option<&'a Destination> {
    let of_flow = |one: &&Destination| {
        one.protocol() == flow.protocol
            && one.net.ip == flow.ip
            && one.ports().is_none_or(|ports| ports.first == flow.port)
    };
    let all: Vec<&Destination> = rules.destinations.iter().filter(of_flow).collect();
    all.iter().find(|one| one.profile().is_some()).or_else(|| all.first()).copied()
}

/// The flows of a VPN, and those to the ports beside them.
pub(crate) fn flows(rules: &VpnRules) -> impl Iterator<Item = FlowEnd> {
    rules.destinations.iter().flat_map(|one| {
        let ports = one.ports().map_or(vec![0], |ports| vec![ports.first, ports.first + 1]);
        Protocol::ALL.into_iter().flat_map(move |protocol| {
            let is_icmp = protocol == Protocol::Icmp;
            let ports = ports.clone().into_iter().filter(move |port| (*port == 0) == is_icmp);
            let ip = one.net.ip;
            ports.map(move |port| FlowEnd { protocol, ip, port })
        })
    })
}
