//! Reads the scope of an assignment: one table with one key that says where.

use super::complaint::Fault;
use super::reader::Reader;
use super::tree::{Node, Value};
use crate::model::Scope;

impl Reader<'_> {
    pub(super) fn scope(&mut self, path: &str, node: Node) -> Option<Scope> {
        let complaints = self.complaint_count();
        let mut section = self.section(path.to_owned(), node)?;
        let s = &mut section;
        let account = self.optional_name(s, "account");
        let nested = self.flag(s, "nested");
        let group = self.optional_name(s, "device-group").map(|group| Scope::DeviceGroup { group });
        let facility = self.optional_name(s, "facility").map(|facility| Scope::Facility { facility });
        let organisation =
            self.optional_name(s, "organisation").map(|organisation| Scope::Organisation { organisation });
        let device = self.optional_name(s, "device").map(|device| Scope::Device { device });
        let machine = self.optional_name(s, "machine").map(|machine| Scope::Machine { machine });
        let all_of = s.take("all-of").and_then(|node| self.all_of(&s.key("all-of"), node));
        let nested_alone = nested && account.is_none();
        let account = account.map(|account| Scope::Account { account, nested });
        let mut found: Vec<Scope> =
            [account, group, facility, organisation, device, machine, all_of].into_iter().flatten().collect();
        let at = s.at;
        self.finish(section);
        if self.complaint_count() > complaints {
            return None;
        }
        if found.len() != 1 || nested_alone {
            self.complain(at, path, Fault::OneOf { found: found.len(), expected: SCOPES });
            return None;
        }
        found.pop()
    }

    fn all_of(&mut self, path: &str, node: Node) -> Option<Scope> {
        let at = node.at;
        let Value::List(nodes) = node.value else {
            let fault = Fault::Type { found: node.value.describe(), expected: "a list of scopes" };
            self.complain(at, path, fault);
            return None;
        };
        if nodes.is_empty() {
            self.bad_value(at, path, "an empty list", "at least one scope; nothing lies in all of none");
            return None;
        }
        let scopes: Vec<Scope> = nodes
            .into_iter()
            .enumerate()
            .filter_map(|(position, node)| self.scope(&format!("{path}[{position}]"), node))
            .collect();
        Some(Scope::AllOf { scopes })
    }
}

const SCOPES: &str =
    "`account` (with `nested`), `device-group`, `facility`, `organisation`, `device`, `machine`, `all-of`";
