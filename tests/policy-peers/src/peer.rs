//! The engines, each holding the model in its own terms and the questions in its own form.

pub mod casbin;
pub mod cedar;
pub mod postern;

use std::ops::Range;

use crate::mishap::Mishap;
use crate::model::{Questions, World};

/// An engine with the model and the questions.
pub trait Peer {
    /// The name of its row.
    fn name(&self) -> &'static str;

    /// Decides the questions in this range of the list and counts the permits.
    ///
    /// # Errors
    /// When the engine fails instead of deciding.
    fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap>;
}

/// All engines, in the order of the table.
///
/// # Errors
/// When one refuses the model.
pub fn peers(world: &World, questions: &Questions) -> Result<Vec<Box<dyn Peer>>, Mishap> {
    let (resolved, from_id) = postern::make(world, questions)?;
    let [one, each, from_ids] = cedar::make(world, questions)?;
    let [resources_first, roles_first] = casbin::make(world, questions)?;
    Ok(vec![
        Box::new(resolved),
        Box::new(from_id),
        Box::new(one),
        Box::new(each),
        Box::new(from_ids),
        Box::new(resources_first),
        Box::new(roles_first),
    ])
}

/// The name of a group in the terms of the peers.
#[must_use]
pub fn group_name(group: u16) -> String {
    format!("group-{group:03}")
}

/// The name of a role.
#[must_use]
pub fn role_name(role: u16) -> String {
    format!("role-{role:02}")
}

/// The name of a category.
#[must_use]
pub fn category_name(category: u16) -> String {
    format!("category-{category:02}")
}

/// The name of a service.
#[must_use]
pub fn service_name(service: u16) -> String {
    format!("machine-{service:05}")
}
