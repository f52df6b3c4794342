//! The sync engine: one feed, thin faces.
//!
//! `feed` says what changed for a user since a commit number; `pull` turns that into a page for a
//! device; `push` takes a device's work in; `quarantine` keeps what may not be applied and tells
//! the people it concerns. No table is known by name here. The rules named S, M and H in comments
//! are listed in docs/sync.md.

pub mod custody;
pub(crate) mod device;
pub mod devices;
pub mod digest;
mod feed;
mod heads;
pub mod issue;
pub mod native;
pub mod page;
mod pull;
pub mod purge;
mod push;
pub(crate) mod quarantine;
mod quiet;
pub mod restored;
pub mod rxdb;
pub mod schema;
mod state;
mod text;
mod timeline;

pub use device::Device;
pub use heads::Pause;
pub use pull::{Migration, Pull, PullRequest, Told, pull};
pub use push::{
    Conflict, HandedOver, MAX_ROWS, Numbered, Push, PushRefusal, PushRequest, farewell, push, rescue, salvage,
};
pub use quiet::Quiet;
pub use state::Note;
pub use text::{bound, mend};
pub use timeline::{Timeline, heads, timeline};
