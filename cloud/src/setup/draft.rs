//! What has been answered so far, and the fleet file that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use postern_protocol::name::Name;

use super::AnswerFault;
use super::question::{Question, Way};
use crate::fleet::{self, key, list, quoted};

/// The answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    provider: Option<Maybe<Name>>,
    customer: Option<Name>,
    group: Option<Name>,
    ways: Option<BTreeSet<Way>>,
    entry: Option<Entry>,
    engineer_ways: Option<BTreeSet<Way>>,
    second_factor: Option<Maybe<u32>>,
    operator_ways: Option<BTreeSet<Way>>,
    offline: Option<bool>,
    engineers: Option<BTreeSet<Name>>,
    operators: Option<BTreeSet<Name>>,
    provider_admin: Option<Name>,
    customer_admin: Option<Name>,
    device: Option<Name>,
    addresses: BTreeMap<Way, Maybe<SocketAddr>>,
}

/// What may be answered with `none`.
type Maybe<T> = Option<T>;

/// When service engineers are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Case,
    Approval,
    Always,
}

impl Entry {
    const ALL: [Self; 3] = [Self::Case, Self::Approval, Self::Always];

    const fn word(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Approval => "approval",
            Self::Always => "always",
        }
    }
}

impl Draft {
    fn is_serviced(&self) -> bool {
        matches!(self.provider, Some(Some(_)))
    }

    /// What is not answered yet.
    pub(super) fn next(&self) -> Option<Question> {
        let serviced = self.is_serviced();
        let fixed = [
            (self.provider.is_none(), Question::Provider),
            (self.customer.is_none(), Question::Customer),
            (self.group.is_none(), Question::Group),
            (self.ways.is_none(), Question::Ways),
            (serviced && self.entry.is_none(), Question::Entry),
            (serviced && self.engineer_ways.is_none(), Question::EngineerWays),
            (serviced && self.second_factor.is_none(), Question::SecondFactor),
            (self.operator_ways.is_none(), Question::OperatorWays),
            (self.offline.is_none(), Question::Offline),
            (serviced && self.engineers.is_none(), Question::Engineers),
            (self.operators.is_none(), Question::Operators),
            (serviced && self.provider_admin.is_none(), Question::ProviderAdmin),
            (self.customer_admin.is_none(), Question::CustomerAdmin),
            (self.device.is_none(), Question::Device),
        ];
        let fixed = fixed.into_iter().find_map(|(is_open, question)| is_open.then_some(question));
        let mut ways = self.ways.iter().flatten().filter(|way| !self.addresses.contains_key(way));
        fixed.or_else(|| ways.next().map(|way| Question::Address(*way)))
    }

    /// What an empty answer means.
    pub(super) fn presumption(&self, question: Question) -> Option<String> {
        let first = |names: &Option<BTreeSet<Name>>| names.iter().flatten().next().map(Name::to_string);
        let words =
            |ways: &mut dyn Iterator<Item = &Way>| ways.map(|way| way.word()).collect::<Vec<_>>().join(" ");
        let mut ways = self.ways.iter().flatten();
        match question {
            Question::Group => {
                self.customer.as_ref().map(|name| format!("{name}-machines")).filter(|one| name(one).is_ok())
            }
            Question::Ways => Some("screen pages".to_owned()),
            Question::Entry => Some(Entry::Case.word().to_owned()),
            Question::EngineerWays => Some(words(&mut ways)),
            // A VPN is for engineering tools; where there is nothing else, it is for operators too.
            Question::OperatorWays => {
                Some(match words(&mut ways.clone().filter(|way| **way != Way::Network)) {
                    nothing if nothing.is_empty() => words(&mut ways),
                    some => some,
                })
            }
            Question::SecondFactor => Some("8h".to_owned()),
            Question::Offline => Some("yes".to_owned()),
            Question::ProviderAdmin => first(&self.engineers),
            Question::CustomerAdmin => first(&self.operators),
            Question::Provider
            | Question::Customer
            | Question::Engineers
            | Question::Operators
            | Question::Device
            | Question::Address(_) => None,
        }
    }

    /// Takes an answer.
    pub(super) fn take(&mut self, question: Question, answer: &str) -> Result<(), AnswerFault> {
        match question {
            Question::Provider => self.provider = Some(unless_none(answer, name)?),
            Question::Customer => self.customer = Some(self.customer(answer)?),
            Question::Group => self.group = Some(name(answer)?),
            Question::Ways => self.ways = Some(ways(answer, &Way::ALL)?),
            Question::Entry => self.entry = Some(choice(answer, &Entry::ALL, Entry::word)?),
            Question::EngineerWays => self.engineer_ways = Some(self.some_ways(answer)?),
            Question::SecondFactor => self.second_factor = Some(unless_none(answer, span)?),
            Question::OperatorWays => self.operator_ways = Some(self.some_ways(answer)?),
            Question::Offline => self.offline = Some(choice(answer, &[true, false], yes_or_no)?),
            Question::Engineers => self.engineers = Some(names(answer)?),
            Question::Operators => self.operators = Some(self.operators(names(answer)?)?),
            Question::ProviderAdmin => self.provider_admin = Some(self.provider_admin(answer)?),
            Question::CustomerAdmin => self.customer_admin = Some(self.customer_admin(answer)?),
            Question::Device => self.device = Some(name(answer)?),
            Question::Address(way) => {
                let address = self.address(way, answer)?;
                self.addresses.insert(way, address);
            }
        }
        Ok(())
    }

    fn customer(&self, answer: &str) -> Result<Name, AnswerFault> {
        let customer = name(answer)?;
        if self.provider.as_ref().and_then(Option::as_ref) == Some(&customer) {
            return Err(taken(&customer, "the company that services machines"));
        }
        Ok(customer)
    }

    fn some_ways(&self, answer: &str) -> Result<BTreeSet<Way>, AnswerFault> {
        ways(answer, &self.ways.iter().flatten().copied().collect::<Vec<_>>())
    }

    /// Operators of whom none is a service engineer.
    fn operators(&self, names: BTreeSet<Name>) -> Result<BTreeSet<Name>, AnswerFault> {
        match self.engineers.iter().flatten().find(|name| names.contains(*name)) {
            Some(name) => Err(taken(name, "a service engineer")),
            None => Ok(names),
        }
    }

    fn provider_admin(&self, answer: &str) -> Result<Name, AnswerFault> {
        let admin = name(answer)?;
        if self.operators.as_ref().is_some_and(|operators| operators.contains(&admin)) {
            return Err(taken(&admin, "an operator of the other company"));
        }
        Ok(admin)
    }

    fn customer_admin(&self, answer: &str) -> Result<Name, AnswerFault> {
        let admin = name(answer)?;
        if self.provider_admin.as_ref() == Some(&admin) {
            return Err(taken(&admin, "the administrator of the other company"));
        }
        if self.engineers.as_ref().is_some_and(|engineers| engineers.contains(&admin)) {
            return Err(taken(&admin, "a service engineer of the other company"));
        }
        Ok(admin)
    }

    /// An address that a fleet file takes. Of several ways one has to lead somewhere.
    fn address(&self, way: Way, answer: &str) -> Result<Maybe<SocketAddr>, AnswerFault> {
        let bad = || AnswerFault::Address(answer.to_owned());
        let address = unless_none(answer, |text| text.parse::<SocketAddr>().map_err(|_| bad()))?;
        let Some(address) = address else {
            let mut others = self.ways.iter().flatten().filter(|other| **other != way);
            let is_last = others.all(|other| matches!(self.addresses.get(other), Some(None)));
            return if is_last { Err(AnswerFault::Nothing) } else { Ok(None) };
        };
        let mut trial =
            String::from("[account.a]\ntenant = \"operating_company\"\n[device.d]\naccount = \"a\"\n");
        write_service(&mut trial, "d", way, address);
        match fleet::read(&trial, &[]) {
            Ok(_) => Ok(Some(address)),
            Err(complaints) => {
                let faults: Vec<String> = complaints.iter().map(|one| one.fault.to_string()).collect();
                Err(AnswerFault::Refused(faults.join("; ")))
            }
        }
    }

    /// Everybody, with their company.
    pub(super) fn people(&self) -> BTreeSet<(&Name, &Name)> {
        let provider = self.provider.as_ref().and_then(Option::as_ref);
        let theirs = self.engineers.iter().flatten().chain(&self.provider_admin);
        let ours = self.operators.iter().flatten().chain(&self.customer_admin);
        let theirs = theirs.filter_map(|name| Some((name, provider?)));
        theirs.chain(ours.filter_map(|name| Some((name, self.customer.as_ref()?)))).collect()
    }

    /// The fleet file of all answers.
    pub(super) fn fleet(&self) -> Option<String> {
        if self.next().is_some() {
            return None;
        }
        let mut text = String::from(HEAD);
        self.write_companies(&mut text)?;
        self.write_people(&mut text);
        self.write_device(&mut text)?;
        self.write_categories(&mut text);
        self.write_roles(&mut text)?;
        Some(text)
    }

    // Writing to a string cannot fail.

    fn write_companies(&self, text: &mut String) -> Option<()> {
        let customer = self.customer.as_ref()?;
        text.push_str("\n# --- companies ---\n");
        if let Some(provider) = self.provider.as_ref()? {
            let _infallible =
                write!(text, "\n[account.{}]\ntenant = \"service_provider\"\n", key(provider.as_str()));
        }
        let _infallible =
            write!(text, "\n[account.{}]\ntenant = \"operating_company\"\n", key(customer.as_str()));
        if let Some(provider) = self.provider.as_ref()? {
            let _infallible = writeln!(text, "parent = \"{provider}\"");
        }
        Some(())
    }

    fn write_people(&self, text: &mut String) {
        text.push_str("\n# --- people ---\n");
        for (name, account) in self.people() {
            let _infallible = write!(text, "\n[user.{}]\naccount = \"{account}\"\n", key(name.as_str()));
        }
        let provider = self.provider.as_ref().and_then(Option::as_ref);
        let groups =
            [(ENGINEERS, provider, &self.engineers), (OPERATORS, self.customer.as_ref(), &self.operators)];
        for (group, account, members) in groups {
            if let (Some(account), Some(members)) = (account, members) {
                let members = listed(members.iter().map(Name::as_str));
                let _infallible =
                    write!(text, "\n[user-group.{group}]\naccount = \"{account}\"\nmembers = {members}\n");
            }
        }
    }

    fn write_device(&self, text: &mut String) -> Option<()> {
        let (device, customer, group) =
            (self.device.as_ref()?, self.customer.as_ref()?, self.group.as_ref()?);
        text.push_str("\n# --- the first device, what is behind it, and its group ---\n");
        let _infallible = write!(text, "\n[device.{}]\naccount = \"{customer}\"\n", key(device.as_str()));
        for (way, address) in &self.addresses {
            if let Some(address) = address {
                write_service(text, &key(device.as_str()), *way, *address);
            }
        }
        let _infallible = write!(
            text,
            "\n[device-group.{}]\naccount = \"{customer}\"\ntype = \"customer\"\ndevices = [\"{device}\"]\n",
            key(group.as_str())
        );
        Some(())
    }

    fn write_categories(&self, text: &mut String) {
        text.push_str("\n# --- what can be given ---\n");
        for way in self.ways.iter().flatten() {
            let (word, kind, label) = (way.word(), way.kind().word(), way.label());
            let _infallible =
                write!(text, "\n[category.{word}]\nkinds = [\"{kind}\"]\nlabel = \"{label}\"\n");
        }
    }

    fn write_roles(&self, text: &mut String) -> Option<()> {
        let (customer, group) = (self.customer.as_ref()?, self.group.as_ref()?);
        text.push_str("\n# --- who has what, where ---\n");
        if let Some(provider) = self.provider.as_ref()? {
            self.write_engineers(text, group)?;
            write_admin(text, "provider-admin", provider, self.provider_admin.as_ref()?);
        }
        let _infallible = write!(
            text,
            "\n# `machine-operator` is built in: it also opens and closes service cases, and gives approvals.\n\
             [assignment.{OPERATORS}]\ngroup = \"{OPERATORS}\"\nrole = \"machine-operator\"\ncategories = {}\n\
             scope = {{ device-group = \"{group}\" }}\noffline = {}\n",
            listed(self.operator_ways.iter().flatten().map(|way| way.word())),
            self.offline?,
        );
        write_admin(text, "customer-admin", customer, self.customer_admin.as_ref()?);
        Some(())
    }

    fn write_engineers(&self, text: &mut String, group: &Name) -> Option<()> {
        let entry = self.entry?;
        let _infallible = write!(
            text,
            "\n[role.{ENGINEER}]\ntenant = \"service_provider\"\npermissions = [\"shared-cases.read\", \"devices.read\", \
             \"remote-access.use\"]\ncategories = {}\n",
            listed(self.engineer_ways.iter().flatten().map(|way| way.word())),
        );
        if let Some(seconds) = self.second_factor? {
            let _infallible = writeln!(text, "second-factor = \"{}\"", fleet::span(seconds));
        }
        if entry == Entry::Case {
            text.push_str("needs-case = true\n");
        }
        let _infallible = write!(
            text,
            "\n[assignment.{ENGINEERS}]\ngroup = \"{ENGINEERS}\"\nrole = \"{ENGINEER}\"\nscope = {{ device-group = \"{group}\" }}\n",
        );
        if entry == Entry::Approval {
            text.push_str("needs-approval = true\n");
        }
        Some(())
    }
}

fn write_service(text: &mut String, device: &str, way: Way, address: SocketAddr) {
    let (name, kind) = (way.service(), way.kind().word());
    let _infallible =
        write!(text, "\n[device.{device}.service.{name}]\nkind = \"{kind}\"\ntarget = \"{address}\"\n");
}

fn write_admin(text: &mut String, key: &str, account: &Name, admin: &Name) {
    let _infallible = write!(
        text,
        "\n# Managing users is no access to a machine.\n[assignment.{key}]\nuser = \"{admin}\"\nrole = \"tenant-admin\"\n\
         scope = {{ account = \"{account}\" }}\n",
    );
}

/// Names or words as a list of TOML.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    list(&words.map(quoted).collect::<Vec<_>>())
}

fn taken(name: &Name, whose: &'static str) -> AnswerFault {
    AnswerFault::Taken { name: name.to_string(), whose }
}

fn name(text: &str) -> Result<Name, AnswerFault> {
    text.parse().map_err(|fault| AnswerFault::Name { found: text.to_owned(), fault })
}

/// Words with blanks or commas between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty())
}

fn names(text: &str) -> Result<BTreeSet<Name>, AnswerFault> {
    let names: BTreeSet<Name> = words(text).map(name).collect::<Result<_, _>>()?;
    if names.is_empty() { Err(AnswerFault::Needed) } else { Ok(names) }
}

fn ways(text: &str, of: &[Way]) -> Result<BTreeSet<Way>, AnswerFault> {
    let ways: BTreeSet<Way> =
        words(text).map(|word| choice(word, of, Way::word)).collect::<Result<_, _>>()?;
    if ways.is_empty() { Err(AnswerFault::Needed) } else { Ok(ways) }
}

fn choice<T: Copy>(text: &str, of: &[T], word: impl Fn(T) -> &'static str) -> Result<T, AnswerFault> {
    let found = of.iter().copied().find(|one| word(*one).eq_ignore_ascii_case(text));
    let expected = || of.iter().map(|one| word(*one)).collect::<Vec<_>>().join(" ");
    found.ok_or_else(|| AnswerFault::Choice { found: text.to_owned(), expected: expected() })
}

const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn unless_none<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, AnswerFault>,
) -> Result<Maybe<T>, AnswerFault> {
    if text.eq_ignore_ascii_case("none") { Ok(None) } else { read(text).map(Some) }
}

fn span(text: &str) -> Result<u32, AnswerFault> {
    let seconds = fleet::seconds(text).filter(|seconds| SPANS.contains(seconds));
    seconds.ok_or_else(|| AnswerFault::Span(text.to_owned()))
}

/// From a minute to thirty days.
const SPANS: RangeInclusive<u32> = 60..=30 * 24 * 3600;
const ENGINEER: &str = "engineer";
const ENGINEERS: &str = "engineers";
const OPERATORS: &str = "operators";
const HEAD: &str = "\
# Made by `postern-cloud setup`. It is yours: change it and `postern-cloud apply` it again, which shows who would gain and
# lose what before anything happens. `postern-cloud review NAME` says what a user can reach, or who can reach a device.
";
