//! The tables over REST: what can be written, what moves where, and who sees any of it.

mod assignments;
mod columns;
mod goals;
mod lists;
mod manual;
mod matrix;
mod referrals;
mod rows;
pub(crate) mod scene;
mod visibility;
