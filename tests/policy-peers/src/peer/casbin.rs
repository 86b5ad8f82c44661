//! casbin in memory: role-based access control with roles of users and roles of resources.
//!
//! 1. `g`: a user is in a group, a group has a role. `g2`: a service is in a category.
//! 2. `p`: a role opens a category.
//! 3. The matcher in both orders: casbin looks at one rule after the other, so what rejects sooner decides its pace.
//!
//! The feature `cached`, which remembers answers, is off: a remembered answer is no decision.

use std::hint::black_box;
use std::ops::Range;

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};

use super::{Peer, category_name, group_name, role_name, service_name};
use crate::mishap::Mishap;
use crate::model::{Questions, World};

/// casbin with one matcher.
pub struct Casbin {
    name: &'static str,
    enforcer: Enforcer,
    asks: Vec<(String, String)>,
}

/// The resource first, as it rejects more, and the role first, as in casbin's documentation.
///
/// # Errors
/// When casbin refuses the model or a rule.
pub fn make(world: &World, questions: &Questions) -> Result<[Casbin; 2], Mishap> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(Mishap::of("a runtime for casbin"))?;
    let name = |ask: &crate::model::Question| (world.id(ask.user).to_string(), service_name(ask.service));
    let asks: Vec<(String, String)> = questions.all().iter().map(name).collect();
    let make = |name, matcher| {
        let enforcer = runtime.block_on(enforcer(world, matcher)).map_err(Mishap::of("a rule of casbin"))?;
        Ok(Casbin { name, enforcer, asks: asks.clone() })
    };
    Ok([
        make(RESOURCE_FIRST, "g2(r.obj, p.obj) && g(r.sub, p.sub) && r.act == p.act")?,
        make(ROLE_FIRST, "g(r.sub, p.sub) && g2(r.obj, p.obj) && r.act == p.act")?,
    ])
}

impl Peer for Casbin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap> {
        let mut permitted = 0;
        for (user, service) in self.asks.get(questions).unwrap_or_default() {
            let ask = (black_box(user.as_str()), black_box(service.as_str()), "open");
            permitted += usize::from(self.enforcer.enforce(ask).map_err(Mishap::of("a decision of casbin"))?);
        }
        Ok(permitted)
    }
}

async fn enforcer(world: &World, matcher: &str) -> casbin::Result<Enforcer> {
    let model = DefaultModel::from_str(&format!("{MODEL}m = {matcher}\n")).await?;
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
    let size = world.size();
    let mut roles = Vec::new();
    for (user, id) in (0..size.users).zip(world.ids()) {
        roles.extend(world.groups(user).iter().map(|group| vec![id.to_string(), group_name(*group)]));
    }
    for group in 0..size.groups {
        roles.extend(world.roles(group).iter().map(|role| vec![group_name(group), role_name(*role)]));
    }
    let services = 0..size.services;
    let categories = services.map(|it| vec![service_name(it), category_name(world.category(it))]).collect();
    let rules = (0..size.roles).flat_map(|role| {
        let rule = move |category: &u16| vec![role_name(role), category_name(*category), "open".to_owned()];
        world.categories(role).iter().map(rule)
    });
    enforcer.add_policies(rules.collect()).await?;
    enforcer.add_grouping_policies(roles).await?;
    enforcer.add_named_grouping_policies("g2", categories).await?;
    Ok(enforcer)
}

/// The row with the resource first.
pub const RESOURCE_FIRST: &str = "casbin, resource first";
/// The row with the role first.
pub const ROLE_FIRST: &str = "casbin, role first";
const MODEL: &str = "
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act

[role_definition]
g = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
";
