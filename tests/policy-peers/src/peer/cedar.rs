//! cedar-policy: entities are built and their hierarchy is closed before, as a service that decides often would do.
//!
//! 1. A user's parents are its groups, a group's are its roles, a service's is its category.
//! 2. One policy for all roles: each service lists, as an attribute, the roles that open it.
//! 3. Or one policy for each role, which says what the role opens.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use super::{Peer, category_name, group_name, role_name, service_name};
use crate::mishap::Mishap;
use crate::model::{Questions, World};

/// cedar-policy with one set of policies.
#[derive(Debug)]
pub struct Cedar {
    name: &'static str,
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Arc<Entities>,
    kinds: Kinds,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Built(Vec<Request>),
    Names(Vec<(String, String)>),
}

/// The types of entities, parsed once.
#[derive(Clone, Debug)]
struct Kinds {
    user: EntityTypeName,
    group: EntityTypeName,
    role: EntityTypeName,
    category: EntityTypeName,
    service: EntityTypeName,
    action: EntityTypeName,
}

/// One policy and one for each role with requests built before, and one policy with requests built from names.
///
/// # Errors
/// When cedar-policy refuses a policy, an entity or a request.
pub fn make(world: &World, questions: &Questions) -> Result<[Cedar; 3], Mishap> {
    let kinds = Kinds::make()?;
    let entities = Arc::new(entities(world, &kinds)?);
    let one: PolicySet = ONE.parse().map_err(Mishap::of("a policy of cedar"))?;
    let each: PolicySet = each_role(world).parse().map_err(Mishap::of("the policies of cedar"))?;
    let names = || -> Vec<(String, String)> {
        let name = |ask: &crate::model::Question| (world.id(ask.user).to_string(), service_name(ask.service));
        questions.all().iter().map(name).collect()
    };
    let built = || -> Result<Asks, Mishap> {
        names()
            .iter()
            .map(|(user, service)| kinds.request(user, service))
            .collect::<Result<_, _>>()
            .map(Asks::Built)
    };
    let engine = |name, policies, asks| Cedar {
        name,
        authorizer: Authorizer::new(),
        policies,
        entities: Arc::clone(&entities),
        kinds: kinds.clone(),
        asks,
    };
    Ok([
        engine(ONE_POLICY, one.clone(), built()?),
        engine(EACH_ROLE, each, built()?),
        engine("cedar-policy, one policy, request from names", one, Asks::Names(names())),
    ])
}

impl Cedar {
    fn permits(&self, request: &Request) -> bool {
        let response = self.authorizer.is_authorized(request, &self.policies, &self.entities);
        black_box(response.diagnostics().reason().next());
        match response.decision() {
            Decision::Allow => true,
            Decision::Deny => false,
        }
    }
}

impl Peer for Cedar {
    fn name(&self) -> &'static str {
        self.name
    }

    fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap> {
        let mut permitted = 0;
        match &self.asks {
            Asks::Built(requests) => {
                for request in requests.get(questions).unwrap_or_default() {
                    permitted += usize::from(self.permits(black_box(request)));
                }
            }
            Asks::Names(names) => {
                for (user, service) in names.get(questions).unwrap_or_default() {
                    let request = self.kinds.request(black_box(user), black_box(service))?;
                    permitted += usize::from(self.permits(&request));
                }
            }
        }
        Ok(permitted)
    }
}

impl Kinds {
    fn make() -> Result<Self, Mishap> {
        let kind = |word: &str| word.parse().map_err(Mishap::of("a type of cedar"));
        Ok(Self {
            user: kind("User")?,
            group: kind("Group")?,
            role: kind("Role")?,
            category: kind("Category")?,
            service: kind("Service")?,
            action: kind("Action")?,
        })
    }

    fn request(&self, user: &str, service: &str) -> Result<Request, Mishap> {
        let (user, service) = (uid(&self.user, user), uid(&self.service, service));
        Request::new(user, uid(&self.action, "open"), service, Context::empty(), None)
            .map_err(Mishap::of("a request to cedar"))
    }
}

fn entities(world: &World, kinds: &Kinds) -> Result<Entities, Mishap> {
    let size = world.size();
    let role = |role: u16| uid(&kinds.role, &role_name(role));
    let mut entities: Vec<Entity> = Vec::new();
    for user in 0..size.users {
        let groups = world.groups(user).iter().map(|group| uid(&kinds.group, &group_name(*group))).collect();
        entities.push(Entity::new_no_attrs(uid(&kinds.user, &world.id(user).to_string()), groups));
    }
    for group in 0..size.groups {
        let roles = world.roles(group).iter().map(|it| role(*it)).collect();
        entities.push(Entity::new_no_attrs(uid(&kinds.group, &group_name(group)), roles));
    }
    entities.extend((0..size.roles).map(|it| Entity::new_no_attrs(role(it), HashSet::new())));
    for category in 0..size.categories {
        let uid = uid(&kinds.category, &category_name(category));
        entities.push(Entity::new_no_attrs(uid, HashSet::new()));
    }
    for service in 0..size.services {
        let category = world.category(service);
        let opening = (0..size.roles).filter(|role| world.categories(*role).contains(&category));
        let roles =
            RestrictedExpression::new_set(opening.map(|it| RestrictedExpression::new_entity_uid(role(it))));
        let parents = HashSet::from([uid(&kinds.category, &category_name(category))]);
        let attributes = HashMap::from([("roles".to_owned(), roles)]);
        let service = Entity::new(uid(&kinds.service, &service_name(service)), attributes, parents)
            .map_err(Mishap::of("an entity of cedar"))?;
        entities.push(service);
    }
    Entities::from_entities(entities, None).map_err(Mishap::of("the entities of cedar"))
}

fn each_role(world: &World) -> String {
    let policy = |role: u16| {
        let categories: Vec<String> = world
            .categories(role)
            .iter()
            .map(|category| format!("Category::\"{}\"", category_name(*category)))
            .collect();
        let (role, categories) = (role_name(role), categories.join(", "));
        format!(
            "permit (principal in Role::\"{role}\", action == Action::\"open\", resource)\n\
             when {{ resource in [{categories}] }};\n"
        )
    };
    (0..world.size().roles).map(policy).collect()
}

fn uid(kind: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name))
}

/// The row with one policy.
pub const ONE_POLICY: &str = "cedar-policy, one policy";
/// The row with one policy for each role.
pub const EACH_ROLE: &str = "cedar-policy, one policy for each role";
const ONE: &str =
    r#"permit (principal, action == Action::"open", resource) when { principal in resource.roles };"#;
