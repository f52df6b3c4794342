//! Sample data: the hand-made agencies of `fieldstone demo`, and generated ones in three sizes.
//!
//! Everything goes through the write door as if people had done it, so that sync, access, history,
//! planning and audit are those of real data. Start with `demo` (which accounts and cases there
//! are) or `size` (how much of everything is generated); `draft` makes the rows of both.

mod bundle;
mod chance;
pub(crate) mod demo;
mod draft;
mod generated;
mod hand;
mod riverbend;
mod scene;
pub(crate) mod size;
mod staff;
mod texts;
mod words;
