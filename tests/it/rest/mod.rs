//! The tables over REST: what can be written, what moves where, and who sees any of it.

mod assignments;
mod goals;
mod lists;
mod referrals;
mod rows;
mod scene;
mod visibility;
