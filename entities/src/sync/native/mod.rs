//! The native face: an opaque cursor, pages, and mutations with a result each.
//!
//! For apps that are not built on WatermelonDB. A mutation names for each field what it was and
//! what it is to be, so two phones that changed different fields never meet a conflict, and the
//! value that loses one is kept.

pub mod cursor;
pub mod page;

pub use super::push::mutate::{Mutation, MutationOp, MutationResult, mutate};
